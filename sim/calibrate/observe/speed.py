"""How fast a block was, whatever queries it had."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from sim.calibrate.observe.calibration import CalibrationBlock
from sim.engine.record import RunRecord

__all__ = ["Usual", "slowness", "usual_times"]

Usual: TypeAlias = Mapping[int, tuple[NDArray[np.int64], NDArray[np.float64]]]
"""By path: sizes that were asked, rising, and the median time in ns of a query of each."""


def usual_times(blocks: Sequence[CalibrationBlock]) -> Usual:
    """Return what a query back to back takes in these blocks."""
    found: dict[int, dict[int, list[NDArray[np.int64]]]] = {}
    for block in blocks:
        for (path, size, idle), times_ns in block.times_ns.items():
            if not idle and len(times_ns):
                found.setdefault(path, {}).setdefault(size, []).append(times_ns)
    return {
        path: (
            np.array(sorted(by_size), dtype=np.int64),
            np.array([np.median(np.concatenate(by_size[size])) for size in sorted(by_size)]),
        )
        for path, by_size in found.items()
    }


def slowness(record: RunRecord, usual: Usual) -> float:
    """Return how many times the usual time of its path and size the median query took.

    Only to be compared with other blocks at the same load: what a query takes depends on how long the lane was idle,
    too. The median, so that a few long services count for no more than a few; 1 where nothing was served.
    """
    took_ns = (record.part_finish_ns - record.part_start_ns).astype(np.float64)
    size = record.size[record.part_query]
    ratios = [
        took_ns[mine] / np.interp(size[mine], sizes, times_ns)
        for path, (sizes, times_ns) in usual.items()
        if np.any(mine := record.part_path == path)
    ]
    return float(np.median(np.concatenate(ratios))) if ratios else 1.0
