"""Metrics over time: load, tail, attainment, queue, accuracy, attempts and nodes up, one panel below the other."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from sim.report.figures.colours import INK
from sim.report.figures.layout import beside, headline, line_key, panels
from sim.report.figures.series import Entry, Run, file_name
from sim.report.figures.style import Drawing, colour, dashes, large_numbers, logarithmic, shown_limit
from sim.report.rundir import TimelinePoint
from sim.report.written import duration_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["Points", "by_scenario", "over_time", "scenario_key", "steps"]

Points = dict[str, list[TimelinePoint]]
"""The points of a scenario, in their order, by metric."""

PANELS = (
    ("offered_per_s", "offered, queries/s", 1.0),
    ("attempts_per_s", "attempts/s", 1.0),
    ("nodes_up", "nodes up", 1.0),
    ("latency_ms_p99", "p99 latency, ms", 1.0),
    ("sla_attainment", "in time, %", 100.0),
    ("queries_in_system", "queries in system", 1.0),
    ("accuracy_served", "accuracy, %", 100.0),
)
OPTIONAL = ("attempts_per_s", "nodes_up")
"""Metrics that only some scenarios have: where none has one its panel is left out."""
FROM_ZERO = ("offered_per_s", "attempts_per_s", "nodes_up", "queries_in_system")
MOST_LINES = 8
"""Scenarios in one figure; more go to further figures."""
PANEL_IN = 1.45
LOG_RANGE = 20.0
"""The latency axis is logarithmic where the values span more than this factor."""
ROOM_FOR_BANDS = 1.5
"""Bands of few replications may be far wider than anything that was measured: they are cut at this multiple of it."""
LEAST_SHARE = 1e-5
"""A share that changes by less does not change."""
WIDTHS = (3.4, 1.4)
"""Widths of the first line and of the last, so that lines that fall together are all seen."""


def over_time(run: Run, timeline: Sequence[TimelinePoint]) -> Iterator[tuple[str, Drawing]]:
    """Yield a figure for every load: the scenarios under it over time, with their intervals as bands."""
    points = by_scenario(timeline)
    for load in run.loads:
        entries = run.at(load)
        stem = f"timeline-{file_name(load)}" if load else "timeline"
        for page in range(math.ceil(len(entries) / MOST_LINES)):
            first = page * MOST_LINES
            shown = entries[first : first + MOST_LINES]
            where = f"scenarios {first + 1} to {first + len(shown)} of {len(entries)}"
            figure = _figure(run, shown, points, load, where if len(shown) < len(entries) else "")
            yield f"{stem}-{page + 1}" if page else stem, figure


def by_scenario(timeline: Sequence[TimelinePoint]) -> dict[tuple[str, ...], Points]:
    """Return the points of each scenario, by its `scenario_key`."""
    points: dict[tuple[str, ...], Points] = {}
    for point in timeline:
        points.setdefault(point.scenario, {}).setdefault(point.metric, []).append(point)
    return points


def _figure(
    run: Run, entries: Sequence[Entry], points: dict[tuple[str, ...], Points], load: str, where: str
) -> Drawing:
    found = [points.get(scenario_key(entry), {}) for entry in entries]
    shown = [panel for panel in PANELS if panel[0] not in OPTIONAL or any(panel[0] in metrics for metrics in found)]
    if not _varies("accuracy_served", found):
        shown = [panel for panel in shown if panel[0] != "accuracy_served"]
    figure, grid = panels(len(shown), 1, PANEL_IN, sharex=True)
    notes = [f"bands: {run.certainty}" if run.certainty else "", "dotted: p50", where]
    for axes, (metric, title, scale) in zip(grid, shown, strict=True):
        if metric == "offered_per_s" and len(found) > 1 and _alike(metric, found):
            steps(axes, found[0].get(metric, []), 0, scale, line_colour=INK)
            title += "\n(all alike)"
        else:
            for index, metrics in enumerate(found):
                width = WIDTHS[0] - (WIDTHS[0] - WIDTHS[1]) * index / max(len(entries) - 1, 1)
                steps(axes, metrics.get(metric, []), index, scale, width)
                if metric == "latency_ms_p99":
                    _median(axes, metrics.get("latency_ms_p50", []), index)
        axes.set_ylabel(title)
        axes.margins(x=0)
        if metric in FROM_ZERO:
            axes.set_ylim(0, _height(_values(metric, found), axes.get_ylim()[1]))
            large_numbers(axes)
        elif metric == "sla_attainment":
            low, high = axes.get_ylim()
            axes.set_ylim(max(low, -5.0), min(high, 105.0))
        elif metric == "accuracy_served":
            _widen(axes)
        elif metric == "latency_ms_p99":
            # The line is that of all queries together, which no limit of a class is about.
            slas = {float(entry.data["sla_ms"]) for entry in entries if not entry.data.get("classes")}
            notes += _finish_latency(axes, found, sorted(slas), len(shown))
            notes += ["of all classes; each has its own SLA"] if any(one.data.get("classes") for one in entries) else []
    grid[-1].set_xlabel("time, s")
    figure.align_ylabels(grid)
    keys = [line_key(index, entry.label, marked=False) for index, entry in enumerate(entries)]
    question = f"What happens over time{f' at {load}' if load else ''}?"
    headline(figure, question, "; ".join(note for note in notes if note), keys)
    return figure


def _varies(metric: str, found: Sequence[Points]) -> bool:
    """Whether a share changes at all, in time or between scenarios."""
    values = _values(metric, found)
    return bool(values) and max(values) - min(values) > LEAST_SHARE


def _alike(metric: str, found: Sequence[Points]) -> bool:
    """Whether all scenarios have the same values: with common random numbers they have one load, drawn once."""
    first, *others = ([point.value for point in metrics.get(metric, [])] for metrics in found)
    return all(other == first for other in others)


def scenario_key(entry: Entry) -> tuple[str, ...]:
    """Return the scenario's parameters as `timeline.csv` writes them."""
    return tuple(str(value) for value in entry.data["parameters"].values())


def steps(
    axes: Axes,
    points: Sequence[TimelinePoint],
    index: int,
    scale: float,
    width: float = WIDTHS[1],
    line_colour: str | None = None,
) -> None:
    """Draw a metric as steps, one an interval, with its interval as a band; a missing value interrupts the line."""
    if not points:
        return
    times = [point.start_s for point in points] + [points[-1].end_s]

    def stretched(values: Sequence[float | None]) -> list[float]:
        numbers = [float("nan") if value is None else value * scale for value in values]
        return [*numbers, numbers[-1]]

    axes.step(
        times,
        stretched([point.value for point in points]),
        where="post",
        color=line_colour or colour(index),
        linestyle=dashes(index // 8),
        linewidth=width,
    )
    axes.fill_between(
        times,
        stretched([point.low for point in points]),
        stretched([point.high for point in points]),
        step="post",
        color=line_colour or colour(index),
        alpha=0.18,
        linewidth=0,
    )


def _median(axes: Axes, points: Sequence[TimelinePoint], index: int) -> None:
    """Draw the median latency as a thin dotted line, without its interval."""
    if points:
        values = [float("nan") if point.value is None else point.value for point in points]
        times = [point.start_s for point in points] + [points[-1].end_s]
        axes.step(times, [*values, values[-1]], where="post", color=colour(index), linestyle=":", linewidth=1.0)


def _values(metric: str, found: Sequence[Points]) -> list[float]:
    return [point.value for metrics in found for point in metrics.get(metric, []) if point.value is not None]


def _height(drawn: Sequence[float], wanted: float) -> float:
    """Return the upper end of an axis from zero: what bands want of it, within reason."""
    return min(wanted, ROOM_FOR_BANDS * max(drawn, default=0.0) or wanted)


def _finish_latency(axes: Axes, found: Sequence[Points], slas: Sequence[float], rows: int) -> list[str]:
    """Set the latency axis and draw the limits; return what is to be said of those that lie above it."""
    drawn = [*_values("latency_ms_p99", found), *_values("latency_ms_p50", found)]
    if drawn and max(drawn) > LOG_RANGE * min(drawn):
        axes.set_ylim(0.7 * min(drawn), ROOM_FOR_BANDS * max(drawn))
        logarithmic(axes, ticks=(1.0,))
    else:
        axes.set_ylim(0, _height(drawn, axes.get_ylim()[1]))
        large_numbers(axes)
    shown = [sla for sla in slas if shown_limit(axes, sla)]
    beside(axes, [(sla, f"SLA\n{sla:g} ms") for sla in shown], rows=rows)
    return [f"the SLA of {duration_text(sla)} lies above" for sla in slas if sla not in shown]


def _widen(axes: Axes) -> None:
    """Give values that are all but equal an axis of plain numbers."""
    low, high = axes.get_ylim()
    middle = (low + high) / 2
    if high - low < 1e-3:
        axes.set_ylim(middle - 0.5, middle + 0.5)
