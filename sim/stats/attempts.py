"""What copies, retries and faults cost: attempts a query, work that no answer came of, time that devices were down."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sim.engine.record import RunRecord, Span

__all__ = ["ATTEMPT_METRICS", "AVAILABILITY_METRICS", "attempts_per_query", "availability", "wasted_work"]

ATTEMPT_METRICS = ("attempts_per_query", "hedges_per_query", "retries_per_query", "wasted_work")
"""Metrics of scenarios whose clients time out, retry or hedge."""

AVAILABILITY_METRICS = ("availability",)
"""Metrics of scenarios whose devices may be down."""


def attempts_per_query(record: RunRecord, cut: int, cause: int | None = None) -> float | None:
    """Return the attempts, of one `Cause` or of all, for each query from number `cut` on; None without queries."""
    queries = len(record.arrival_ns) - cut
    counted = record.attempt_query >= cut
    if cause is not None:
        counted &= record.attempt_cause == cause
    return float(np.sum(counted)) / queries if queries > 0 else None


def wasted_work(record: RunRecord, start_ns: int, end_ns: int) -> float | None:
    """Return the share of the busy lane time in a window that no answer came of; None if no lane was busy.

    That is service for attempts that were beaten, given up, cut off or lost, and for queries that were dropped.
    What is still in service or has an unfinished query when the clock stops is not counted as wasted. The time of a
    batch is shared among its parts by their samples.
    """
    first = np.flatnonzero(record.leads_batch)
    if not len(first):
        return None
    count = np.diff(np.append(first, len(record.part_batch)))
    share = record.part_size / np.repeat(np.add.reduceat(record.part_size, first), count)
    clipped = np.minimum(record.part_finish_ns, end_ns) - np.maximum(record.part_start_ns, start_ns)
    time_ns = np.maximum(clipped, 0) * share
    total = float(time_ns.sum())
    return float(time_ns[_is_wasted(record)].sum()) / total if total > 0 else None


def _is_wasted(record: RunRecord) -> NDArray[np.bool_]:
    query = record.part_query
    ended = (record.finish_ns[query] >= 0) | (record.drop_ns[query] >= 0)
    answers = record.part_attempt == record.answered_by[query]
    return np.asarray(record.part_cut | (ended & ~answers), dtype=np.bool_)


def availability(record: RunRecord, devices: int, start_ns: int, end_ns: int) -> float | None:
    """Return the share of device time in a window that devices were up; None where the window is empty.

    A device that drains is up.
    """
    if end_ns <= start_ns or devices == 0:
        return None
    down = record.span_kind == Span.DOWN
    clipped = np.minimum(record.span_to_ns[down], end_ns) - np.maximum(record.span_from_ns[down], start_ns)
    return 1.0 - float(np.maximum(clipped, 0).sum()) / (devices * (end_ns - start_ns))
