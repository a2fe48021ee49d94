"""Metrics over time: one replication cut into equal intervals, and the replications of a scenario merged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sim.engine.record import NEVER, Outcome, RunRecord
from sim.stats.devices import SystemView
from sim.stats.interval import Interval, t_interval
from sim.stats.measure import QUERIES_BEYOND_PERCENTILE

__all__ = ["Timeline", "TimelineSummary", "measure_over_time", "merge_timelines"]

PERCENTILES_PER_MILLE = {"latency_ms_p50": 500, "latency_ms_p99": 990}
NS_PER_S = 1e9
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
    samples that start in it; utilisation and the queries in the system are averages over its time. A percentile needs
    ten queries beyond it in the interval; queries in flight when the clock stops count as infinitely late.

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
        },
    )


def merge_timelines(timelines: Sequence[Timeline], confidence: float) -> TimelineSummary:
    """Merge the replications of a scenario, in the order of their numbers.

    A metric that any replication lacks in an interval has no value there.

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
    interval = _interval_of(record.finish_ns[done], edges)
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
    cell = _interval_of(record.part_start_ns[begun], edges) * paths + record.part_path[begun]
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
    values: Values = {"queries_in_system": (_time_within(record.arrival_ns, left_ns, edges) / length).tolist()}
    for k, name in enumerate(view.device_kind_name):
        lanes = int(np.sum(kind_of_lane == k))
        served = (kind == k) & record.leads_batch
        busy = _time_within(record.part_start_ns[served], record.part_finish_ns[served], edges)
        values[f"utilisation:{name}"] = (busy / (length * max(lanes, 1))).tolist()
    return values


def _interval_of(times_ns: NDArray[np.int64], edges: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.minimum(np.searchsorted(edges, times_ns, side="right") - 1, len(edges) - 2).astype(np.int64)


def _time_within(from_ns: NDArray[np.int64], to_ns: NDArray[np.int64], edges: NDArray[np.int64]) -> NDArray[np.float64]:
    """Add up, for each interval, the time of the spans [from_ns, to_ns] that lies within it."""
    return np.diff(_sum_of_minima(to_ns, edges) - _sum_of_minima(from_ns, edges))


def _sum_of_minima(times_ns: NDArray[np.int64], edges: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the sum over all times of min(time, edge), for each edge."""
    ordered = np.sort(times_ns)
    below = np.searchsorted(ordered, edges)
    sums = np.append(0.0, np.cumsum(ordered, dtype=np.float64))
    result: NDArray[np.float64] = sums[below] + (len(ordered) - below) * edges.astype(np.float64)
    return result
