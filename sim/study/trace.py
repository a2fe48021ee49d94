"""Takes the trace of a window of one replication: runs it up to the window's end and keeps what happened."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sim._version import __version__
from sim.engine.audit import InvariantError, audit
from sim.engine.waiting import simulate_with_waiting
from sim.report.trace import Observed, trace_events, trace_text
from sim.spec.problems import Problem, SpecError, nearest_name
from sim.spec.units import format_duration_ns, parse_duration_ns
from sim.study.prepare import PreparedScenario
from sim.study.replication import fault_schedule, query_stream
from sim.workload.draw import QueryChunk, QueryStream

__all__ = ["MOST_EVENTS", "MOST_QUERIES", "Trace", "TraceRequest", "observe_window", "parse_window", "take_trace"]

MOST_QUERIES = 1_000_000
"""Queries of the cell up to the end of the window that are simulated for a trace, about half a minute's work."""

MOST_EVENTS = 500_000
"""More than these, about 100 MB, are slow to open."""

CELL = 0
"""Of several cells, which are alike, the first is traced."""


@dataclass(frozen=True, slots=True)
class TraceRequest:
    """What is to be traced, as it was asked for.

    Attributes
    ----------
    window : str
        ``FROM..TO`` or ``FROM+LENGTH``, in simulated time.
    scenario : str or None
        Label of a scenario of the sweep, or its values alone; None is the first.
    replication : int
    """

    window: str
    scenario: str | None = None
    replication: int = 0


@dataclass(frozen=True, slots=True)
class Trace:
    """A trace: the text of its file, and what it is of."""

    text: str
    about: dict[str, Any]


def parse_window(text: str) -> tuple[int, int]:
    """Return the beginning and the end of a window such as ``10ms..20ms`` or ``1s+50ms``, in ns.

    Raises
    ------
    SpecError
        If it is none, or nothing lies between.
    """
    allowed = "FROM..TO or FROM+LENGTH, as in 10ms..20ms or 1s+50ms"
    first, dots, second = text.partition("..")
    if not dots:
        first, plus, second = text.partition("+")
        if not plus:
            raise SpecError([Problem("not a window of time", key_path="--trace", value=text, allowed=allowed)])
    try:
        from_ns, other_ns = parse_duration_ns(first.strip()), parse_duration_ns(second.strip())
    except ValueError as error:
        raise SpecError([Problem(str(error), key_path="--trace", value=text, allowed=allowed)]) from error
    to_ns = other_ns if dots else from_ns + other_ns
    if to_ns <= from_ns:
        raise SpecError(
            [Problem("the window ends before it has begun", key_path="--trace", value=text, allowed=allowed)]
        )
    return from_ns, to_ns


def take_trace(request: TraceRequest, scenarios: Sequence[PreparedScenario]) -> Trace:
    """Run the replication up to the end of the window and return its trace.

    Raises
    ------
    SpecError
        If there is no such window, scenario or replication, or too much happens in the window or before it.
    InvariantError
        If the replication breaks a law of queueing.
    """
    from_ns, to_ns = parse_window(request.window)
    scenario = _scenario(request.scenario, scenarios)
    if request.replication >= scenario.replications:
        raise SpecError(
            [
                Problem(
                    "no such replication",
                    key_path="--trace-replication",
                    value=request.replication,
                    allowed=f"0 to {scenario.replications - 1}",
                )
            ]
        )
    _check_length(request, scenario, from_ns, to_ns)
    seen = observe_window(scenario, request.replication, from_ns, to_ns)
    if seen.record.stop_ns <= from_ns:
        raise _window_problem(request, f"the run is over at {format_duration_ns(seen.record.stop_ns)}")
    events = list(islice(trace_events(seen), MOST_EVENTS + 1))
    if len(events) > MOST_EVENTS:
        raise _window_problem(request, f"more than {MOST_EVENTS:,} events lie in the window; take a shorter one")
    about = {
        "experiment": scenario.experiment.name,
        "scenario": scenario.label,
        "replication": request.replication,
        "cell": CELL,
        "seed": scenario.seed,
        "from_ns": from_ns,
        "to_ns": seen.record.stop_ns,
        "made by": f"mprec-sim {__version__}",
    }
    return Trace(trace_text(events, about), {"events": len(events), **about})


def observe_window(scenario: PreparedScenario, replication: int, from_ns: int, to_ns: int) -> Observed:
    """Run a replication up to `to_ns`, or to its end if that comes first, and return what happened.

    Raises
    ------
    InvariantError
        If it breaks a law of queueing.
    """
    stream = _Beginning(query_stream(scenario, replication, CELL), to_ns, scenario.drain_ns)
    faults = fault_schedule(scenario, replication, CELL)
    record, waiting = simulate_with_waiting(scenario.system, stream, drain_ns=0, faults=faults)
    broken = audit(record, scenario.system)
    if broken:
        raise InvariantError(f"scenario {scenario.label}, replication {replication}, traced: " + "; ".join(broken))
    groups = [group.name for group in scenario.experiment.fleet]
    return Observed(record, waiting, faults, scenario.system, scenario.view, groups, from_ns, record.stop_ns)


class _Beginning:
    """The queries that arrive before an instant, at which the clock stops: all is as it is when more follow.

    Engines know of the end of the arrivals only when it has come, so cutting them changes nothing before.
    """

    def __init__(self, stream: QueryStream, until_ns: int, drain_ns: int) -> None:
        self.stream = stream
        self.until_ns = until_ns
        self.drain_ns = drain_ns
        self.cut = False

    @property
    def end_ns(self) -> int:
        """When the clock stops."""
        return self.until_ns if self.cut else min(self.until_ns, self.stream.end_ns + self.drain_ns)

    def lane_scores(self, count: int) -> NDArray[np.float64]:
        """Return what the stream draws."""
        return self.stream.lane_scores(count)

    def chunks(self) -> Iterator[QueryChunk]:
        """Yield the queries in order of arrival."""
        offered = 0
        for chunk in self.stream.chunks():
            count = int(np.searchsorted(chunk.arrival_ns, self.until_ns, side="left"))
            offered += count
            if offered > MOST_QUERIES:
                raise _too_many(f"more than {MOST_QUERIES:,}")
            if count == len(chunk.arrival_ns):
                yield chunk
                continue
            self.cut = True
            yield replace(
                chunk,
                arrival_ns=chunk.arrival_ns[:count],
                size=chunk.size[:count],
                query_class=chunk.query_class[:count],
                service_u=chunk.service_u[:count],
                router_u=chunk.router_u[:count],
                router=chunk.router[:count],
                network_ns=chunk.network_ns[:count],
            )
            return


def _scenario(asked: str | None, scenarios: Sequence[PreparedScenario]) -> PreparedScenario:
    if asked is None:
        return scenarios[0]
    names = [", ".join(str(value) for value in one.parameters.values()) or one.label for one in scenarios]
    for one, name in zip(scenarios, names, strict=True):
        if asked in (name, one.label):
            return one
    raise SpecError(
        [
            Problem(
                "no such scenario",
                key_path="--trace-scenario",
                value=asked,
                allowed="; ".join(names[:20]) + ("; ..." if len(names) > 20 else ""),
                nearest=nearest_name(asked, names),
            )
        ]
    )


def _check_length(request: TraceRequest, scenario: PreparedScenario, from_ns: int, to_ns: int) -> None:
    """Refuse at once what is known to be over, or to take too long."""
    expected = scenario.expected_queries_per_cell
    duration_ns = scenario.workload.duration
    if duration_ns is not None:
        end_ns = duration_ns + scenario.drain_ns
        if from_ns >= end_ns:
            raise _window_problem(request, f"the run is over at {format_duration_ns(end_ns)}")
        expected *= min(to_ns / duration_ns, 1.0)
        if expected > MOST_QUERIES:
            raise _too_many(f"about {expected:,.0f}")


def _too_many(number: str) -> SpecError:
    said = f"{number} queries arrive before the window ends; allowed: {MOST_QUERIES:,}, so take an earlier one"
    return SpecError([Problem(said, key_path="--trace")])


def _window_problem(request: TraceRequest, message: str) -> SpecError:
    return SpecError([Problem(message, key_path="--trace", value=request.window)])
