"""Metrics over time: one replication cut into equal intervals, and the replications of a scenario merged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sim.engine.record import NEVER, Cause, Outcome, RunRecord, Span
from sim.stats.attempts import ATTEMPT_METRICS, AVAILABILITY_METRICS, nodes_up_over_time, work_over_time
from sim.stats.devices import SystemView
from sim.stats.interval import Interval, t_interval
from sim.stats.measure import RankedLatencies
from sim.stats.measurement import Ranking, percentiles_ns
from sim.stats.merge import within_bounds
from sim.stats.spans import SpanLog, interval_of, time_within, weighted_time_within

__all__ = [
    "FaultsOverTime",
    "SumsOverTime",
    "Timeline",
    "TimelineSummary",
    "edges_of",
    "faults_over_time",
    "has_attempts",
    "has_faults",
    "measure_over_time",
    "merge_timelines",
    "timeline_of",
]

PERCENTILES_PER_MILLE = {"latency_ms_p50": 500, "latency_ms_p99": 990}
NS_PER_MS = 1e6
NS_PER_S = 1e9
DROPPED = "dropped:"
UNFINISHED_NS = np.iinfo(np.int64).max

Values = dict[str, list[float | None]]


@dataclass(frozen=True, slots=True)
class Timeline:
    """The metrics of one replication in each interval of its arrival period.

    Attributes
    ----------
    edges_ns : list of int
        Ends of the intervals: [edges[k], edges[k + 1]); the last one may be shorter.
    metrics : dict
        One value an interval; None where the interval cannot support it.
    """

    edges_ns: list[int]
    metrics: Values

    def to_json_dict(self) -> dict[str, Any]:
        """Return plain values for JSON; floats come back exactly."""
        return {"edges_ns": self.edges_ns, "metrics": self.metrics}

    @classmethod
    def from_json_dict(cls, data: dict[str, Any]) -> Timeline:
        """Rebuild a timeline from `to_json_dict`."""
        return cls(data["edges_ns"], data["metrics"])


@dataclass(frozen=True, slots=True)
class TimelineSummary:
    """The metrics of a scenario in each interval, means over replications with their intervals."""

    edges_ns: tuple[int, ...]
    metrics: dict[str, tuple[Interval, ...]]


@dataclass(frozen=True, slots=True)
class SumsOverTime:
    """What a timeline is made of; every array has one value an interval in its last place.

    Attributes
    ----------
    edges_ns : int64, shape (intervals + 1,)
    ranking : list of Ranking
        Latencies of the queries that arrived in each interval and were not dropped.
    offered, in_time, dropped
        Queries that arrived in it, and how they ended.
    finished, samples, correct, correct_in_time
        Queries, samples and correct predictions that finished in it.
    started : shape (paths, intervals)
        Samples that each path began to serve.
    in_system_ns
        Time that queries spent in the system.
    busy_ns : shape (kinds, intervals)
    lanes : shape (kinds,)
    attempts : shape (causes, intervals), or None
        Attempts that were sent, where clients may send several.
    wasted_ns, work_ns : or None
        Busy lane time that no answer came of, and all of it, where some may be wasted.
    drops : shape (reasons, intervals), or None
        Queries that were dropped in it.
    faults : FaultsOverTime
    """

    edges_ns: NDArray[np.int64]
    ranking: list[Ranking]
    offered: NDArray[Any]
    in_time: NDArray[Any]
    dropped: NDArray[Any]
    finished: NDArray[Any]
    samples: NDArray[Any]
    correct: NDArray[np.float64]
    correct_in_time: NDArray[np.float64]
    started: NDArray[Any]
    in_system_ns: NDArray[np.float64]
    busy_ns: NDArray[np.float64]
    lanes: NDArray[np.int64]
    attempts: NDArray[Any] | None
    wasted_ns: NDArray[np.float64] | None
    work_ns: NDArray[np.float64] | None
    drops: NDArray[Any] | None
    faults: FaultsOverTime


@dataclass(frozen=True, slots=True)
class FaultsOverTime:
    """What the spans say of each interval.

    Attributes
    ----------
    down_ns : shape (intervals,), or None
        Time of devices that were down, where they may be.
    devices : int
    nodes_up : shape (intervals,), or None
        Mean number of nodes that take new queries, where they come and go.
    off_ns : shape (kinds, intervals)
        Lane time of each kind of device that was off.
    """

    down_ns: NDArray[np.float64] | None
    devices: int
    nodes_up: NDArray[np.float64] | None
    off_ns: NDArray[np.float64]


def measure_over_time(record: RunRecord, view: SystemView, interval_ns: int) -> Timeline:
    """Measure one replication in intervals of its arrival period.

    Offered load, latency, SLA attainment and drop rate are over the queries that *arrive* in an interval, however late
    they finish; throughput, correct predictions and accuracy over those that *finish* in it; the path mix over the
    samples that start in it; the queries in the system are an average over its time, and utilisation is one over the
    time that lanes are not off. A percentile needs ten queries beyond it in the interval; queries in flight when the
    clock stops count as infinitely late.

    Where clients time out, retry or hedge: the attempts that are *sent* in an interval. Where devices fail:
    availability, an average over its time. Where either is the case: wasted work over its busy lane time, and the
    queries *dropped* in it by reason, whenever they arrived. Where nodes come and go: how many take new queries, an
    average over its time.

    Parameters
    ----------
    record : RunRecord
    view : SystemView
    interval_ns : int
        Length of an interval; the last one ends with the arrival period.
    """
    edges = edges_of(record.end_ns, interval_ns)
    waste = work_over_time(record, edges) if has_attempts(view) or has_faults(view) else (None, None)
    return timeline_of(
        view,
        SumsOverTime(
            edges_ns=edges,
            **_by_arrival(record, edges),
            **_by_finish(record, edges),
            started=_started(record, view, edges),
            **_by_time(record, view, edges),
            attempts=_attempts(record, edges) if has_attempts(view) else None,
            wasted_ns=waste[0],
            work_ns=waste[1],
            drops=_drops(record, view, edges) if has_attempts(view) or has_faults(view) else None,
            faults=faults_over_time(record, view, edges),
        ),
    )


def edges_of(end_ns: int, interval_ns: int) -> NDArray[np.int64]:
    """Return the ends of the intervals of an arrival period."""
    return np.append(np.arange(0, end_ns, interval_ns, dtype=np.int64), end_ns)


def has_attempts(view: SystemView) -> bool:
    """Whether clients time out, retry or hedge."""
    return set(ATTEMPT_METRICS) <= set(view.more_metrics)


def has_faults(view: SystemView) -> bool:
    """Whether devices may be down."""
    return set(AVAILABILITY_METRICS) <= set(view.more_metrics)


def faults_over_time(log: SpanLog, view: SystemView, edges: NDArray[np.int64]) -> FaultsOverTime:
    """Return what the spans of a run say of each interval."""
    down_ns = nodes_up = None
    if has_faults(view):
        down = log.span_kind == Span.DOWN
        down_ns = time_within(log.span_from_ns[down], log.span_to_ns[down], edges)
    if len(view.device_node):
        nodes_up = np.array(nodes_up_over_time(log, view.device_node, edges), dtype=np.float64)
    return FaultsOverTime(down_ns, len(view.device_kind), nodes_up, _off_over_time(log, view, edges))


def _off_over_time(log: SpanLog, view: SystemView, edges: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the lane time that was off, by kind of device and interval."""
    off = log.span_kind == Span.OFF
    lanes = np.bincount(np.asarray(view.lane_device), minlength=len(view.device_kind))[log.span_device[off]]
    kind = np.asarray(view.device_kind)[log.span_device[off]]
    from_ns, to_ns = log.span_from_ns[off], log.span_to_ns[off]
    return np.array(
        [
            weighted_time_within(from_ns, to_ns, np.where(kind == k, lanes, 0).astype(np.float64), edges)
            for k in range(len(view.device_kind_name))
        ]
    )


def timeline_of(view: SystemView, sums: SumsOverTime) -> Timeline:
    """Return the timeline that these sums amount to."""
    edges = sums.edges_ns
    length = np.diff(edges)
    seconds = length / NS_PER_S
    values: Values = {"offered_per_s": (sums.offered / seconds).tolist()}
    found = [percentiles_ns(ranking, [*PERCENTILES_PER_MILLE.values()]) for ranking in sums.ranking]
    for name, column in zip(PERCENTILES_PER_MILLE, zip(*found, strict=True), strict=True):
        values[name] = [None if one is None or one == np.inf else one / NS_PER_MS for one in column]
    values |= {
        "sla_attainment": _ratios(sums.in_time, sums.offered),
        "drop_rate": _ratios(sums.dropped, sums.offered),
        "queries_per_s": (sums.finished / seconds).tolist(),
        "correct_predictions_per_s": (sums.correct / seconds).tolist(),
        "correct_predictions_within_sla_per_s": (sums.correct_in_time / seconds).tolist(),
        "accuracy_served": _ratios(sums.correct, sums.samples),
    }
    total = sums.started.sum(axis=0)
    for path, name in enumerate(view.path_names):
        values[f"path_mix:{name}"] = _ratios(sums.started[path], total)
    values["queries_in_system"] = (sums.in_system_ns / length).tolist()
    faults = sums.faults
    for k, name in enumerate(view.device_kind_name):
        available_ns = length * int(sums.lanes[k]) - faults.off_ns[k]
        values[f"utilisation:{name}"] = _ratios(sums.busy_ns[k], available_ns)
    if faults.down_ns is not None:
        values["availability"] = (1.0 - faults.down_ns / (length * faults.devices)).tolist()
    if faults.nodes_up is not None:
        values["nodes_up"] = faults.nodes_up.tolist()
    if sums.attempts is not None:
        values["attempts_per_s"] = (sums.attempts.sum(axis=0) / seconds).tolist()
        values["retries_per_s"] = (sums.attempts[Cause.RETRY] / seconds).tolist()
        values["hedges_per_s"] = (sums.attempts[Cause.HEDGE] / seconds).tolist()
    if sums.wasted_ns is not None and sums.work_ns is not None:
        values["wasted_work"] = _ratios(sums.wasted_ns, sums.work_ns)
    if sums.drops is not None:
        for reason, name in enumerate(view.drop_reasons):
            values[f"{DROPPED}{name}_per_s"] = (sums.drops[reason] / seconds).tolist()
    return Timeline(edges.tolist(), values)


def _ratios(parts: NDArray[Any], wholes: NDArray[Any]) -> list[float | None]:
    return [float(part / whole) if whole > 0 else None for part, whole in zip(parts, wholes, strict=True)]


def merge_timelines(timelines: Sequence[Timeline], confidence: float) -> TimelineSummary:
    """Merge the replications of a scenario, in the order of their numbers.

    A metric that any replication lacks in an interval has no value there. Reasons of drops that occur in no replication
    are left out.

    Raises
    ------
    ValueError
        If the replications were cut at different times.
    """
    first = timelines[0]
    if any(other.edges_ns != first.edges_ns for other in timelines):
        raise ValueError("the replications were cut at different times")
    return TimelineSummary(
        tuple(first.edges_ns),
        {
            name: tuple(
                within_bounds(t_interval(values, confidence), name)
                for values in zip(*(timeline.metrics[name] for timeline in timelines), strict=True)
            )
            for name in first.metrics
            if not name.startswith(DROPPED) or any(any(timeline.metrics[name]) for timeline in timelines)
        },
    )


def _by_arrival(record: RunRecord, edges: NDArray[np.int64]) -> dict[str, Any]:
    # A query that arrives at the very end of the arrival period belongs to the last interval.
    bounds = np.searchsorted(record.arrival_ns, edges)
    bounds[-1] = len(record.arrival_ns)
    latency = np.where(record.outcome == Outcome.IN_FLIGHT, UNFINISHED_NS, record.finish_ns - record.arrival_ns)
    dropped = record.outcome == Outcome.DROPPED
    stretches = [slice(begin, end) for begin, end in pairwise(bounds.tolist())]
    return {
        "offered": np.diff(bounds),
        "ranking": [RankedLatencies(np.sort(latency[one][~dropped[one]])) for one in stretches],
        "in_time": np.array([np.sum(record.outcome[one] == Outcome.SERVED_IN_TIME) for one in stretches]),
        "dropped": np.array([np.sum(dropped[one]) for one in stretches]),
    }


def _by_finish(record: RunRecord, edges: NDArray[np.int64]) -> dict[str, Any]:
    done = (record.outcome <= Outcome.SERVED_LATE) & (record.finish_ns <= record.end_ns)
    interval = interval_of(record.finish_ns[done], edges)
    count = len(edges) - 1

    def total(weight: NDArray[Any]) -> NDArray[np.float64]:
        return np.bincount(interval, weights=weight, minlength=count).astype(np.float64)

    in_time = record.outcome[done] == Outcome.SERVED_IN_TIME
    return {
        "finished": total(np.ones(len(interval))),
        "samples": total(record.size[done]),
        "correct": total(record.correct[done]),
        "correct_in_time": total(np.where(in_time, record.correct[done], 0.0)),
    }


def _started(record: RunRecord, view: SystemView, edges: NDArray[np.int64]) -> NDArray[np.float64]:
    begun = record.part_start_ns <= record.end_ns
    count, paths = len(edges) - 1, len(view.path_names)
    cell = record.part_path[begun] * count + interval_of(record.part_start_ns[begun], edges)
    samples = np.bincount(cell, weights=record.part_size[begun], minlength=paths * count)
    return samples.reshape(paths, count).astype(np.float64)


def _by_time(record: RunRecord, view: SystemView, edges: NDArray[np.int64]) -> dict[str, Any]:
    kind_of_lane = np.asarray(view.device_kind)[np.asarray(view.lane_device)]
    kinds = len(view.device_kind_name)
    left_ns = np.where(record.finish_ns != NEVER, record.finish_ns, record.stop_ns)
    left_ns = np.where(record.drop_ns != NEVER, record.drop_ns, left_ns)
    kind = np.where(record.leads_batch, kind_of_lane[record.part_lane], kinds)
    busy = [time_within(record.part_start_ns[kind == k], record.part_finish_ns[kind == k], edges) for k in range(kinds)]
    return {
        "in_system_ns": time_within(record.arrival_ns, left_ns, edges),
        "busy_ns": np.array(busy),
        "lanes": np.bincount(kind_of_lane, minlength=kinds),
    }


def _per_interval(times_ns: NDArray[np.int64], end_ns: int, edges: NDArray[np.int64]) -> NDArray[np.int64]:
    within = times_ns[(times_ns != NEVER) & (times_ns <= end_ns)]
    return np.bincount(interval_of(within, edges), minlength=len(edges) - 1)


def _attempts(record: RunRecord, edges: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.array(
        [_per_interval(record.attempt_sent_ns[record.attempt_cause == cause], record.end_ns, edges) for cause in Cause]
    )


def _drops(record: RunRecord, view: SystemView, edges: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.array(
        [
            _per_interval(record.drop_ns[record.drop_reason == reason], record.end_ns, edges)
            for reason in range(len(view.drop_reasons))
        ]
    )
