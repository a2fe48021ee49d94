"""Q-Q figure: predicted against measured latency at the same percentiles."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from sim.report.agreement import Agreement, Comparison
from sim.report.figures.colours import MUTED
from sim.report.figures.layout import headline, line_key
from sim.report.figures.load import LOG_RANGE
from sim.report.figures.style import Drawing, colour, dashes, logarithmic, marker, new_figure, save, styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["plot_agreement", "quantile_pairs"]

NAMED = (0.5, 0.95, 0.99)
NAME_ROOM = 0.07
"""Between two names of percentiles, as a share of the width."""
EQUAL = (0, (6, 3))


def quantile_pairs(comparison: Comparison) -> list[tuple[float, float, float]]:
    """Return (probability, measured, predicted) at every percentile that both runs can give, in ms."""
    predicted = {round(p, 9): value for p, value in comparison.predicted_curve}
    return [(p, value, predicted[round(p, 9)]) for p, value in comparison.measured_curve if round(p, 9) in predicted]


def plot_agreement(agreement: Agreement, folder: Path) -> list[Path]:
    """Draw the Q-Q figure as SVG and PNG into `folder`; return the files, none where no percentiles are shared.

    Raises
    ------
    RunDirectoryError
        If a file cannot be written.
    """
    pairs = [(one, quantile_pairs(one)) for one in agreement.comparisons]
    pairs = [(one, points) for one, points in pairs if points]
    if not pairs:
        return []
    with styled():
        return save(_figure(pairs), folder / "predicted-measured")


def _figure(pairs: list[tuple[Comparison, list[tuple[float, float, float]]]]) -> Drawing:
    from matplotlib.lines import Line2D

    figure, axes = new_figure(height=4.0)
    values = []
    for index, (_, points) in enumerate(pairs):
        measured, predicted = [point[1] for point in points], [point[2] for point in points]
        axes.plot(
            measured,
            predicted,
            color=colour(index),
            marker=marker(index),
            linestyle=dashes(index // 8),
            markersize=3.5,
            linewidth=1.0,
        )
        values += [*measured, *predicted]
    low, high = min(values), max(values)
    axes.plot([low, high], [low, high], color=MUTED, linewidth=1.0, linestyle=EQUAL)
    if low > 0 and high > LOG_RANGE * low:
        for which, set_limits in (("x", axes.set_xlim), ("y", axes.set_ylim)):
            set_limits(low / 1.2, high * 1.2)
            logarithmic(axes, which)
    if len(pairs) == 1:
        _name_percentiles(axes, pairs[0][1])
    axes.set_xlabel("measured latency, ms")
    axes.set_ylabel("predicted latency, ms")
    keys = [line_key(index, one.label) for index, (one, _) in enumerate(pairs)]
    keys.append((Line2D([], [], color=MUTED, linewidth=1.0, linestyle=EQUAL), "equal"))
    note = "every point is a percentile; above the dashed line the prediction is too slow"
    headline(figure, "Does the prediction hold to the end of the tail?", note, keys)
    return figure


def _name_percentiles(axes: Axes, points: list[tuple[float, float, float]]) -> None:
    """Name a few percentiles below the line, as far as they leave each other room."""
    before: float | None = None
    for wanted in NAMED:
        p, x, y = min(points, key=lambda point: abs(point[0] - wanted))
        across = float((axes.transData + axes.transAxes.inverted()).transform((x, y))[0])
        if abs(p - wanted) < 0.01 * (1 - wanted) + 1e-3 and (before is None or across - before > NAME_ROOM):
            axes.annotate(f"p{100 * wanted:g}", (x, y), (4, -10), textcoords="offset points", fontsize=8, color=MUTED)
            before = across
