"""Metrics over time: load, tail, SLA attainment and accuracy, attempts and nodes up, one panel below the other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from sim.report.figures.series import Entry, Run, file_name
from sim.report.figures.style import Drawing, colour, dashes, large_numbers, logarithmic, sla_line
from sim.report.rundir import TimelinePoint

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["Points", "by_scenario", "over_time", "scenario_key", "steps"]

Points = dict[str, list[TimelinePoint]]
"""The points of a scenario, in their order, by metric."""

PANELS = (
    ("offered_per_s", "offered, queries/s", 1.0),
    ("attempts_per_s", "attempts/s", 1.0),
    ("nodes_up", "nodes up", 1.0),
    ("latency_ms_p99", "p99 (p50 dotted), ms", 1.0),
    ("sla_attainment", "in time, %", 100.0),
    ("accuracy_served", "accuracy, %", 100.0),
)
OPTIONAL = ("attempts_per_s", "nodes_up")
"""Metrics that only some scenarios have: where none has one its panel is left out."""
FROM_ZERO = ("offered_per_s", "attempts_per_s", "nodes_up")
LOG_RANGE = 20.0
"""The latency axis is logarithmic where the values span more than this factor."""
ROOM_FOR_BANDS = 1.5
"""Bands of few replications may be far wider than anything that was measured: they are cut at this multiple of it."""
WIDTHS = (3.4, 1.4)
"""Widths of the first line and of the last, so that lines that fall together are all seen."""


def over_time(run: Run, timeline: Sequence[TimelinePoint]) -> Iterator[tuple[str, Drawing]]:
    """Yield a figure for every load: the scenarios under it over time, with their intervals as bands."""
    points = by_scenario(timeline)
    for load in run.loads:
        entries = [entry for entry in run.entries if entry.load_label == load]
        yield f"timeline-{file_name(load)}" if load else "timeline", _figure(entries, points, load)


def by_scenario(timeline: Sequence[TimelinePoint]) -> dict[tuple[str, ...], Points]:
    """Return the points of each scenario, by its `scenario_key`."""
    points: dict[tuple[str, ...], Points] = {}
    for point in timeline:
        points.setdefault(point.scenario, {}).setdefault(point.metric, []).append(point)
    return points


def _figure(entries: Sequence[Entry], points: dict[tuple[str, ...], Points], load: str) -> Drawing:
    from matplotlib.figure import Figure

    found = [points.get(scenario_key(entry), {}) for entry in entries]
    shown = [panel for panel in PANELS if panel[0] not in OPTIONAL or any(panel[0] in metrics for metrics in found)]
    figure = Figure()
    figure.set_size_inches(figure.get_figwidth(), 2.1 * len(shown))
    panels = figure.subplots(len(shown), 1, sharex=True)
    for axes, (metric, title, scale) in zip(panels, shown, strict=True):
        for index, (entry, metrics) in enumerate(zip(entries, found, strict=True)):
            width = WIDTHS[0] - (WIDTHS[0] - WIDTHS[1]) * index / max(len(entries) - 1, 1)
            steps(axes, metrics.get(metric, []), index, entry.label, scale, width)
            if metric == "latency_ms_p99":
                _median(axes, metrics.get("latency_ms_p50", []), index)
        axes.set_ylabel(title)
        if metric in FROM_ZERO:
            axes.set_ylim(0, _height(_values(metric, found), axes.get_ylim()[1]))
            large_numbers(axes)
        elif metric == "sla_attainment":
            low, high = axes.get_ylim()
            axes.set_ylim(max(low, -5.0), min(high, 105.0))
        elif metric == "accuracy_served":
            _widen(axes)
        elif metric == "latency_ms_p99":
            _finish_latency(axes, found, sorted({float(entry.data["sla_ms"]) for entry in entries}))
    panels[-1].set_xlabel("time, s")
    panels[0].set_title(f"What happens over time{f' at {load}' if load else ''}?")
    handles, labels = panels[0].get_legend_handles_labels()
    if len(handles) > 1:
        panels[0].legend(handles, labels, loc="upper left", bbox_to_anchor=(1.01, 1.0), borderaxespad=0.0)
    return figure


def scenario_key(entry: Entry) -> tuple[str, ...]:
    """Return the scenario's parameters as `timeline.csv` writes them."""
    return tuple(str(value) for value in entry.data["parameters"].values())


def steps(
    axes: Axes, points: Sequence[TimelinePoint], index: int, label: str, scale: float, width: float = WIDTHS[1]
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
        color=colour(index),
        linestyle=dashes(index // 8),
        linewidth=width,
        label=label or "_",
    )
    axes.fill_between(
        times,
        stretched([point.low for point in points]),
        stretched([point.high for point in points]),
        step="post",
        color=colour(index),
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


def _finish_latency(axes: Axes, found: Sequence[Points], slas: Sequence[float]) -> None:
    drawn = [*_values("latency_ms_p99", found), *_values("latency_ms_p50", found)]
    if drawn and max(drawn) > LOG_RANGE * min(drawn):
        logarithmic(axes)
        axes.set_ylim(0.7 * min(drawn), ROOM_FOR_BANDS * max(drawn))
    else:
        axes.set_ylim(0, _height(drawn, axes.get_ylim()[1]))
    for sla in slas:
        sla_line(axes, sla)


def _widen(axes: Axes) -> None:
    """Give values that are all but equal an axis of plain numbers."""
    low, high = axes.get_ylim()
    middle = (low + high) / 2
    if high - low < 1e-3:
        axes.set_ylim(middle - 0.5, middle + 0.5)
