"""A timeline from rows: sums for each interval of the arrival period, which add up over cells."""

from __future__ import annotations

from dataclasses import fields
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sim.engine.record import Cause, Outcome
from sim.engine.rows import Rows
from sim.serving.compiled import jit
from sim.stats.devices import SystemView
from sim.stats.histogram import BUCKETS, Histogram, bucket_of
from sim.stats.spans import SpanLog
from sim.stats.tally_sums import add_split, together
from sim.stats.timeline import FaultsOverTime, SumsOverTime, edges_of, faults_over_time, has_attempts, has_faults

__all__ = ["TimelineTally", "added_over_time", "over_time_from_json", "over_time_json"]

SERVED_IN_TIME, DROPPED, IN_FLIGHT = int(Outcome.SERVED_IN_TIME), int(Outcome.DROPPED), int(Outcome.IN_FLIGHT)


class _Grid(NamedTuple):
    """The intervals, and what a row's numbers refer to."""

    edge_ns: NDArray[np.int64]
    limit_ns: NDArray[np.int64]
    lane_kind: NDArray[np.int16]
    path_accuracy: NDArray[np.float64]


class _Sums(NamedTuple):
    """Sums by interval, the last place of every shape; of correct predictions and wasted time, the first of two places.

    Of a stretch of time its first and its last interval get what lies in them; the ones between, which it fills, are
    counted by +1 where they begin and -1 where they end, in `in_system_filled` and `busy_filled`.
    """

    latency_count: NDArray[np.int32]
    unfinished: NDArray[np.int64]
    offered: NDArray[np.int64]
    in_time: NDArray[np.int64]
    dropped: NDArray[np.int64]
    finished: NDArray[np.int64]
    samples: NDArray[np.int64]
    correct: NDArray[np.int64]
    correct_in_time: NDArray[np.int64]
    started: NDArray[np.int64]
    in_system_ns: NDArray[np.float64]
    in_system_filled: NDArray[np.int64]
    busy_ns: NDArray[np.float64]
    busy_filled: NDArray[np.int64]
    attempts: NDArray[np.int64]
    wasted_ns: NDArray[np.int64]
    drops: NDArray[np.int64]


@jit
def _interval(time_ns: int, edge_ns: NDArray[np.int64], near: int) -> int:
    """Return the interval that a time lies in, the last one if it is beyond; quick if that is about `near`."""
    while near < len(edge_ns) - 2 and time_ns >= edge_ns[near + 1]:
        near += 1
    while near > 0 and time_ns < edge_ns[near]:
        near -= 1
    return near


@jit
def _fill(
    sums_ns: NDArray[np.float64],
    filled: NDArray[np.int64],
    row: int,
    from_ns: int,
    to_ns: int,
    edge_ns: NDArray[np.int64],
    near: int,
) -> None:
    """Add the time from `from_ns` to `to_ns` to the intervals that it lies in, in a row of the sums."""
    to_ns = min(to_ns, edge_ns[-1])
    if to_ns <= from_ns:
        return
    first = _interval(from_ns, edge_ns, near)
    last = _interval(to_ns, edge_ns, first)
    if first == last:
        sums_ns[row, first] += to_ns - from_ns
        return
    sums_ns[row, first] += edge_ns[first + 1] - from_ns
    sums_ns[row, last] += to_ns - edge_ns[last]
    filled[row, first + 1] += 1
    filled[row, last] -= 1


@jit
def _add_offered(arrival_ns: NDArray[np.int64], grid: _Grid, sums: _Sums) -> None:
    near = 0
    for i in range(len(arrival_ns)):
        near = _interval(arrival_ns[i], grid.edge_ns, near)
        sums.offered[near] += 1


@jit
def _add_served(rows: Any, grid: _Grid, sums: _Sums) -> None:
    # Local names keep numba from counting references in the loop.
    edge_ns, limit_ns, lane_kind, path_accuracy = grid.edge_ns, grid.limit_ns, grid.lane_kind, grid.path_accuracy
    latency_count, in_times, finishes, samples = sums.latency_count, sums.in_time, sums.finished, sums.samples
    corrects, corrects_in_time, starts = sums.correct, sums.correct_in_time, sums.started
    in_system_ns, in_system_filled, busy_ns, busy_filled = (
        sums.in_system_ns,
        sums.in_system_filled,
        sums.busy_ns,
        sums.busy_filled,
    )
    end_ns = edge_ns[-1]
    arrived = started = finished = 0
    for i in range(len(rows)):
        row = rows[i]
        of, path, lane, size = row.query_class, row.path, row.lane, row.size
        arrival_ns, start_ns, finish_ns = row.arrival_ns, row.start_ns, row.finish_ns
        if not (0 <= of < len(limit_ns) and 0 <= path < len(path_accuracy) and 0 <= lane < len(lane_kind)):
            continue
        if not 0 <= arrival_ns <= start_ns <= finish_ns:
            continue
        latency_ns = finish_ns - arrival_ns
        in_time = latency_ns <= limit_ns[of]
        arrived = _interval(arrival_ns, edge_ns, arrived)
        latency_count[arrived, bucket_of(latency_ns)] += 1
        in_times[arrived] += in_time
        _fill(in_system_ns, in_system_filled, 0, arrival_ns, finish_ns, edge_ns, arrived)
        started = _interval(start_ns, edge_ns, started)
        if start_ns <= end_ns:
            starts[path, started] += size
        _fill(busy_ns, busy_filled, lane_kind[lane], start_ns, finish_ns, edge_ns, started)
        if finish_ns <= end_ns:
            finished = _interval(finish_ns, edge_ns, finished)
            correct = size * path_accuracy[path]
            finishes[finished] += 1
            samples[finished] += size
            add_split(corrects[finished], correct)
            if in_time:
                add_split(corrects_in_time[finished], correct)


@jit
def _add_queries(rows: Any, grid: _Grid, sums: _Sums) -> None:
    edge_ns, end_ns = grid.edge_ns, grid.edge_ns[-1]
    near = 0
    for i in range(len(rows)):
        row = rows[i]
        near = _interval(row.arrival_ns, edge_ns, near)
        if row.outcome == DROPPED:
            sums.dropped[near] += 1
            _fill(sums.in_system_ns, sums.in_system_filled, 0, row.arrival_ns, row.drop_ns, edge_ns, near)
            if 0 <= row.drop_reason < sums.drops.shape[0] and row.drop_ns <= end_ns:
                sums.drops[row.drop_reason, _interval(row.drop_ns, edge_ns, near)] += 1
        elif row.outcome == IN_FLIGHT:
            sums.unfinished[near] += 1
            _fill(sums.in_system_ns, sums.in_system_filled, 0, row.arrival_ns, end_ns, edge_ns, near)
        elif row.finish_ns >= row.arrival_ns:
            in_time = row.outcome == SERVED_IN_TIME
            sums.latency_count[near, bucket_of(row.finish_ns - row.arrival_ns)] += 1
            sums.in_time[near] += in_time
            _fill(sums.in_system_ns, sums.in_system_filled, 0, row.arrival_ns, row.finish_ns, edge_ns, near)
            if row.finish_ns <= end_ns:
                finished = _interval(row.finish_ns, edge_ns, near)
                sums.finished[finished] += 1
                sums.samples[finished] += row.size
                add_split(sums.correct[finished], row.correct)
                if in_time:
                    add_split(sums.correct_in_time[finished], row.correct)


@jit
def _add_parts(rows: Any, grid: _Grid, sums: _Sums) -> None:
    edge_ns, end_ns = grid.edge_ns, grid.edge_ns[-1]
    near = 0
    for i in range(len(rows)):
        row = rows[i]
        known = 0 <= row.path < len(grid.path_accuracy) and 0 <= row.lane < len(grid.lane_kind)
        if not (known and row.batch_samples > 0 and row.start_ns <= row.finish_ns):
            continue
        near = _interval(row.start_ns, edge_ns, near)
        if row.start_ns <= end_ns:
            sums.started[row.path, near] += row.size
        if row.leads:
            kind = grid.lane_kind[row.lane]
            _fill(sums.busy_ns, sums.busy_filled, kind, row.start_ns, row.finish_ns, edge_ns, near)
        if row.wasted and row.start_ns < end_ns:
            share = row.size / row.batch_samples
            from_ns, to_ns = row.start_ns, min(row.finish_ns, end_ns)
            for interval in range(near, _interval(to_ns, edge_ns, near) + 1):
                within_ns = min(to_ns, edge_ns[interval + 1]) - max(from_ns, edge_ns[interval])
                add_split(sums.wasted_ns[interval], share * within_ns)


@jit
def _add_attempts(rows: Any, grid: _Grid, sums: _Sums) -> None:
    near = 0
    for i in range(len(rows)):
        row = rows[i]
        if 0 <= row.cause < sums.attempts.shape[0] and row.sent_ns <= grid.edge_ns[-1]:
            near = _interval(row.sent_ns, grid.edge_ns, near)
            sums.attempts[row.cause, near] += 1


class TimelineTally:
    """Adds rows up by the intervals of an arrival period whose end is known beforehand.

    Parameters
    ----------
    view : SystemView
    end_ns : int
        End of the arrival period.
    interval_ns : int
        Length of the intervals.
    """

    def __init__(self, view: SystemView, end_ns: int, interval_ns: int) -> None:
        self.view = view
        edges = edges_of(end_ns, interval_ns)
        count, paths, kinds = len(edges) - 1, len(view.path_names), len(view.device_kind_name)
        self.grid = _Grid(
            edge_ns=edges,
            limit_ns=np.array([one.sla_ns for one in view.classes] or [view.sla_ns], dtype=np.int64),
            lane_kind=np.asarray(view.device_kind, dtype=np.int16)[np.asarray(view.lane_device)],
            path_accuracy=np.asarray(view.path_accuracy, dtype=np.float64),
        )

        def counts(*shape: int) -> NDArray[np.int64]:
            return np.zeros((*shape, count), dtype=np.int64)

        self.sums = _Sums(
            # Pages that no latency falls into are never touched, and take no memory.
            latency_count=np.zeros((count, BUCKETS), dtype=np.int32),
            unfinished=counts(),
            offered=counts(),
            in_time=counts(),
            dropped=counts(),
            finished=counts(),
            samples=counts(),
            correct=np.zeros((count, 2), dtype=np.int64),
            correct_in_time=np.zeros((count, 2), dtype=np.int64),
            started=counts(paths),
            in_system_ns=np.zeros((1, count)),
            in_system_filled=counts(1),
            busy_ns=np.zeros((kinds, count)),
            busy_filled=counts(kinds),
            attempts=counts(len(Cause)),
            wasted_ns=np.zeros((count, 2), dtype=np.int64),
            drops=counts(len(view.drop_reasons)),
        )

    def add(self, rows: Rows) -> None:
        """Add rows, each of them once."""
        _add_offered(rows.arrival_ns, self.grid, self.sums)
        for add, table in (
            (_add_served, rows.served),
            (_add_queries, rows.queries),
            (_add_parts, rows.parts),
            (_add_attempts, rows.attempts),
        ):
            if len(table):
                add(table, self.grid, self.sums)

    def finish(self, spans: SpanLog) -> SumsOverTime:
        """Return the sums of the whole run."""
        sums, edges, view = self.sums, self.grid.edge_ns, self.view
        length = np.diff(edges)
        busy_ns = sums.busy_ns + np.cumsum(sums.busy_filled, axis=1) * length
        attempts, wastes = has_attempts(view), has_attempts(view) or has_faults(view)
        return SumsOverTime(
            edges_ns=edges,
            ranking=[
                Histogram.of_counts(counts, unfinished)
                for counts, unfinished in zip(sums.latency_count, sums.unfinished.tolist(), strict=True)
            ],
            offered=sums.offered,
            in_time=sums.in_time,
            dropped=sums.dropped,
            finished=sums.finished,
            samples=sums.samples,
            correct=together(sums.correct),
            correct_in_time=together(sums.correct_in_time),
            started=sums.started,
            in_system_ns=sums.in_system_ns[0] + np.cumsum(sums.in_system_filled) * length,
            busy_ns=busy_ns,
            lanes=np.bincount(self.grid.lane_kind, minlength=len(view.device_kind_name)),
            attempts=sums.attempts if attempts else None,
            wasted_ns=together(sums.wasted_ns) if wastes else None,
            work_ns=busy_ns.sum(axis=0) if wastes else None,
            drops=sums.drops if wastes else None,
            faults=faults_over_time(spans, view, edges),
        )


def added_over_time(one: SumsOverTime, other: SumsOverTime) -> SumsOverTime:
    """Add the sums of cells up, interval by interval; they must have the same ones."""
    values: dict[str, Any] = {
        field.name: _added(getattr(one, field.name), getattr(other, field.name)) for field in fields(SumsOverTime)
    }
    ranking = [a + b for a, b in zip(_histograms(one), _histograms(other), strict=True)]
    faults = FaultsOverTime(
        _added(one.faults.down_ns, other.faults.down_ns),
        one.faults.devices + other.faults.devices,
        _added(one.faults.nodes_up, other.faults.nodes_up),
        one.faults.off_ns + other.faults.off_ns,
    )
    return SumsOverTime(**values | {"edges_ns": one.edges_ns, "ranking": ranking, "faults": faults})


def _added(one: Any, other: Any) -> Any:
    return one + other if isinstance(one, np.ndarray) else None


def _histograms(sums: SumsOverTime) -> list[Histogram]:
    histograms = [one for one in sums.ranking if isinstance(one, Histogram)]
    assert len(histograms) == len(sums.ranking)
    return histograms


def over_time_json(sums: SumsOverTime) -> dict[str, Any]:
    """Return plain values for JSON; every number comes back exactly."""
    values = {field.name: _plain(getattr(sums, field.name)) for field in fields(SumsOverTime)}
    faults = {field.name: _plain(getattr(sums.faults, field.name)) for field in fields(FaultsOverTime)}
    return values | {"ranking": [one.to_json_dict() for one in _histograms(sums)], "faults": faults}


def _plain(value: Any) -> Any:
    return value.tolist() if isinstance(value, np.ndarray) else value


def over_time_from_json(data: dict[str, Any]) -> SumsOverTime:
    """Rebuild sums from `over_time_json`."""
    faults = FaultsOverTime(**{name: _array(value) for name, value in data["faults"].items()})
    ranking = [Histogram.from_json_dict(one) for one in data["ranking"]]
    values: dict[str, Any] = {name: _array(value) for name, value in data.items() if name not in ("ranking", "faults")}
    return SumsOverTime(**values, ranking=[*ranking], faults=faults)


def _array(value: Any) -> Any:
    return np.array(value) if isinstance(value, list) else value
