"""What a query costs extra after its lane stood idle, by how long the lane did, from calibration blocks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sim.calibrate.observe.calibration import CalibrationBlock
from sim.profile.after_idle import AfterIdle

__all__ = ["fit_after_idle"]

POINTS = 12
FEWEST = 30
"""Queries behind a point, at least."""

CARRIES = tuple(step / 20 for step in range(19))
"""Shares of the idle time that may be carried over from query to query."""

OUTLIERS = 0.005
"""Share of the queries, at either end, that count as if they were no further off where carries are weighed: one that
the machine held up for milliseconds says nothing of them."""


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
        the idle time (isotonic regression). The carry is the smallest of `CARRIES` with which the points are as close
        to the queries as with the best one, within two standard errors. None where there are too few queries, or none
        took longer.

    Notes
    -----
    Differences within a block, because machines drift. What is extra is taken to be the same for all sizes, as weights
    and code that have to be fetched again are; for large queries it was a third more (`docs/model.md`). Where a lane
    serves several paths, the others are taken to carry as much as this one.
    """
    idle_ns, beyond_ns = _queries(blocks, path)
    known = np.concatenate([np.zeros(0), *beyond_ns])
    is_known = np.isfinite(known)
    known = known[is_known]
    if len(known) < FEWEST:
        return None
    clipped = np.clip(known, *np.quantile(known, [OUTLIERS, 1 - OUTLIERS]))
    fits, errors = [], []
    for carry in CARRIES:
        counted = np.concatenate([_counted(run, carry) for run in idle_ns])[is_known]
        at_ns, extra_ns = _points(counted, known)
        fits.append(AfterIdle(tuple(at_ns.tolist()), tuple(extra_ns.tolist()), carry))
        says = np.interp(counted, [0, *at_ns], [0, *extra_ns])
        errors.append(float(np.square(clipped - says).sum()))
    least = min(errors)
    # With normal errors, twice the fall of the log-likelihood, which is chi-squared with one degree of freedom.
    close = [fit for fit, error in zip(fits, errors, strict=True) if error <= least * (1 + 4 / len(known))]
    return close[0] if any(close[0].extra_ns) else None


def _queries(
    blocks: Sequence[CalibrationBlock], path: int
) -> tuple[list[NDArray[np.int64]], list[NDArray[np.float64]]]:
    """Return by run how long the lane was idle before each query, and what that took beyond; NaN where not known."""
    idle_ns, beyond_ns = [], []
    for block in blocks:
        for run in block.paused:
            beyond = np.full(len(run.size), np.nan)
            for size in np.unique(run.size[run.path == path]).tolist():
                busy = block.times_ns.get((path, size, False))
                if busy is not None:
                    rows = (run.path == path) & (run.size == size)
                    beyond[rows] = run.took_ns[rows] - busy.mean()
            # How long the lane was idle before the first is not known, nor what it is extra therefore.
            beyond[:1] = np.nan
            idle_ns.append(np.where(np.arange(len(run.size)) > 0, run.idle_ns, 0))
            beyond_ns.append(beyond)
    return idle_ns, beyond_ns


def _counted(idle_ns: NDArray[np.int64], carry: float) -> NDArray[np.float64]:
    """Return the idle time that counts for each query of a run, see `sim.serving.idling.counted_idle_ns`."""
    from scipy.signal import lfilter

    counted: NDArray[np.float64] = lfilter([1.0], [1.0, -carry], idle_ns.astype(np.float64))
    return counted


def _points(counted_ns: NDArray[np.float64], beyond_ns: NDArray[np.float64]) -> tuple[NDArray[np.int64], ...]:
    """Return idle times and what queries took longer after each; none where there are too few."""
    from scipy.optimize import isotonic_regression

    # Less than a nanosecond is none: the rest of what was carried over for long.
    rows = np.flatnonzero(counted_ns >= 1.0)
    points = min(POINTS, len(rows) // FEWEST)
    if points == 0:
        return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)
    groups = np.array_split(rows[np.argsort(counted_ns[rows], kind="stable")], points)
    at_ns = np.array([np.rint(counted_ns[group].mean()) for group in groups], dtype=np.int64)
    means = [beyond_ns[group].mean() for group in groups]
    extra_ns = np.rint(np.maximum(isotonic_regression(means, weights=[len(group) for group in groups]).x, 0.0))
    # Groups of equal idle times are one point.
    at_ns, first = np.unique(at_ns, return_index=True)
    return at_ns, extra_ns.astype(np.int64)[first]
