"""What copies, retries and faults cost: attempts, work that no answer came of, devices and nodes that were away."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sim.engine.record import RunRecord, Span
from sim.stats.spans import SpanLog, Spans, covered, time_within, weighted_time_within

__all__ = [
    "ATTEMPT_METRICS",
    "AVAILABILITY_METRICS",
    "SCALING_METRICS",
    "attempts_per_query",
    "availability",
    "nodes_on",
    "nodes_up_over_time",
    "wasted_work",
    "work_over_time",
]

ATTEMPT_METRICS = ("attempts_per_query", "hedges_per_query", "retries_per_query", "wasted_work")
"""Metrics of scenarios whose clients time out, retry or hedge."""

AVAILABILITY_METRICS = ("availability",)
"""Metrics of scenarios whose devices may be down."""

SCALING_METRICS = ("nodes_on",)
"""Metrics of scenarios whose nodes come and go with the load."""


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
    clipped = np.minimum(record.part_finish_ns, end_ns) - np.maximum(record.part_start_ns, start_ns)
    time_ns = np.maximum(clipped, 0) * (record.part_size / record.part_batch_samples)
    total = float(time_ns.sum())
    return float(time_ns[record.part_wasted].sum()) / total if total > 0 else None


def work_over_time(record: RunRecord, edges: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return what `wasted_work` is the ratio of, in each of the intervals between these times."""
    share = record.part_size / record.part_batch_samples
    start_ns, finish_ns = record.part_start_ns, record.part_finish_ns
    wasted_ns = weighted_time_within(start_ns, finish_ns, share * record.part_wasted, edges)
    return wasted_ns, weighted_time_within(start_ns, finish_ns, share, edges)


def availability(log: SpanLog, devices: int, start_ns: int, end_ns: int) -> float | None:
    """Return the share of device time in a window that devices were up; None where the window is empty.

    A device that drains is up.
    """
    if end_ns <= start_ns or devices == 0:
        return None
    down = log.span_kind == Span.DOWN
    clipped = np.minimum(log.span_to_ns[down], end_ns) - np.maximum(log.span_from_ns[down], start_ns)
    return 1.0 - float(np.maximum(clipped, 0).sum()) / (devices * (end_ns - start_ns))


def nodes_on(log: SpanLog, device_node: Sequence[int], start_ns: int, end_ns: int) -> float | None:
    """Return the mean number of nodes in a window that are not off, so that they are paid for; None if it is empty.

    Parameters
    ----------
    log : SpanLog
    device_node : sequence of int, shape (devices,)
        Node of each device; -1 for one that no path uses.
    start_ns, end_ns : int
    """
    if end_ns <= start_ns:
        return None
    node = np.asarray(device_node, dtype=np.int64)
    # The devices of a node go off together, so its first one stands for it.
    nodes, first = np.unique(node, return_index=True)
    stands = np.zeros(len(node), dtype=np.bool_)
    stands[first[nodes >= 0]] = True
    off = (log.span_kind == Span.OFF) & stands[log.span_device]
    clipped = np.minimum(log.span_to_ns[off], end_ns) - np.maximum(log.span_from_ns[off], start_ns)
    return float(np.count_nonzero(stands)) - float(np.maximum(clipped, 0).sum()) / (end_ns - start_ns)


def nodes_up_over_time(log: SpanLog, device_node: Sequence[int], edges: NDArray[np.int64]) -> list[float]:
    """Return the mean number of nodes that take new queries in each of the intervals between these times.

    A node takes new queries while at least one of its devices does, which is neither down nor closed.

    Parameters
    ----------
    log : SpanLog
    device_node : sequence of int, shape (devices,)
        Node of each device; -1 for one that no path uses, which keeps no node going.
    edges : int64, shape (intervals + 1,)
    """
    node = np.asarray(device_node, dtype=np.int64)
    used = node[log.span_device] >= 0
    spans = Spans(log.span_device[used], log.span_from_ns[used], log.span_to_ns[used])
    out = covered(spans, np.ones(len(node), dtype=np.int64))
    devices_of_node = np.bincount(node[node >= 0])
    away = covered(out._replace(owner=node[out.owner]), devices_of_node)
    lost_ns = time_within(away.from_ns, away.to_ns, edges)
    nodes_up: list[float] = (np.count_nonzero(devices_of_node) - lost_ns / np.diff(edges)).tolist()
    return nodes_up
