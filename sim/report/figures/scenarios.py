"""Bars over scenarios: correct predictions, path mix and utilisation."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from sim.report.figures.series import Entry, Run, file_name
from sim.report.figures.style import Drawing, colour, hatch, legend_beside, marker, new_figure, note

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["correct_bars", "path_mix", "utilisation"]

MOST_ROWS = 24


def _rows_figure(rows: Sequence[str]) -> tuple[Drawing, Axes]:
    figure, axes = new_figure(height=1.5 + 0.27 * max(len(rows), 3))
    axes.set_yticks(range(len(rows)), rows)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.grid(False, axis="y")
    return figure, axes


def correct_bars(run: Run) -> Drawing:
    """Draw correct predictions per second within the SLA as bars with intervals."""
    figure, axes = _rows_figure([entry.name or run.name for entry in run.entries])
    for row, entry in enumerate(run.entries):
        point = entry.metric("correct_predictions_within_sla_per_s")
        if point.value is None:
            continue
        axes.barh(
            row, point.value / 1e3, height=0.66, color="white" if entry.saturated else colour(0), edgecolor=colour(0)
        )
        if point.low is not None and point.high is not None:
            axes.plot([point.low / 1e3, point.high / 1e3], [row, row], color="black", linewidth=1.4)
    axes.set_xlim(left=0)
    axes.set_xlabel("correct predictions in time, thousands/s")
    axes.set_title("Who serves the most correct predictions within the SLA?")
    if any(entry.saturated for entry in run.entries):
        note(axes, "hollow: saturated")
    return figure


def _pages(run: Run) -> Iterator[tuple[str, str, list[Entry], Callable[[Entry], str]]]:
    """Yield the scenarios of one figure: all of them if they fit, else one load at a time."""
    if len(run.entries) <= MOST_ROWS or run.load_axis is None:
        yield "", "", list(run.entries), lambda entry: entry.name or run.name
        return
    for load in run.loads:
        entries = [entry for entry in run.entries if entry.load_label == load]
        yield f"-{file_name(load)}", f" at {load}", entries, lambda entry: entry.label


def path_mix(run: Run) -> Iterator[tuple[str, Drawing]]:
    """Yield stacked bars of the share of samples that each path served."""
    paths = list(dict.fromkeys(path for entry in run.entries for path in entry.data["path_mix"]))
    if len(paths) < 2:
        return
    for suffix, where, entries, label in _pages(run):
        figure, axes = _rows_figure([label(entry) for entry in entries])
        left = [0.0] * len(entries)
        for index, path in enumerate(paths):
            shares = [100 * entry.data["path_mix"].get(path, 0.0) for entry in entries]
            axes.barh(
                range(len(entries)),
                shares,
                left=left,
                height=0.7,
                color=colour(index),
                edgecolor="white",
                linewidth=0.4,
                hatch=hatch(index),
                label=path,
            )
            left = [a + b for a, b in zip(left, shares, strict=True)]
        axes.set_xlim(0, 100)
        axes.set_xlabel("share of samples, %")
        axes.set_title(f"Which path serves the samples{where}?")
        legend_beside(axes)
        yield f"path-mix{suffix}", figure


def utilisation(run: Run) -> Iterator[tuple[str, Drawing]]:
    """Yield the utilisation of every kind of device."""
    kinds = list(dict.fromkeys(kind for entry in run.entries for kind in entry.data["utilisation"]))
    for suffix, where, entries, label in _pages(run):
        figure, axes = _rows_figure([label(entry) for entry in entries])
        for index, kind in enumerate(kinds):
            known = [(row, entry) for row, entry in enumerate(entries) if kind in entry.data["utilisation"]]
            axes.plot(
                [100 * entry.data["utilisation"][kind] for _, entry in known],
                [row for row, _ in known],
                color=colour(index),
                marker=marker(index),
                markersize=7,
                linestyle="none",
                label=kind,
                clip_on=False,
            )
        axes.set_xlim(0, 100)
        axes.set_xlabel("busy lanes, % of lane time")
        axes.set_title(f"How busy are the devices{where}?")
        legend_beside(axes)
        yield f"utilisation{suffix}", figure
