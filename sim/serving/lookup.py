"""Service-time look-up: every service of a system packed into two arrays, and the functions that read them.

The look-up is written once, for numba; both engines call it. A service is a row of `index`; what the row points
at lies in `grid`. Sizes and then quantiles are interpolated linearly and the result is rounded to whole nanoseconds, or
to the table's own resolution: what `sim.profile.service` says in numpy, one query at a time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from sim.profile.service import ParametricService, Service, ServiceTable
from sim.serving.compiled import jit_inline

__all__ = ["PackedServices", "expected_ns", "pack_services", "service_ns"]

SIZES_AT, SIZES, LEVELS_AT, LEVELS, VALUES_AT, SLOPES_AT, MEANS_AT, UNIT, ROUND, CEIL = range(10)
COLUMNS = 10


class Unit(Protocol):
    """What a service draw is turned into before a run."""

    def unit_quantile(self, u: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return a number for each draw in [0, 1)."""


@dataclass(frozen=True, slots=True)
class PackedServices:
    """Services as arrays.

    Attributes
    ----------
    index : int64[services, 10]
        Offsets into `grid` and options of each service.
    grid : float64[numbers]
        Sizes, quantile levels, service times and mean service times in ns.
    units : tuple of Unit
        The distinct parametric shapes. A query's service draw is turned into one multiplier of mean 1 for
        each of them before the run, so that no engine evaluates the quantile function of a law. Of a system with spells
        the last one is the normal score of the draw.
    """

    index: NDArray[np.int64]
    grid: NDArray[np.float64]
    units: tuple[Unit, ...]

    @property
    def unit_of_service(self) -> NDArray[np.int64]:
        """Shape of each service in `units`; -1 for tables."""
        return self.index[:, UNIT]


def pack_services(services: Sequence[Service], more_units: Sequence[Unit] = ()) -> PackedServices:
    """Pack `services`; row i of the index is service i. `more_units` are what draws are turned into besides."""
    index = np.zeros((len(services), COLUMNS), dtype=np.int64)
    grid: list[NDArray[np.float64]] = []
    filled = 0
    units: list[ParametricService] = []

    def place(numbers: NDArray[Any]) -> int:
        nonlocal filled
        at = filled
        grid.append(np.asarray(numbers, dtype=np.float64).ravel())
        filled += grid[-1].size
        return at

    for row, service in zip(index, services, strict=True):
        if isinstance(service, ServiceTable):
            row[SIZES_AT], row[SIZES] = place(service.sizes), service.sizes.size
            row[LEVELS_AT], row[LEVELS] = place(service.levels), service.levels.size
            row[VALUES_AT] = place(service.service_ns)
            row[SLOPES_AT] = place(service.slope_ns)
            # The slope of the mean stands just before the means.
            row[MEANS_AT] = 1 + place(np.concatenate([[service.mean_slope_ns], service.mean_ns]))
            row[UNIT] = -1
            row[ROUND] = service.round_to_ns
            row[CEIL] = service.size_step == "ceil"
        else:
            row[MEANS_AT] = place(np.array([service.mean_ns, service.per_sample_ns]))
            shapes = [(unit.distribution, unit.cv) for unit in units]
            if (service.distribution, service.cv) not in shapes:
                units.append(service)
                shapes.append((service.distribution, service.cv))
            row[UNIT] = shapes.index((service.distribution, service.cv))
    return PackedServices(index, np.concatenate(grid) if grid else np.zeros(0), (*units, *more_units))


@jit_inline
def _whole(value: float, resolution: int) -> int:
    """Round to a multiple of `resolution` ns (0 and 1: to whole ns), halves to even."""
    step = max(resolution, 1)
    return int(np.rint(value / step)) * step


@jit_inline
def _position(grid: NDArray[np.float64], at: int, count: int, value: float) -> int:
    """Return i such that `value` lies in [grid[at + i], grid[at + i + 1]), clamped to 0..count - 2."""
    low = 0
    high = count - 1
    while high - low > 1:
        middle = (low + high) // 2
        if grid[at + middle] <= value:
            low = middle
        else:
            high = middle
    return low


@jit_inline
def _size_weight(
    index: NDArray[np.int64], grid: NDArray[np.float64], service: int, size: int
) -> tuple[int, float, float]:
    """Return the row below `size`, the weight of the row above it, and the samples beyond the largest size."""
    at = index[service, SIZES_AT]
    count = index[service, SIZES]
    if count == 1 or size <= grid[at]:
        return 0, 0.0, 0.0
    largest = grid[at + count - 1]
    if size >= largest:
        return count - 2, 1.0, size - largest
    row = _position(grid, at, count, float(size))
    below = grid[at + row]
    if index[service, CEIL] > 0:
        return row, 0.0 if below == size else 1.0, 0.0
    return row, (size - below) / (grid[at + row + 1] - below), 0.0


@jit_inline
def _level(
    grid: NDArray[np.float64], values: int, levels: int, column: int, weight: float, slope: float, excess: float
) -> float:
    """Return a service time at one quantile level: between two rows, or on the extension of the last two."""
    value = grid[values + column]
    if weight != 0.0:
        value += weight * (grid[values + levels + column] - value)
    return float(value + slope * excess)


@jit_inline
def expected_ns(index: NDArray[np.int64], grid: NDArray[np.float64], service: int, size: int) -> int:
    """Return the mean service time of `size` samples in ns."""
    means = index[service, MEANS_AT]
    if index[service, UNIT] >= 0:
        return _whole(grid[means] + grid[means + 1] * size, 1)
    row, weight, excess = _size_weight(index, grid, service, size)
    return _whole(_level(grid, means + row, 1, 0, weight, grid[means - 1], excess), 1)


@jit_inline
def service_ns(
    index: NDArray[np.int64], grid: NDArray[np.float64], service: int, size: int, u: float, multiplier: float
) -> int:
    """Return the service time of `size` samples at quantile `u` in ns.

    `multiplier` is the unit quantile of the service's parametric shape at `u`; tables do not read it.
    """
    if index[service, UNIT] >= 0:
        means = index[service, MEANS_AT]
        return _whole((grid[means] + grid[means + 1] * size) * multiplier, 1)
    row, weight, excess = _size_weight(index, grid, service, size)
    levels = index[service, LEVELS]
    slopes = index[service, SLOPES_AT]
    values = index[service, VALUES_AT] + row * levels
    if levels == 1:
        return _whole(_level(grid, values, levels, 0, weight, grid[slopes], excess), index[service, ROUND])
    at = index[service, LEVELS_AT]
    column = _position(grid, at, levels, u)
    share = (u - grid[at + column]) / (grid[at + column + 1] - grid[at + column])
    share = min(max(share, 0.0), 1.0)
    left = _level(grid, values, levels, column, weight, grid[slopes + column], excess)
    right = _level(grid, values, levels, column + 1, weight, grid[slopes + column + 1], excess)
    return _whole(left + share * (right - left), index[service, ROUND])
