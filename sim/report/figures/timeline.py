"""Metrics over time: load, tail, SLA attainment and accuracy, attempts and nodes up, one panel below the other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from sim.report.figures.series import Entry, Run, file_name
from sim.report.figures.style import Drawing, colour, dashes, logarithmic, sla_line
from sim.report.rundir import TimelinePoint

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["over_time"]

PANELS = (
    ("offered_per_s", "offered, queries/s", 1.0),
    ("attempts_per_s", "attempts/s", 1.0),
    ("nodes_up", "nodes up", 1.0),
    ("latency_ms_p99", "p99 latency, ms", 1.0),
    ("sla_attainment", "in time, %", 100.0),
    ("accuracy_served", "accuracy, %", 100.0),
)
OPTIONAL = ("attempts_per_s", "nodes_up")
"""Metrics that only some scenarios have: where none has one its panel is left out."""
FROM_ZERO = ("offered_per_s", "attempts_per_s", "nodes_up")
LOG_RANGE = 20.0
"""The latency axis is logarithmic where the values span more than this factor."""


def over_time(run: Run, timeline: Sequence[TimelinePoint]) -> Iterator[tuple[str, Drawing]]:
    """Yield a figure for every load: the scenarios under it over time, with their intervals as bands."""
    by_scenario: dict[tuple[str, ...], dict[str, list[TimelinePoint]]] = {}
    for point in timeline:
        by_scenario.setdefault(point.scenario, {}).setdefault(point.metric, []).append(point)
    for load in run.loads:
        entries = [entry for entry in run.entries if entry.load_label == load]
        yield f"timeline-{file_name(load)}" if load else "timeline", _figure(entries, by_scenario, load)


def _figure(
    entries: Sequence[Entry], by_scenario: dict[tuple[str, ...], dict[str, list[TimelinePoint]]], load: str
) -> Drawing:
    from matplotlib.figure import Figure

    found = [by_scenario.get(_scenario(entry), {}) for entry in entries]
    shown = [panel for panel in PANELS if panel[0] not in OPTIONAL or any(panel[0] in metrics for metrics in found)]
    figure = Figure()
    figure.set_size_inches(figure.get_figwidth(), 2.1 * len(shown))
    panels = figure.subplots(len(shown), 1, sharex=True)
    for axes, (metric, title, scale) in zip(panels, shown, strict=True):
        for index, (entry, metrics) in enumerate(zip(entries, found, strict=True)):
            _steps(axes, metrics.get(metric, []), index, entry.label, scale)
        axes.set_ylabel(title)
        if metric in FROM_ZERO:
            axes.set_ylim(bottom=0)
        elif metric == "sla_attainment":
            low, high = axes.get_ylim()
            axes.set_ylim(max(low, -5.0), min(high, 105.0))
        elif metric == "accuracy_served":
            _widen(axes)
        elif metric == "latency_ms_p99":
            tails = [point.value for metrics in found for point in metrics.get(metric, []) if point.value is not None]
            _finish_latency(axes, tails, sorted({float(entry.data["sla_ms"]) for entry in entries}))
    panels[-1].set_xlabel("time, s")
    panels[0].set_title(f"What happens over time{f' at {load}' if load else ''}?")
    handles, labels = panels[0].get_legend_handles_labels()
    if len(handles) > 1:
        panels[0].legend(handles, labels, loc="upper left", bbox_to_anchor=(1.01, 1.0), borderaxespad=0.0)
    return figure


def _scenario(entry: Entry) -> tuple[str, ...]:
    """Return the scenario's parameters as `timeline.csv` writes them."""
    return tuple(str(value) for value in entry.data["parameters"].values())


def _steps(axes: Axes, points: Sequence[TimelinePoint], index: int, label: str, scale: float) -> None:
    """Draw a metric as steps, one an interval; a missing value interrupts the line."""
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


def _finish_latency(axes: Axes, drawn: Sequence[float], slas: Sequence[float]) -> None:
    if drawn and max(drawn) > LOG_RANGE * min(drawn):
        logarithmic(axes)
    else:
        axes.set_ylim(bottom=0)
    for sla in slas:
        sla_line(axes, sla)


def _widen(axes: Axes) -> None:
    """Give values that are all but equal an axis of plain numbers."""
    low, high = axes.get_ylim()
    middle = (low + high) / 2
    if high - low < 1e-3:
        axes.set_ylim(middle - 0.5, middle + 0.5)
