"""Turns the record of one replication into its metrics, for each of several candidate warm-up cuts.

The cut is chosen from all replications of a scenario together, but the records stay in the processes that
made them. So each process evaluates the metrics for a fixed grid of cuts, and the one chosen later is looked
up.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
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
    utilisation,
)

__all__ = [
    "CENSORED_LIMIT",
    "CLASS_METRICS",
    "CURVE_TAILS",
    "METRICS",
    "PERCENTILES_PER_MILLE",
    "QUERIES_BEYOND_PERCENTILE",
    "Measurement",
    "SystemView",
    "count_dropped_by_reason",
    "count_outcomes",
    "measure",
    "measure_class",
]

PERCENTILES_PER_MILLE = {
    "latency_ms_p50": 500,
    "latency_ms_p90": 900,
    "latency_ms_p95": 950,
    "latency_ms_p99": 990,
    "latency_ms_p999": 999,
}
"""The latency percentiles, in thousandths so that ranks are computed in integers."""

CURVE_TAILS = tuple(10.0 ** (-step / 10) for step in range(1, 61))
"""Probabilities beyond the points of the percentile curve: equal steps of -log10(1 - p), ten a decade."""

METRICS = (
    *PERCENTILES_PER_MILLE,
    "latency_ms_mean",
    "sla_attainment",
    "drop_rate",
    "queries_per_s",
    "samples_per_s",
    "correct_predictions_per_s",
    "correct_predictions_within_sla_per_s",
    "accuracy_served",
    "energy_j_per_million_correct",
    "cost_per_million_correct",
)
"""Name of every metric that all scenarios have, in the order of output."""

CLASS_METRICS = tuple(
    name for name in METRICS if name not in ("energy_j_per_million_correct", "cost_per_million_correct")
)
"""The metrics that a class of queries has; the others are the whole fleet's."""

QUERIES_BEYOND_PERCENTILE = 10
"""A percentile is given only where at least this many measured queries lie beyond it."""

CENSORED_LIMIT = 0.001
"""Share of unfinished queries above which an average that leaves them out is not given."""

NS_PER_MS = 1e6
NS_PER_S = 1e9
UNFINISHED_NS = np.iinfo(np.int64).max


@dataclass(frozen=True, slots=True)
class Measurement:
    """The metrics of one replication after one warm-up cut.

    Attributes
    ----------
    cut : int
        Index of the first query that is kept.
    window_start_ns, window_end_ns : int
        What throughput, utilisation, energy and cost are taken over: from the arrival of the first kept query
        (from 0 where nothing is cut) to the end of the arrival period.
    measured : dict
        Outcome counts of the queries that arrived in the window, with the keys of `count_outcomes`.
    metrics : dict
        Value of every name in `METRICS` and of the system's `more_metrics` (of a class, `CLASS_METRICS`); None where
        the replication cannot support it.
    reasons : dict
        For each metric that is None, why.
    path_mix : dict
        Share of the samples that each path began to serve in the window; empty where none did.
    utilisation : dict
        Busy lane time over lane time, per device kind; empty for a class of queries, which shares the lanes.
    waiting_parts : dict
        Time average of the parts waiting for a lane, by the device kind that served them in the end. None for
        every kind where parts that still wait when the clock stops would be missing from it.
    curve_ms : tuple of float
        Latency at the percentiles that `CURVE_TAILS` lie beyond, for as many of them as percentiles can be given.
    """

    cut: int
    window_start_ns: int
    window_end_ns: int
    measured: dict[str, int]
    metrics: dict[str, float | None]
    reasons: dict[str, str]
    path_mix: dict[str, float]
    utilisation: dict[str, float]
    waiting_parts: dict[str, float | None]
    curve_ms: tuple[float, ...] = ()

    def to_json_dict(self) -> dict[str, Any]:
        """Return plain values for JSON; floats come back exactly."""
        return asdict(self)

    @classmethod
    def from_json_dict(cls, data: dict[str, Any]) -> Measurement:
        """Rebuild a measurement from `to_json_dict`."""
        return cls(**{**data, "curve_ms": tuple(data["curve_ms"])})


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
    return _named_counts(len(record.arrival_ns), counts)


def count_dropped_by_reason(record: RunRecord, view: SystemView) -> dict[str, int]:
    """Count the dropped queries of the whole run by reason; reasons that did not occur are left out."""
    reasons = record.drop_reason[record.outcome == Outcome.DROPPED]
    if len(reasons) and reasons.min() < 0:
        raise ValueError("a dropped query has no drop reason")
    counts = np.bincount(reasons)
    names = [*view.drop_reasons, *(f"reason {i}" for i in range(len(view.drop_reasons), len(counts)))]
    return {names[i]: int(count) for i, count in enumerate(counts) if count}


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
    samples_by_path = _samples_started(record, view, window_start)

    measurements = []
    for c, cut in enumerate(first):
        start_ns = int(window_start[c])
        window_ns = record.end_ns - start_ns
        metrics: dict[str, float | None] = dict.fromkeys((*METRICS, *view.more_metrics) if fleet else CLASS_METRICS)
        reasons: dict[str, str] = {}
        by_arrival.fill(c, metrics, reasons)
        by_finish.fill(c, window_ns, metrics, reasons)
        used: dict[str, float] = {}
        if fleet:
            busy_ns = lane_busy_time_ns(record, view, start_ns, record.end_ns)
            on_ns = device_on_ns(record, view, start_ns, record.end_ns)
            used = utilisation(view, busy_ns, on_ns)
            _fill_energy_and_cost(view, busy_ns, on_ns, window_ns, by_finish.correct[c] / 1e6, metrics, reasons)
            _fill_more(record, view, int(cut), start_ns, metrics, reasons)
        waiting: dict[str, float | None] = dict.fromkeys(view.device_kind_name)
        if window_ns > 0 and not by_arrival.censored(c):
            waiting.update(mean_waiting_parts(record, view, start_ns, record.end_ns))
        measurements.append(
            Measurement(
                cut=int(cut),
                window_start_ns=start_ns,
                window_end_ns=record.end_ns,
                measured=_named_counts(queries - int(cut), by_arrival.outcomes[c]),
                metrics=metrics,
                reasons=reasons,
                path_mix=_shares(view.path_names, samples_by_path[c]),
                utilisation=used,
                waiting_parts=waiting,
                curve_ms=by_arrival.curve_ms(c),
            )
        )
    return measurements


@dataclass(frozen=True, slots=True)
class _ByArrival:
    """What the metrics over arriving queries need, per cut."""

    outcomes: NDArray[np.float64]  # (cuts, outcomes)
    undecided: NDArray[np.float64]  # (cuts,) in flight, and younger than the SLA when the clock stopped
    latency_sum_ns: NDArray[np.float64]  # (cuts,)
    ranked_ns: list[NDArray[np.int64]]  # per cut: sorted latencies, in-flight ones last

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
            ranked.append(latency[index])
        return cls(outcomes, _sums_by_cut(group, undecided, len(first))[:, 0], total, ranked)

    def censored(self, c: int) -> bool:
        return bool(self.outcomes[c, Outcome.IN_FLIGHT] > CENSORED_LIMIT * len(self.ranked_ns[c]))

    def curve_ms(self, c: int) -> tuple[float, ...]:
        ranked = self.ranked_ns[c]
        n = len(ranked)
        beyond = np.floor(n * np.array(CURVE_TAILS)).astype(np.int64)
        given = ranked[n - 1 - beyond[beyond >= QUERIES_BEYOND_PERCENTILE]]
        finished = given[given != UNFINISHED_NS]
        return tuple((finished / NS_PER_MS).tolist())

    def fill(self, c: int, metrics: dict[str, float | None], reasons: dict[str, str]) -> None:
        ranked = self.ranked_ns[c]
        n = len(ranked)
        for name, per_mille in PERCENTILES_PER_MILLE.items():
            rank = -(-per_mille * n // 1000)
            if n - rank < QUERIES_BEYOND_PERCENTILE:
                reasons[name] = f"fewer than {QUERIES_BEYOND_PERCENTILE} measured queries lie beyond it"
            elif ranked[rank - 1] == UNFINISHED_NS:
                reasons[name] = "censored: it falls on queries that are still in flight when the clock stops"
            else:
                metrics[name] = float(ranked[rank - 1]) / NS_PER_MS

        outcomes = self.outcomes[c]
        served = int(outcomes[Outcome.SERVED_IN_TIME] + outcomes[Outcome.SERVED_LATE])
        if self.censored(c):
            reasons["latency_ms_mean"] = f"censored: over {CENSORED_LIMIT:.1%} of the measured queries are in flight"
        elif served == 0:
            reasons["latency_ms_mean"] = "no query was served"
        else:
            metrics["latency_ms_mean"] = float(self.latency_sum_ns[c]) / served / NS_PER_MS

        offered = int(outcomes.sum())
        if offered == 0:
            reasons["sla_attainment"] = reasons["drop_rate"] = "no query was measured"
            return
        metrics["drop_rate"] = float(outcomes[Outcome.DROPPED]) / offered
        if self.undecided[c] > CENSORED_LIMIT * offered:
            reasons["sla_attainment"] = (
                f"censored: over {CENSORED_LIMIT:.1%} of the queries are in flight and not yet late"
            )
        else:
            metrics["sla_attainment"] = float(outcomes[Outcome.SERVED_IN_TIME]) / offered


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

    def fill(self, c: int, window_ns: int, metrics: dict[str, float | None], reasons: dict[str, str]) -> None:
        rates = {
            "queries_per_s": self.queries,
            "samples_per_s": self.samples,
            "correct_predictions_per_s": self.correct,
            "correct_predictions_within_sla_per_s": self.correct_in_time,
        }
        for name, total in rates.items():
            if window_ns > 0:
                metrics[name] = float(total[c]) / (window_ns / NS_PER_S)
            else:
                reasons[name] = "the window is empty"
        if self.samples[c] > 0:
            metrics["accuracy_served"] = float(self.correct[c]) / float(self.samples[c])
        else:
            reasons["accuracy_served"] = "no query finished in the window"


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


def _fill_energy_and_cost(
    view: SystemView,
    busy_ns: NDArray[np.float64],
    on_ns: NDArray[np.float64],
    window_ns: int,
    million_correct: float,
    metrics: dict[str, float | None],
    reasons: dict[str, str],
) -> None:
    amounts = {
        "energy_j_per_million_correct": (device_energy_j(view, busy_ns, on_ns), "power"),
        "cost_per_million_correct": (device_price_usd(view, on_ns, window_ns), "price"),
    }
    for name, (amount, source) in amounts.items():
        if np.isnan(amount):
            reasons[name] = f"the {source} of a device is not known"
        elif million_correct <= 0 or window_ns <= 0:
            reasons[name] = "no correct prediction in the window"
        else:
            metrics[name] = float(amount / million_correct)


def _fill_more(
    record: RunRecord,
    view: SystemView,
    cut: int,
    start_ns: int,
    metrics: dict[str, float | None],
    reasons: dict[str, str],
) -> None:
    """Fill the metrics that only some scenarios have."""
    values = {
        "attempts_per_query": lambda: attempts_per_query(record, cut),
        "hedges_per_query": lambda: attempts_per_query(record, cut, Cause.HEDGE),
        "retries_per_query": lambda: attempts_per_query(record, cut, Cause.RETRY),
        "wasted_work": lambda: wasted_work(record, start_ns, record.end_ns),
        "nodes_on": lambda: nodes_on(record, view.device_node, start_ns, record.end_ns),
        "availability": lambda: availability(record, len(view.device_kind), start_ns, record.end_ns),
    }
    for name in view.more_metrics:
        metrics[name] = values[name]()
        if metrics[name] is None:
            reasons[name] = "nothing to measure in the window"


def _shares(names: Sequence[str], amounts: NDArray[np.float64]) -> dict[str, float]:
    total = float(amounts.sum())
    shares: dict[str, float] = {}
    if total > 0:
        for name, amount in zip(names, amounts, strict=True):
            shares[name] = shares.get(name, 0.0) + float(amount) / total
    return shares


def _named_counts(offered: int, outcomes: NDArray[np.integer[Any]]) -> dict[str, int]:
    counts = {"offered": offered} | {o.name.lower(): int(outcomes[o]) for o in Outcome}
    if sum(int(n) for n in outcomes) != offered:
        raise ValueError(f"the outcomes do not add up to the offered queries: {counts}")
    return counts
