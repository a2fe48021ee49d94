"""Laws of the gaps between arrivals, in units of the mean gap."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from sim.workload.inverse import InverseTable

__all__ = ["ExponentialGaps", "GammaGaps", "GapLaw", "IntegerPoissonGaps", "WeibullGaps", "weibull_shape"]

Floats = NDArray[np.float64]

MOST_TABLED_MS = 1e8
"""Mean gap up to which the counts of ms that occur are tabled; there are 20 times its square root of them."""


class GapLaw(Protocol):
    """A law of independent gaps with mean 1.

    `draw` is the inverse of the law's distribution function. `cdf` and `sum_cdf` serve the check of recorded
    arrivals; they come from scipy.special (scipy.stats takes half a second to import) and share nothing with `draw`.
    """

    @property
    def cv(self) -> float:
        """Coefficient of variation."""

    @property
    def discrete(self) -> bool:
        """Whether the gaps take separate values only."""

    def draw(self, u: Floats) -> Floats:
        """Return the gaps at the uniforms `u`."""

    def cdf(self, gap: Floats) -> Floats:
        """Return the probability of a gap of at most `gap`."""

    def sum_cdf(self, count: int, total: float) -> float | None:
        """Return the probability that `count` gaps add up to at most `total`; None where it is not known."""


@dataclass(frozen=True, slots=True)
class ExponentialGaps:
    """Exponential gaps: a Poisson process."""

    cv: float = 1.0
    discrete: bool = False

    def draw(self, u: Floats) -> Floats:  # noqa: D102
        gaps = np.negative(u)
        np.log1p(gaps, out=gaps)
        return np.negative(gaps, out=gaps)

    def cdf(self, gap: Floats) -> Floats:  # noqa: D102
        return np.asarray(-np.expm1(-np.maximum(gap, 0.0)), dtype=np.float64)

    def sum_cdf(self, count: int, total: float) -> float | None:  # noqa: D102
        from scipy.special import gammainc

        return float(gammainc(count, max(total, 0.0)))


@dataclass(frozen=True, slots=True)
class GammaGaps:
    """Gamma gaps of shape 1/cv^2."""

    cv: float
    discrete: bool = False

    def draw(self, u: Floats) -> Floats:  # noqa: D102
        from scipy.special import gammaincinv

        shape = self.cv**-2
        return np.asarray(gammaincinv(shape, u) / shape, dtype=np.float64)

    def cdf(self, gap: Floats) -> Floats:  # noqa: D102
        from scipy.special import gammainc

        return np.asarray(gammainc(self.cv**-2, np.maximum(gap, 0.0) / self.cv**2), dtype=np.float64)

    def sum_cdf(self, count: int, total: float) -> float | None:  # noqa: D102
        from scipy.special import gammainc

        return float(gammainc(count * self.cv**-2, max(total, 0.0) / self.cv**2))


def weibull_shape(cv: float) -> float:
    """Return the shape of the Weibull law with coefficient of variation `cv`.

    Solves ``cv^2 = Gamma(1 + 2/k) / Gamma(1 + 1/k)^2 - 1``, which falls in k.
    """
    from scipy.optimize import brentq

    def excess(log_shape: float) -> float:
        k = math.exp(log_shape)
        return math.lgamma(1 + 2 / k) - 2 * math.lgamma(1 + 1 / k) - math.log1p(cv * cv)

    return math.exp(float(brentq(excess, math.log(0.05), math.log(1000.0), xtol=1e-14)))


@dataclass(frozen=True)
class WeibullGaps:
    """Weibull gaps."""

    cv: float
    discrete: bool = False

    @cached_property
    def _law(self) -> tuple[float, float]:
        shape = weibull_shape(self.cv)
        return shape, 1.0 / math.gamma(1 + 1 / shape)

    def draw(self, u: Floats) -> Floats:  # noqa: D102
        shape, scale = self._law
        return np.asarray(scale * (-np.log1p(-u)) ** (1 / shape), dtype=np.float64)

    def cdf(self, gap: Floats) -> Floats:  # noqa: D102
        shape, scale = self._law
        return np.asarray(-np.expm1(-((np.maximum(gap, 0.0) / scale) ** shape)), dtype=np.float64)

    def sum_cdf(self, count: int, total: float) -> float | None:  # noqa: D102
        return None


@dataclass(frozen=True)
class IntegerPoissonGaps:
    """Gaps that are Poisson counts of ms with the given mean: not a Poisson process, see `IntegerPoissonMsSpec`."""

    mean_ms: float
    discrete: bool = True

    @property
    def cv(self) -> float:  # noqa: D102
        return float(self.mean_ms**-0.5)

    @property
    def _reached(self) -> tuple[int, int]:
        """The least and the greatest count that a uniform reaches."""
        reach = 10.0 * math.sqrt(self.mean_ms) + 50.0
        return max(0, math.floor(self.mean_ms - reach)), math.ceil(self.mean_ms + reach)

    @cached_property
    def _counts(self) -> tuple[int, InverseTable]:
        """The least count that a uniform reaches, and the distribution function from there on."""
        from scipy.special import pdtr

        first, last = self._reached
        counts = np.arange(first, last + 1, dtype=np.float64)
        cumulative = np.maximum.accumulate(np.asarray(pdtr(counts, self.mean_ms), dtype=np.float64))
        cumulative[-1] = 1.0
        return first, InverseTable(cumulative)

    def draw(self, u: Floats) -> Floats:  # noqa: D102
        if self.mean_ms > MOST_TABLED_MS:
            return self._sought(u) / self.mean_ms
        first, inverse = self._counts
        return np.asarray((first + inverse.rows(u)) / self.mean_ms, dtype=np.float64)

    def _sought(self, u: Floats) -> Floats:
        """Return the first count whose cumulative probability reaches each uniform, as the table does, by bisection."""
        from scipy.special import pdtr

        first, last = self._reached
        below, reaching = np.full(u.shape, first - 1.0), np.full(u.shape, float(last))
        for _ in range((last - first + 1).bit_length()):
            middle = np.floor((below + reaching) / 2.0)
            reaches = pdtr(middle, self.mean_ms) >= u
            # Where they are neighbours already, the middle is what is below, and says nothing.
            reaching = np.where(reaches & (middle > below), middle, reaching)
            below = np.where(reaches, below, middle)
        return reaching

    def cdf(self, gap: Floats) -> Floats:  # noqa: D102
        from scipy.special import pdtr

        counts = np.rint(gap * self.mean_ms)
        return np.where(counts < 0, 0.0, np.asarray(pdtr(np.maximum(counts, 0.0), self.mean_ms), dtype=np.float64))

    def sum_cdf(self, count: int, total: float) -> float | None:  # noqa: D102
        from scipy.special import pdtr

        counts = round(total * self.mean_ms)
        return float(pdtr(counts, count * self.mean_ms)) if counts >= 0 else 0.0
