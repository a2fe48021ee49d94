"""Welch's figure: the averaged latencies from the start of the run, their moving average, and what was cut."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from sim.report.figures.layout import headline, outer_labels, panel_title, panels
from sim.report.figures.series import Run
from sim.report.figures.style import MUTED, Drawing, colour
from sim.report.figures.timeline import scenario_key
from sim.report.warmup_file import WarmupPoint

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["moving_average", "warmup_figures"]

MOST_PANELS = 12
COLUMNS = 3
WINDOW = 10
"""Points on either side in the moving average: a twentieth of the run."""

ROOM = 1.3
"""Height of a panel over the highest moving average: single points may lie beyond."""


def moving_average(values: Sequence[float | None], window: int = WINDOW) -> list[float | None]:
    """Return Welch's moving average: of `window` points on either side, near the ends of fewer, as many on both."""
    averaged: list[float | None] = []
    for i in range(len(values)):
        reach = min(window, i, len(values) - 1 - i)
        known = [value for value in values[i - reach : i + reach + 1] if value is not None]
        averaged.append(sum(known) / len(known) if known else None)
    return averaged


def warmup_figures(run: Run, points: Sequence[WarmupPoint]) -> Iterator[tuple[str, Drawing]]:
    """Yield a panel for every scenario whose warm-up was chosen; of many, for those of which most was cut."""
    of_scenario: dict[tuple[str, ...], list[WarmupPoint]] = {}
    for point in points:
        of_scenario.setdefault(point.scenario, []).append(point)
    named = [(entry, of_scenario.get(scenario_key(entry), [])) for entry in run.entries if not entry.saturated]
    chosen = [(entry, series) for entry, series in named if any(point.mean_ms is not None for point in series)]
    if not chosen:
        return
    shown = sorted(range(len(chosen)), key=lambda i: (-_cut_share(chosen[i][1]), i))[:MOST_PANELS]
    figure, grid = panels(len(shown), 1 if len(shown) == 1 else COLUMNS, 3.2 if len(shown) == 1 else 1.9)
    for axes, i in zip(grid, sorted(shown), strict=True):
        entry, series = chosen[i]
        _panel(axes, series)
        panel_title(axes, entry.name)
    outer_labels(grid, "query, in the order of arrival", "mean latency, ms")
    few = f"; the {len(shown)} of {len(chosen)} scenarios of which most was cut" if len(shown) < len(chosen) else ""
    headline(
        figure,
        "Had latency settled where the warm-up ends?",
        f"Dots: mean over replications; line: moving average; shaded: the warm-up that was cut{few}",
    )
    yield "warmup", figure


def _cut_share(series: Sequence[WarmupPoint]) -> float:
    return sum(not point.kept for point in series) / len(series)


def _panel(axes: Axes, series: Sequence[WarmupPoint]) -> None:
    middle = [point.first_query + point.queries / 2 for point in series]
    nothing = float("nan")
    values = [point.mean_ms for point in series]
    smooth = moving_average(values)
    axes.scatter(middle, [nothing if v is None else v for v in values], s=3, color=colour(0), alpha=0.45, linewidths=0)
    axes.plot(middle, [nothing if v is None else v for v in smooth], color=colour(1))
    cut = [point for point in series if not point.kept]
    if cut:
        axes.axvspan(0, cut[-1].first_query + cut[-1].queries, color=MUTED, alpha=0.15, linewidth=0)
    axes.set_xlim(0, series[-1].first_query + series[-1].queries)
    axes.annotate(
        f"{_cut_share(series):.0%} cut",
        (0, 0),
        (5, 5),
        xycoords="axes fraction",
        textcoords="offset points",
        color=MUTED,
    )
    known = [value for value in smooth if value is not None]
    axes.set_ylim(0, ROOM * max(known))
    axes.locator_params(axis="x", nbins=4)
    _thousands(axes)


def _thousands(axes: Axes) -> None:
    from matplotlib.ticker import EngFormatter

    if axes.get_xlim()[1] >= 10_000:
        axes.xaxis.set_major_formatter(EngFormatter(sep=""))
