"""Figures of a run directory, drawn from its summary and its timeline alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from sim.report.figures.heat import grid_of, heat_maps
from sim.report.figures.load import accuracy_over_load, correct_over_load, latency_over_load
from sim.report.figures.mix import path_mix, path_mix_over_load, utilisation, utilisation_over_load
from sim.report.figures.scenarios import correct_bars
from sim.report.figures.series import NEEDS, Run, read_run
from sim.report.figures.style import Drawing, save, styled
from sim.report.figures.tail import exceedance_plots, percentile_plots
from sim.report.figures.timeline import over_time
from sim.report.figures.timeline_devices import devices_over_time
from sim.report.figures.welch import warmup_figures
from sim.report.json_files import read_summary
from sim.report.rundir import TimelinePoint, filled_whole, read_timeline
from sim.report.warmup_file import read_warmup

__all__ = ["FIGURES", "TIMELINE_FIGURES", "Kind", "drawings", "plot_run"]

LEAST_ACCURACY = 1e-5
"""A difference in accuracy below this, a thousandth of a percentage point, is none."""

Drawings = Iterator[tuple[str, Drawing]]


class Kind(NamedTuple):
    """A kind of figure: the question it answers, which runs have it, and what draws it, as (name, figure)."""

    question: str
    has: Callable[[Run], bool]
    draw: Callable[[Run], Drawings]


def _always(run: Run) -> bool:
    return True


def _swept_load(run: Run) -> bool:
    return run.load_axis is not None


def _no_load(run: Run) -> bool:
    return run.load_axis is None


def _accuracy_over_load(run: Run) -> bool:
    known = [value for entry in run.entries if (value := entry.metric("accuracy_served").value) is not None]
    return run.load_axis is not None and max(known, default=0.0) - min(known, default=0.0) > LEAST_ACCURACY


def _not_sla(run: Run) -> bool:
    return run.load_axis is not None and run.load_key != "sla"


def _two_ways(run: Run) -> bool:
    return grid_of(run) is not None


def _along_sla(run: Run) -> Run | None:
    return run if run.load_key == "sla" else run.along("sla")


def _over_sla(run: Run) -> Drawings:
    along = _along_sla(run)
    return correct_over_load(along) if along is not None else iter(())


# In the order to read them in. "Load" is what is on the load axis: an arrival rate if one is swept, else the
# first duration, size, share or number that is (`sim.report.figures.series`).
FIGURES: tuple[Kind, ...] = (
    Kind("up to which load is the SLA met?", _swept_load, lambda run: latency_over_load(run.by_class)),
    Kind("who serves most, well and in time?", _not_sla, correct_over_load),
    Kind("the same, where no load is swept", _no_load, correct_bars),
    Kind("what does a tighter SLA cost?", lambda run: _along_sla(run) is not None, _over_sla),
    Kind("which of all combinations meet the SLA?", _two_ways, heat_maps),
    Kind("how long is the tail?", _always, lambda run: percentile_plots(run.by_class)),
    Kind("how many queries take longer?", _always, lambda run: exceedance_plots(run.by_class)),
    Kind("which path serves as load grows?", _swept_load, path_mix_over_load),
    Kind("which path serves?", _no_load, path_mix),
    Kind("what does load cost in accuracy?", _accuracy_over_load, accuracy_over_load),
    Kind("how busy are devices as load grows?", _swept_load, utilisation_over_load),
    Kind("how busy are devices?", _no_load, utilisation),
)
"""Every kind of figure that a summary may have."""

TIMELINE_FIGURES: tuple[Callable[[Run, Sequence[TimelinePoint]], Drawings], ...] = (over_time, devices_over_time)
"""Those of runs with ``report: {timeline: INTERVAL}``."""


def drawings(run: Run, timeline: Sequence[TimelinePoint] | None = None) -> Drawings:
    """Yield every figure that a run has, with its name. Draw within `styled`."""
    for kind in FIGURES:
        if kind.has(run):
            yield from kind.draw(run)
    if timeline is not None:
        for draw in TIMELINE_FIGURES:
            yield from draw(run, timeline)


def plot_run(run_dir: Path) -> list[Path]:
    """Draw every figure of a run as SVG and PNG into its ``figures`` folder: all of them, or none.

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
    run = read_run(read_summary(run_dir, NEEDS))
    folder = run_dir / "figures"
    files: list[Path] = []
    # A folder with some of the figures would be taken for one with all of them.
    with styled(), filled_whole(folder) as partial:
        for name, figure in drawings(run, read_timeline(run_dir)):
            files += save(figure, partial / name)
        for name, figure in warmup_figures(run, read_warmup(run_dir)):
            files += save(figure, partial / name)
    return [folder / file.name for file in files]
