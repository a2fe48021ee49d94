"""The check of a fit: half of the sizes predict the other half.

Every second size is fitted, and the fit is read at the sizes between, as the simulator reads it; then the other way
round. A size outside those that were fitted is not predicted, because a fit refuses to extrapolate: so the smallest and
the largest are not judged. What a size should be is its sample quantile, which has noise of its own; the noise floor
says how often a second measurement of the same cell would agree with the first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sim.calibrate.fit import fit_quantiles, kept_samples, levels_for
from sim.calibrate.sample_set import SampleSet
from sim.calibrate.samples import quantile_row
from sim.profile.service import ServiceTable

__all__ = ["LIMITS", "HeldOut", "Judged", "check_held_out"]

LIMITS: dict[float, float] = {0.5: 0.05, 0.99: 0.15}
"""By quantile level: the error that counts as small."""

_RESAMPLES = 50


@dataclass(frozen=True, eq=False)
class Judged:
    """Predictions of one quantile of the sizes that were held out.

    Attributes
    ----------
    error : float64, shape (N,)
        Predicted over measured, less 1, by size.
    noise : float64, shape (N,)
        Standard deviation of the measured quantile over its value, from resampling the repeats.
    floor : float
        Share of pairs of measurements of the same cell, both resampled, that agree within the limit.
    limit : float
    """

    error: NDArray[np.float64]
    noise: NDArray[np.float64]
    floor: float
    limit: float

    @property
    def within(self) -> float:
        """Share of the sizes that were predicted within the limit."""
        return float(np.mean(np.abs(self.error) <= self.limit))


@dataclass(frozen=True, eq=False)
class HeldOut:
    """The check of one model and representation.

    Attributes
    ----------
    model, representation : str
    sizes : int64, shape (N,)
        Sizes that were predicted.
    judged : dict
        Quantile level -> `Judged`.
    """

    model: str
    representation: str
    sizes: NDArray[np.int64]
    judged: dict[float, Judged]


def check_held_out(samples: SampleSet, model: str, representation: str, *, skip: int = 0) -> HeldOut | None:
    """Predict each size from a fit on every second one, none of which is that size.

    Parameters
    ----------
    samples : SampleSet
    model, representation : str
    skip : int
        Repeats to leave out at the start of every block of a cell.

    Returns
    -------
    HeldOut or None
        None with fewer than four sizes, where half of them span none of the others.
    """
    sizes = np.array(samples.sizes(model, representation), dtype=np.int64)
    if sizes.size < 4:
        return None
    cells = [kept_samples(samples, model, representation, int(size), skip=skip) for size in sizes]
    levels = levels_for(min(cell.size for cell in cells))
    predicted = {level: np.full(sizes.size, np.nan) for level in LIMITS}
    for first in (0, 1):
        fitted = np.arange(first, sizes.size, 2)
        between = np.arange(1 - first, sizes.size, 2)
        between = between[(between > fitted[0]) & (between < fitted[-1])]
        rows = np.array([quantile_row(cells[i], levels) for i in fitted], dtype=np.float64)
        rows = np.rint(fit_quantiles(rows, [cells[i].size for i in fitted]))
        table = ServiceTable(sizes[fitted], np.array(levels), rows)
        for level, values in predicted.items():
            values[between] = table.quantile_at(sizes[between], level)
    judged = np.flatnonzero(~np.isnan(predicted[0.5]))
    return HeldOut(
        model,
        representation,
        sizes[judged],
        {
            level: _judge(values[judged], [cells[i] for i in judged], level, LIMITS[level])
            for level, values in predicted.items()
        },
    )


def _judge(predicted: NDArray[np.float64], cells: Sequence[NDArray[np.int64]], level: float, limit: float) -> Judged:
    measured = np.array([np.quantile(cell, level, method="hazen") for cell in cells])
    random = np.random.default_rng(0)
    noise = np.empty(len(cells))
    agree = np.empty(len(cells))
    for number, cell in enumerate(cells):
        repeated = random.choice(cell, size=(2, _RESAMPLES, cell.size))
        one, other = np.quantile(repeated, level, axis=2, method="hazen")
        noise[number] = np.std(one) / measured[number]
        agree[number] = np.mean(np.abs(one / other - 1.0) <= limit)
    return Judged(predicted / measured - 1.0, noise, float(np.mean(agree)), limit)
