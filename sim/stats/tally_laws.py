"""The laws of `sim.engine.audit` that can be held against sums: what a run that keeps no record is checked for."""

from __future__ import annotations

import numpy as np

from sim.engine.record import Cause, Outcome
from sim.engine.rows import RunEnd
from sim.stats.attempts import ATTEMPT_METRICS
from sim.stats.tally_sums import Faults
from sim.stats.tally_totals import Counted

__all__ = ["broken_laws"]

WORD = 2**64


def broken_laws(counted: Counted, faults: Faults, end: RunEnd) -> list[str]:
    """Return what the rows of a cell violate, in plain words; nothing when they are sound.

    1. Conservation: every offered query has come exactly once, with an outcome that agrees with its stamps.
    2. Causality: arrival <= start <= finish, for queries and parts, and nothing after the clock has stopped.
    3. Little's law, exactly, for the number in the system and the number waiting.
    4. Lanes: those of a device kind are not busy for longer than there was time.
    """
    return [
        *_conservation(counted, faults, end),
        *_attempts(counted, faults),
        *_causality(faults, end),
        *_littles_law(counted, end),
        *_lanes(counted),
    ]


def _conservation(counted: Counted, faults: Faults, end: RunEnd) -> list[str]:
    offered = counted.offered
    outcomes = counted.exact.counts("outcomes").sum(axis=(0, 1))
    violations = []
    if offered != end.offered:
        violations.append(f"conservation: {end.offered} queries were offered, but {offered} arrivals were seen")
    if faults.unknown[0]:
        violations.append(f"conservation: {faults.unknown[0]} rows name a query, class, path or lane that is not there")
    if int(outcomes.sum()) != offered:
        violations.append(f"conservation: outcomes {outcomes.tolist()} do not add up to {offered} offered queries")
    elif (counted.exact.total("numbers") - offered * (offered - 1) // 2) % WORD:
        violations.append("conservation: a query has two outcomes, and another one none")
    if faults.unsettled[0]:
        violations.append(f"conservation: the stamps of {faults.unsettled[0]} queries do not agree with their outcomes")
    if faults.disordered[0]:
        violations.append("conservation: arrivals are out of order or after the end of the arrival period")
    return violations


def _attempts(counted: Counted, faults: Faults) -> list[str]:
    if not set(ATTEMPT_METRICS) <= set(counted.view.more_metrics):
        return []
    outcomes = counted.exact.counts("outcomes").sum(axis=(0, 1))
    violations = []
    if counted.exact.counts("attempts")[Cause.FIRST].sum() != counted.offered:
        violations.append("attempts: a query does not have exactly one first attempt")
    served = outcomes[Outcome.SERVED_IN_TIME] + outcomes[Outcome.SERVED_LATE]
    if counted.exact.total("answered") != served:
        violations.append("attempts: a query that is served does not have exactly one answered attempt")
    if faults.untimely_attempts[0]:
        violations.append("attempts: an attempt ended before it was sent, or without a time")
    return violations


def _causality(faults: Faults, end: RunEnd) -> list[str]:
    violations = []
    if faults.untimely[0]:
        violations.append(f"causality: {faults.untimely[0]} queries or parts are out of order in time")
    if faults.latest_ns[0] > end.stop_ns:
        violations.append("causality: a query finished before it started or after the clock stopped")
    if faults.early[0]:
        violations.append("causality: something was over before a query that had arrived by then was offered")
    return violations


def _littles_law(counted: Counted, end: RunEnd) -> list[str]:
    exact = counted.exact
    time_in_system = exact.total("latency_ns") + exact.total("other_system_ns")
    waited = exact.total("waited_ns") + end.unstarted_wait_ns
    violations = []
    if time_in_system != end.in_system_integral:
        violations.append(
            f"Little's law: the number in the system adds up to {end.in_system_integral} query ns, the times in "
            f"the system to {time_in_system}"
        )
    if waited != end.waiting_integral:
        violations.append(
            f"Little's law: the number waiting adds up to {end.waiting_integral} part ns, the waits to {waited}"
        )
    return violations


def _lanes(counted: Counted) -> list[str]:
    busy_ns = counted.exact.times_ns("busy_ns")[:, :-1]
    lengths_ns = np.diff(np.concatenate([[0], counted.bounds.edge_ns]))
    over = np.argwhere(busy_ns > counted.lanes[:, np.newaxis] * lengths_ns.astype(np.float64))
    return [
        f"lanes: the lanes of {counted.view.device_kind_name[kind]} are busy for {busy_ns[kind, segment]:.0f} ns of "
        f"{counted.lanes[kind]} times {lengths_ns[segment]} ns"
        for kind, segment in over[:1].tolist()
    ]
