"""Samples to a service table: quantiles by size, made monotone over the sizes.

Each size gives a row of sample quantiles that keeps the sample mean (`sim.calibrate.samples.quantile_row`). Then each
quantile becomes the nearest function of size that does not fall (isotonic regression, weighted by the number of
samples): a service time that falls where the size grows is noise, and neighbours that disagree so are averaged.
Isotonic regression keeps order between functions, so rows do not cross afterwards either. It keeps the mean over all
sizes, by number of samples; that of a size moves where its times, or its outliers, are averaged with a neighbour's.
Nothing else is smoothed: between sizes the simulator interpolates, outside it refuses.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sim.calibrate.profile_folder import TableRows
from sim.calibrate.sample_set import TOTAL, SampleSet
from sim.calibrate.samples import LEVELS, quantile_row
from sim.profile.service import ServiceTable

__all__ = [
    "OUTLIER",
    "WARM_UP",
    "FittedTable",
    "fit_quantiles",
    "fit_table",
    "levels_for",
    "samples_for",
    "service_table",
    "stage_means",
]

OUTLIER = 3.0
"""A sample of this many times the median of its cell is reported as an outlier; it stays in the fit."""

WARM_UP = 1.25
"""Where the first repeats in half of the blocks take this many times the median, warming up is reported."""

_FINE_TAIL = (0.995, 0.998, 0.999, 0.9995, 0.9998, 0.9999, 0.99995, 0.99998, 0.99999)
"""Between the last level and the largest sample times are drawn evenly. With 100,000 samples of which one in 10,000 was
20 times as long as usual, the mean square came out 15% too large where p99.9 was the last level."""


def levels_for(repeats: int) -> tuple[float, ...]:
    """Quantile levels that a cell of so many samples can carry: the extremes, the median, and each level that has
    about one sample beyond it.

    With 100 repeats these are `sim.calibrate.samples.LEVELS`; with 1,000 they reach to p99.9, with 100,000 to p99.999.
    """
    # 0.9 of a sample, because published campaigns have 99 repeats, too.
    return tuple(
        level
        for level in sorted((*LEVELS, *_FINE_TAIL))
        if level in (0.0, 0.5, 1.0) or min(level, 1.0 - level) * repeats >= 0.9
    )


def samples_for(level: float) -> int:
    """Fewest samples of a cell that carry a quantile level other than the extremes, see `levels_for`."""
    return math.ceil(round(0.9 / min(level, 1.0 - level), 6))


@dataclass(frozen=True, eq=False)
class FittedTable:
    """A service table and what was seen on the way to it.

    Attributes
    ----------
    rows : TableRows
        What is written.
    counts : tuple of int
        Samples by size.
    moved : float
        Largest change that making it monotone made to a median, as a fraction of it.
    mean_moved : float
        Largest change that it made to the mean of a size, as a signed fraction of it.
    mean_moved_size : int
        Where that is.
    outliers : int
        Samples of more than `OUTLIER` times the median of their cell. They are kept: they are the tail.
    worst_outlier : float
        The largest sample over the median of its cell.
    worst_size : int
        Where that is.
    first_repeat : float
        Median over the blocks of the first repeat that was kept over the median of its size.
    warm_up : int
        Repeats to leave out at the start of a block so that the first one kept is no slower than `WARM_UP`; as many as
        were left out if it is not, or if a size would have none left.
    """

    rows: TableRows
    counts: tuple[int, ...]
    moved: float
    mean_moved: float
    mean_moved_size: int
    outliers: int
    worst_outlier: float
    worst_size: int
    first_repeat: float
    warm_up: int

    @property
    def repeats(self) -> int:
        """Samples of the size that has fewest."""
        return min(self.counts)

    @property
    def samples(self) -> int:
        """Samples of all sizes."""
        return sum(self.counts)

    def knows(self, level: float) -> bool:
        """Whether every size has samples enough to carry a quantile level; else it follows from one sample."""
        return self.repeats >= samples_for(level)

    @property
    def warms_up(self) -> bool:
        """Whether the first repeats that were kept are slower than the rest."""
        return self.first_repeat > WARM_UP


def fit_table(
    samples: SampleSet, model: str, representation: str, *, skip: int = 0, levels: Sequence[float] | None = None
) -> FittedTable:
    """Fit the service table of a pair from its samples of the whole query.

    Parameters
    ----------
    samples : SampleSet
    model, representation : str
    skip : int
        Repeats to leave out at the start of every block of a cell, as warm-up.
    levels : sequence of float, optional
        Quantile levels with 0.5 among them; left out, those that the size with most samples can carry. The tail of a
        size with fewer ends in its largest sample. With the levels that the sparsest size carries every other size
        would lose its tail, and what lies between the last level and the largest sample would be drawn evenly.

    Raises
    ------
    ValueError
        If there are no such samples, or none are left.
    """
    sizes = samples.sizes(model, representation)
    cells = [kept_samples(samples, model, representation, size, skip=skip) for size in sizes]
    if not sizes or any(cell.size == 0 for cell in cells):
        raise ValueError(f"no samples of {model}, {representation} are left to fit")
    levels = tuple(levels) if levels is not None else levels_for(max(cell.size for cell in cells))
    plain = np.array([quantile_row(cell, levels) for cell in cells], dtype=np.float64)
    rows = fit_quantiles(plain, [cell.size for cell in cells])
    medians = np.array([np.median(cell) for cell in cells])
    worst = [float(cell.max() / median) for cell, median in zip(cells, medians, strict=True)]
    middle = levels.index(0.5)
    means, plain_means = (ServiceTable(np.array(sizes), np.array(levels), one).mean_ns for one in (rows, plain))
    mean_moved = means / plain_means - 1.0
    most = int(np.argmax(np.abs(mean_moved)))
    first_repeat, warm_up = _warming_up(samples, model, representation, skip)
    return FittedTable(
        rows=TableRows(
            model,
            representation,
            np.array(sizes, dtype=np.int64),
            np.array(levels),
            np.rint(rows).astype(np.int64),
            stage_means(samples, model, representation, skip=skip),
        ),
        counts=tuple(cell.size for cell in cells),
        moved=float(np.max(np.abs(rows[:, middle] / plain[:, middle] - 1.0))),
        mean_moved=float(mean_moved[most]),
        mean_moved_size=sizes[most],
        outliers=sum(int(np.sum(cell > OUTLIER * m)) for cell, m in zip(cells, medians, strict=True)),
        worst_outlier=max(worst),
        worst_size=sizes[int(np.argmax(worst))],
        first_repeat=first_repeat,
        warm_up=warm_up,
    )


def _warming_up(samples: SampleSet, model: str, representation: str, skip: int) -> tuple[float, int]:
    """Return `first_repeat` and `warm_up` of a fit that leaves out `skip` repeats."""
    blocks: dict[int, list[NDArray[np.int64]]] = {}
    for key, cell in samples.cells.items():
        if key[:3] == (model, representation, TOTAL):
            blocks.setdefault(key.size, []).append(cell)
    most = min(max(cell.size for cell in cells) for cells in blocks.values()) - 1
    # Tried one after the other, each against the medians it would leave, so that the advice, once taken, is the last.
    slow = first_repeat = _first_repeat(blocks, skip)
    warm_up = skip
    while slow > WARM_UP and warm_up < most:
        warm_up += 1
        slow = _first_repeat(blocks, warm_up)
    return first_repeat, warm_up if slow <= WARM_UP else skip


def _first_repeat(blocks: Mapping[int, Sequence[NDArray[np.int64]]], skip: int) -> float:
    """Median over the blocks of all sizes of the repeat after the first `skip` over the median of its size."""
    ratios = []
    for cells in blocks.values():
        median = np.median(np.concatenate([cell[skip:] for cell in cells]))
        ratios += [float(cell[skip] / median) for cell in cells if cell.size > skip + 1]
    return float(np.median(ratios)) if ratios else 1.0


def kept_samples(
    samples: SampleSet, model: str, representation: str, size: int, *, stage: str = TOTAL, skip: int = 0
) -> NDArray[np.int64]:
    """Samples of a size without the first `skip` of every block, int64."""
    if skip == 0:
        return samples.service_ns(model, representation, size, stage)
    parts = [cell[skip:] for key, cell in samples.cells.items() if key[:4] == (model, representation, stage, size)]
    return np.concatenate(parts) if parts else np.empty(0, dtype=np.int64)


def fit_quantiles(rows: NDArray[np.float64], weights: Sequence[float]) -> NDArray[np.float64]:
    """Make every column the nearest one that does not fall, in least squares.

    Parameters
    ----------
    rows : float64, shape (S, Q)
        Quantiles by size; a row does not decrease.
    weights : sequence of float, length S
        Positive, the same for all quantiles of a size: so that rows still do not decrease afterwards.

    Returns
    -------
    float64, shape (S, Q)
        Monotone both ways. The weighted mean of a column is kept.

    References
    ----------
    Barlow, Bartholomew, Bremner, Brunk: Statistical Inference under Order Restrictions, 1972, theorem 1.8 (order).
    """
    from scipy.optimize import isotonic_regression

    weight = np.asarray(weights, dtype=np.float64)
    columns = [isotonic_regression(column, weights=weight).x for column in np.asarray(rows, dtype=np.float64).T]
    # Monotone by theory; the last digit of a float may disagree.
    return np.asarray(np.maximum.accumulate(np.array(columns, dtype=np.float64).T, axis=1))


def service_table(rows: TableRows) -> ServiceTable:
    """Return the table as the simulator reads it: linear between sizes, refused outside."""
    return ServiceTable(rows.sizes, rows.levels, rows.service_ns.astype(np.float64), evidence="measured")


def stage_means(samples: SampleSet, model: str, representation: str, *, skip: int = 0) -> dict[str, dict[int, float]]:
    """Mean time of each measured stage by size, in ns, monotone over the sizes; empty where none was measured."""
    found: dict[str, dict[int, float]] = {}
    for stage in samples.stages(model, representation):
        if stage == TOTAL:
            continue
        sizes = samples.sizes(model, representation, stage)
        cells = [kept_samples(samples, model, representation, size, stage=stage, skip=skip) for size in sizes]
        means = np.array([[cell.mean()] for cell in cells])
        fitted = fit_quantiles(means, [cell.size for cell in cells])[:, 0]
        found[stage] = dict(zip(sizes, fitted.tolist(), strict=True))
    return found
