"""Where things stand in a figure: title, note and keys above, in room of their own; panels below."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from sim.report.figures.colours import INK, MUTED
from sim.report.figures.style import SLA_DASHES, colour, dashes, hatch, marker
from sim.report.written import duration_text

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "Key",
    "area_key",
    "beside",
    "headline",
    "line_key",
    "outer_labels",
    "panel_title",
    "panels",
    "shortened",
    "sla_key",
    "text_width_pt",
    "wrapped",
]

Key = tuple["Artist", str]
"""What a key shows, and what it says."""

EDGE_PT = 10.0
"""Free on all four sides."""
TITLE_PT, NOTE_PT, PANEL_PT = 10.5, 8.5, 9.0
LINE = 1.3
"""Height of a line of text over its size."""
HANDLE_PT, KEY_GAP_PT = 26.0, 16.0
"""Width of what a key shows with the space after it; space between two columns of keys."""
BESIDE_PT = 8.5


@lru_cache(maxsize=4096)
def text_width_pt(text: str, size_pt: float, weight: str = "normal") -> float:
    """Return how wide a text will be, in points."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import TextToPath

    if not text:
        return 0.0
    font = FontProperties(size=size_pt, weight=weight)
    width, _, _ = TextToPath().get_text_width_height_descent(text, font, ismath=False)
    return float(width)


def shortened(text: str, width_pt: float, size_pt: float, weight: str = "normal") -> str:
    """Return a text that is no wider than asked: the middle gives way, because names differ at their ends."""
    if text_width_pt(text, size_pt, weight) <= width_pt:
        return text
    fewest, most = 1, len(text)
    while most - fewest > 1:
        kept = (fewest + most) // 2
        if text_width_pt(_without_middle(text, kept), size_pt, weight) <= width_pt:
            fewest = kept
        else:
            most = kept
    return _without_middle(text, fewest)


def _without_middle(text: str, kept: int) -> str:
    return f"{text[: math.ceil(kept / 2)]}…{text[len(text) - kept // 2 :]}"


def wrapped(text: str, width_pt: float, size_pt: float, weight: str = "normal", most: int = 2) -> str:
    """Return a text on lines that are no wider than asked, and at most so many; the last one's middle gives way."""
    lines = _lines(text, width_pt, size_pt, weight)
    if len(lines) > most:
        before = sum(len(line.split()) for line in lines[: most - 1])
        lines[most - 1 :] = [shortened(" ".join(text.split()[before:]), width_pt, size_pt, weight)]
    return "\n".join(lines)


def _lines(text: str, width_pt: float, size_pt: float, weight: str = "normal") -> list[str]:
    """Break a text into lines between words."""
    lines: list[str] = []
    for word in text.split():
        joined = f"{lines[-1]} {word}" if lines else word
        if lines and text_width_pt(joined, size_pt, weight) <= width_pt:
            lines[-1] = joined
        else:
            lines.append(shortened(word, width_pt, size_pt, weight))
    return lines


def headline(figure: Figure, title: str, note: str = "", keys: Sequence[Key] = ()) -> None:
    """Put title, note and keys at the top left of a figure, one below the other, and make it higher by what they take.

    Called once, when everything else is drawn.

    Parameters
    ----------
    figure : Figure
    title : str
        What was found, or the question.
    note : str, optional
        How to read it, in smaller letters.
    keys : sequence of Key
        What lines and areas are; a single one is left out.
    """
    width_in, height_in = figure.get_figwidth(), figure.get_figheight()
    room_pt = 72 * width_in - 2 * EDGE_PT
    titles = _lines(title, room_pt, TITLE_PT, "bold")
    notes = _lines(note, room_pt, NOTE_PT)
    title_pt, note_pt = len(titles) * TITLE_PT * LINE, len(notes) * NOTE_PT * LINE
    rows, columns, names = _key_table(keys, room_pt)
    keys_pt = rows * NOTE_PT * 1.5 + (6 if rows else 0)
    header_pt = title_pt + note_pt + keys_pt + 4
    height_pt = 72 * height_in + header_pt + EDGE_PT
    figure.set_size_inches(width_in, height_pt / 72)

    left = EDGE_PT / (72 * width_in)

    def down(points: float) -> float:
        return 1 - (EDGE_PT + points) / height_pt

    # The room above the panels is reserved below: the layout engine is not to make more of it.
    figure.suptitle(
        "\n".join(titles),
        x=left,
        y=down(0),
        ha="left",
        va="top",
        fontsize=TITLE_PT,
        fontweight="bold",
        linespacing=LINE,
    ).set_in_layout(False)
    if notes:
        figure.text(
            left, down(title_pt), "\n".join(notes), va="top", fontsize=NOTE_PT, color=MUTED, linespacing=LINE
        ).set_in_layout(False)
    if rows:
        figure.legend(
            [handle for handle, _ in keys],
            names,
            loc="upper left",
            bbox_to_anchor=(left, down(title_pt + note_pt + 3)),
            ncols=columns,
            borderaxespad=0.0,
            borderpad=0.0,
            handlelength=HANDLE_PT / NOTE_PT - 0.7,
            handletextpad=0.7,
            columnspacing=KEY_GAP_PT / NOTE_PT,
            labelspacing=0.4,
            fontsize=NOTE_PT,
        ).set_in_layout(False)
    engine: Any = figure.get_layout_engine()
    bottom = EDGE_PT / height_pt
    engine.set(rect=(left, bottom, 1 - 2 * left, down(header_pt) - bottom))


def _key_table(keys: Sequence[Key], room_pt: float) -> tuple[int, int, list[str]]:
    """Return rows, columns and names of the keys, as many columns as fit."""
    if len(keys) < 2:
        return 0, 0, []
    # A leading underscore would hide a key.
    names = [f"\u2009{name}" if name.startswith("_") else name or "-" for _, name in keys]
    names = [shortened(name, room_pt - HANDLE_PT, NOTE_PT) for name in names]
    for columns in range(len(names), 0, -1):
        rows = math.ceil(len(names) / columns)
        stacks = [names[first : first + rows] for first in range(0, len(names), rows)]
        widths = [max(text_width_pt(name, NOTE_PT) for name in stack) + HANDLE_PT for stack in stacks]
        if sum(widths) + KEY_GAP_PT * (len(widths) - 1) <= room_pt:
            return rows, len(stacks), names
    return len(names), 1, names


def line_key(index: int, name: str, *, marked: bool = True, style: Any = None) -> Key:
    """Return the key of a line; by default it has the dashes of its turn, and its marker."""
    from matplotlib.lines import Line2D

    style = style or dashes(index // 8)
    return Line2D([], [], color=colour(index), marker=marker(index) if marked else "", linestyle=style), name


def area_key(index: int, name: str) -> Key:
    """Return the key of an area."""
    from matplotlib.patches import Patch

    return Patch(facecolor=colour(index), hatch=hatch(index), edgecolor="white", linewidth=0), name


def sla_key(slas_ms: Sequence[float]) -> Key:
    """Return the key of the latency limits."""
    from matplotlib.lines import Line2D

    limits = [duration_text(sla) for sla in slas_ms]
    # The unit is written once where it is the same for all.
    unit = " ms" if all(limit.endswith(" ms") for limit in limits) else ""
    written = ", ".join(limit.removesuffix(unit) for limit in limits) + unit
    return Line2D([], [], color=MUTED, linewidth=1.1, linestyle=SLA_DASHES), f"SLA {written}"


def panels(count: int, columns: int, height_in: float, **shared: Any) -> tuple[Figure, list[Axes]]:
    """Return a figure of panels of a height each, row by row; `shared` is given to `Figure.subplots`."""
    from matplotlib.figure import Figure

    columns = min(columns, count)
    rows = math.ceil(count / columns)
    figure = Figure()
    figure.set_size_inches(figure.get_figwidth(), height_in * rows)
    grid = figure.subplots(rows, columns, squeeze=False, **shared)
    cells = [axes for row in grid for axes in row]
    for axes in cells[count:]:
        axes.remove()
    for axes in cells[max(count - columns, 0) : count]:
        axes.tick_params(labelbottom=True)
    return figure, cells[:count]


def outer_labels(grid: Sequence[Axes], x: str, y: str) -> None:
    """Name the axes once a row and column."""
    columns = grid[0].get_gridspec().ncols  # type: ignore[union-attr]
    for i, axes in enumerate(grid):
        if i % columns == 0:
            axes.set_ylabel(y)
        if i >= len(grid) - columns:
            axes.set_xlabel(x)


def panel_title(axes: Axes, text: str) -> None:
    """Say above a panel, in small letters, what it shows."""
    columns = axes.get_gridspec().ncols  # type: ignore[union-attr]
    assert axes.figure is not None
    room_pt = 72 * axes.figure.get_figwidth() / columns - 60  # type: ignore[union-attr]
    axes.set_title(shortened(text, room_pt, PANEL_PT), fontsize=PANEL_PT, fontweight="normal", color=INK, pad=4)


def beside(axes: Axes, texts: Sequence[tuple[float, str]], rows: int = 1) -> None:
    """Write texts right of the axes, each at its height as far as they leave each other room.

    Called when the limits of the axes are final.

    Parameters
    ----------
    axes : Axes
    texts : sequence of (value, text)
        The value on the y axis that the text is about.
    rows : int
        How many panels there are in the height of the figure.
    """
    if not texts:
        return
    assert axes.figure is not None
    height_pt = 72 * axes.figure.get_figheight() * 0.75 / rows  # type: ignore[union-attr]
    apart = BESIDE_PT * LINE * max(text.count("\n") + 1 for _, text in texts) / height_pt
    to_axes = axes.transData + axes.transAxes.inverted()
    placed = sorted((float(to_axes.transform((1.0, value))[1]), text) for value, text in texts)
    heights = [height for height, _ in placed]
    for i in range(1, len(heights)):
        heights[i] = max(heights[i], heights[i - 1] + apart)
    excess = max(heights[-1] - 1.0, 0.0)
    for i in range(len(heights) - 1, -1, -1):
        heights[i] = min(heights[i], 1.0 - apart * (len(heights) - 1 - i)) if excess else heights[i]
    for height, (_, text) in zip(heights, placed, strict=True):
        axes.annotate(
            text,
            (1.0, height),
            (5, 0),
            xycoords="axes fraction",
            textcoords="offset points",
            va="center",
            color=MUTED,
            fontsize=BESIDE_PT,
            annotation_clip=False,
        )
