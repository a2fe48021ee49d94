"""Curves over the offered load: latency, and correct predictions in time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from sim.report.figures.series import Entry, Run
from sim.report.figures.style import (
    Drawing,
    colour,
    dashes,
    legend_beside,
    logarithmic,
    marker,
    new_figure,
    note,
    sla_line,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["correct_predictions", "latency_over_load"]

LOG_RANGE = 20.0
"""A latency axis is logarithmic where the values span more than this factor."""


def _curve(axes: Axes, entries: Sequence[Entry], metric: str, index: int, label: str, scale: float = 1.0) -> None:
    """Draw a metric over the load with its interval as a band; missing values interrupt the line."""
    known = [(entry.load, entry.metric(metric)) for entry in entries if entry.metric(metric).value is not None]
    loads = [load or 0.0 for load, _ in known]
    axes.plot(
        loads,
        [(point.value or 0.0) * scale for _, point in known],
        color=colour(index),
        marker=marker(index),
        linestyle=dashes(index // 8),
        label=label,
    )
    if all(point.low is not None and point.high is not None for _, point in known):
        low = [(point.low or 0.0) * scale for _, point in known]
        high = [(point.high or 0.0) * scale for _, point in known]
        axes.fill_between(loads, low, high, color=colour(index), alpha=0.18, linewidth=0)


def latency_over_load(run: Run) -> Drawing:
    """Draw the percentile that has to meet the SLA over the offered load.

    Saturated scenarios have no tail: they stand as hollow markers at the upper edge, at their load.
    """
    figure, axes = new_figure()
    metric = f"latency_ms_{run.percentile}"
    for index, label in enumerate(run.labels):
        _curve(axes, [entry for entry in run.line(label) if not entry.saturated], metric, index, label)
    values = [v for entry in run.entries if (v := entry.metric(metric).value) is not None and not entry.saturated]
    slas = sorted({float(entry.data["sla_ms"]) for entry in run.entries})
    near = [sla for sla in slas if not values or sla <= 3 * max(values)]
    if values and max(values) > LOG_RANGE * min(values):
        logarithmic(axes)
        top = max([*values, *near]) * 3
        axes.set_ylim(min([*values, *near]) / 1.6, top)
        edge = [top / 1.35**k for k in range(1, 9)]
    else:
        top = max([*values, *near], default=1.0) * 1.35
        axes.set_ylim(0, top)
        edge = [top * (1 - 0.035 * k) for k in range(1, 9)]
    hollow = False
    for index, label in enumerate(run.labels):
        loads = [entry.load or 0.0 for entry in run.line(label) if entry.saturated]
        if loads:
            hollow = True
            axes.plot(
                loads,
                [edge[index % 8]] * len(loads),
                color=colour(index),
                marker=marker(index),
                markerfacecolor="none",
                linestyle="none",
                label="_saturated",
            )
    for sla in slas:
        sla_line(axes, sla)
    axes.set_xlabel(run.load_axis or "")
    axes.set_ylabel(f"{run.percentile} latency, ms")
    axes.set_title(
        f"How does {run.percentile} grow with {'load' if 'load' in (run.load_axis or '') else run.load_axis}?"
    )
    if hollow:
        axes.text(
            1.0, 1.01, "hollow: saturated, no tail", transform=axes.transAxes, ha="right", fontsize=8, color="0.35"
        )
    legend_beside(axes)
    return figure


def correct_predictions(run: Run) -> Drawing:
    """Draw correct predictions per second within the SLA over the offered load."""
    figure, axes = new_figure()
    metric = "correct_predictions_within_sla_per_s"
    for index, label in enumerate(run.labels):
        entries = run.line(label)
        _curve(axes, entries, metric, index, label, 1e-3)
        saturated = [entry for entry in entries if entry.saturated]
        axes.plot(
            [entry.load or 0.0 for entry in saturated],
            [(entry.metric(metric).value or 0.0) * 1e-3 for entry in saturated],
            color=colour(index),
            marker=marker(index),
            markerfacecolor="white",
            linestyle="none",
            label="_saturated",
        )
    axes.set_ylim(bottom=0)
    axes.set_xlabel(run.load_axis or "")
    axes.set_ylabel("correct predictions in time, thousands/s")
    axes.set_title("Who serves the most correct predictions within the SLA?")
    if any(entry.saturated for entry in run.entries):
        note(axes, "hollow: saturated")
    legend_beside(axes)
    return figure
