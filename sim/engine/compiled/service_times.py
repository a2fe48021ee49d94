"""Service times, tabulated by size and path: the means, and the times themselves where they do not vary."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sim.engine.compiled.memory import Memory, floats, service_rows, words
from sim.engine.compiled.side_by_side import EIGHT
from sim.engine.compiled.tables import World
from sim.serving.compiled import jit, jit_inline
from sim.serving.lookup import LEVELS, UNIT, expected_ns, service_ns

__all__ = ["mean_ns", "tabulate", "true_ns"]

SERVICE_TIMES_KEPT = 1 << 21
"""Most sizes x paths that are tabulated."""

VARIES = -1


@jit_inline
def mean_ns(w: World, path: int, samples: int) -> int:
    """Return the mean service time of so many samples on a path."""
    if samples < w.tabulated_sizes:
        return int(words(w.mean_ns_at)[samples * w.paths + path])
    return expected_ns(service_rows(w.service_index_at, w.paths), floats(w.service_grid_at, w.grid), path, samples)


@jit_inline
def true_ns(w: World, path: int, samples: int, u: float, multiplier: float) -> int:
    """Return the service time of so many samples on a path at the query's draw."""
    if samples < w.tabulated_sizes:
        fixed_ns = words(w.fixed_ns_at)[samples * w.paths + path]
        if fixed_ns != VARIES:
            return int(fixed_ns)
    index, grid = service_rows(w.service_index_at, w.paths), floats(w.service_grid_at, w.grid)
    return service_ns(index, grid, path, samples, u, multiplier)


@jit
def _tabulate(
    index: NDArray[np.int64],
    grid: NDArray[np.float64],
    first: int,
    mean: NDArray[np.int64],
    fixed: NDArray[np.int64],
) -> None:
    for size in range(first, len(mean)):
        for path in range(len(index)):
            mean[size, path] = expected_ns(index, grid, path, size)
            fixed[size, path] = VARIES
            if index[path, UNIT] < 0 and index[path, LEVELS] == 1:
                fixed[size, path] = service_ns(index, grid, path, size, 0.5, 1.0)


def tabulate(world: Memory, largest: int) -> None:
    """Tabulate the service times of all paths up to a size, as far as that is worth its memory."""
    paths, known = world.get("paths"), world.get("tabulated_sizes")
    sizes = min(1 << int(largest).bit_length(), SERVICE_TIMES_KEPT // max(paths, 1))
    if sizes <= known:
        return
    tables = {}
    for name in ("mean_ns", "fixed_ns"):
        # Those who read several at once read beyond the last.
        tables[name] = np.zeros(sizes * paths + EIGHT, dtype=np.int64)
        tables[name][: known * paths] = world[name][: known * paths]
    mean_ns, fixed_ns = (table[: sizes * paths].reshape(sizes, paths) for table in tables.values())
    _tabulate(world["service_index"], world["service_grid"], known, mean_ns, fixed_ns)
    if np.array_equal(fixed_ns, mean_ns):
        # One table instead of two is more often in the cache.
        tables["fixed_ns"] = tables["mean_ns"]
    for name, table in tables.items():
        world.put(name, table)
    world.set("tabulated_sizes", sizes)
    world.set("largest_mean_ns", int(np.max(mean_ns, initial=0)))
