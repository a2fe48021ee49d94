"""Whether a scenario meets what is asked of it, decided at a given risk of error, or left open."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from sim.stats.classes import ClassSummary
from sim.stats.interval import student_t_quantile
from sim.stats.measurement import Measurement
from sim.stats.saturation import GROWTH_LIMIT, saturation_verdict
from sim.stats.summary import ReplicationResult, ScenarioSummary

__all__ = ["Decision", "Judgement", "decide"]

LARGEST_ERROR = 0.05
"""Largest standard error of a mean latency, as a share of it, at which it is believed to be within its limit: where
replications differ more, few of them are too often all on the good side."""

LARGEST_SPREAD = 0.1
"""Largest standard deviation between replications, as a share of their mean, at which their percentiles are believed
to be those of a steady state: the bias of a percentile of a short run is about the square of its spread."""

LARGEST_DRIFT = 0.02
"""Growth of a percentile from all that is measured to its second half, as a share of it, that says the queues have not
filled up yet."""

GRID_STEPS = 20
"""Candidate warm-up cuts lie at multiples of one in so many queries (`sim.stats.warmup`)."""

LOG_STEP = math.log(10.0) / 10.0
"""Between the probabilities of neighbouring points of the percentile curve, on a natural logarithmic scale."""


class Decision(StrEnum):
    """Whether it meets what is asked."""

    MEETS = "meets"
    MISSES = "misses"
    OPEN = "too close to call"


@dataclass(frozen=True, slots=True)
class Judgement:
    """What the replications say.

    Attributes
    ----------
    decision : Decision
    excess : float or None
        The worst of what is asked over its limit: at most 1 meets. None where there is no estimate.
    low, high : float or None
        One-sided bounds of it at the given risk.
    latency_ms : tuple of float or None
        The percentile that is asked for, replication by replication; of the worst class where there are classes.
    spread : float or None
        Standard deviation of these between replications over their mean.
    saturated : bool
        By offered load or by the drift of the backlog; what is saturated never meets.
    growing : bool
        The run is too short to be taken for a steady state: it has to be longer, not repeated.
    why : str
        What decided, or what is missing.
    """

    decision: Decision
    excess: float | None
    low: float | None
    high: float | None
    latency_ms: tuple[float, ...] | None
    spread: float | None
    saturated: bool
    growing: bool
    why: str

    @property
    def unmeasured(self) -> bool:
        """Whether replications have too few queries to tell."""
        return self.excess is None and self.decision is Decision.OPEN


@dataclass(frozen=True, slots=True)
class _Bounded:
    """A mean over replications, over its limit."""

    excess: float
    low: float
    high: float
    error: float
    why: str


def decide(
    summary: ScenarioSummary,
    results: Sequence[ReplicationResult],
    *,
    percentile: str,
    attainment: float | None = None,
    risk: float,
    steady: bool,
    drain_ms: float,
) -> Judgement:
    """Decide whether a scenario meets its SLA at `percentile`, every class of queries its own.

    A wrong answer has a probability of at most `risk`, as far as means over replications follow Student's t.

    Parameters
    ----------
    summary : ScenarioSummary
    results : sequence of ReplicationResult
        At least two, those that were summarised.
    percentile : str
        Such as ``"p99"``.
    attainment : float, optional
        Least share of the queries that has to be answered within the SLA as well, within (0, 1).
    risk : float
    steady : bool
        Whether the question is about the steady state: then a run that has not reached it meets nothing.
    drain_ms : float
        How long the clock runs on: queries that are in flight at the end have taken at least this.

    Raises
    ------
    ValueError
        If there are fewer than two replications.
    """
    if len(results) < 2:
        raise ValueError("a decision needs at least two replications")
    ordered = sorted(results, key=lambda result: result.replication)
    cut = _cut_of(summary, ordered[0])
    kinds: list[tuple[str, ScenarioSummary | ClassSummary, list[tuple[Measurement, ...]]]]
    kinds = [
        (f"{name}: ", one, [result.classes[name].measurements for result in ordered])
        for name, one in summary.classes.items()
    ] or [("", summary, [result.measurements for result in ordered])]
    asked = 2 + (attainment is not None)
    # To meet, all of it has to hold, so none of the bounds may be wrong; to miss, one suffices, so the risk is shared.
    miss_risk = risk / (asked * len(kinds))
    bounded: list[_Bounded] = []
    missing = ""
    worst_latency: tuple[float, ...] | None = None
    worst_excess = -math.inf
    grown = 0.0
    for name, one, measurements in kinds:
        chosen = [found[cut] for found in measurements]
        # Where nothing is answered there is no latency, and that is no want of length.
        drops = [m.metrics["drop_rate"] or 0.0 for m in chosen]
        bounded.append(_over(drops, 1.0 - _probability(percentile), risk, miss_risk, f"{name}share of dropped queries"))
        latency = _latencies(chosen, percentile, drain_ms)
        if latency is None:
            missing = missing or f"{name}{_reason(chosen, f'latency_ms_{percentile}')}"
            continue
        bound = _over(latency, one.sla_ms, risk, miss_risk, f"{name}{percentile} latency", _within(chosen, percentile))
        bounded.append(bound)
        if bound.excess > worst_excess:
            worst_latency, worst_excess = latency, bound.excess
            grown = _growth(latency, _latencies([found[-1] for found in measurements], percentile, drain_ms))
        if attainment is not None:
            late = _late(chosen, attainment, risk, miss_risk, name)
            if late is None:
                missing = missing or f"{name}{_reason(chosen, 'sla_attainment')}"
            else:
                bounded.append(late)
    verdict = saturation_verdict([result.backlog for result in ordered], summary.saturation.offered_load, 1.0 - risk)
    overloaded = verdict.offered_load is not None and verdict.offered_load >= 1
    drifts = verdict.growth_fraction > GROWTH_LIMIT and (verdict.growth_low or 0.0) > 0.0
    saturated = summary.saturated or any(one.saturated for one in summary.classes.values())
    spread = None if worst_latency is None else _spread(worst_latency)
    worst = max(bounded, key=lambda one: one.excess, default=None)
    growing = steady and (
        saturated or not summary.warmup.established or grown > LARGEST_DRIFT or (spread or 0.0) > LARGEST_SPREAD
    )

    def judged(decision: Decision, why: str) -> Judgement:
        return Judgement(
            decision,
            None if worst is None else worst.excess,
            None if worst is None else worst.low,
            None if worst is None else worst.high,
            worst_latency,
            spread,
            saturated,
            growing and decision is Decision.OPEN,
            why,
        )

    if overloaded or drifts:
        return judged(Decision.MISSES, f"saturated: {verdict.reason}")
    over = [one for one in bounded if one.low > 1.0]
    if over:
        return judged(Decision.MISSES, f"{max(over, key=lambda one: one.low).why} over its limit")
    if missing:
        return Judgement(Decision.OPEN, None, None, None, worst_latency, spread, saturated, growing, missing)
    assert worst is not None
    if all(one.high <= 1.0 for one in bounded) and not saturated and not growing:
        if max(one.error for one in bounded) <= LARGEST_ERROR:
            return judged(Decision.MEETS, "every bound within its limit")
        return judged(Decision.OPEN, "the replications differ too much to be believed")
    return judged(Decision.OPEN, "the run is too short for a steady state" if growing else "the limit lies in between")


def _cut_of(summary: ScenarioSummary, result: ReplicationResult) -> int:
    """Return the index of the warm-up cut that the summary was made with; of what has no steady state, the last."""
    if len(result.measurements) == 1:
        return 0
    return len(result.measurements) - 1 if summary.saturated else round(summary.warmup.fraction * GRID_STEPS)


def _latencies(chosen: Sequence[Measurement], percentile: str, drain_ms: float) -> tuple[float, ...] | None:
    name = f"latency_ms_{percentile}"
    values = []
    for one in chosen:
        value = one.metrics[name]
        if value is None and one.reasons[name].startswith("censored"):
            # It falls on queries that are in flight after the drain.
            value = drain_ms
        if value is None:
            return None
        values.append(value)
    return tuple(values)


def _reason(chosen: Sequence[Measurement], name: str) -> str:
    return next(one.reasons[name] for one in chosen if one.metrics[name] is None)


def _over(
    values: Sequence[float], limit: float, meet_risk: float, miss_risk: float, why: str, within: float = 0.0
) -> _Bounded:
    """Return the mean over `limit` with its Student-t bounds; `within` is the least deviation of a replication."""
    n = len(values)
    mean, error = _mean_and_error(values)
    error = max(error, within / math.sqrt(n))
    low = mean - student_t_quantile(1.0 - miss_risk, n - 1) * error
    high = mean + student_t_quantile(1.0 - meet_risk, n - 1) * error
    # The rate of drops, which may be rare, is judged by its bound alone.
    relative = error / mean if mean > 0.0 and why.endswith("latency") else 0.0
    return _Bounded(mean / limit, low / limit, high / limit, relative, why)


def _within(chosen: Sequence[Measurement], percentile: str) -> float:
    """Return the standard deviation that the percentile of a replication would have if its queries were independent.

    Where latencies jump at the percentile, most replications can lie on one side of the jump by chance, all alike, and
    their deviation says nothing; the percentiles on either side of it do. The probability beyond the percentile of n
    queries is known to one in sqrt(n tail), and the curve says what that is in milliseconds.
    """
    tail = 1.0 - _probability(percentile)
    step = round(-10.0 * math.log10(tail))
    widths = []
    for one in chosen:
        if len(one.curve_ms) < step:
            continue
        near, far = one.curve_ms[step - 2], one.curve_ms[min(step, len(one.curve_ms) - 1)]
        steps = min(step, len(one.curve_ms) - 1) - (step - 2)
        known_to = 1.0 / math.sqrt(max(one.measured["offered"], 1) * tail)
        widths.append((far - near) / steps * known_to / LOG_STEP)
    return math.fsum(widths) / len(widths) if widths else 0.0


def _late(
    chosen: Sequence[Measurement], attainment: float, meet_risk: float, miss_risk: float, name: str
) -> _Bounded | None:
    """Return the share of queries that are not answered in time over what is allowed."""
    known = [m.metrics["sla_attainment"] for m in chosen]
    shares = [1.0 - value for value in known if value is not None]
    if len(shares) < len(known):
        return None
    allowed = 1.0 - attainment
    bound = _over(shares, allowed, meet_risk, miss_risk, f"{name}share of late queries")
    # However few were late: what so many queries could have missed by chance.
    offered = sum(m.measured["offered"] for m in chosen)
    least = math.log(1.0 / meet_risk) / max(offered, 1) / allowed
    return _Bounded(bound.excess, bound.low, max(bound.high, least), 0.0, bound.why)


def _mean_and_error(values: Sequence[float]) -> tuple[float, float]:
    n = len(values)
    mean = math.fsum(values) / n
    return mean, math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (n - 1) / n)


def _spread(values: Sequence[float]) -> float:
    mean, error = _mean_and_error(values)
    return error * math.sqrt(len(values)) / mean if mean > 0.0 else 0.0


def _growth(whole: Sequence[float], half: Sequence[float] | None) -> float:
    """Return by how much a percentile is proved to grow to the second half of what is measured, as a share of it."""
    if half is None:
        return 0.0
    mean, error = _mean_and_error([b - a for a, b in zip(whole, half, strict=True)])
    return (mean - 3.0 * error) / (math.fsum(whole) / len(whole)) if sum(whole) > 0 else 0.0


def _probability(percentile: str) -> float:
    return float(f"0.{percentile.removeprefix('p')}")
