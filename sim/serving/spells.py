"""Spells: the quantile level of a service, given the draws that its lane served before.

Each query has its service draw, as ever; the normal score of what is looked up is a weighted sum of the scores of this
draw and of those that the lane served before, with the weights that give the correlation of the profile. What a lane
served before the first query is drawn, too, so that a run begins in the middle of a spell, as what is measured does.
Because a query's draw has nothing to do with what was before it, the level of a lane's n-th service is uniform for
every n, the first one included. What a policy sends to a lane because it is slow finds it so.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import erfc, sqrt

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sim.profile.spells import Spells
from sim.serving.compiled import jit_inline

__all__ = ["NormalScore", "PackedSpells", "moving_average", "next_level", "pack_spells", "past_at_start"]

LEAST_DRAW = 2.0**-54
"""What stands for a draw of 0, whose score would be minus infinity: half of the least draw above 0."""


@dataclass(frozen=True, slots=True)
class NormalScore:
    """The normal score of a service draw, worked out before a run as the multipliers of parametric services are."""

    def unit_quantile(self, u: ArrayLike) -> NDArray[np.float64]:
        """Return the standard normal quantile at draws in [0, 1), float64, the shape of `u`."""
        from scipy.special import ndtri

        return np.asarray(ndtri(np.maximum(np.asarray(u, dtype=np.float64), LEAST_DRAW)), dtype=np.float64)


@dataclass(frozen=True, slots=True)
class PackedSpells:
    """The spells of all devices of a cell.

    Attributes
    ----------
    first : int64[devices + 1]
        The components of device d are ``first[d]:first[d + 1]``; a device without any draws independently.
    decay, weight : float64[components]
        See `moving_average`.
    own : float64[devices]
    """

    first: NDArray[np.int64]
    decay: NDArray[np.float64]
    weight: NDArray[np.float64]
    own: NDArray[np.float64]

    def __bool__(self) -> bool:
        """Whether any device has spells."""
        return len(self.decay) > 0

    @property
    def most(self) -> int:
        """The most components that a device has."""
        return int(np.max(np.diff(self.first), initial=0))


def moving_average(spells: Spells) -> tuple[float, NDArray[np.float64], NDArray[np.float64]]:
    """Return the weights of a lane's draws in the score of a service.

    Returns
    -------
    own : float
        Weight of the service's own draw.
    decay, weight : float64[components]
        The draw of the k-th service before has the weight ``sum(weight * decay**k)``.

    Notes
    -----
    The asked correlation is that of white noise and independent AR(1) processes, added up. Its spectrum is a ratio of
    polynomials, and factors into a moving average of one series of draws over the same poles: the zeros are the roots
    of the numerator, those outside the unit circle (spectral factorisation, as in Brockwell and Davis, Time Series:
    Theory and Methods, section 4.4).
    """
    share = np.array(spells.share)
    decay = np.exp(-1.0 / np.array(spells.services))

    # Polynomials in the lag operator, by rising powers, each a product with its own mirror image.
    def squared(among: NDArray[np.float64]) -> NDArray[np.float64]:
        product = np.ones(1)
        for one in among:
            product = np.convolve(product, [-one, 1.0 + one * one, -one])
        return product

    numerator = (1.0 - share.sum()) * squared(decay)
    for i, (part, one) in enumerate(zip(share, decay, strict=True)):
        rest = part * (1.0 - one * one) * squared(np.delete(decay, i))
        numerator[1:-1] += rest
    roots = np.roots(numerator[::-1])
    outside = roots[np.abs(roots) > 1.0]
    zeros = np.real(np.poly(1.0 / outside))
    own = sqrt(float(numerator.sum()) / float(np.sum(zeros)) ** 2)
    weight = np.empty(len(decay))
    for i, one in enumerate(decay):
        others = np.delete(decay, i)
        weight[i] = own * np.polyval(zeros[::-1], 1.0 / one) / np.prod(1.0 - others / one)
    return own, decay, weight


def pack_spells(devices: Sequence[Spells | None]) -> PackedSpells:
    """Lay out the spells of all devices."""
    found = {one: moving_average(one) for one in {*devices} if one is not None}
    counts = [0 if one is None else len(found[one][1]) for one in devices]
    given = [found[one] for one in devices if one is not None]
    return PackedSpells(
        np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        np.concatenate([np.zeros(0), *(decay for _, decay, _ in given)]),
        np.concatenate([np.zeros(0), *(weight for _, _, weight in given)]),
        np.array([1.0 if one is None else found[one][0] for one in devices]),
    )


def past_at_start(
    spells: PackedSpells, device_lane: NDArray[np.int64], drawn: Callable[[int], NDArray[np.float64]]
) -> NDArray[np.float64]:
    """Return what lanes have served before a run, as if they had served for ever.

    Parameters
    ----------
    spells : PackedSpells
    device_lane : int64[devices + 1]
        The lanes of device d are ``device_lane[d]:device_lane[d + 1]``.
    drawn : callable
        ``drawn(count)`` returns so many independent standard normal draws; not called where no device has spells.

    Returns
    -------
    float64[lanes, most]
        By lane and component of its device, the sums over the draws served before that `next_level` takes. They are
        normal, with the covariance ``d_i d_j / (1 - d_i d_j)`` of components with the decays d_i and d_j.
    """
    lanes = int(device_lane[-1])
    if not spells:
        return np.zeros((lanes, 0))
    scores = drawn(lanes * spells.most).reshape(lanes, spells.most)
    past = np.zeros((lanes, spells.most))
    roots: dict[bytes, NDArray[np.float64]] = {}
    for device, (begin, end) in enumerate(pairwise(device_lane.tolist())):
        decay = spells.decay[spells.first[device] : spells.first[device + 1]]
        key = decay.tobytes()
        if key not in roots:
            both = np.outer(decay, decay)
            roots[key] = _cholesky(both / (1.0 - both))
        # Term by term, as a library's product adds up in another order on another machine.
        for i, row in enumerate(roots[key]):
            for j in range(i + 1):
                past[begin:end, i] += row[j] * scores[begin:end, j]
    return past


def _cholesky(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the lower triangle whose product with its transpose is this, also where rounding makes it singular.

    That is how decays look that are nearly the same: the last of them add nothing of their own then.
    """
    lower = np.zeros_like(matrix)
    for i in range(len(matrix)):
        for j in range(i):
            rest = matrix[i, j] - float(np.sum(lower[i, :j] * lower[j, :j]))
            lower[i, j] = rest / lower[j, j] if lower[j, j] > 0 else 0.0
        lower[i, i] = sqrt(max(matrix[i, i] - float(np.sum(lower[i, :i] ** 2)), 0.0))
    return lower


@jit_inline
def next_level(
    score: float,
    past: NDArray[np.float64],
    own: float,
    decay: NDArray[np.float64],
    weight: NDArray[np.float64],
) -> float:
    """Return the quantile level of the next service of a lane, and let its draw become one of the past.

    Parameters
    ----------
    score : float
        Normal score of the service draw of what is served.
    past : float64[components]
        Sums over the draws served before, of ``decay**k * score``; changed in place.
    own : float
    decay, weight : float64[components]
        Of the lane's device, see `PackedSpells`.
    """
    total = own * score
    for i in range(len(decay)):
        total += weight[i] * past[i]
        past[i] = decay[i] * (past[i] + score)
    return 0.5 * erfc(-total / sqrt(2.0))
