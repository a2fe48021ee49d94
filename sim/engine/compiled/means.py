"""Mean service times, tabulated by size and path: what policies and routers expect."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sim.engine.compiled.memory import Memory, floats, ints, service_rows
from sim.engine.compiled.tables import World
from sim.serving.compiled import jit, jit_inner
from sim.serving.lookup import expected_ns

__all__ = ["mean_ns", "tabulate_means"]

MEANS_KEPT = 1 << 22
"""Most mean service times that are tabulated."""


@jit_inner
def mean_ns(w: World, path: int, samples: int) -> int:
    """Return the mean service time of so many samples on a path."""
    if samples < w.memo_sizes:
        return int(ints(w.memo_at, w.memo_sizes * w.paths)[samples * w.paths + path])
    return expected_ns(service_rows(w.service_index_at, w.paths), floats(w.service_grid_at, w.grid), path, samples)


@jit
def _fill_means(index: NDArray[np.int64], grid: NDArray[np.float64], first: int, memo: NDArray[np.int64]) -> None:
    for size in range(first, len(memo)):
        for service in range(len(index)):
            memo[size, service] = expected_ns(index, grid, service, size)


def tabulate_means(world: Memory, largest: int) -> None:
    """Tabulate the mean service times of all paths up to a size, as far as that is worth its memory."""
    paths, known = world.get("paths"), world.get("memo_sizes")
    sizes = min(1 << int(largest).bit_length(), MEANS_KEPT // max(paths, 1))
    if sizes <= known:
        return
    memo = np.zeros((sizes, paths), dtype=np.int64)
    memo[:known] = world["memo"].reshape(known, paths)
    _fill_means(world["service_index"], world["service_grid"], known, memo)
    world.put("memo", memo)
    world.set("memo_sizes", sizes)
