"""Finds the value at which a scenario stops to meet its SLA, between one proved to meet and one proved to miss."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from sim.stats.decision import Decision
from sim.study.capacity.looking import Point

__all__ = ["Bracket", "bracketed"]

SIGNIFICANT_DIGITS = 5
"""Of the values that are looked at."""

REACH = 1024.0
"""How far from where it starts the search goes."""

ASIDE = 0.45
"""Share of the tolerance by which the values that are to be proved lie on either side of the estimate."""

WORTHY = 0.5
"""What was left open with less than this share of the most work put into any value may be decided with more."""

FURTHER = 2.0
"""By how much further from the estimate a value lies than one that was left open, on a logarithmic scale."""

MOST_ASIDE = 1.0
"""Furthest from the estimate that something is worth proving, on the same scale."""

MOST_STEPS = 40


@dataclass(frozen=True, slots=True)
class Bracket:
    """What was proved.

    Attributes
    ----------
    meets : float or None
        The hardest value that is proved to meet; None if none was.
    misses : float or None
        The easiest value that is proved to miss; None if none was.
    estimate : float or None
        Where it stops to meet, by interpolation.
    reached : bool
        Whether the bracket is as narrow as was asked.
    contradictory : bool
        A value was proved to miss that is easier than one proved to meet.
    """

    meets: float | None
    misses: float | None
    estimate: float | None
    reached: bool
    contradictory: bool = False


class _Search:
    """The points so far, on an axis along which things get harder."""

    def __init__(self, harder: int, ceiling: float | None) -> None:
        self.harder = harder
        self.points: dict[float, Point] = {}
        self.ceiling = ceiling

    def is_harder(self, a: float, b: float) -> bool:
        return (a - b) * self.harder > 0

    def moved(self, value: float, factor: float) -> float:
        """Return a value that is harder by `factor`, easier where that is below 1."""
        moved = value * factor**self.harder
        if self.ceiling is not None and not self.is_harder(self.ceiling, moved):
            # Half of the way to what is known to be too hard.
            moved = (value + self.ceiling) / 2
        return _rounded(moved)

    def hardest(self, values: Iterable[float]) -> float | None:
        return max(values, key=lambda value: value * self.harder, default=None)

    def easiest(self, values: Iterable[float]) -> float | None:
        return min(values, key=lambda value: value * self.harder, default=None)

    def decided(self, decision: Decision) -> list[float]:
        return [value for value, point in self.points.items() if point.decision is decision]

    @property
    def meets(self) -> float | None:
        return self.hardest(self.decided(Decision.MEETS))

    @property
    def misses(self) -> float | None:
        found = self.decided(Decision.MISSES)
        return self.easiest([*found, self.ceiling] if self.ceiling is not None else found)

    def ease(self, value: float) -> float:
        """Return the limit over what was found: at least 1 meets; 0 where there is no end to it."""
        point = self.points.get(value)
        if point is None or point.judgement.saturated or point.judgement.excess is None:
            return 0.0
        return 1.0 / max(point.judgement.excess, 1e-9)

    def open_until(self, estimate: float, towards: int) -> float:
        """Return how far from the estimate values were left open, for all the work that was put into any value."""
        most = max(point.work for point in self.points.values())
        distances = [
            towards * math.log(value / estimate)
            for value, point in self.points.items()
            if point.decision is Decision.OPEN and point.work >= WORTHY * most
        ]
        return max([0.0, *distances])

    def is_new(self, value: float) -> bool:
        """Whether looking at a value can tell anything: it was never seen, or left open before runs were longer."""
        point = self.points.get(value)
        longest = max(one.queries for one in self.points.values())
        return point is None or (point.decision is Decision.OPEN and point.queries < WORTHY * longest)

    @property
    def estimate(self) -> float | None:
        """Return where the ease is 1, on the line between the nearest points on either side.

        Of M/M/1, where a percentile is a constant over the rate that is left, the ease is a straight line.
        """
        known = [*self.points, *([] if self.ceiling is None else [self.ceiling])]
        hard = self.easiest(value for value in known if self.ease(value) < 1.0)
        easy = self.hardest(
            value for value in known if self.ease(value) >= 1.0 and (hard is None or self.is_harder(hard, value))
        )
        if easy is None or hard is None:
            return None
        above, below = self.ease(easy), self.ease(hard)
        return easy + (hard - easy) * (above - 1.0) / (above - below)


def bracketed(
    look: Callable[[float], Point],
    looks_left: Callable[[], int],
    *,
    start: float,
    tolerance: float,
    harder: int = 1,
    ceiling: float | None = None,
) -> Bracket:
    """Search for the value at which a scenario stops to meet what is asked.

    It is taken that what meets at a value meets at every easier one. A value that stays open is left, and the next
    on its side lies twice as far from the estimate.

    Parameters
    ----------
    look : callable
        ``look(value)`` decides about a value, or leaves it open.
    looks_left : callable
        How many decisions may still be taken.
    start : float
        Where to begin; above 0.
    tolerance : float
        Width of the bracket to end with, as a share of its lower end.
    harder : {1, -1}
        Whether larger values are harder to meet, or smaller ones.
    ceiling : float, optional
        A value that is known to be too hard.
    """
    search = _Search(harder, ceiling)
    for _ in range(MOST_STEPS):
        meets, misses, estimate = search.meets, search.misses, search.estimate
        if looks_left() <= 0 or (meets is not None and misses is not None and _width(meets, misses) <= tolerance):
            break
        if not search.points:
            value: float | None = search.moved(start, 1.0)
        elif estimate is None:
            value = _outward(search, start)
        else:
            value = _aimed(search, estimate, tolerance)
        if value is None:
            break
        search.points[value] = look(value)
    meets, misses = search.meets, search.misses
    reached = meets is not None and misses is not None and _width(meets, misses) <= tolerance
    contradictory = meets is not None and misses is not None and not search.is_harder(misses, meets)
    return Bracket(meets, misses, search.estimate, reached and not contradictory, contradictory)


def _outward(search: _Search, start: float) -> float | None:
    """Return a value beyond all that lie on the same side of the limit; None where that goes too far."""
    values = list(search.points)
    too_hard = all(search.ease(value) < 1.0 for value in values)
    end = search.easiest(values) if too_hard else search.hardest(values)
    assert end is not None
    if search.points[end].judgement.unmeasured:
        return None
    if too_hard and _is_in_vain(search, end):
        return None
    value = search.moved(end, 0.5 if too_hard else 2.0)
    return value if 1.0 / REACH <= value / start <= REACH else None


def _is_in_vain(search: _Search, easiest: float) -> bool:
    """Whether nothing is easy enough.

    What is left to gain is about what the last halving gained; twice that would not do.
    """
    former = search.points.get(search.moved(easiest, 2.0))
    now = search.points[easiest].judgement
    if former is None or former.judgement.excess is None or now.excess is None or now.low is None:
        return False
    return now.low - 2.0 * max(former.judgement.excess - now.excess, 0.0) > 1.0


def _aimed(search: _Search, estimate: float, tolerance: float) -> float | None:
    """Return the next value to be proved, on the side where more is left to prove; None where neither has any left."""
    meets, misses = search.meets, search.misses
    gaps = {
        Decision.MEETS: math.inf if meets is None else abs(math.log(estimate / meets)),
        Decision.MISSES: math.inf if misses is None else abs(math.log(misses / estimate)),
    }
    for side in sorted(gaps, key=lambda one: gaps[one], reverse=True):
        towards = search.harder if side is Decision.MISSES else -search.harder
        aside = max(math.log1p(ASIDE * tolerance), FURTHER * search.open_until(estimate, towards))
        value = _rounded(estimate * math.exp(towards * aside))
        if aside < gaps[side] and aside < MOST_ASIDE and search.is_new(value):
            return value
    return None


def _width(meets: float, misses: float) -> float:
    return max(meets, misses) / min(meets, misses) - 1.0


def _rounded(value: float) -> float:
    return float(f"{value:.{SIGNIFICANT_DIGITS}g}")
