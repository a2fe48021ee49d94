"""Percentile plots: latency to the end of the tail that the run can support."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from sim.report.figures.load import LOG_RANGE
from sim.report.figures.series import Entry, Run, file_name
from sim.report.figures.style import Drawing, colour, dashes, legend_beside, logarithmic, new_figure, sla_line

__all__ = ["percentile_plots"]

TICKS = (0.5, 0.9, 0.99, 0.999, 0.9999, 0.99999)


def percentile_plots(run: Run) -> Iterator[tuple[str, Drawing]]:
    """Yield a percentile plot for each load, or one for all scenarios where no load is swept.

    The x axis is -log10(1 - p), so that every decade of the tail is as wide; lines end where fewer than ten queries
    of a replication lie beyond.
    """
    if run.load_axis is None or len(run.labels) == 1:
        entries = [entry for entry in run.entries if entry.data.get("percentile_curve")]
        if entries:
            yield "percentiles", _percentiles(entries, [entry.name for entry in entries], list(range(len(entries))), "")
        return
    for load in run.loads:
        entries = [e for e in run.entries if e.load_label == load and e.data.get("percentile_curve")]
        if entries:
            colours = [run.labels.index(entry.label) for entry in entries]
            figure = _percentiles(entries, [entry.label for entry in entries], colours, f" at {load}")
            yield f"percentiles-{file_name(load)}", figure


def _percentiles(entries: Sequence[Entry], labels: Sequence[str], colours: Sequence[int], where: str) -> Drawing:
    figure, axes = new_figure()
    ends = []
    values = []
    for entry, label, index in zip(entries, labels, colours, strict=True):
        curve = entry.data["percentile_curve"]
        x = [-math.log10(1.0 - point["p"]) for point in curve]
        y = [point["value"] for point in curve]
        axes.plot(x, y, color=colour(index), linestyle=dashes(index % 4), label=label)
        if all(point["low"] is not None for point in curve):
            low, high = [point["low"] for point in curve], [point["high"] for point in curve]
            axes.fill_between(x, low, high, color=colour(index), alpha=0.18, linewidth=0)
        ends.append(x[-1])
        values += [value for value in y if value > 0]
    slas = sorted({float(entry.data["sla_ms"]) for entry in entries})
    if values and max(values) > LOG_RANGE * min(values):
        logarithmic(axes)
    else:
        axes.set_ylim(bottom=0)
    for sla in slas:
        sla_line(axes, sla)
    ticks = [p for p in TICKS if -math.log10(1 - p) <= max(ends) + 0.05]
    axes.set_xticks([-math.log10(1 - p) for p in ticks], [f"p{100 * p:g}" for p in ticks])
    axes.set_xlim(0.1, max(ends) * 1.02)
    axes.set_xlabel("percentile of queries")
    axes.set_ylabel("latency, ms")
    axes.set_title(f"How long is the tail{where}?")
    legend_beside(axes)
    return figure
