"""Turns the record of one replication into its metrics, for each of several candidate warm-up cuts.

The cut is chosen from all replications of a scenario together, but the records stay in the processes that
made them. So each process evaluates the metrics for a fixed grid of cuts, and the one chosen later is looked
up.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sim.engine.record import Cause, Outcome, RunRecord
from sim.stats.attempts import attempts_per_query, availability, nodes_on, wasted_work
from sim.stats.devices import (
    SystemView,
    check_indices,
    device_energy_j,
    device_on_ns,
    device_price_usd,
    lane_busy_time_ns,
    mean_waiting_parts,
    sum_by_kind,
)
from sim.stats.measurement import (
    CENSORED_LIMIT,
    CLASS_METRICS,
    CURVE_TAILS,
    METRICS,
    PERCENTILES_PER_MILLE,
    QUERIES_BEYOND_PERCENTILE,
    FleetSums,
    Measurement,
    QuerySums,
    Weighted,
    measurement_of,
    named_counts,
    named_drops,
    rates_per_s,
)

__all__ = [
    "CENSORED_LIMIT",
    "CLASS_METRICS",
    "CURVE_TAILS",
    "METRICS",
    "PERCENTILES_PER_MILLE",
    "QUERIES_BEYOND_PERCENTILE",
    "Measurement",
    "RankedLatencies",
    "SystemView",
    "count_dropped_by_reason",
    "count_outcomes",
    "measure",
    "measure_class",
]

UNFINISHED_NS = np.iinfo(np.int64).max


@dataclass(frozen=True, slots=True)
class RankedLatencies:
    """Latencies in ns, sorted; those of unfinished queries are `UNFINISHED_NS`."""

    ranked_ns: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.ranked_ns)

    def at_rank(self, rank: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return the latency in ns of each rank, from 1 for the least; infinity where it is not finished."""
        latency_ns = self.ranked_ns[rank - 1]
        return np.where(latency_ns == UNFINISHED_NS, np.inf, latency_ns)


def count_outcomes(record: RunRecord) -> dict[str, int]:
    """Count the queries of the whole run by outcome.

    Returns
    -------
    dict
        ``offered`` and the four outcomes, which add up to it.

    Raises
    ------
    ValueError
        If a query has no valid outcome, so that the counts cannot add up.
    """
    check_indices("outcome", record.outcome, len(Outcome))
    counts = np.bincount(record.outcome, minlength=len(Outcome))
    return named_counts(len(record.arrival_ns), counts)


def count_dropped_by_reason(record: RunRecord, view: SystemView) -> dict[str, int]:
    """Count the dropped queries of the whole run by reason; reasons that did not occur are left out."""
    reasons = record.drop_reason[record.outcome == Outcome.DROPPED]
    if len(reasons) and reasons.min() < 0:
        raise ValueError("a dropped query has no drop reason")
    return named_drops(np.bincount(reasons), view)


def measure(record: RunRecord, view: SystemView, cuts: Sequence[int] | NDArray[np.int64]) -> list[Measurement]:
    """Measure one replication after each of several warm-up cuts.

    Latency, SLA attainment and drop rate are over the queries that *arrive* in the window; throughput and
    accuracy are over those that *finish* in it, whenever they arrived; utilisation, energy and cost are over
    the window's time.

    Percentiles are order statistics (the inverse of the empirical distribution function, numpy's
    ``inverted_cdf``): of n measured queries the p-quantile is the one of rank ceil(p n). A query that is
    still in flight when the clock stops counts as infinitely late, so stopping a run cannot shorten its tail;
    a percentile that falls on such a query is None. Dropped queries have no latency. The mean is over the
    served queries and is None if more than `CENSORED_LIMIT` of the measured ones are in flight. In SLA
    attainment an unfinished query counts as missed; it is None if more than `CENSORED_LIMIT` of the queries
    were younger than the SLA when the clock stopped, so that it is not known.

    Parameters
    ----------
    record : RunRecord
        What the replication left behind.
    view : SystemView
        The system that it ran on.
    cuts : non-decreasing integers in [0, queries]
        Index of the first query to keep.

    Returns
    -------
    list of Measurement
        One per cut, in the order given.

    Raises
    ------
    ValueError
        If the cuts are out of order or range, or the record contradicts itself: an unknown outcome or path,
        an arrival outside the arrival period, a lane that is busy for longer than the window.
    """
    first = np.asarray(cuts, dtype=np.int64)
    queries = len(record.arrival_ns)
    if len(first) and (first[0] < 0 or first[-1] > queries or np.any(np.diff(first) < 0)):
        raise ValueError(f"cuts must be non-decreasing and within 0..{queries}")
    if queries and (record.arrival_ns[0] < 0 or record.arrival_ns[-1] > record.end_ns):
        raise ValueError("a query arrives outside the arrival period")
    check_indices("outcome", record.outcome, len(Outcome))
    check_indices("part_path", record.part_path, len(view.path_names))
    check_indices("part_lane", record.part_lane, len(view.lane_device))

    return _measured(record, view, first, _window_starts(record, first))


def measure_class(
    record: RunRecord, view: SystemView, cuts: Sequence[int] | NDArray[np.int64], query_class: int
) -> list[Measurement]:
    """Measure the queries of one class, after the same cuts and over the same windows as the whole.

    Parameters
    ----------
    record, view, cuts
        As given to `measure`, which checks them.
    query_class : int
        Index of the class.
    """
    first = np.asarray(cuts, dtype=np.int64)
    before = np.concatenate([[0], np.cumsum(record.query_class == query_class)])
    windows = _window_starts(record, first)
    return _measured(record.of_class(query_class), view, before[first], windows, fleet=False)


def _window_starts(record: RunRecord, first: NDArray[np.int64]) -> NDArray[np.int64]:
    # Where nothing is cut the window is the whole arrival period, with the gap before the first arrival.
    return np.where(first == 0, 0, np.append(record.arrival_ns, record.end_ns)[first]).astype(np.int64)


def _measured(
    record: RunRecord,
    view: SystemView,
    first: NDArray[np.int64],
    window_start: NDArray[np.int64],
    *,
    fleet: bool = True,
) -> list[Measurement]:
    """Measure the queries from `first` on over the windows that begin at `window_start`, one entry a cut each."""
    queries = len(record.arrival_ns)
    by_arrival = _ByArrival.of(record, view, first)
    by_finish = _ByFinish.of(record, window_start)
    started = _samples_started(record, view, window_start)

    measurements = []
    for c, cut in enumerate(first.tolist()):
        start_ns = int(window_start[c])
        window_ns = record.end_ns - start_ns
        finished = [float(total[c]) for total in by_finish.totals]
        sums = QuerySums(
            cut=cut,
            offered=queries - cut,
            outcomes=by_arrival.outcomes[c],
            undecided=by_arrival.undecided[c],
            latency_sum_ns=by_arrival.latency_sum_ns[c],
            ranking=by_arrival.ranking[c],
            per_s=rates_per_s(finished, window_ns),
            samples=float(by_finish.samples[c]),
            correct=float(by_finish.correct[c]),
            started=started[c],
            waiting=mean_waiting_parts(record, view, start_ns, record.end_ns) if window_ns > 0 else None,
        )
        used = _fleet_sums(record, view, cut, start_ns) if fleet else None
        measurements.append(measurement_of(view, start_ns, record.end_ns, sums, used))
    return measurements


@dataclass(frozen=True, slots=True)
class _ByArrival:
    """What the metrics over arriving queries need, per cut."""

    outcomes: NDArray[np.float64]  # (cuts, outcomes)
    undecided: NDArray[np.float64]  # (cuts,) in flight, and younger than the SLA when the clock stopped
    latency_sum_ns: NDArray[np.float64]  # (cuts,)
    ranking: list[RankedLatencies]  # per cut, of the queries that were not dropped

    @classmethod
    def of(cls, record: RunRecord, view: SystemView, first: NDArray[np.int64]) -> _ByArrival:
        in_flight = record.outcome == Outcome.IN_FLIGHT
        dropped = record.outcome == Outcome.DROPPED
        latency = record.finish_ns - record.arrival_ns
        latency[in_flight] = UNFINISHED_NS
        undecided = in_flight & (record.stop_ns - record.arrival_ns < view.limits_ns(record.query_class))
        # A query's group is the number of cuts that keep it.
        group = np.searchsorted(first, np.arange(len(latency)), side="right")
        outcomes = _sums_by_cut(group, None, len(first), record.outcome, len(Outcome))
        total = _sums_by_cut(group, np.where(in_flight | dropped, 0, latency), len(first))[:, 0]

        # One sort serves every cut: what a later cut drops is filtered out of the ranking.
        index = np.flatnonzero(~dropped)
        index = index[np.argsort(latency[index])]
        ranked = []
        for cut in first:
            index = index[index >= cut]
            ranked.append(RankedLatencies(latency[index]))
        return cls(outcomes, _sums_by_cut(group, undecided, len(first))[:, 0], total, ranked)


@dataclass(frozen=True, slots=True)
class _ByFinish:
    """Sums over the queries that finish in the window, per cut."""

    queries: NDArray[np.float64]
    samples: NDArray[np.float64]
    correct: NDArray[np.float64]
    correct_in_time: NDArray[np.float64]

    @classmethod
    def of(cls, record: RunRecord, window_start: NDArray[np.int64]) -> _ByFinish:
        in_time = record.outcome == Outcome.SERVED_IN_TIME
        done = (in_time | (record.outcome == Outcome.SERVED_LATE)) & (record.finish_ns <= record.end_ns)
        group = np.searchsorted(window_start, record.finish_ns[done], side="right")
        size, correct = record.size[done], record.correct[done]
        cuts = len(window_start)
        return cls(
            queries=_sums_by_cut(group, np.ones(len(group)), cuts)[:, 0],
            samples=_sums_by_cut(group, size, cuts)[:, 0],
            correct=_sums_by_cut(group, correct, cuts)[:, 0],
            correct_in_time=_sums_by_cut(group, np.where(in_time[done], correct, 0.0), cuts)[:, 0],
        )

    @property
    def totals(self) -> tuple[NDArray[np.float64], ...]:
        """What rates are made of, in their order."""
        return self.queries, self.samples, self.correct, self.correct_in_time


def _sums_by_cut(
    group: NDArray[np.intp],
    weight: NDArray[Any] | None,
    cuts: int,
    column: NDArray[Any] | None = None,
    columns: int = 1,
) -> NDArray[np.float64]:
    """Sum what each cut keeps, shape (cuts, columns); `group` is the number of cuts that keep an element."""
    cell = group if column is None else group * columns + column
    per_group = np.bincount(cell, weights=weight, minlength=(cuts + 1) * columns).astype(np.float64)
    kept: NDArray[np.float64] = per_group.reshape(cuts + 1, columns)[::-1].cumsum(axis=0)[::-1][1:]
    return kept


def _samples_started(record: RunRecord, view: SystemView, window_start: NDArray[np.int64]) -> NDArray[np.float64]:
    group = np.searchsorted(window_start, record.part_start_ns, side="right")
    samples = np.where(record.part_start_ns <= record.end_ns, record.part_size, 0)
    return _sums_by_cut(group, samples, len(window_start), record.part_path, len(view.path_names))


def _fleet_sums(record: RunRecord, view: SystemView, cut: int, start_ns: int) -> FleetSums:
    end_ns = record.end_ns
    busy_ns = lane_busy_time_ns(record, view, start_ns, end_ns)
    on_ns = device_on_ns(record, view, start_ns, end_ns)
    values = {
        "attempts_per_query": lambda: attempts_per_query(record, cut),
        "hedges_per_query": lambda: attempts_per_query(record, cut, Cause.HEDGE),
        "retries_per_query": lambda: attempts_per_query(record, cut, Cause.RETRY),
        "wasted_work": lambda: wasted_work(record, start_ns, end_ns),
        "nodes_on": lambda: nodes_on(record, view.device_node, start_ns, end_ns),
        "availability": lambda: availability(record, len(view.device_kind), start_ns, end_ns),
    }
    return FleetSums(
        busy_ns=sum_by_kind(view, busy_ns),
        available_ns=sum_by_kind(view, on_ns[np.asarray(view.lane_device)]),
        energy_j=device_energy_j(view, busy_ns, on_ns),
        price_usd=device_price_usd(view, on_ns, end_ns - start_ns),
        more={name: Weighted(values[name](), 1.0) for name in view.more_metrics},
    )
