"""Q-Q figure: predicted against measured latency at the same percentiles."""

from __future__ import annotations

from pathlib import Path

from sim.report.agreement import Agreement, Comparison
from sim.report.figures.style import Drawing, colour, legend_beside, marker, new_figure, save, styled

__all__ = ["plot_agreement", "quantile_pairs"]

NAMED = (0.5, 0.95, 0.99)


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
    figure, axes = new_figure()
    values = []
    for index, (one, points) in enumerate(pairs):
        measured, predicted = [point[1] for point in points], [point[2] for point in points]
        axes.plot(
            measured,
            predicted,
            color=colour(index),
            marker=marker(index),
            markersize=3.5,
            linewidth=1.0,
            label=one.label,
        )
        values += [*measured, *predicted]
        if len(pairs) == 1:
            for wanted in NAMED:
                p, x, y = min(points, key=lambda point: abs(point[0] - wanted))
                if abs(p - wanted) < 0.01 * (1 - wanted) + 1e-3:
                    axes.annotate(f"p{100 * wanted:g}", (x, y), (4, -9), textcoords="offset points", fontsize=8)
    low, high = min(values), max(values)
    axes.plot([low, high], [low, high], color="0.35", linewidth=1.0, linestyle=(0, (6, 3)), label="equal")
    if low > 0 and high > 10 * low:
        axes.set_xscale("log")
        axes.set_yscale("log")
    axes.set_xlabel("measured latency, ms")
    axes.set_ylabel("predicted latency, ms")
    axes.set_title("Does the prediction hold to the end of the tail?")
    legend_beside(axes)
    return figure
