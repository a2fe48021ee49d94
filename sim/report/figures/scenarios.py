"""Rows over scenarios where nothing is swept that could be an axis: correct predictions per second as bars."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from sim.report.figures.colours import INK, PAPER
from sim.report.figures.findings import most_correct
from sim.report.figures.layout import headline, shortened
from sim.report.figures.series import Entry, Run
from sim.report.figures.style import Drawing, colour, new_figure, plain_ticks

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["correct_bars", "kinds_of", "most_rows", "paths_of", "rows_figure"]

MOST_ROWS = 40
"""Scenarios in one figure, which says if there are more; those are in the table and in metrics.csv."""
ROW_NAME_PT = 200.0


def paths_of(run: Run) -> list[str]:
    """Return the paths of a run, in the order that gives them their colours in every figure."""
    return list(dict.fromkeys(path for entry in run.entries for path in entry.data["path_mix"]))


def kinds_of(entries: Sequence[Entry]) -> list[str]:
    """Return the kinds of devices, in the order that gives them their colours."""
    return list(dict.fromkeys(kind for entry in entries for kind in entry.data["utilisation"]))


def most_rows(entries: Sequence[Entry]) -> tuple[list[Entry], str]:
    """Return as many scenarios as one figure can hold, and what to say of the others."""
    where = f"the first {MOST_ROWS} of {len(entries)} scenarios" if len(entries) > MOST_ROWS else ""
    return list(entries[:MOST_ROWS]), where


def rows_figure(names: Sequence[str]) -> tuple[Drawing, Axes]:
    """Return a figure with a row for each name, from the top."""
    figure, axes = new_figure(height=0.6 + 0.27 * max(len(names), 2))
    axes.set_yticks(range(len(names)), [shortened(name, ROW_NAME_PT, 9.5) for name in names])
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.grid(False, axis="y")
    return figure, axes


def correct_bars(run: Run) -> Iterator[tuple[str, Drawing]]:
    """Yield correct predictions per second within the SLA as bars with intervals."""
    entries, where = most_rows(run.entries)
    figure, axes = rows_figure([entry.name or run.name for entry in entries])
    widest = 0.0
    for row, entry in enumerate(entries):
        point = entry.metric("correct_predictions_within_sla_per_s")
        if point.value is None:
            continue
        axes.barh(row, point.value, height=0.66, color=PAPER if entry.saturated else colour(0), edgecolor=colour(0))
        widest = max(widest, point.value)
        if point.low is not None and point.high is not None:
            axes.plot([point.low, point.high], [row, row], color=INK, linewidth=1.4)
            widest = max(widest, min(point.high, 1.5 * widest))
    axes.set_xlim(0, 1.05 * widest or 1.0)
    if widest >= 10_000:
        plain_ticks(axes, "x")
    axes.set_xlabel("correct predictions in time, 1/s")
    notes = [f"lines: {run.certainty}" if run.certainty else ""]
    notes += ["hollow: saturated" if any(entry.saturated for entry in entries) else "", where]
    question = "How many correct predictions in time?" if len(entries) == 1 else (
        "Who serves the most correct predictions in time?"
    )  # fmt: skip
    headline(figure, most_correct(run) or question, "; ".join(note for note in notes if note))
    yield "correct-predictions", figure
