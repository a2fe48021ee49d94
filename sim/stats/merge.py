"""Merges the measurements of replications into means with their intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sim.stats.interval import Interval, t_interval
from sim.stats.measure import CURVE_TAILS, Measurement

__all__ = [
    "CurvePoint",
    "Metric",
    "added_up",
    "is_share",
    "mean_by_name",
    "merge_curve",
    "merge_metric",
    "metric_json",
    "total",
    "within_bounds",
]

FRACTIONS = frozenset({"sla_attainment", "drop_rate", "accuracy_served", "wasted_work", "availability"})
"""Metrics that are shares, from 0 to 1."""

SHARES_OF = frozenset({"path_mix", "utilisation"})
"""Metrics with a share of every path or device."""


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric of a scenario.

    Attributes
    ----------
    value, low, high : float or None
        Mean over replications and its interval.
    reason : str or None
        Why `value`, or the interval, is missing.
    values : tuple
        One per replication, in their order; empty where the scenario is saturated and the metric has no
        steady value.
    """

    value: float | None
    low: float | None
    high: float | None
    reason: str | None
    values: tuple[float | None, ...]


@dataclass(frozen=True, slots=True)
class CurvePoint:
    """A point of the percentile curve: latency in ms at probability `p`, with its interval."""

    p: float
    value: float
    low: float | None
    high: float | None


def merge_curve(chosen: Sequence[Measurement], confidence: float) -> tuple[CurvePoint, ...]:
    """Return the percentile curve as far into the tail as every replication allows."""
    points = []
    for tail, values in zip(CURVE_TAILS, zip(*(m.curve_ms for m in chosen), strict=False), strict=False):
        interval = t_interval(values, confidence)
        if interval.value is not None:
            low = None if interval.low is None else max(interval.low, 0.0)
            points.append(CurvePoint(1.0 - tail, interval.value, low, interval.high))
    return tuple(points)


def merge_metric(name: str, chosen: Sequence[Measurement], saturated: bool, confidence: float) -> Metric:
    """Return a metric; None if a replication lacks it, or it is a latency of what is saturated."""
    if saturated and name.startswith("latency_ms_"):
        return Metric(None, None, None, "saturated", ())
    values = tuple(m.metrics[name] for m in chosen)
    interval = t_interval(values, confidence)
    reason = interval.reason
    if interval.value is None:
        reason = next(m.reasons[name] for m in chosen if m.metrics[name] is None)
    interval = within_bounds(interval, name)
    return Metric(interval.value, interval.low, interval.high, reason, values)


def is_share(name: str) -> bool:
    """Return whether a metric is a share of a whole, also one of ``path_mix[PATH]`` or ``path_mix:PATH``."""
    return name in FRACTIONS or name.partition("[")[0].partition(":")[0] in SHARES_OF


def within_bounds(interval: Interval, name: str) -> Interval:
    """Return the part of a metric's interval that is possible: from 0, and for shares to 1.

    The true value lies in these bounds, so cutting the interval to them costs no coverage.
    """
    low, high = interval.low, interval.high
    if low is not None:
        low = max(low, 0.0)
    if high is not None and is_share(name):
        high = min(high, 1.0)
    return replace(interval, low=low, high=high)


def metric_json(metric: Metric) -> dict[str, Any]:
    """Return a metric's entry of `summary.json`."""
    entry: dict[str, Any] = {"value": metric.value, "low": metric.low, "high": metric.high}
    if metric.reason is not None:
        entry["reason"] = metric.reason
    return entry


def total(counts: Sequence[Mapping[str, int]]) -> dict[str, int]:
    """Add counts up by name."""
    sums: dict[str, int] = {}
    for one in counts:
        for name, number in one.items():
            sums[name] = sums.get(name, 0) + number
    return sums


def added_up(counts: Sequence[Mapping[str, int]]) -> dict[str, int]:
    """Add outcome counts up; ValueError if they are not those of the offered queries."""
    sums = total(counts)
    if sums["offered"] != sum(number for name, number in sums.items() if name != "offered"):
        raise ValueError(f"the outcomes do not add up to the offered queries: {sums}")
    return sums


def mean_by_name(values: Sequence[Mapping[str, float | None]]) -> dict[str, float | None]:
    """Average each name over the replications that have any names; None if one of those lacks a value."""
    present = [one for one in values if one]
    return {name: t_interval([one[name] for one in present]).value for name in (present[0] if present else ())}
