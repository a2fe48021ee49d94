"""What a query costs extra that finds its lane idle, by how long the lane was, from calibration blocks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sim.calibrate.observe.calibration import CalibrationBlock
from sim.profile.after_idle import AfterIdle

__all__ = ["fit_after_idle"]

POINTS = 8
FEWEST = 30
"""Queries behind a point, at least."""


def fit_after_idle(blocks: Sequence[CalibrationBlock], path: int) -> AfterIdle | None:
    """Fit the extra service time of a path after idle time.

    Parameters
    ----------
    blocks : sequence of CalibrationBlock
    path : int

    Returns
    -------
    AfterIdle or None
        At most `POINTS` points with as many queries behind each; the extra time is the mean over them of what they took
        beyond the mean of those of their size that were served back to back in the same block, made not to fall with
        the idle time (isotonic regression). None where there are too few queries, or none took longer.

    Notes
    -----
    Differences within a block, because machines drift. What is extra is taken to be the same for all sizes, as weights
    and code that have to be fetched again are; for large queries it was a third more (`docs/model.md`).
    """
    from scipy.optimize import isotonic_regression

    idle_ns: list[NDArray[np.int64]] = [np.zeros(0, dtype=np.int64)]
    beyond_ns: list[NDArray[np.float64]] = [np.zeros(0)]
    for block in blocks:
        for (of, size, idle), times in block.times_ns.items():
            busy = block.times_ns.get((path, size, False))
            if of == path and idle and busy is not None:
                idle_ns.append(block.idle_ns[path, size])
                beyond_ns.append(times - busy.mean())
    idled, beyond = np.concatenate(idle_ns), np.concatenate(beyond_ns)
    points = min(POINTS, len(idled) // FEWEST)
    if points == 0:
        return None
    groups = np.array_split(np.argsort(idled, kind="stable"), points)
    at_ns = np.array([np.rint(idled[group].mean()) for group in groups], dtype=np.int64)
    extra = isotonic_regression([beyond[group].mean() for group in groups], weights=[len(group) for group in groups]).x
    extra_ns = np.rint(np.maximum(extra, 0.0)).astype(np.int64)
    # Groups of equal idle times are one point.
    at_ns, first = np.unique(at_ns, return_index=True)
    if not np.any(extra_ns) or at_ns[0] <= 0:
        return None
    return AfterIdle(tuple(at_ns.tolist()), tuple(extra_ns[first].tolist()))
