"""How queries are served over time: the mix of paths and the utilisation of devices, a row for each scenario."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sim.report.figures.colours import PAPER
from sim.report.figures.layout import area_key, headline, line_key, panel_title, panels
from sim.report.figures.scenarios import kinds_of, paths_of
from sim.report.figures.series import Entry, Run, file_name
from sim.report.figures.style import Drawing, colour, hatch
from sim.report.figures.timeline import Points, by_scenario, scenario_key, steps
from sim.report.rundir import TimelinePoint

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["devices_over_time"]

MOST_ROWS = 12
"""Scenarios in one figure, which says if there are more; those are in timeline.csv."""
ROW_IN = 1.5
"""Height of a row of panels."""


def devices_over_time(run: Run, timeline: Sequence[TimelinePoint]) -> Iterator[tuple[str, Drawing]]:
    """Yield a figure for every load: the utilisation of each scenario under it, and its path mix if there are paths."""
    points = by_scenario(timeline)
    for load in run.loads:
        entries = run.at(load)
        yield f"timeline-devices-{file_name(load)}" if load else "timeline-devices", _figure(run, entries, points, load)


def _figure(run: Run, entries: Sequence[Entry], points: dict[tuple[str, ...], Points], load: str) -> Drawing:
    shown = entries[:MOST_ROWS]
    found = [points.get(scenario_key(entry), {}) for entry in shown]
    # Colours are those of the figure of the path mix of the whole run.
    path_of = dict(enumerate(paths_of(run)))
    taken = {index: path for index, path in path_of.items() if any(_takes(metrics, path) for metrics in found)}
    if len(taken) < 2:
        taken = {}
    kinds = kinds_of(shown)
    columns = 2 if taken else 1
    figure, grid = panels(columns * len(shown), columns, ROW_IN, sharex=True)
    for row, (entry, metrics) in enumerate(zip(shown, found, strict=True)):
        own = grid[columns * row : columns * (row + 1)]
        if taken:
            _stacked(own[0], metrics, taken)
        _busy(own[-1], metrics, kinds)
        panel_title(own[0], entry.label)
    for axes in grid[-columns:]:
        axes.set_xlabel("time, s")
    where = f" at {load}" if load else ""
    title = f"What serves the queries{where}?" if taken else f"How busy are the devices{where}?"
    notes = [f"areas: {len(taken)} paths; lines: kinds of devices" if taken else ""]
    notes += [f"bands: {run.certainty}" if run.certainty else ""]
    notes += [f"the first {len(shown)} of {len(entries)} scenarios" if len(shown) < len(entries) else ""]
    keys = [area_key(index, path) for index, path in taken.items()]
    keys += [line_key(index, kind, marked=False) for index, kind in enumerate(kinds)]
    headline(figure, title, "; ".join(note for note in notes if note), keys)
    return figure


def _takes(metrics: Points, path: str) -> bool:
    """Whether a scenario takes a path at all; one that none takes would be a line in the legend, no more."""
    return any(point.value for point in metrics.get(f"path_mix:{path}", []))


def _stacked(axes: Axes, metrics: Points, paths: Mapping[int, str]) -> None:
    """Stack the shares of the paths; an interval in which nothing starts is empty."""
    floor: list[float] = []
    for index, path in paths.items():
        points = metrics.get(f"path_mix:{path}", [])
        if not points:
            continue
        floor = floor or [0.0] * len(points)
        top = [low + 100.0 * (point.value or 0.0) for low, point in zip(floor, points, strict=True)]
        times = [point.start_s for point in points] + [points[-1].end_s]
        axes.fill_between(times, [*floor, floor[-1]], [*top, top[-1]], step="post", **_surface(index))
        floor = top
    axes.set_ylabel("samples, %")
    axes.set_ylim(0, 100)
    axes.margins(x=0)


def _busy(axes: Axes, metrics: Points, kinds: Sequence[str]) -> None:
    for index, kind in enumerate(kinds):
        steps(axes, metrics.get(f"utilisation:{kind}", []), index, 100.0)
    axes.set_ylabel("busy lanes, %")
    axes.set_ylim(-2, 102)
    axes.margins(x=0)


def _surface(index: int) -> dict[str, Any]:
    """Return how the area of a path looks."""
    return {"facecolor": colour(index), "hatch": hatch(index), "edgecolor": PAPER, "linewidth": 0}
