"""How queries are served over time: the mix of paths and the utilisation of devices, one row a scenario."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sim.report.figures.series import Entry, Run, file_name
from sim.report.figures.style import Drawing, colour, dashes, hatch
from sim.report.figures.timeline import Points, by_scenario, scenario_key, steps
from sim.report.rundir import TimelinePoint

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes

__all__ = ["devices_over_time"]

MOST_ROWS = 12
"""Scenarios in one figure, which says if there are more; those are in timeline.csv."""
ROW_IN, LEGEND_LINE_IN = 1.9, 0.19
"""Heights in inches of a row of panels and of a line of the legend."""


def devices_over_time(run: Run, timeline: Sequence[TimelinePoint]) -> Iterator[tuple[str, Drawing]]:
    """Yield a figure for every load: the utilisation of each scenario under it, and its path mix if there are paths."""
    points = by_scenario(timeline)
    for load in run.loads:
        entries = [entry for entry in run.entries if entry.load_label == load]
        yield f"timeline-devices-{file_name(load)}" if load else "timeline-devices", _figure(run, entries, points, load)


def _figure(run: Run, entries: Sequence[Entry], points: dict[tuple[str, ...], Points], load: str) -> Drawing:
    from matplotlib.figure import Figure

    shown = entries[:MOST_ROWS]
    found = [points.get(scenario_key(entry), {}) for entry in shown]
    # Colours are those of the figure of the path mix of the whole run.
    path_of = dict(enumerate(dict.fromkeys(path for entry in run.entries for path in entry.data["path_mix"])))
    taken = {index: path for index, path in path_of.items() if any(_takes(metrics, path) for metrics in found)}
    if len(taken) < 2:
        taken = {}
    kinds = list(dict.fromkeys(kind for entry in shown for kind in entry.data["utilisation"]))
    figure = Figure()
    height = max(ROW_IN * len(shown), LEGEND_LINE_IN * (len(taken) + len(kinds) + 3))
    figure.set_size_inches((1.4 if taken else 1.0) * figure.get_figwidth(), 0.7 + height)
    rows = figure.subplots(len(shown), 2 if taken else 1, sharex=True, squeeze=False)
    for panels, entry, metrics in zip(rows, shown, found, strict=True):
        if taken:
            _stacked(panels[0], metrics, taken)
        _busy(panels[-1], metrics, kinds)
        panels[0].set_title(entry.label, fontsize=9, fontweight="normal")
    for axes in rows[-1]:
        axes.set_xlabel("time, s")
    _legend(figure, taken, kinds)
    title = f"{'What serves the queries' if taken else 'How busy are the devices'}{f' at {load}' if load else ''}?"
    if len(shown) < len(entries):
        title += f" The first {len(shown)} of {len(entries)} scenarios"
    figure.suptitle(title, x=0.01, ha="left", fontsize=10.5, fontweight="bold")
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
    axes.set_ylabel("share of samples, %")
    axes.set_ylim(0, 100)
    axes.margins(x=0)


def _busy(axes: Axes, metrics: Points, kinds: Sequence[str]) -> None:
    for index, kind in enumerate(kinds):
        steps(axes, metrics.get(f"utilisation:{kind}", []), index, kind, 100.0)
    axes.set_ylabel("busy lanes, %")
    axes.set_ylim(-2, 102)
    axes.margins(x=0)


def _surface(index: int) -> dict[str, Any]:
    """Return how the area of a path looks."""
    return {"facecolor": colour(index), "hatch": hatch(index), "edgecolor": "white", "linewidth": 0, "alpha": 0.85}


def _legend(figure: Drawing, taken: Mapping[int, str], kinds: Sequence[str]) -> None:
    """Name the paths, the last one on top as it is stacked, and the kinds of device, right of all panels."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    def heading() -> Artist:
        return Patch(facecolor="none", edgecolor="none")

    handles: list[Artist] = [heading(), *(Patch(**_surface(index)) for index in reversed(list(taken)))] if taken else []
    names = ["paths", *reversed(list(taken.values()))] if taken else []
    handles += [heading(), *(Line2D([], [], color=colour(i), ls=dashes(i // 8)) for i in range(len(kinds)))]
    names += ["devices", *kinds]
    figure.legend(handles, names, loc="outside right upper")
