"""Heat maps of sweeps over two parameters: a value in every cell, and whether it meets the SLA."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from sim.report.figures.colours import INK, LIGHT, MUTED, PAPER
from sim.report.figures.findings import limit_of
from sim.report.figures.layout import headline, shortened, text_width_pt
from sim.report.figures.load import CORRECT
from sim.report.figures.series import Entry, Run
from sim.report.figures.style import Drawing, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["grid_of", "heat_maps"]

MOST_ROWS, MOST_COLUMNS = 30, 12
ROW_IN = 0.34
ROW_NAME_PT = 190.0
CELL_PT = 8.5
ON_LIGHT_CELL, ON_DARK_CELL = "#0a0a0a", "#fafafa"
"""Text in cells, which keep their colours on dark pages."""

Grid = tuple[list[str], list[str], dict[tuple[int, int], Entry]]
"""Names of the rows, names of the columns, and the scenario of every cell by row and column."""


def grid_of(run: Run) -> Grid | None:
    """Return the scenarios as rows and columns; None where there is no sweep over two parameters or it is too large.

    The load is across if there is one, and all other parameters together are down; else the second of two parameters
    is across.
    """
    if run.load_axis is not None:
        down = [entry.label for entry in run.entries]
        across = [entry.load_label for entry in run.entries]
        columns = run.loads
    else:
        if len(run.swept) != 2:
            return None
        first, second = run.swept
        down = [str(entry.data["parameters"][first]) for entry in run.entries]
        across = [str(entry.data["parameters"][second]) for entry in run.entries]
        columns = list(dict.fromkeys(across))
    rows = list(dict.fromkeys(down))
    if not (1 < len(rows) <= MOST_ROWS and 1 < len(columns) <= MOST_COLUMNS):
        return None
    cells = {
        (rows.index(row), columns.index(column)): entry
        for row, column, entry in zip(down, across, run.entries, strict=True)
    }
    return rows, columns, cells


def heat_maps(run: Run) -> Iterator[tuple[str, Drawing]]:
    """Yield a map of the latency percentile and one of the correct predictions in time."""
    grid = grid_of(run)
    if grid is None:
        return
    met = sum(entry.verdict == "meets" for entry in run.entries)
    told = all(entry.verdict for entry in run.entries)
    limit = f"{limit_of(run.entries)} at {run.percentile}"
    verb = "meets" if met == 1 else "meet"
    title = f"{met} of {len(run.entries)} {verb} {limit}" if told else f"Where is {run.percentile} short?"
    if not all(entry.saturated for entry in run.entries):
        figure = _map(run, grid, f"latency_ms_{run.percentile}", tail=True)
        headline(figure, title, _note(run, f"{run.percentile} latency in ms, darker is shorter"))
        yield "heat-latency", figure
    figure = _map(run, grid, CORRECT, tail=False)
    headline(
        figure,
        "Where are the most correct predictions served in time?",
        _note(run, "correct predictions in time, 1/s, lighter is more"),
    )
    yield "heat-correct-predictions", figure


def _note(run: Run, what: str) -> str:
    notes = [what]
    if any(entry.verdict == "meets" for entry in run.entries):
        notes.append(f"framed: meets {limit_of(run.entries)} at {run.percentile}")
    if any(entry.saturated for entry in run.entries):
        notes.append("hatched: saturated")
    return "; ".join(notes)


def _map(run: Run, grid: Grid, metric: str, *, tail: bool) -> Drawing:
    from matplotlib import colormaps
    from matplotlib.patches import Rectangle

    rows, columns, cells = grid
    figure, axes = new_figure(height=0.6 + ROW_IN * len(rows))
    shades = colormaps["cividis"]
    values = {at: entry.metric(metric).value for at, entry in cells.items() if not (tail and entry.saturated)}
    shade = _scale([value for value in values.values() if value is not None], logarithmic=tail)
    room_pt = 0.85 * (72 * figure.get_figwidth() - 70 - min(ROW_NAME_PT, _widest(rows))) / len(columns)
    for (row, column), entry in cells.items():
        value = values.get((row, column))
        where = (column - 0.5, row - 0.5)
        if value is not None:
            face = shades(shade(value))
            axes.add_patch(Rectangle(where, 1, 1, facecolor=face, edgecolor="none"))
            dark = 0.2126 * face[0] + 0.7152 * face[1] + 0.0722 * face[2] < 0.5
            _text(axes, column, row, _number(value), ON_DARK_CELL if dark else ON_LIGHT_CELL, face)
        if entry.saturated:
            axes.add_patch(
                Rectangle(where, 1, 1, facecolor="none", hatch="//", edgecolor=MUTED, linewidth=0, alpha=0.6)
            )
        if value is None:
            _text(axes, column, row, shortened(entry.verdict or "-", room_pt, CELL_PT), INK, PAPER)
    for (row, column), entry in cells.items():
        if entry.verdict == "meets":
            frame = Rectangle((column - 0.46, row - 0.44), 0.92, 0.88, fill=False, edgecolor=LIGHT[1], linewidth=2.0)
            axes.add_patch(frame)
    axes.set_xlim(-0.5, len(columns) - 0.5)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    names = [shortened(column, room_pt / 0.85 - 6, 9.5) for column in columns]
    axes.set_xticks(range(len(columns)), names)
    axes.set_yticks(range(len(rows)), [shortened(row, ROW_NAME_PT, 9.5) for row in rows])
    axes.tick_params(length=0)
    axes.grid(False)
    axes.spines[:].set_visible(False)
    across = run.load_axis or run.swept[1].split(".")[-1].replace("_", " ")
    axes.set_xlabel(across.split(",")[0] if run.load_axis else across)
    return figure


def _widest(names: Sequence[str]) -> float:
    return max(text_width_pt(name, 9.5) for name in names)


def _scale(values: Sequence[float], *, logarithmic: bool) -> Any:
    """Return a function that gives a value its place from 0 to 1 among all of them."""
    known = [value for value in values if value > 0 or not logarithmic]

    def measured(value: float) -> float:
        return math.log(max(value, 1e-12)) if logarithmic else value

    low, high = measured(min(known, default=1.0)), measured(max(known, default=1.0))
    return lambda value: 0.5 if high <= low else min(max((measured(value) - low) / (high - low), 0.0), 1.0)


def _number(value: float) -> str:
    for factor, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= 10 * factor or (factor > 1e3 and abs(value) >= factor):
            return f"{value / factor:.3g}{letter}"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def _text(axes: Axes, x: float, y: float, text: str, colour: str, ground: Any) -> None:
    """Write the value of a cell, on its own ground where the cell is hatched."""
    box = {"facecolor": ground, "edgecolor": "none", "pad": 1.5}
    axes.text(x, y, text, ha="center", va="center", fontsize=CELL_PT, color=colour, bbox=box, zorder=3)
