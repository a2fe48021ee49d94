"""Service time as a function of query size and a uniform draw: measured tables and parametric laws."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import ClassVar, Literal, TypeAlias, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = [
    "Beyond",
    "Distribution",
    "Evidence",
    "ParametricService",
    "Service",
    "ServiceTable",
    "SizeOutOfRange",
    "SizeStep",
]

Evidence: TypeAlias = Literal["measured", "published", "modelled"]
Beyond: TypeAlias = Literal["refuse", "linear"]
SizeStep: TypeAlias = Literal["linear", "ceil"]
Distribution: TypeAlias = Literal["exponential", "deterministic", "lognormal", "gamma"]


class SizeOutOfRange(ValueError):
    """A query size for which a service has no answer.

    Attributes
    ----------
    size : int
        The first offending size.
    smallest, largest : int or None
        The sizes that are answered; None where there is no bound.
    """

    def __init__(self, size: int, smallest: int | None, largest: int | None) -> None:
        super().__init__(f"query size {size} is outside the profile's sizes {smallest}..{largest or ''}")
        self.size = size
        self.smallest = smallest
        self.largest = largest

    def __reduce__(self) -> tuple[type[SizeOutOfRange], tuple[int, int | None, int | None]]:
        return type(self), (self.size, self.smallest, self.largest)


@dataclass(frozen=True, eq=False)
class ServiceTable:
    """Service times on a grid of sizes x quantile levels.

    The service time of a query of size n with draw u is read off the grid by linear interpolation, first over
    the sizes and then over the levels; outside the first and last level the quantile function is constant.

    Parameters
    ----------
    sizes : int64, shape (S,)
        Query sizes, at least 1, strictly increasing.
    levels : float64, shape (Q,)
        Quantile levels in [0, 1], strictly increasing. One level makes the service deterministic.
    service_ns : float64, shape (S, Q)
        Service times, positive, not decreasing along a row.
    beyond : {"refuse", "linear"}
        What happens outside `sizes`. "refuse" raises `SizeOutOfRange`. "linear" answers with the smallest
        size's row below it, and adds `slope_ns` per sample above the largest; it needs at least two sizes.
    round_to_ns : int
        Drawn times are rounded to the nearest multiple (half to even); 0 means 1 ns. Means and moments are
        those of the unrounded law, so a coarse grid can shift a mean by at most half a step.
    size_step : {"linear", "ceil"}
        "ceil" reads the row of the next size at or above the query's instead of interpolating, as the
        simulators of Ribbon (SC'21) and Kairos (HPDC'23) do.
    evidence : {"measured", "published", "modelled"}
        Where the numbers come from.

    Raises
    ------
    ValueError
        If an array has the wrong shape, order, sign, or is not finite.
    """

    sizes: NDArray[np.int64]
    levels: NDArray[np.float64]
    service_ns: NDArray[np.float64]
    beyond: Beyond = "refuse"
    round_to_ns: int = 0
    size_step: SizeStep = "linear"
    evidence: Evidence = "modelled"

    def __post_init__(self) -> None:
        sizes = _frozen(np.array(self.sizes, dtype=np.int64))
        levels = _frozen(np.array(self.levels, dtype=np.float64))
        service_ns = _frozen(np.array(self.service_ns, dtype=np.float64))
        object.__setattr__(self, "sizes", sizes)
        object.__setattr__(self, "levels", levels)
        object.__setattr__(self, "service_ns", service_ns)
        if sizes.ndim != 1 or sizes.size == 0 or sizes[0] < 1 or np.any(np.diff(sizes) <= 0):
            raise ValueError("sizes must be integers of at least 1 in strictly increasing order")
        if levels.ndim != 1 or levels.size == 0:
            raise ValueError("at least one quantile level is needed")
        if not (levels[0] >= 0 and levels[-1] <= 1 and np.all(np.diff(levels) > 0)):
            raise ValueError("quantile levels must lie in [0, 1] in strictly increasing order")
        if service_ns.shape != (sizes.size, levels.size):
            raise ValueError(
                f"service times have shape {service_ns.shape}, expected {(sizes.size, levels.size)} "
                "(sizes x quantile levels)"
            )
        if not np.all(np.isfinite(service_ns)) or np.any(service_ns <= 0):
            raise ValueError("service times must be positive and finite")
        crossing = np.nonzero(np.any(np.diff(service_ns, axis=1) < 0, axis=1))[0]
        if crossing.size:
            raise ValueError(f"quantiles cross at size {sizes[crossing[0]]}: a row must not decrease")
        if self.beyond not in ("refuse", "linear"):
            raise ValueError(f"beyond is {self.beyond!r}, allowed: refuse, linear")
        if self.size_step not in ("linear", "ceil"):
            raise ValueError(f"size_step is {self.size_step!r}, allowed: linear, ceil")
        if self.round_to_ns < 0:
            raise ValueError("round_to_ns must not be negative")
        if self.beyond == "linear" and sizes.size < 2:
            raise ValueError("beyond: linear needs at least two sizes")

    @property
    def min_size(self) -> int | None:
        """Smallest size that is answered; None: any."""
        return None if self.beyond == "linear" else int(self.sizes[0])

    @property
    def max_size(self) -> int | None:
        """Largest size that is answered; None: any."""
        return None if self.beyond == "linear" else int(self.sizes[-1])

    @cached_property
    def slope_ns(self) -> NDArray[np.float64]:
        """Service time added per sample above the largest size, float64 shape (Q,), by quantile level.

        The slope of the last segment where that rises, else 0, because a fall extended would end below zero.
        All 0 where sizes beyond are refused.
        """
        if self.beyond == "refuse":
            return _frozen(np.zeros(self.levels.size))
        step = float(self.sizes[-1] - self.sizes[-2])
        return _frozen(np.maximum(self.service_ns[-1] - self.service_ns[-2], 0.0) / step)

    @property
    def mean_slope_ns(self) -> float:
        """Increase of the mean per sample above the largest size, in ns."""
        return float(_integral(self.levels, self.slope_ns))

    @cached_property
    def mean_ns(self) -> NDArray[np.float64]:
        """Mean at each of `sizes`, float64 shape (S,): the exact integral of the quantile function."""
        return _frozen(_integral(self.levels, self.service_ns))

    @cached_property
    def second_moment_ns2(self) -> NDArray[np.float64]:
        """Second moment at each of `sizes`, float64 shape (S,), in ns^2: the exact integral of the square."""
        return _frozen(_integral_of_square(self.levels, self.service_ns))

    @property
    def variance_ns2(self) -> NDArray[np.float64]:
        """Variance at each of `sizes`, float64 shape (S,), in ns^2."""
        return np.maximum(self.second_moment_ns2 - self.mean_ns**2, 0.0)

    def with_options(
        self,
        *,
        beyond: Beyond | None = None,
        round_to_ns: int | None = None,
        size_step: SizeStep | None = None,
    ) -> ServiceTable:
        """Return the same table read another way; options left out keep their value."""
        return replace(
            self,
            beyond=self.beyond if beyond is None else beyond,
            round_to_ns=self.round_to_ns if round_to_ns is None else round_to_ns,
            size_step=self.size_step if size_step is None else size_step,
        )

    def check_sizes(self, size: ArrayLike) -> None:
        """Raise `SizeOutOfRange` if any of `size` (integers) has no answer."""
        asked = np.asarray(size, dtype=np.int64)
        low = 1 if self.min_size is None else self.min_size
        outside = asked < low
        if self.max_size is not None:
            outside = outside | (asked > self.max_size)
        if np.any(outside):
            raise SizeOutOfRange(int(asked[outside].flat[0]), low, self.max_size)

    def mean_at(self, size: ArrayLike) -> NDArray[np.float64]:
        """Mean service time in ns of queries of `size`.

        Parameters
        ----------
        size : integers, any shape
            Query sizes.

        Returns
        -------
        float64, the shape of `size`

        Raises
        ------
        SizeOutOfRange
        """
        low, high, weight, excess = self._rows(size)
        mean = self.mean_ns
        return np.asarray(mean[low] + weight * (mean[high] - mean[low]) + self.mean_slope_ns * excess)

    def second_moment_at(self, size: ArrayLike) -> NDArray[np.float64]:
        """Second moment in ns^2 of the service time of queries of `size`, float64, the shape of `size`.

        Between two sizes the quantile function itself is interpolated, so this is the integral of the square
        of the interpolated function and not the interpolation of the squares.
        """
        return _integral_of_square(self.levels, self._quantile_rows(size))

    def quantile_at(self, size: ArrayLike, u: ArrayLike) -> NDArray[np.int64]:
        """Service time in ns of queries of `size` with service draws `u`.

        Parameters
        ----------
        size : integers
            Query sizes.
        u : floats
            Draws in [0, 1], broadcast against `size`.

        Returns
        -------
        int64, the broadcast shape

        Raises
        ------
        SizeOutOfRange
        ValueError
            If a draw lies outside [0, 1].
        """
        draw = np.asarray(u, dtype=np.float64)
        if not np.all((draw >= 0) & (draw <= 1)):
            raise ValueError("service draws must lie in [0, 1]")
        low, high, weight, excess = self._rows(size)
        last = self.levels.size - 1
        right = np.clip(np.searchsorted(self.levels, draw, side="right"), 1, max(last, 1))
        right = np.minimum(right, last)
        left = np.maximum(right - 1, 0)
        span = np.where(right > left, self.levels[right] - self.levels[left], 1.0)
        share = np.clip((draw - self.levels[left]) / span, 0.0, 1.0)
        grid, slope = self.service_ns, self.slope_ns
        at_left = grid[low, left] + weight * (grid[high, left] - grid[low, left]) + slope[left] * excess
        at_right = grid[low, right] + weight * (grid[high, right] - grid[low, right]) + slope[right] * excess
        value = at_left + share * (at_right - at_left)
        step = max(self.round_to_ns, 1)
        return np.asarray(np.rint(value / step).astype(np.int64) * step, dtype=np.int64)

    def _quantile_rows(self, size: ArrayLike) -> NDArray[np.float64]:
        """Interpolated rows of the grid, float64 shape (*size.shape, Q)."""
        low, high, weight, excess = self._rows(size)
        grid = self.service_ns
        inside = grid[low] + weight[..., None] * (grid[high] - grid[low])
        return np.asarray(inside + excess[..., None] * self.slope_ns)

    def _rows(
        self, size: ArrayLike
    ) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float64], NDArray[np.float64]]:
        """Row below, row above, weight of the row above in [0, 1], and samples above the largest size."""
        asked = np.asarray(size, dtype=np.int64)
        self.check_sizes(asked)
        last = self.sizes.size - 1
        excess = np.maximum(asked - self.sizes[-1], 0).astype(np.float64)
        if last == 0:
            zero = np.zeros(asked.shape, dtype=np.intp)
            return zero, zero, np.zeros(asked.shape), excess
        low = np.clip(np.searchsorted(self.sizes, asked, side="right") - 1, 0, last - 1)
        high = low + 1
        weight = np.clip((asked - self.sizes[low]) / (self.sizes[high] - self.sizes[low]), 0.0, 1.0)
        if self.size_step == "ceil":
            weight = np.ceil(weight)
        return np.asarray(low), np.asarray(high), np.asarray(weight, dtype=np.float64), excess


@dataclass(frozen=True)
class ParametricService:
    """Service time from a textbook law whose mean grows linearly with size.

    The mean at size n is ``mean_ns + per_sample_ns * n``; the coefficient of variation is the same at every
    size.

    Parameters
    ----------
    distribution : {"exponential", "deterministic", "lognormal", "gamma"}
    mean_ns : float
        The part of the mean that does not depend on size, at least 0.
    per_sample_ns : float
        Added per candidate, at least 0; the two may not both be 0.
    cv : float, optional
        Coefficient of variation. Needed for lognormal and gamma; 1 for exponential, 0 for deterministic.

    Raises
    ------
    ValueError
        If a parameter is negative, not finite, missing or not allowed.
    """

    distribution: Distribution
    mean_ns: float
    per_sample_ns: float = 0.0
    cv: float | None = None

    # Every size has an answer; and a law that somebody wrote down is modelled, whatever it was fitted to.
    min_size: ClassVar[None] = None
    max_size: ClassVar[None] = None
    evidence: ClassVar[Evidence] = "modelled"

    def __post_init__(self) -> None:
        if self.distribution not in ("exponential", "deterministic", "lognormal", "gamma"):
            raise ValueError(f"unknown distribution {self.distribution!r}")
        for name, value in (("mean_ns", self.mean_ns), ("per_sample_ns", self.per_sample_ns)):
            if not math.isfinite(value) or value < 0:
                raise ValueError(f"{name} must be finite and not negative")
        if self.mean_ns == 0 and self.per_sample_ns == 0:
            raise ValueError("the mean service time must be positive")
        fixed = {"exponential": 1.0, "deterministic": 0.0}.get(self.distribution)
        if fixed is not None:
            if self.cv not in (None, fixed):
                raise ValueError(f"the cv of a service that is {self.distribution} is {fixed:g}, got {self.cv}")
            object.__setattr__(self, "cv", fixed)
        elif self.cv is None or not math.isfinite(self.cv) or self.cv <= 0:
            raise ValueError(f"{self.distribution} needs a positive cv")

    def mean_at(self, size: ArrayLike) -> NDArray[np.float64]:
        """Mean service time in ns of queries of `size` (integers), float64, the same shape."""
        asked = np.asarray(size, dtype=np.int64)
        if np.any(asked < 1):
            raise SizeOutOfRange(int(asked[asked < 1].flat[0]), 1, None)
        return np.asarray(self.mean_ns + float(self.per_sample_ns) * asked, dtype=np.float64)

    def second_moment_at(self, size: ArrayLike) -> NDArray[np.float64]:
        """Second moment in ns^2 of the service time of queries of `size`, float64, the same shape."""
        cv = cast("float", self.cv)
        return np.asarray(self.mean_at(size) ** 2 * (1.0 + cv * cv), dtype=np.float64)

    def unit_quantile(self, u: ArrayLike) -> NDArray[np.float64]:
        """Quantile function of the law scaled to mean 1, float64, the shape of `u` (in [0, 1)).

        Raises
        ------
        ValueError
            If a draw lies outside [0, 1), where the laws with an unbounded tail have no finite value.
        """
        draw = np.asarray(u, dtype=np.float64)
        if not np.all((draw >= 0) & (draw < 1)):
            raise ValueError("service draws must lie in [0, 1)")
        if self.distribution == "deterministic":
            return np.ones(draw.shape)
        if self.distribution == "exponential":
            return np.asarray(-np.log1p(-draw), dtype=np.float64)
        from scipy import special

        cv = cast("float", self.cv)
        if self.distribution == "lognormal":
            # ln X ~ N(-sigma^2/2, sigma^2) has mean 1 and cv^2 = exp(sigma^2) - 1.
            variance = math.log1p(cv * cv)
            with np.errstate(divide="ignore"):
                normal = special.ndtri(draw)
            return np.asarray(np.exp(math.sqrt(variance) * normal - variance / 2), dtype=np.float64)
        shape = 1.0 / (cv * cv)
        return np.asarray(special.gammaincinv(shape, draw) / shape, dtype=np.float64)

    def quantile_at(self, size: ArrayLike, u: ArrayLike) -> NDArray[np.int64]:
        """Service time in ns of queries of `size` with service draws `u` in [0, 1), int64, broadcast."""
        return np.asarray(np.rint(self.mean_at(size) * self.unit_quantile(u)).astype(np.int64), dtype=np.int64)


Service: TypeAlias = ServiceTable | ParametricService


def _integral(levels: NDArray[np.float64], rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Integral over [0, 1] of piecewise-linear functions (last axis), constant outside the levels."""
    inner = np.sum(np.diff(levels) * (rows[..., 1:] + rows[..., :-1]) / 2, axis=-1)
    return np.asarray(levels[0] * rows[..., 0] + inner + (1.0 - levels[-1]) * rows[..., -1])


def _integral_of_square(levels: NDArray[np.float64], rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Integral over [0, 1] of the squares of such functions: (a^2 + ab + b^2)/3 per segment."""
    a, b = rows[..., :-1], rows[..., 1:]
    inner = np.sum(np.diff(levels) * (a * a + a * b + b * b) / 3, axis=-1)
    return np.asarray(levels[0] * rows[..., 0] ** 2 + inner + (1.0 - levels[-1]) * rows[..., -1] ** 2)


def _frozen(array: NDArray[np.float64] | NDArray[np.int64]) -> NDArray:  # type: ignore[type-arg]
    array.flags.writeable = False
    return array
