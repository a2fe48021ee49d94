"""What clients do about slow and failed queries: timeouts, retries with a budget, and hedges, as plain numbers."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from sim.spec.binding import problem_at
from sim.spec.experiment import Experiment, LateBindingSpec
from sim.spec.problems import Problem
from sim.spec.source import Node
from sim.spec.units import LARGEST, format_duration_ns

__all__ = ["DROP_REASONS", "Cancel", "Clients", "DropReason", "build_clients", "check_clients"]

TOKEN = 1_000_000
"""A retry in the units that the budget is counted in."""


class DropReason(IntEnum):
    """Why an attempt failed, and a query was dropped."""

    QUEUE_FULL = 0
    POLICY = 1
    DEADLINE = 2
    FAULT = 3
    TIMEOUT = 4
    UNAVAILABLE = 5


DROP_REASONS = tuple(reason.name.lower().replace("_", "-") for reason in DropReason)
"""Their names, in their order."""


class Cancel(IntEnum):
    """What is stopped of an attempt that nobody waits for any more."""

    NONE = 0
    WAITING = 1
    RUNNING = 2


@dataclass(frozen=True, slots=True)
class Clients:
    """The settings of every client.

    Attributes
    ----------
    timeout_ns : int
        How long a client waits for an attempt; 0 is for ever.
    timeout_cancel, hedge_cancel : int
        A `Cancel`.
    backoff_ns : tuple of int
        Wait before each retry of a query; as many as it may have.
    retried : tuple of bool
        By `DropReason`: whether such a failure is retried.
    budget_tokens : int
        What each offered query adds to the budget, in millionths of a retry; -1 is no budget.
    burst_tokens : int
        Most that the budget holds, and what it holds at first.
    past_deadline : bool
        Whether retries are sent that can only be late.
    hedges : bool
    hedge_after_ns : int
        When a query is hedged, counted from its arrival, where that is not by percentile.
    hedge_rank, hedge_window : int
        With a percentile: the latency of this rank among those of the last so many queries served, from the shortest
        on; 0 otherwise.
    """

    timeout_ns: int
    timeout_cancel: int
    backoff_ns: tuple[int, ...]
    retried: tuple[bool, ...]
    budget_tokens: int
    burst_tokens: int
    past_deadline: bool
    hedges: bool
    hedge_after_ns: int
    hedge_rank: int
    hedge_window: int
    hedge_cancel: int

    @property
    def most_attempts(self) -> int:
        """Most attempts that a query can have."""
        return 1 + len(self.backoff_ns) + int(self.hedges)

    @property
    def stops_running(self) -> bool:
        """Whether what is in service may be stopped."""
        return Cancel.RUNNING in (self.timeout_cancel, self.hedge_cancel)


CANCELS = {"none": Cancel.NONE, "waiting": Cancel.WAITING, "running": Cancel.RUNNING}


def possible_failures(experiment: Experiment) -> list[DropReason]:
    """Return the failures that this experiment can have, but for what the policy drops."""
    queue = experiment.queue
    devices = [use for group in experiment.fleet for use in group.devices.values()]
    bounded = (
        (queue is not None and queue.limit is not None)
        or getattr(experiment.binding, "queue_limit", None) is not None
        or any(getattr(use, "queue_limit", None) is not None for use in devices)
    )
    found = []
    if bounded:
        found.append(DropReason.QUEUE_FULL)
    if queue is not None and queue.shed != "never":
        found.append(DropReason.DEADLINE)
    if experiment.timeout is not None:
        found.append(DropReason.TIMEOUT)
    if experiment.faults is not None:
        found.append(DropReason.FAULT)
    # Nodes that come and go leave one up, but may close while a query is under way to them.
    closes = experiment.autoscaling is not None and experiment.network is not None
    if experiment.faults is not None or experiment.remapping is not None or closes:
        found.append(DropReason.UNAVAILABLE)
    return found


def build_clients(experiment: Experiment) -> Clients | None:
    """Return the settings of the clients; None where queries have one attempt and all the time in the world."""
    timeout, retries, hedging = experiment.timeout, experiment.retries, experiment.hedging
    if timeout is None and retries is None and hedging is None:
        return None
    retried = [False] * len(DropReason)
    if retries is not None:
        on = [DROP_REASONS.index(name) for name in retries.on] if retries.on else possible_failures(experiment)
        for reason in on:
            retried[reason] = True
    percentile = None if hedging is None else hedging.percentile
    window = 0 if hedging is None or percentile is None else hedging.window
    budget = None if retries is None else retries.budget
    return Clients(
        timeout_ns=0 if timeout is None else timeout.after,
        timeout_cancel=Cancel.NONE if timeout is None else CANCELS[timeout.cancel],
        backoff_ns=()
        if retries is None
        # A retry that waits for longer than can be counted waits for as long as can be: the run is over by then.
        else tuple(min(round(retries.backoff * retries.multiplier**k), LARGEST) for k in range(retries.limit)),
        retried=tuple(retried),
        budget_tokens=-1 if budget is None else round(budget * TOKEN),
        burst_tokens=0 if retries is None else retries.burst * TOKEN,
        past_deadline=retries is not None and retries.past_deadline,
        hedges=hedging is not None,
        hedge_after_ns=0 if hedging is None or hedging.after is None else hedging.after,
        hedge_rank=0 if percentile is None else max(1, -(-round(percentile * window * 1000) // 100_000)),
        hedge_window=window,
        hedge_cancel=Cancel.NONE if hedging is None else CANCELS[hedging.cancel],
    )


def check_clients(experiment: Experiment, node: Node, *, end_ns: int | None) -> list[Problem]:
    """Return what contradicts itself in the timeouts, retries and hedges of an experiment.

    Parameters
    ----------
    experiment : Experiment
    node : Node
        The YAML it was read from, for the positions of problems.
    end_ns : int or None
        When a run is over, arrivals and drain; None where it ends with a number of queries.
    """
    problems = _after_the_end(experiment, node, end_ns)
    retries, hedging = experiment.retries, experiment.hedging
    if retries is not None:
        possible = possible_failures(experiment)
        names = [DROP_REASONS[reason] for reason in possible]
        if retries.on is None and not possible:
            problems.append(
                problem_at(
                    node,
                    ("retries",),
                    "no attempt can fail, so there is nothing to retry",
                    allowed="retries beside faults, timeout, or a queue with a limit or with shedding",
                )
            )
        for i, name in enumerate(retries.on or ()):
            if name != "policy" and DROP_REASONS.index(name) not in possible:
                problems.append(
                    problem_at(
                        node,
                        ("retries", "on", i),
                        f"no attempt can fail by {name} in this experiment",
                        allowed=", ".join([*names, "policy"]),
                    )
                )
        problems += _retries_only_past_the_deadline(experiment, node)
    timeout = experiment.timeout
    if timeout is not None and retries is None and hedging is not None and (hedging.after or 0) >= timeout.after:
        problems.append(
            problem_at(
                node,
                ("hedging", "after"),
                "the query has timed out by then and is over, so none is ever hedged",
                allowed="less than timeout.after, or retries",
            )
        )
    early = not isinstance(experiment.binding, LateBindingSpec)
    nodes = sum(group.count for group in experiment.fleet) // experiment.cells
    if hedging is not None and early and nodes < 2:
        problems.append(
            problem_at(
                node,
                ("hedging",),
                f"a copy goes to another node, and {'the fleet' if experiment.cells == 1 else 'a cell'} has one",
                allowed="two nodes or more, or binding: {kind: late}",
            )
        )
    return problems


def _after_the_end(experiment: Experiment, node: Node, end_ns: int | None) -> list[Problem]:
    """Return the waits of clients that no run is long enough for."""
    if end_ns is None:
        return []
    timeout, retries, hedging = experiment.timeout, experiment.retries, experiment.hedging
    waits = [
        (("timeout", "after"), None if timeout is None else timeout.after, "none goes off"),
        (("retries", "backoff"), None if retries is None else retries.backoff, "none is ever sent"),
        (("hedging", "after"), None if hedging is None else hedging.after, "none is ever hedged"),
    ]
    return [
        problem_at(
            node,
            path,
            f"is longer than the run, arrivals and drain, so {consequence}",
            allowed=f"up to {format_duration_ns(end_ns)}",
        )
        for path, wait_ns, consequence in waits
        if wait_ns is not None and wait_ns > end_ns
    ]


def _retries_only_past_the_deadline(experiment: Experiment, node: Node) -> list[Problem]:
    """Return the problem that the first retry is always too late to be sent, if it is."""
    retries, timeout, queue = experiment.retries, experiment.timeout, experiment.queue
    assert retries is not None
    if retries.past_deadline:
        return []
    sla_ns = max([one.sla or experiment.sla for one in experiment.classes or ()], default=experiment.sla)
    reasons = [DROP_REASONS.index(name) for name in retries.on] if retries.on else possible_failures(experiment)
    fails_ns = []
    for reason in reasons:
        if reason == DropReason.TIMEOUT and timeout is not None:
            fails_ns.append(timeout.after)
        elif reason == DropReason.DEADLINE and queue is not None and queue.shed == "late":
            fails_ns.append(sla_ns + 1)
        else:
            fails_ns.append(0)
    if not fails_ns or min(fails_ns) + retries.backoff <= sla_ns:
        return []
    by_timeout = timeout is not None and min(fails_ns) == timeout.after > sla_ns
    return [
        problem_at(
            node,
            ("timeout", "after") if by_timeout else ("retries", "backoff"),
            "the first retry would be sent past the deadline, so none is ever sent",
            allowed="a first failure and a backoff within the SLA, or past_deadline: true",
        )
    ]
