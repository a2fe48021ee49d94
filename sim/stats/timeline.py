"""Metrics over time: one replication cut into equal intervals, and the replications of a scenario merged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sim.engine.record import NEVER, Cause, Outcome, RunRecord, Span
from sim.stats.attempts import ATTEMPT_METRICS, AVAILABILITY_METRICS, nodes_up_over_time, wasted_work_over_time
from sim.stats.devices import SystemView
from sim.stats.interval import Interval, t_interval
from sim.stats.measure import QUERIES_BEYOND_PERCENTILE
from sim.stats.spans import interval_of, time_within, weighted_time_within

__all__ = ["Timeline", "TimelineSummary", "measure_over_time", "merge_timelines"]

PERCENTILES_PER_MILLE = {"latency_ms_p50": 500, "latency_ms_p99": 990}
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
    edges = np.append(np.arange(0, record.end_ns, interval_ns, dtype=np.int64), record.end_ns)
    seconds = np.diff(edges) / NS_PER_S
    return Timeline(
        edges.tolist(),
        {
            **_by_arrival(record, edges, seconds),
            **_by_finish(record, edges, seconds),
            **_path_mix(record, view, edges),
            **_by_time(record, view, edges),
            **_attempts_and_faults(record, view, edges, seconds),
        },
    )


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
                t_interval(values, confidence)
                for values in zip(*(timeline.metrics[name] for timeline in timelines), strict=True)
            )
            for name in first.metrics
            if not name.startswith(DROPPED) or any(any(timeline.metrics[name]) for timeline in timelines)
        },
    )


def _by_arrival(record: RunRecord, edges: NDArray[np.int64], seconds: NDArray[np.float64]) -> Values:
    # A query that arrives at the very end of the arrival period belongs to the last interval.
    bounds = np.searchsorted(record.arrival_ns, edges)
    bounds[-1] = len(record.arrival_ns)
    offered = np.diff(bounds)
    latency = np.where(record.outcome == Outcome.IN_FLIGHT, UNFINISHED_NS, record.finish_ns - record.arrival_ns)
    dropped = record.outcome == Outcome.DROPPED
    values: Values = {"offered_per_s": (offered / seconds).tolist()}
    for name in (*PERCENTILES_PER_MILLE, "sla_attainment", "drop_rate"):
        values[name] = []
    for begin, end in pairwise(bounds.tolist()):
        ranked = np.sort(latency[begin:end][~dropped[begin:end]])
        for name, per_mille in PERCENTILES_PER_MILLE.items():
            rank = -(-per_mille * len(ranked) // 1000)
            given = len(ranked) - rank >= QUERIES_BEYOND_PERCENTILE and ranked[rank - 1] != UNFINISHED_NS
            values[name].append(float(ranked[rank - 1]) / 1e6 if given else None)
        count = end - begin
        in_time = int(np.sum(record.outcome[begin:end] == Outcome.SERVED_IN_TIME))
        values["sla_attainment"].append(in_time / count if count else None)
        values["drop_rate"].append(int(np.sum(dropped[begin:end])) / count if count else None)
    return values


def _by_finish(record: RunRecord, edges: NDArray[np.int64], seconds: NDArray[np.float64]) -> Values:
    done = (record.outcome <= Outcome.SERVED_LATE) & (record.finish_ns <= record.end_ns)
    interval = interval_of(record.finish_ns[done], edges)
    count = len(edges) - 1

    def total(weight: NDArray[Any]) -> NDArray[np.float64]:
        return np.bincount(interval, weights=weight, minlength=count).astype(np.float64)

    in_time = record.outcome[done] == Outcome.SERVED_IN_TIME
    correct, samples = total(record.correct[done]), total(record.size[done])
    correct_in_time = total(np.where(in_time, record.correct[done], 0.0))
    return {
        "queries_per_s": (total(np.ones(len(interval))) / seconds).tolist(),
        "correct_predictions_per_s": (correct / seconds).tolist(),
        "correct_predictions_within_sla_per_s": (correct_in_time / seconds).tolist(),
        "accuracy_served": [float(c / s) if s > 0 else None for c, s in zip(correct, samples, strict=True)],
    }


def _path_mix(record: RunRecord, view: SystemView, edges: NDArray[np.int64]) -> Values:
    begun = record.part_start_ns <= record.end_ns
    count, paths = len(edges) - 1, len(view.path_names)
    cell = interval_of(record.part_start_ns[begun], edges) * paths + record.part_path[begun]
    samples = np.bincount(cell, weights=record.part_size[begun], minlength=count * paths).reshape(count, paths)
    total = samples.sum(axis=1)
    return {
        f"path_mix:{name}": [float(s / t) if t > 0 else None for s, t in zip(samples[:, path], total, strict=True)]
        for path, name in enumerate(view.path_names)
    }


def _by_time(record: RunRecord, view: SystemView, edges: NDArray[np.int64]) -> Values:
    length = np.diff(edges)
    kind_of_lane = np.asarray(view.device_kind)[np.asarray(view.lane_device)]
    kind = kind_of_lane[record.part_lane]
    left_ns = np.where(record.finish_ns != NEVER, record.finish_ns, record.stop_ns)
    left_ns = np.where(record.drop_ns != NEVER, record.drop_ns, left_ns)
    values: Values = {"queries_in_system": (time_within(record.arrival_ns, left_ns, edges) / length).tolist()}
    off = record.span_kind == Span.OFF
    off_lanes = np.bincount(np.asarray(view.lane_device), minlength=len(view.device_kind))[record.span_device[off]]
    kind_of_off = np.asarray(view.device_kind)[record.span_device[off]]
    for k, name in enumerate(view.device_kind_name):
        served = (kind == k) & record.leads_batch
        busy = time_within(record.part_start_ns[served], record.part_finish_ns[served], edges)
        available = (length * np.sum(kind_of_lane == k)).astype(np.float64)
        if np.any(kind_of_off == k):
            of_kind = np.where(kind_of_off == k, off_lanes, 0).astype(np.float64)
            available -= weighted_time_within(record.span_from_ns[off], record.span_to_ns[off], of_kind, edges)
        values[f"utilisation:{name}"] = [float(b / a) if a > 0 else None for b, a in zip(busy, available, strict=True)]
    return values


def _attempts_and_faults(
    record: RunRecord, view: SystemView, edges: NDArray[np.int64], seconds: NDArray[np.float64]
) -> Values:
    """Return what only scenarios have whose clients or devices do more than serve a query once."""
    has_attempts = set(ATTEMPT_METRICS) <= set(view.more_metrics)
    has_faults = set(AVAILABILITY_METRICS) <= set(view.more_metrics)
    values: Values = {}

    def per_s(times_ns: NDArray[np.int64]) -> list[float | None]:
        within = times_ns[(times_ns != NEVER) & (times_ns <= record.end_ns)]
        return [*(np.bincount(interval_of(within, edges), minlength=len(seconds)) / seconds).tolist()]

    if has_faults:
        down = record.span_kind == Span.DOWN
        down_ns = time_within(record.span_from_ns[down], record.span_to_ns[down], edges)
        values["availability"] = (1.0 - down_ns / (np.diff(edges) * len(view.device_kind))).tolist()
    if len(view.device_node):
        values["nodes_up"] = [*nodes_up_over_time(record, view.device_node, edges)]
    if has_attempts:
        values["attempts_per_s"] = per_s(record.attempt_sent_ns)
        values["retries_per_s"] = per_s(record.attempt_sent_ns[record.attempt_cause == Cause.RETRY])
        values["hedges_per_s"] = per_s(record.attempt_sent_ns[record.attempt_cause == Cause.HEDGE])
    if has_faults or has_attempts:
        values["wasted_work"] = wasted_work_over_time(record, edges)
        for reason, name in enumerate(view.drop_reasons):
            values[f"{DROPPED}{name}_per_s"] = per_s(record.drop_ns[record.drop_reason == reason])
    return values
