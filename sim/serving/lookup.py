"""Service-time look-up: every service of a system packed into two arrays, and the functions that read them.

The look-up is written once, for numba; both engines call it. A service is a row of `index`; what the row points
at lies in `grid`. Sizes and quantiles are interpolated linearly, the result is rounded to whole nanoseconds
(or to the table's own resolution), halves upwards.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sim.profile.service import ParametricService, Service, ServiceTable
from sim.serving.compiled import jit

__all__ = ["PackedServices", "expected_ns", "pack_services", "service_ns"]

SIZES_AT, SIZES, LEVELS_AT, LEVELS, VALUES_AT, MEANS_AT, UNIT, ROUND, CEIL = range(9)
COLUMNS = 9


@dataclass(frozen=True, slots=True)
class PackedServices:
    """Services as arrays.

    Attributes
    ----------
    index : int64[services, 9]
        Offsets into `grid` and options of each service.
    grid : float64[numbers]
        Sizes, quantile levels, service times and mean service times in ns.
    units : tuple of ParametricService
        The distinct parametric shapes. A query's service draw is turned into one multiplier of mean 1 for
        each of them before the run, so that no engine evaluates a special function.
    """

    index: NDArray[np.int64]
    grid: NDArray[np.float64]
    units: tuple[ParametricService, ...]

    @property
    def unit_of_service(self) -> NDArray[np.int64]:
        """Shape of each service in `units`; -1 for tables."""
        return self.index[:, UNIT]


def pack_services(services: Sequence[Service]) -> PackedServices:
    """Pack `services`; row i of the index is service i."""
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
            row[MEANS_AT] = place(service.mean_ns)
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
    return PackedServices(index, np.concatenate(grid) if grid else np.zeros(0), tuple(units))


@jit
def _whole(value: float, resolution: int) -> int:
    """Round to a multiple of `resolution` ns (0 and 1: to whole ns), halves upwards, never below zero."""
    step = max(resolution, 1)
    return max(int(np.floor(value / step + 0.5)) * step, 0)


@jit
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


@jit
def _size_weight(index: NDArray[np.int64], grid: NDArray[np.float64], service: int, size: int) -> tuple[int, float]:
    """Return the row below `size` and the weight of the row above; weights over 1 extrapolate."""
    at = index[service, SIZES_AT]
    count = index[service, SIZES]
    if count == 1 or size <= grid[at]:
        return 0, 0.0
    row = _position(grid, at, count, float(size))
    if index[service, CEIL] > 0:
        return (row, 0.0) if grid[at + row] >= size else (row, 1.0)
    return row, (size - grid[at + row]) / (grid[at + row + 1] - grid[at + row])


@jit
def expected_ns(index: NDArray[np.int64], grid: NDArray[np.float64], service: int, size: int) -> int:
    """Return the mean service time of `size` samples in ns."""
    means = index[service, MEANS_AT]
    if index[service, UNIT] >= 0:
        return _whole(grid[means] + grid[means + 1] * size, 0)
    row, weight = _size_weight(index, grid, service, size)
    mean = grid[means + row]
    if weight != 0.0:
        mean += weight * (grid[means + row + 1] - mean)
    return _whole(mean, 0)


@jit
def service_ns(
    index: NDArray[np.int64], grid: NDArray[np.float64], service: int, size: int, u: float, multiplier: float
) -> int:
    """Return the service time of `size` samples at quantile `u` in ns.

    `multiplier` is the unit quantile of the service's parametric shape at `u`; tables do not read it.
    """
    if index[service, UNIT] >= 0:
        means = index[service, MEANS_AT]
        return _whole((grid[means] + grid[means + 1] * size) * multiplier, 0)
    row, weight = _size_weight(index, grid, service, size)
    levels = index[service, LEVELS]
    values = index[service, VALUES_AT] + row * levels
    column = 0
    share = 0.0
    if levels > 1:
        at = index[service, LEVELS_AT]
        column = _position(grid, at, levels, u)
        share = (u - grid[at + column]) / (grid[at + column + 1] - grid[at + column])
        share = min(max(share, 0.0), 1.0)
    value = grid[values + column]
    if share != 0.0:
        value += share * (grid[values + column + 1] - value)
    if weight != 0.0:
        above = grid[values + levels + column]
        if share != 0.0:
            above += share * (grid[values + levels + column + 1] - above)
        value += weight * (above - value)
    return _whole(value, index[service, ROUND])
