"""Whether intervals are as narrow as was asked, and how many replications that takes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from sim.stats.interval import t_interval
from sim.stats.merge import Metric

__all__ = ["PrecisionGoal", "PrecisionOutcome", "judge_precision", "next_replications"]

MOST_GROWTH = 3
"""A round never more than triples the replications: from few of them the spread is known to a factor of two at best."""

LEAST_GROWTH = 4
"""A round adds at least one replication for every so many: few rounds are few occasions to stop by chance."""


@dataclass(frozen=True, slots=True)
class PrecisionGoal:
    """What is asked.

    Attributes
    ----------
    metrics : tuple of str
    half_width : float
        A share of the value if `relative`, else in the metric's unit.
    relative : bool
    max_replications : int
    """

    metrics: tuple[str, ...]
    half_width: float
    relative: bool
    max_replications: int


@dataclass(frozen=True, slots=True)
class PrecisionOutcome:
    """What came out of it.

    Attributes
    ----------
    reached : bool
        Whether every interval is narrow enough.
    metric : str
        The metric whose interval is the widest beside what is asked, or that has none; of a class of queries,
        ``CLASS: METRIC``.
    half_width : float or None
        Of that interval, as a share of the value if `relative`; None where there is none to narrow.
    asked : float
        The half width that was asked for.
    relative : bool
    reason : str or None
        Why `half_width` is None.
    """

    reached: bool
    metric: str
    half_width: float | None
    asked: float
    relative: bool
    reason: str | None = None

    def to_json_dict(self) -> dict[str, Any]:
        """Return its entry of `summary.json`."""
        return asdict(self)


def judge_precision(
    goal: PrecisionGoal,
    metrics: Mapping[str, Metric],
    classes: Mapping[str, Mapping[str, Metric]],
    confidence: float,
) -> PrecisionOutcome:
    """Return how the widest of a scenario's intervals stands to what is asked.

    Parameters
    ----------
    goal : PrecisionGoal
    metrics : mapping of str to Metric
        Of all queries.
    classes : mapping of str to mapping
        The same of each class of queries; what classes do not have is not asked of them.
    confidence : float
        Of the intervals.
    """
    named = [(name, metrics[name]) for name in goal.metrics]
    named += [(f"{label}: {name}", one[name]) for label, one in classes.items() for name in goal.metrics if name in one]
    widest, half_width = "", -1.0
    for name, metric in named:
        width, reason = _half_width(metric, goal.relative, confidence)
        if width is None:
            return PrecisionOutcome(False, name, None, goal.half_width, goal.relative, reason)
        if width > half_width:
            widest, half_width = name, width
    return PrecisionOutcome(half_width <= goal.half_width, widest, half_width, goal.half_width, goal.relative)


def _half_width(metric: Metric, relative: bool, confidence: float) -> tuple[float | None, str | None]:
    if metric.value is None:
        return None, metric.reason
    # The ends that are shown may be cut to what the metric can be; the width that counts is not.
    interval = t_interval(metric.values, confidence)
    if interval.value is None or interval.low is None or interval.high is None:
        return None, interval.reason
    half_width = (interval.high - interval.low) / 2
    if not relative or half_width == 0:
        return half_width, None
    if interval.value == 0:
        return None, "its value is zero, of which no share can be taken"
    return half_width / abs(interval.value), None


def next_replications(goal: PrecisionGoal, outcome: PrecisionOutcome, replications: int) -> int:
    """Return how many replications there should be in all; `replications` where there is nothing to add.

    As many as the spread found so far says are needed, a quarter more than there are at least and three times as many
    at most. So there are few looks at the interval, each of which may stop too early by chance, and what is run next
    depends on results only, never on how many processes there are.

    References
    ----------
    Y. S. Chow and H. Robbins, "On the asymptotic theory of fixed-width sequential confidence intervals for the mean",
    Ann. Math. Stat. 36(2), 1965. A. M. Law, "Simulation Modeling and Analysis", 5th ed., 2015, section 9.4.1.
    """
    if outcome.reached or outcome.half_width is None:
        return replications
    needed = math.ceil(replications * min((outcome.half_width / goal.half_width) ** 2, MOST_GROWTH))
    least = replications + math.ceil(replications / LEAST_GROWTH)
    return min(max(needed, least), goal.max_replications)
