"""What a query costs extra because of what its lane did before, from calibration blocks."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from sim.calibrate.observe.calibration import CalibrationBlock, LaneRun
from sim.profile.aftereffects import AfterIdle, AfterSize

__all__ = ["fit_after_idle", "fit_after_size"]

Points = tuple[NDArray[np.int64], NDArray[np.int64]]
"""What counts, in ns of idle time or in samples, and the extra service time at each, in ns."""

POINTS = 12
FEWEST = 30
"""Queries behind a point, at least."""

CARRIES = tuple(step / 20 for step in range(19))
"""Shares of the idle time, or of the samples, that may be carried over from query to query."""

SIZE_LEVELS = (*(step / 10 for step in range(10)), 0.95, 0.98, 0.99, 1.0)
"""Levels of the samples before, between which a point lies: large queries cost most, and are rare."""

FEWEST_ALIKE = 10
"""Queries of its path and size in its block that one is compared with, at least."""

GAIN = 30.0
"""What a curve over the samples before has to explain, in variances of one query. By chance it explains about as many
as it has points."""

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
    runs = [run for block in blocks for run in block.paused]
    beyond_ns = [_beyond_ns(block, run, path) for block in blocks for run in block.paused]
    # How long the lane was idle before the first is not known.
    before = [np.where(np.arange(len(run.size)) > 0, run.idle_ns, 0) for run in runs]

    def points(counted: NDArray[np.float64], known_ns: NDArray[np.float64]) -> Points:
        # Less than a nanosecond is none: the rest of what was carried over for long.
        rows = np.flatnonzero(counted >= 1.0)
        groups = min(POINTS, len(rows) // FEWEST)
        if groups == 0:
            return np.zeros(1, dtype=np.int64), np.zeros(1, dtype=np.int64)
        at_ns, extra_ns = _points(counted[rows], known_ns[rows], np.linspace(0, 1, groups + 1))
        return np.array([0, *at_ns]), np.array([0, *np.maximum(extra_ns, 0)])

    found = _closest(before, beyond_ns, points)
    if found is None:
        return None
    carry, _, at_ns, extra_ns, _ = found
    return AfterIdle(tuple(at_ns[1:].tolist()), tuple(extra_ns[1:].tolist()), carry) if any(extra_ns) else None


def fit_after_size(blocks: Sequence[CalibrationBlock], path: int) -> AfterSize | None:
    """Fit the extra service time of a path by the samples of what its lane served before.

    Parameters
    ----------
    blocks : sequence of CalibrationBlock
    path : int

    Returns
    -------
    AfterSize or None
        From what was served back to back, as in `fit_after_idle`; points lie between `SIZE_LEVELS`. The extra time is
        that over the smallest sizes before, and `typical_ns` its mean, which is in the mean of every size. None where
        there are too few queries, or where it explains no more than chance may.

    Notes
    -----
    The sizes before have to come as often as in the workload: `typical_ns` is theirs.
    """
    runs = [run for block in blocks for run in block.busy]
    beyond_ns = [_beyond_ns(block, run, path, FEWEST_ALIKE) for block in blocks for run in block.busy]
    before = [np.concatenate([[0], run.size[:-1]]) for run in runs]

    def points(counted: NDArray[np.float64], known_ns: NDArray[np.float64]) -> Points:
        return _points(counted, known_ns, np.array(SIZE_LEVELS))

    found = _closest(before, beyond_ns, points)
    if found is None:
        return None
    carry, counted, at, over_ns, gain = found
    extra_ns = over_ns - over_ns[0]
    if len(counted) < FEWEST * len(SIZE_LEVELS) or gain < GAIN or not any(extra_ns):
        return None
    typical_ns = round(float(np.interp(counted, at, extra_ns).mean()))
    return AfterSize(tuple(at.tolist()), tuple(extra_ns.tolist()), typical_ns, carry)


def _beyond_ns(block: CalibrationBlock, run: LaneRun, path: int, fewest: int = 1) -> NDArray[np.float64]:
    """Return what each query of a run took beyond those alike that were served back to back; NaN where not known."""
    beyond_ns = np.full(len(run.size), np.nan)
    for size in np.unique(run.size[run.path == path]).tolist():
        busy = block.times_ns.get((path, size, False))
        if busy is not None and len(busy) >= fewest:
            rows = (run.path == path) & (run.size == size)
            beyond_ns[rows] = run.took_ns[rows] - busy.mean()
    # What the lane did before the first is not known, nor what it is extra therefore.
    beyond_ns[:1] = np.nan
    return beyond_ns


def _closest(
    before: Sequence[NDArray[np.int64]],
    beyond_ns: Sequence[NDArray[np.float64]],
    points: Callable[[NDArray[np.float64], NDArray[np.float64]], Points],
) -> tuple[float, NDArray[np.float64], NDArray[np.int64], NDArray[np.int64], float] | None:
    """Return the smallest carry that is close to the best one, see `fit_after_idle`; None where there are too few.

    Parameters
    ----------
    before, beyond_ns
        By run what there was before each query, and what it took beyond others; NaN where that is not known.
    points
        Makes points of what counts and what was beyond.

    Returns
    -------
    carry : float
    counted : float64[known]
        What counts for each query of which it is known what it took beyond others.
    at, extra_ns : int64[points]
    gain : float
        By how much the points are closer than a constant is, in variances of one query.
    """
    both = np.concatenate([np.zeros(0), *beyond_ns])
    is_known = np.isfinite(both)
    known_ns = both[is_known]
    if len(known_ns) < FEWEST:
        return None
    clipped_ns = np.clip(known_ns, *np.quantile(known_ns, [OUTLIERS, 1 - OUTLIERS]))
    fits, errors = [], []
    for carry in CARRIES:
        counted = np.concatenate([_counted(run, carry) for run in before])[is_known]
        at, extra_ns = points(counted, known_ns)
        fits.append((carry, counted, at, extra_ns))
        errors.append(float(np.square(clipped_ns - np.interp(counted, at, extra_ns)).sum()))
    # With normal errors, twice the fall of the log-likelihood, which is chi-squared with one degree of freedom.
    close = next(i for i, error in enumerate(errors) if error <= min(errors) * (1 + 4 / len(known_ns)))
    constant = float(np.square(clipped_ns - clipped_ns.mean()).sum())
    gain = (constant / errors[close] - 1) * len(known_ns) if errors[close] > 0 else np.inf
    return (*fits[close], gain)


def _counted(before: NDArray[np.int64], carry: float) -> NDArray[np.float64]:
    """Return what counts for each query of a run, see `sim.serving.aftereffects.counted`."""
    from scipy.signal import lfilter

    found: NDArray[np.float64] = lfilter([1.0], [1.0, -carry], before.astype(np.float64))
    return found


def _points(counted: NDArray[np.float64], beyond_ns: NDArray[np.float64], levels: NDArray[np.float64]) -> Points:
    """Return the means of what counts and of what was beyond, by groups between levels of what counts."""
    from scipy.optimize import isotonic_regression

    borders = np.rint(levels[1:-1] * len(counted)).astype(np.int64)
    groups = [group for group in np.split(np.argsort(counted, kind="stable"), borders) if len(group)]
    at = np.array([np.rint(counted[group].mean()) for group in groups], dtype=np.int64)
    means = [beyond_ns[group].mean() for group in groups]
    extra_ns = np.rint(isotonic_regression(means, weights=[len(group) for group in groups]).x).astype(np.int64)
    # Groups of what counts alike are one point.
    at, first = np.unique(at, return_index=True)
    return at, extra_ns[first]
