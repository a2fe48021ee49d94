"""What a query costs extra because of what its lane did before, from calibration blocks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from sim.calibrate.observe.calibration import CalibrationBlock, LaneRun
from sim.profile.aftereffects import AfterIdle, AfterSize

__all__ = ["fit_after_idle", "fit_after_size", "without_after_size"]

Found = TypeVar("Found")

POINTS = 12
"""Points of a curve over idle time, at most."""

FEWEST = 30
"""Queries for each point, at least."""

CARRIES = tuple(step / 20 for step in range(19))
"""Shares of the idle time, or of the samples, that may be carried over from query to query."""

QUICK, SLOW = (0.0, 0.2, 0.4), (0.6, 0.7, 0.8, 0.9, 0.95)
"""The same of two curves over idle time: of what one service mends, and of what takes many."""

SIZE_LEVELS = (*(step / 10 for step in range(10)), 0.95, 0.98, 0.99, 1.0)
"""Levels of the samples before, between which a point lies: large queries cost most, and are rare."""

FEWEST_ALIKE = 10
"""Queries of its path and size in its block that one is compared with, at least."""

GAIN = 30.0
"""What a curve over the samples before has to explain, in variances of one query; twice that a second one over idle
time, which has twice as many numbers. By chance they explain about as many as they have."""

OUTLIERS = 0.005
"""Share of the queries, at either end, that count as if they were no further off: one that the machine held up for
milliseconds says nothing of what was before."""

TOLERANCE = 1e-10
"""What is less than that of the largest eigenvalue of normal equations, or of the squares asked for, is rounding."""


@dataclass(frozen=True, eq=False, slots=True)
class _Seen:
    """What queries took beyond others, those left out of which that is not known.

    Attributes
    ----------
    before : tuple of int64[queries of the run]
        By run what there was before each query, known or not: idle time in ns, or samples.
    is_known : bool[queries of all runs]
    size, usual_ns, beyond_ns : float64[known]
        Samples of each, the mean of those alike, and what it took beyond that.
    """

    before: tuple[NDArray[np.int64], ...]
    is_known: NDArray[np.bool_]
    size: NDArray[np.float64]
    usual_ns: NDArray[np.float64]
    beyond_ns: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.beyond_ns)

    def counted(self, carry: float) -> NDArray[np.float64]:
        """Return what counts for each query that is known, see `sim.serving.aftereffects.counted`."""
        return np.concatenate([np.zeros(0), *(_counted(run, carry) for run in self.before)])[self.is_known]


@dataclass(frozen=True, eq=False, slots=True)
class _Ramps:
    """The functions that a curve over idle time is a sum of: each rises from 0 to 1 between two points.

    Attributes
    ----------
    carry : float
    at_ns : int64[points]
    share : float64[known, 2 * points]
        For each query its ramps, and its ramps times its samples, as shares of the mean of those alike.
    """

    carry: float
    at_ns: NDArray[np.int64]
    share: NDArray[np.float64]


def fit_after_idle(blocks: Sequence[CalibrationBlock], path: int) -> tuple[AfterIdle, ...]:
    """Fit the extra service time of a path after idle time.

    Parameters
    ----------
    blocks : sequence of CalibrationBlock
    path : int

    Returns
    -------
    tuple of AfterIdle
        One curve, or two with a carry of `QUICK` and one of `SLOW` where these are closer by more than twice `GAIN`;
        each of at most `POINTS` points. The extra time, so much and so much a sample, is closest to what queries took
        beyond the mean of those of their size that were served back to back in the same block, by squared errors as
        shares of that mean, without `OUTLIERS`; neither part is negative or falls with the idle time. The carries are
        the smallest with which it is as close as with the best ones, within two standard errors. None where there are
        too few queries, or none took longer.

    Notes
    -----
    Differences within a block, because machines drift. Weights and code have to be fetched again whatever the size;
    rows of tables that left the caches, for each sample. A lane that serves several paths carries by the curves of each
    through the services of all, as in `sim.serving.aftereffects`.
    """
    runs = [(block, run) for block in blocks for run in block.paused]
    # How long the lane was idle before the first is not known.
    before = tuple(np.where(np.arange(len(run.size)) > 0, run.idle_ns, 0) for _, run in runs)
    # Outliers come back to back, too, and are in the table of service times.
    limits = _limits(blocks, path)
    usual_ns = [_usual_ns(block, run, path, limits=limits) for block, run in runs]
    seen = _seen(before, [run for _, run in runs], usual_ns)
    if len(seen) < FEWEST:
        return ()
    asked = _clipped(seen.beyond_ns / seen.usual_ns)
    error, one = _closest([_rising(seen, asked, [_ramps(seen, carry)]) for carry in CARRIES], len(seen))
    quick, slow = ([_ramps(seen, carry) for carry in carries] for carries in (QUICK, SLOW))
    smaller, two = _closest([_rising(seen, asked, both) for both in product(quick, slow)], len(seen))
    worth = smaller * 2 * GAIN / len(seen) + TOLERANCE * float(np.square(asked).sum())
    return two if error - smaller > worth else one


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
    from scipy.optimize import isotonic_regression

    runs = [(block, run) for block in blocks for run in block.busy]
    before = tuple(_size_before(run) for _, run in runs)
    usual_ns = [_usual_ns(block, run, path, FEWEST_ALIKE) for block, run in runs]
    seen = _seen(before, [run for _, run in runs], usual_ns)
    if len(seen) < FEWEST * len(SIZE_LEVELS):
        return None
    clipped_ns = _clipped(seen.beyond_ns)
    fits = []
    for carry in CARRIES:
        counted = seen.counted(carry)
        borders = np.rint(np.array(SIZE_LEVELS[1:-1]) * len(seen)).astype(np.int64)
        groups = [group for group in np.split(np.argsort(counted, kind="stable"), borders) if len(group)]
        means_ns = [seen.beyond_ns[group].mean() for group in groups]
        over_ns = isotonic_regression(means_ns, weights=[len(group) for group in groups]).x
        at, over = _whole(np.array([counted[group].mean() for group in groups]), over_ns)
        error = float(np.square(clipped_ns - np.interp(counted, at, over)).sum())
        fits.append((error, (carry, counted, at, over - over[0])))
    error, (carry, counted, at, extra_ns) = _closest(fits, len(seen))
    constant = float(np.square(clipped_ns - clipped_ns.mean()).sum())
    if constant <= error * (1 + GAIN / len(seen)) or not any(extra_ns):
        return None
    typical_ns = round(float(np.interp(counted, at, extra_ns).mean()))
    return AfterSize(tuple(at.tolist()), tuple(extra_ns.tolist()), typical_ns, carry)


def without_after_size(
    blocks: Sequence[CalibrationBlock], found: Mapping[int, AfterSize | None]
) -> list[CalibrationBlock]:
    """Take off what queries cost extra by the samples before, as if each had come after what is typical.

    Parameters
    ----------
    blocks : sequence of CalibrationBlock
    found : mapping of int to AfterSize or None
        As of `fit_after_size`, by path.

    Returns
    -------
    list of CalibrationBlock
        With other times of what was served back to back. Their means are what they were, but for the chance of what
        came before what; the spread that `found` makes is not among them, or whoever adds it would count it twice.
    """
    curves = {path: curve for path, curve in found.items() if curve is not None}
    if not curves:
        return list(blocks)
    return [_block_without(block, curves) for block in blocks]


def _block_without(block: CalibrationBlock, curves: Mapping[int, AfterSize]) -> CalibrationBlock:
    busy = []
    for run in block.busy:
        took_ns = run.took_ns.copy()
        for path, curve in curves.items():
            extra_ns = np.interp(_counted(_size_before(run), curve.carry), (0, *curve.at), (0, *curve.extra_ns))
            mine = run.path == path
            # What came before the first is not known.
            mine[:1] = False
            took_ns[mine] -= np.rint(extra_ns[mine]).astype(np.int64) - curve.typical_ns
        busy.append(replace(run, took_ns=np.maximum(took_ns, 1)))
    times_ns = dict(block.times_ns)
    for path, size, idle in block.times_ns:
        if path in curves and not idle:
            parts = [run.took_ns[(run.path == path) & (run.size == size)] for run in busy]
            times_ns[path, size, idle] = np.concatenate(parts)
    return replace(block, times_ns=times_ns, busy=tuple(busy))


def _size_before(run: LaneRun) -> NDArray[np.int64]:
    """Return the samples of what a lane served before each query of a run, 0 of the first."""
    return np.concatenate([[0], run.size[:-1]])


def _counted(before: NDArray[np.int64], carry: float) -> NDArray[np.float64]:
    """Return what counts for each query of a run, see `sim.serving.aftereffects.counted`."""
    from scipy.signal import lfilter

    counted: NDArray[np.float64] = lfilter([1.0], [1.0, -carry], before.astype(np.float64))
    return counted


def _closest(fits: Sequence[tuple[float, Found]], queries: int) -> tuple[float, Found]:
    """Return the first of some fits, by their squared errors, that is as close as the best one within two errors.

    With normal errors, what they are compared by is twice the fall of the log-likelihood, which is chi-squared with one
    degree of freedom.
    """
    least = min(error for error, _ in fits)
    return next(fit for fit in fits if fit[0] <= least * (1 + 4 / queries))


def _limits(blocks: Sequence[CalibrationBlock], path: int) -> dict[int, tuple[float, float]]:
    """Return by size between what the times of a path lie that were served back to back, without `OUTLIERS`."""
    by_size: dict[int, list[NDArray[np.int64]]] = {}
    for block in blocks:
        for (of, size, idle), times_ns in block.times_ns.items():
            if of == path and not idle:
                by_size.setdefault(size, []).append(times_ns)
    return {size: _ends(np.concatenate(parts)) for size, parts in by_size.items()}


def _usual_ns(
    block: CalibrationBlock,
    run: LaneRun,
    path: int,
    fewest: int = 1,
    limits: Mapping[int, tuple[float, float]] | None = None,
) -> NDArray[np.float64]:
    """Return the mean of those alike that were served back to back, by query of a run; NaN where not known.

    `limits` are what none of them counts as less or more than, by size.
    """
    usual_ns = np.full(len(run.size), np.nan)
    for size in np.unique(run.size[run.path == path]).tolist():
        busy = block.times_ns.get((path, size, False))
        if busy is not None and len(busy) >= fewest:
            kept = busy if limits is None else np.clip(busy, *limits[size])
            usual_ns[(run.path == path) & (run.size == size)] = kept.mean()
    # What the lane did before the first is not known, nor what it is extra therefore.
    usual_ns[:1] = np.nan
    return usual_ns


def _seen(
    before: tuple[NDArray[np.int64], ...], runs: Sequence[LaneRun], usual_ns: Sequence[NDArray[np.float64]]
) -> _Seen:
    """Return what the queries of some runs took beyond the usual, as far as that is known."""
    usual, took_ns, size = (
        np.concatenate([np.zeros(0), *parts])
        for parts in (usual_ns, [run.took_ns for run in runs], [run.size for run in runs])
    )
    is_known = np.isfinite(usual)
    return _Seen(before, is_known, size[is_known], usual[is_known], (took_ns - usual)[is_known])


def _ends(values: NDArray[np.float64] | NDArray[np.int64]) -> tuple[float, float]:
    """Return between what the values lie without `OUTLIERS`."""
    low, high = np.quantile(values, [OUTLIERS, 1 - OUTLIERS])
    return float(low), float(high)


def _clipped(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the values with `OUTLIERS` no further off than the others."""
    return np.asarray(np.clip(values, *_ends(values)))


def _ramps(seen: _Seen, carry: float) -> _Ramps:
    """Return the ramps of a carry, with points at levels of what counts where anything does."""
    counted = seen.counted(carry)
    # Less than a nanosecond is none: the rest of what was carried over for long.
    some = counted[counted >= 1.0]
    points = min(POINTS, len(some) // FEWEST)
    levels = (np.arange(points) + 0.5) / max(points, 1)
    at_ns = np.unique(np.rint(np.quantile(some, levels, method="nearest")).astype(np.int64)) if points else np.zeros(0)
    from_ns = np.concatenate([[0], at_ns])[: len(at_ns)]
    ramps = np.clip((counted[:, None] - from_ns) / (at_ns - from_ns), 0.0, 1.0) / seen.usual_ns[:, None]
    return _Ramps(carry, at_ns.astype(np.int64), np.concatenate([ramps, ramps * seen.size[:, None]], axis=1))


def _rising(seen: _Seen, asked: NDArray[np.float64], curves: Sequence[_Ramps]) -> tuple[float, tuple[AfterIdle, ...]]:
    """Return curves whose sum is closest to what is asked, and the sum of the squared errors.

    No ramp has less than nothing. The normal equations are solved, in the form in which they are least squares again.
    """
    from scipy.optimize import nnls

    columns = np.concatenate([one.share for one in curves], axis=1)
    if not columns.size:
        return float(np.square(asked).sum()), ()
    scale = np.sqrt(np.square(columns).sum(axis=0))
    scale[scale == 0] = 1.0
    columns = columns / scale
    values, vectors = np.linalg.eigh(columns.T @ columns)
    kept = values > TOLERANCE * max(values)
    roots = np.sqrt(values[kept])
    rises, _ = nnls(
        roots[:, None] * vectors[:, kept].T, vectors[:, kept].T @ (columns.T @ asked) / roots, maxiter=100 * len(scale)
    )
    error = float(np.square(asked - columns @ rises).sum())
    parts = np.split(rises / scale, np.cumsum([one.share.shape[1] for one in curves])[:-1])
    found = (_curve(one, *np.cumsum(part.reshape(2, -1), axis=1)) for one, part in zip(curves, parts, strict=True))
    return error, tuple(one for one in found if any((*one.extra_ns, *one.per_sample_ns)))


def _curve(ramps: _Ramps, extra_ns: NDArray[np.float64], per_sample_ns: NDArray[np.float64]) -> AfterIdle:
    """Return a curve in whole numbers."""
    extra, each = (tuple(np.rint(values).astype(np.int64).tolist()) for values in (extra_ns, per_sample_ns))
    return AfterIdle(tuple(ramps.at_ns.tolist()), extra, ramps.carry, each if any(each) else ())


def _whole(at: NDArray[np.float64], extra_ns: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return points in whole numbers; what counts alike is one point."""
    places, first = np.unique(np.rint(at).astype(np.int64), return_index=True)
    return places, np.rint(extra_ns).astype(np.int64)[first]
