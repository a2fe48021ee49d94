"""Errors of a fit at the sizes that it did not see."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from sim.report.figures.colours import GRID, MUTED
from sim.report.figures.layout import headline, line_key, panels
from sim.report.figures.style import colour, marker, save, styled

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["plot_held_out"]

Series = tuple[str, NDArray[np.int64], Mapping[float, NDArray[np.float64]]]


def plot_held_out(stem: Path, title: str, series: Sequence[Series], limits: Mapping[float, float]) -> list[Path]:
    """Draw the signed errors over size, one panel for each quantile level, as SVG and PNG.

    Parameters
    ----------
    stem : Path
        The files without their suffixes.
    title : str
    series : sequence of (label, sizes, errors)
        `sizes` int64 (N,) and, by level, `errors` float64 (N,): predicted over measured, less 1. A level may
        be missing; one that all lack gets no panel.
    limits : dict
        By level: the error that counts as small, drawn as a band.

    Raises
    ------
    RunDirectoryError
        If a file cannot be written.
    """
    with styled():
        return save(_figure(title, series, limits), stem)


def _figure(title: str, series: Sequence[Series], limits: Mapping[float, float]) -> Figure:
    limits = {level: limit for level, limit in limits.items() if any(level in errors for _, _, errors in series)}
    figure, grid = panels(len(limits), 1, 2.6, sharex=True)
    for axes, (level, limit) in zip(grid, limits.items(), strict=True):
        axes.axhspan(-100 * limit, 100 * limit, color=GRID, linewidth=0)
        axes.axhline(0.0, color=MUTED, linewidth=0.8)
        for index, (_, sizes, errors) in enumerate(series):
            if level in errors:
                percent = 100 * errors[level]
                axes.plot(sizes, percent, linestyle="none", marker=marker(index), markersize=3.5, color=colour(index))
        axes.set_ylabel(f"error of p{100 * level:g}, %")
    grid[-1].set_xlabel("query size, samples")
    figure.align_ylabels(grid)
    keys = [line_key(index, label, style="none") for index, (label, _, _) in enumerate(series)]
    small = ", ".join(f"{100 * limit:g}% at p{100 * level:g}" for level, limit in limits.items())
    headline(figure, title, f"grey: errors that count as small, {small}", keys)
    return figure
