"""Figures of a run directory, drawn from its summary and its timeline alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from sim.report.figures.load import correct_predictions, latency_over_load
from sim.report.figures.scenarios import correct_bars, path_mix, utilisation
from sim.report.figures.series import Run, read_run
from sim.report.figures.style import Drawing, save, styled
from sim.report.figures.tail import percentile_plots
from sim.report.figures.timeline import over_time
from sim.report.figures.timeline_devices import devices_over_time
from sim.report.rundir import read_summary, read_timeline

__all__ = ["plot_run"]

Figures = Iterator[tuple[str, Drawing]]


def plot_run(run_dir: Path) -> list[Path]:
    """Draw every figure of a run as SVG and PNG into its ``figures`` folder.

    Parameters
    ----------
    run_dir : Path
        A run directory with ``summary.json``.

    Returns
    -------
    list of Path
        The files written. The same summary gives the same SVG bytes.

    Raises
    ------
    RunDirectoryError
        If there is no summary, or it is damaged, or a file cannot be written.
    """
    run = read_run(read_summary(run_dir))
    folder = run_dir / "figures"
    files: list[Path] = []
    with styled():
        for name, figure in _figures(run):
            files += save(figure, folder / name)
        timeline = read_timeline(run_dir)
        if timeline is not None:
            for name, figure in (*over_time(run, timeline), *devices_over_time(run, timeline)):
                files += save(figure, folder / name)
    return files


def _figures(run: Run) -> Figures:
    if run.load_axis is not None:
        if not all(entry.saturated for entry in run.by_class.entries):
            yield "latency-load", latency_over_load(run.by_class)
        yield "correct-predictions-load", correct_predictions(run)
    else:
        yield "correct-predictions", correct_bars(run)
    yield from percentile_plots(run.by_class)
    makers: tuple[Callable[[Run], Iterator[tuple[str, Any]]], ...] = (path_mix, utilisation)
    for make in makers:
        yield from make(run)
