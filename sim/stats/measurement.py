"""A measurement: the metrics of one replication after one warm-up cut, from sums over what the cut keeps.

Where the sums come from does not matter here: a whole record (`sim.stats.measure`), or rows that were added up while
the replication ran (`sim.stats.tally`), of one cell or of many.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from sim.engine.record import Outcome
from sim.stats.devices import SystemView

__all__ = [
    "CENSORED_LIMIT",
    "CLASS_METRICS",
    "CURVE_TAILS",
    "METRICS",
    "PERCENTILES_PER_MILLE",
    "QUERIES_BEYOND_PERCENTILE",
    "FleetSums",
    "Measurement",
    "QuerySums",
    "Ranking",
    "Weighted",
    "measurement_of",
    "named_counts",
    "named_drops",
    "percentiles_ns",
    "rates_per_s",
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

RATES = ("queries_per_s", "samples_per_s", "correct_predictions_per_s", "correct_predictions_within_sla_per_s")
"""The metrics that count what finishes in the window."""

QUERIES_BEYOND_PERCENTILE = 10
"""A percentile is given only where at least this many measured queries lie beyond it."""

CENSORED_LIMIT = 0.001
"""Share of unfinished queries above which an average that leaves them out is not given."""

NS_PER_MS = 1e6
NS_PER_S = 1e9


@dataclass(frozen=True, slots=True)
class Measurement:
    """The metrics of one replication after one warm-up cut.

    Attributes
    ----------
    cut : int
        Index of the first query that is kept; of a fleet of cells, the least of theirs.
    window_start_ns, window_end_ns : int
        What throughput, utilisation, energy and cost are taken over: from the arrival of the first kept query
        (from 0 where nothing is cut) to the end of the arrival period. Of a fleet of cells, whose windows begin at
        different times, the earliest.
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


class Ranking(Protocol):
    """Latencies in their order, those of unfinished queries last."""

    def __len__(self) -> int: ...

    def at_rank(self, rank: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return the latency in ns of each rank, from 1 for the least; infinity where it is not finished."""


class Weighted(NamedTuple):
    """A value and what it counts for when cells are merged; without a value it counts for nothing."""

    value: float | None
    weight: float


@dataclass(frozen=True, slots=True)
class QuerySums:
    """Sums over the queries, of all classes or of one, that a cut keeps or that its window sees.

    Attributes
    ----------
    cut : int
        As in `Measurement`.
    offered : int
        Queries that the cut keeps.
    outcomes : shape (outcomes,)
        How they ended.
    undecided : number
        Those in flight that were younger than the SLA when the clock stopped.
    latency_sum_ns : number
        Over those that were served.
    ranking : Ranking
        The latencies of those that were not dropped.
    per_s : tuple of float or None
        What finished in the window, in the order of `RATES`; None where it is empty.
    samples, correct : number
        Samples that finished in the window, and the expected correct predictions among them.
    started : shape (paths,)
        Samples that each path began to serve in the window.
    waiting : shape (kinds,), or None
        Mean number of waiting parts, by the device kind that served them; None where the window is empty.
    """

    cut: int
    offered: int
    outcomes: NDArray[Any]
    undecided: float
    latency_sum_ns: float
    ranking: Ranking
    per_s: tuple[float, ...] | None
    samples: float
    correct: float
    started: NDArray[Any]
    waiting: NDArray[np.float64] | None

    @property
    def censored(self) -> bool:
        """Whether so many are in flight that an average without them is not given."""
        return bool(self.outcomes[Outcome.IN_FLIGHT] > CENSORED_LIMIT * len(self.ranking))


@dataclass(frozen=True, slots=True)
class FleetSums:
    """What the fleet did in the window of a cut.

    Attributes
    ----------
    busy_ns, available_ns : float64, shape (kinds,)
        Busy lane time, and the lane time of devices that were not off.
    energy_j, price_usd : float
        NaN where a power or a price is not known.
    more : dict of Weighted
        The system's `more_metrics`.
    """

    busy_ns: NDArray[np.float64]
    available_ns: NDArray[np.float64]
    energy_j: float
    price_usd: float
    more: dict[str, Weighted]


def rates_per_s(totals: Sequence[float], window_ns: int) -> tuple[float, ...] | None:
    """Return totals over a window as rates; None where it is empty."""
    return tuple(float(total) / (window_ns / NS_PER_S) for total in totals) if window_ns > 0 else None


def percentiles_ns(ranking: Ranking, per_mille: Sequence[int]) -> list[float | None]:
    """Return percentiles: infinity where one falls on an unfinished query, None with too few queries beyond it."""
    n = len(ranking)
    rank = np.array([-(-one * n // 1000) for one in per_mille], dtype=np.int64)
    given = n - rank >= QUERIES_BEYOND_PERCENTILE
    latency_ns = np.full(len(rank), np.nan)
    latency_ns[given] = ranking.at_rank(rank[given])
    return [float(one) if known else None for one, known in zip(latency_ns, given, strict=True)]


def measurement_of(
    view: SystemView, window_start_ns: int, window_end_ns: int, sums: QuerySums, fleet: FleetSums | None
) -> Measurement:
    """Return what these sums amount to.

    Parameters
    ----------
    view : SystemView
    window_start_ns, window_end_ns : int
        The window of the cut.
    sums : QuerySums
    fleet : FleetSums or None
        None for a class of queries, which has no lanes of its own.

    Raises
    ------
    ValueError
        If the outcomes do not add up to the queries.
    """
    metrics: dict[str, float | None] = dict.fromkeys((*METRICS, *view.more_metrics) if fleet else CLASS_METRICS)
    reasons: dict[str, str] = {}
    _fill_latency(sums, metrics, reasons)
    _fill_outcomes(sums, metrics, reasons)
    _fill_rates(sums, metrics, reasons)
    used: dict[str, float] = {}
    if fleet is not None:
        used = {
            name: float(busy / available) if available > 0 else 0.0
            for name, busy, available in zip(view.device_kind_name, fleet.busy_ns, fleet.available_ns, strict=True)
        }
        _fill_energy_and_cost(fleet, sums, metrics, reasons)
        for name in view.more_metrics:
            metrics[name] = fleet.more[name].value
            if metrics[name] is None:
                reasons[name] = "nothing to measure in the window"
    waiting: dict[str, float | None] = dict.fromkeys(view.device_kind_name)
    if sums.waiting is not None and not sums.censored:
        waiting.update(zip(view.device_kind_name, sums.waiting.tolist(), strict=True))
    return Measurement(
        cut=sums.cut,
        window_start_ns=window_start_ns,
        window_end_ns=window_end_ns,
        measured=named_counts(sums.offered, sums.outcomes),
        metrics=metrics,
        reasons=reasons,
        path_mix=_shares(view.path_names, sums.started),
        utilisation=used,
        waiting_parts=waiting,
        curve_ms=_curve_ms(sums.ranking),
    )


def _curve_ms(ranking: Ranking) -> tuple[float, ...]:
    n = len(ranking)
    beyond = np.floor(n * np.array(CURVE_TAILS)).astype(np.int64)
    given = ranking.at_rank(n - beyond[beyond >= QUERIES_BEYOND_PERCENTILE])
    return tuple((given[np.isfinite(given)] / NS_PER_MS).tolist())


def _fill_latency(sums: QuerySums, metrics: dict[str, float | None], reasons: dict[str, str]) -> None:
    found = percentiles_ns(sums.ranking, [*PERCENTILES_PER_MILLE.values()])
    for name, latency_ns in zip(PERCENTILES_PER_MILLE, found, strict=True):
        if latency_ns is None:
            reasons[name] = f"fewer than {QUERIES_BEYOND_PERCENTILE} measured queries lie beyond it"
        elif np.isinf(latency_ns):
            reasons[name] = "censored: it falls on queries that are still in flight when the clock stops"
        else:
            metrics[name] = latency_ns / NS_PER_MS
    served = int(sums.outcomes[Outcome.SERVED_IN_TIME] + sums.outcomes[Outcome.SERVED_LATE])
    if sums.censored:
        reasons["latency_ms_mean"] = f"censored: over {CENSORED_LIMIT:.1%} of the measured queries are in flight"
    elif served == 0:
        reasons["latency_ms_mean"] = "no query was served"
    else:
        metrics["latency_ms_mean"] = float(sums.latency_sum_ns) / served / NS_PER_MS


def _fill_outcomes(sums: QuerySums, metrics: dict[str, float | None], reasons: dict[str, str]) -> None:
    outcomes = sums.outcomes
    offered = int(outcomes.sum())
    if offered == 0:
        reasons["sla_attainment"] = reasons["drop_rate"] = "no query was measured"
        return
    metrics["drop_rate"] = float(outcomes[Outcome.DROPPED]) / offered
    if sums.undecided > CENSORED_LIMIT * offered:
        reasons["sla_attainment"] = f"censored: over {CENSORED_LIMIT:.1%} of the queries are in flight and not yet late"
    else:
        metrics["sla_attainment"] = float(outcomes[Outcome.SERVED_IN_TIME]) / offered


def _fill_rates(sums: QuerySums, metrics: dict[str, float | None], reasons: dict[str, str]) -> None:
    if sums.per_s is None:
        reasons.update(dict.fromkeys(RATES, "the window is empty"))
    else:
        metrics.update(zip(RATES, sums.per_s, strict=True))
    if sums.samples > 0:
        metrics["accuracy_served"] = float(sums.correct) / float(sums.samples)
    else:
        reasons["accuracy_served"] = "no query finished in the window"


def _fill_energy_and_cost(
    fleet: FleetSums, sums: QuerySums, metrics: dict[str, float | None], reasons: dict[str, str]
) -> None:
    million_correct = sums.correct / 1e6
    amounts = {
        "energy_j_per_million_correct": (fleet.energy_j, "power"),
        "cost_per_million_correct": (fleet.price_usd, "price"),
    }
    for name, (amount, source) in amounts.items():
        if np.isnan(amount):
            reasons[name] = f"the {source} of a device is not known"
        elif million_correct <= 0 or sums.per_s is None:
            reasons[name] = "no correct prediction in the window"
        else:
            metrics[name] = float(amount / million_correct)


def _shares(names: Sequence[str], amounts: NDArray[Any]) -> dict[str, float]:
    total = float(amounts.sum())
    shares: dict[str, float] = {}
    if total > 0:
        for name, amount in zip(names, amounts, strict=True):
            shares[name] = shares.get(name, 0.0) + float(amount) / total
    return shares


def named_counts(offered: int, outcomes: NDArray[Any]) -> dict[str, int]:
    """Return the count of the offered queries and of each outcome; ValueError if these do not add up."""
    counts = {"offered": offered} | {o.name.lower(): int(outcomes[o]) for o in Outcome}
    if sum(int(n) for n in outcomes) != offered:
        raise ValueError(f"the outcomes do not add up to the offered queries: {counts}")
    return counts


def named_drops(counts: NDArray[np.integer[Any]], view: SystemView) -> dict[str, int]:
    """Return the count of the dropped queries for each reason that occurred."""
    names = [*view.drop_reasons, *(f"reason {i}" for i in range(len(view.drop_reasons), len(counts)))]
    return {names[i]: int(count) for i, count in enumerate(counts) if count}
