"""Which of several designs are best in more than one respect, and how much of that is noise.

Designs are compared replication by replication under common random numbers. One *dominates* another if it is better
beyond noise, by the paired Student-t interval, in at least one objective, and in each of the others better beyond
noise or equal. What only the means say is left undecided.

An objective may have a resolution, the smallest difference that counts: means in one step of a grid of that width are
equal. A grid, and not a distance, so that equality is transitive and the front is never empty (the box dominance of
M. Laumanns et al., "Combining convergence and diversity in evolutionary multiobjective optimization", Evolutionary
Computation 10(3), 2002).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from sim.stats.interval import paired_difference

__all__ = ["Contender", "Standing", "Verdict", "in_steps", "stand"]


class Standing(StrEnum):
    """Where a design stands."""

    FRONT = "front"
    """No other design has means that are at least as good in everything and better in something."""
    UNDECIDED = "undecided"
    """The means of another design are, but not beyond noise."""
    DOMINATED = "dominated"
    """Another design is better beyond noise."""
    SAME = "same"
    """Equal to a design that comes before it: in every replication, or, with resolutions, in the steps of the means."""


@dataclass(frozen=True, slots=True)
class Contender:
    """A design that can be had.

    Attributes
    ----------
    values : tuple of tuple of float
        For each objective its value in every replication; entries of one index share their random numbers. Less is
        better: what is to be large is given with the opposite sign.
    sure : bool
        Whether it meets the constraints beyond noise. One that may not meet them never speaks against one that does.
    """

    values: tuple[tuple[float, ...], ...]
    sure: bool = True


@dataclass(frozen=True, slots=True)
class Verdict:
    """Where a design stands, and the first design that speaks against it, by its index; None on the front."""

    standing: Standing
    by: int | None = None


def stand(
    contenders: Sequence[Contender], confidence: float = 0.95, resolution: Sequence[float] | None = None
) -> list[Verdict]:
    """Return where each design stands among all.

    Parameters
    ----------
    contenders : sequence of Contender
        With equally many objectives. Two that have different numbers of replications are compared over those that
        both have. With a single replication nothing is known of noise, and the values decide.
    confidence : float
        Of each paired interval, within (0, 1); it is not adjusted for the number of pairs.
    resolution : sequence of float, optional
        For each objective the smallest difference that counts; 0, the default, counts every difference.

    Notes
    -----
    Dominance by means is found first: nothing can be better beyond noise whose mean is worse.
    """
    if not contenders:
        return []
    steps = tuple(resolution or [0.0] * len(contenders[0].values))
    pairs = _Pairs(contenders, steps, confidence)
    verdicts = []
    for index, one in enumerate(contenders):
        same = next((j for j in range(index) if pairs.equal(j, index)), None)
        if same is not None:
            verdicts.append(Verdict(Standing.SAME, same))
            continue
        rivals = [
            j
            for j, other in enumerate(contenders)
            if j != index and (other.sure or not one.sure) and pairs.means_dominate(j, index)
        ]
        sure = next((j for j in rivals if pairs.dominates(j, index)), None)
        if sure is not None:
            verdicts.append(Verdict(Standing.DOMINATED, sure))
        elif rivals:
            verdicts.append(Verdict(Standing.UNDECIDED, rivals[0]))
        else:
            verdicts.append(Verdict(Standing.FRONT))
    return verdicts


def in_steps(value: float, step: float) -> float:
    """Return the number of steps that is nearest to a value; the value itself where `step` is 0."""
    return float(math.floor(value / step + 0.5)) if step else value


class _Pairs:
    """Compares designs two by two; the steps of their means are kept, as there are many pairs."""

    def __init__(self, contenders: Sequence[Contender], steps: Sequence[float], confidence: float) -> None:
        self._contenders = contenders
        self._steps = steps
        self._confidence = confidence
        self._grid: dict[tuple[int, int], tuple[float, ...]] = {}

    def equal(self, i: int, j: int) -> bool:
        """Return whether two designs are equal in everything."""
        one, other = self._contenders[i], self._contenders[j]
        if one.sure != other.sure:
            return False
        n = self._shared(i, j)
        values = zip(one.values, other.values, self._steps, self._at(i, n), self._at(j, n), strict=True)
        return all(own == its if step else a[:n] == b[:n] for a, b, step, own, its in values)

    def means_dominate(self, i: int, j: int) -> bool:
        """Return whether the means of one design are nowhere worse than those of another, and somewhere better."""
        n = self._shared(i, j)
        one, other = self._at(i, n), self._at(j, n)
        return one != other and all(own <= its for own, its in zip(one, other, strict=True))

    def dominates(self, i: int, j: int) -> bool:
        """Return whether a design whose means dominate is better beyond noise wherever the two differ."""
        n = self._shared(i, j)
        if n == 1:
            return True
        pairs = zip(self._contenders[i].values, self._contenders[j].values, strict=True)
        for (a, b), own, its, step in zip(pairs, self._at(i, n), self._at(j, n), self._steps, strict=True):
            if own == its and (step or a[:n] == b[:n]):
                continue
            high = paired_difference(a[:n], b[:n], self._confidence).high
            if high is None or high >= 0:
                return False
        return True

    def _shared(self, i: int, j: int) -> int:
        return min(len(self._contenders[i].values[0]), len(self._contenders[j].values[0]))

    def _at(self, i: int, n: int) -> tuple[float, ...]:
        """Return the means of the first `n` replications, as numbers of steps where there is a resolution."""
        found = self._grid.get((i, n))
        if found is None:
            means = [math.fsum(values[:n]) / n for values in self._contenders[i].values]
            found = tuple(in_steps(mean, step) for mean, step in zip(means, self._steps, strict=True))
            self._grid[i, n] = found
        return found
