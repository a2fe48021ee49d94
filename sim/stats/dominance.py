"""Which of several designs are best in more than one respect, and how much of that is noise.

Designs are compared replication by replication under common random numbers. One *dominates* another if it is better
beyond noise, by the paired Student-t interval, in at least one objective, and in each of the others better beyond
noise or exactly equal. What only the means say is left undecided.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from sim.stats.interval import paired_difference

__all__ = ["Contender", "Standing", "Verdict", "stand"]


class Standing(StrEnum):
    """Where a design stands."""

    FRONT = "front"
    """No other design has means that are at least as good in everything and better in something."""
    UNDECIDED = "undecided"
    """The means of another design are, but not beyond noise."""
    DOMINATED = "dominated"
    """Another design is better beyond noise."""
    SAME = "same"
    """Equal in every objective and replication to a design that comes before it."""


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


def stand(contenders: Sequence[Contender], confidence: float = 0.95) -> list[Verdict]:
    """Return where each design stands among all.

    Parameters
    ----------
    contenders : sequence of Contender
        With equally many objectives. Two that have different numbers of replications are compared over those that
        both have. With a single replication nothing is known of noise, and the values decide.
    confidence : float
        Of each paired interval, within (0, 1); it is not adjusted for the number of pairs.

    Notes
    -----
    Dominance by means is found first: nothing can be better beyond noise whose mean is worse.
    """
    verdicts = []
    for index, one in enumerate(contenders):
        same = next((j for j in range(index) if _equal(contenders[j], one)), None)
        if same is not None:
            verdicts.append(Verdict(Standing.SAME, same))
            continue
        rivals = [
            j
            for j, other in enumerate(contenders)
            if j != index and (other.sure or not one.sure) and _means_dominate(other, one)
        ]
        sure = next((j for j in rivals if _dominates(contenders[j], one, confidence)), None)
        if sure is not None:
            verdicts.append(Verdict(Standing.DOMINATED, sure))
        elif rivals:
            verdicts.append(Verdict(Standing.UNDECIDED, rivals[0]))
        else:
            verdicts.append(Verdict(Standing.FRONT))
    return verdicts


def _shared(one: Contender, other: Contender) -> int:
    return min(len(one.values[0]), len(other.values[0]))


def _equal(one: Contender, other: Contender) -> bool:
    n = _shared(one, other)
    return one.sure == other.sure and all(a[:n] == b[:n] for a, b in zip(one.values, other.values, strict=True))


def _means_dominate(one: Contender, other: Contender) -> bool:
    n = _shared(one, other)
    differences = [_mean_difference(a[:n], b[:n]) for a, b in zip(one.values, other.values, strict=True)]
    return max(differences) <= 0 and min(differences) < 0


def _mean_difference(a: Sequence[float], b: Sequence[float]) -> float:
    difference: NDArray[np.float64] = np.subtract(a, b)
    return math.fsum(difference)


def _dominates(one: Contender, other: Contender, confidence: float) -> bool:
    """Return whether `one`, whose means dominate, is better beyond noise wherever the two differ."""
    n = _shared(one, other)
    for a, b in zip(one.values, other.values, strict=True):
        if n > 1 and a[:n] != b[:n]:
            high = paired_difference(a[:n], b[:n], confidence).high
            if high is None or high >= 0:
                return False
    return True
