"""Figure of paired differences: by how much each metric, or each scenario, differs from its baseline."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sim.report.differences import Comparison, Row
from sim.report.figures.layout import TITLE_PT, text_width_pt, wrapped
from sim.report.figures.style import INK, MUTED, PAPER, Drawing, colour, save, styled
from sim.stats.interval import Interval
from sim.stats.merge import is_share

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["plot_differences"]

MOST_ROWS = 30

LABEL_PT, MOST_LABEL_PT = 8.0, 190.0
"""Size of the names of rows, and the width of a line of them."""

PANEL_IN = 1.75
"""Width of a panel beside others, with the name of its axis."""

FAR = 300.0
"""Changes beyond this, in percent, are drawn on an axis that is logarithmic from 10% on."""

PANELS = ("latency_ms_mean", "correct_predictions_within_sla_per_s", "sla_attainment")
"""With the percentile of the SLA, what is drawn of several scenarios."""

SHORT = {
    "latency_ms_mean": "mean latency",
    "correct_predictions_within_sla_per_s": "correct predictions/s in time",
    "sla_attainment": "queries in time",
}


@dataclass(frozen=True, slots=True)
class _Bar:
    """A row of a panel: a change in percent, or in points, with its interval."""

    label: str
    value: float
    low: float | None
    high: float | None
    noise: bool | None


def plot_differences(comparisons: Sequence[Comparison], folder: Path) -> list[Path]:
    """Draw the differences as SVG and PNG into `folder`; return the files, none where nothing can be compared.

    Of one or two comparisons every metric but lengths of queues is drawn, one panel for what changes relatively and one
    for shares; of more, a panel for each of four metrics with one row a scenario.

    Raises
    ------
    RunDirectoryError
        If a file cannot be written.
    """
    files: list[Path] = []
    with styled():
        if len(comparisons) <= 2:
            for number, one in enumerate(comparisons):
                figure = _of_metrics(one)
                if figure is not None:
                    files += save(figure, folder / ("differences" if number == 0 else f"differences-{number + 1}"))
        else:
            for page, start in enumerate(range(0, len(comparisons), MOST_ROWS)):
                figure = _of_scenarios(comparisons[start : start + MOST_ROWS])
                if figure is not None:
                    files += save(figure, folder / ("differences" if page == 0 else f"differences-{page + 1}"))
    return files


def _of_metrics(one: Comparison) -> Drawing | None:
    rows = [row for row in one.rows if not row.metric.startswith("waiting_parts[")]
    relative = [bar for row in rows if not is_share(row.metric) and (bar := _bar(row, row.metric)) is not None]
    points = [bar for row in rows if is_share(row.metric) and (bar := _bar(row, row.metric)) is not None]
    panels = [(bars, unit) for bars, unit in ((relative, "change, %"), (points, "change, percentage points")) if bars]
    if not panels:
        return None
    names = [[_wrapped(bar.label) for bar in bars] for bars, _ in panels]
    heights = [len(bars) * _row_height(labels) + 1.5 for labels, (bars, _) in zip(names, panels, strict=True)]
    figure, axes = _figure(1.3 + 0.24 * sum(heights), rows=heights)
    for ax, labels, (bars, unit) in zip(axes, names, panels, strict=True):
        _draw(ax, bars, labels)
        ax.set_xlabel(f"{unit}, with {100 * one.confidence:g}% intervals")
    _title(figure, f"What changes: {one.title}", [bar for bars, _ in panels for bar in bars])
    return figure


def _of_scenarios(comparisons: Sequence[Comparison]) -> Drawing | None:
    percentile = f"latency_ms_{comparisons[0].other.percentile}"
    panels = []
    for metric in (percentile, *PANELS):
        bars = [_bar_of(one, metric) for one in comparisons]
        if any(bar is not None for bar in bars):
            panels.append((metric, bars))
    if not panels:
        return None
    several = len({(one.baseline_name, one.other_name) for one in comparisons}) > 1
    labels = [_wrapped(_label(one, several)) for one in comparisons]
    wide_pt = max(text_width_pt(line, LABEL_PT) for label in labels for line in label.splitlines() or [""])
    figure, axes = _figure(
        1.5 + 0.27 * _row_height(labels) * len(comparisons), columns=len(panels), beside_in=wide_pt / 72
    )
    for number, (ax, (metric, bars)) in enumerate(zip(axes, panels, strict=True)):
        _draw(ax, bars, labels if number == 0 else [""] * len(bars))
        name = SHORT.get(metric) or metric.replace("latency_ms_", "") + " latency"
        ax.set_xlabel(f"{name},\nchange in {'points' if is_share(metric) else '%'}")
    drawn = [bar for _, bars in panels for bar in bars if bar is not None]
    against = comparisons[0].baseline_name
    same = all(one.baseline_name == against for one in comparisons)
    _title(figure, f"What changes against {against}?" if same else "What changes against the baselines?", drawn)
    return figure


def _wrapped(label: str) -> str:
    return wrapped(label, MOST_LABEL_PT, LABEL_PT)


def _row_height(labels: Sequence[str]) -> float:
    """Return how high rows are, over what they are with names of one line."""
    return 1.5 if any("\n" in label for label in labels) else 1.0


def _label(one: Comparison, several: bool) -> str:
    if not one.where:
        return one.other_name
    return f"{one.other_name}, {one.where}" if several else one.where


def _bar_of(one: Comparison, metric: str) -> _Bar | None:
    row = one.row(metric)
    return None if row is None else _bar(row, one.title)


def _bar(row: Row, label: str) -> _Bar | None:
    if row.difference is None:
        return None
    interval: Interval = row.difference.absolute if is_share(row.metric) else row.difference.relative
    if interval.value is None:
        return None
    low, high = (None if end is None else 100 * end for end in (interval.low, interval.high))
    return _Bar(label, 100 * interval.value, low, high, row.difference.within_noise)


def _figure(
    height: float, *, rows: Sequence[float] = (1,), columns: int = 1, beside_in: float = 0.0
) -> tuple[Drawing, list[Axes]]:
    """Return a figure and its panels; `beside_in` is how much room the names of rows take."""
    from matplotlib.figure import Figure

    figure = Figure()
    width = max(figure.get_figwidth(), 2.0 + 1.9 * columns, 0.4 + beside_in + PANEL_IN * columns)
    figure.set_size_inches(width, max(height, 2.2))
    grid = figure.subplots(len(rows), columns, squeeze=False, height_ratios=list(rows))
    return figure, [ax for line in grid for ax in line]


def _draw(axes: Axes, bars: Sequence[_Bar | None], labels: Sequence[str]) -> None:
    """Draw one row a bar: filled where the change is beyond noise, hollow where it is not."""
    from matplotlib.ticker import FuncFormatter

    axes.axvline(0.0, color=INK, linewidth=1.0)
    for row, bar in enumerate(bars):
        if bar is None:
            axes.text(
                0.02, row, "no value", transform=axes.get_yaxis_transform(), va="center", fontsize=7.5, color=MUTED
            )
            continue
        shown = colour(1) if bar.noise is False else colour(0)
        if bar.low is not None and bar.high is not None:
            axes.plot([bar.low, bar.high], [row, row], color=shown, linewidth=1.6, solid_capstyle="butt")
        axes.plot(
            bar.value,
            row,
            marker="o",
            markersize=5,
            color=shown,
            markerfacecolor=shown if bar.noise is False else PAPER,
            linestyle="none",
        )
    axes.set_yticks(range(len(bars)), list(labels), fontsize=LABEL_PT)
    axes.set_ylim(len(bars) - 0.4, -0.6)
    axes.grid(False, axis="y")
    ends = [abs(end) for bar in bars if bar is not None for end in (bar.value, bar.low, bar.high) if end is not None]
    if max(ends, default=0.0) == 0.0:
        axes.set_xlim(-1, 1)
    elif max(ends) > FAR:
        # Beside changes by a multiple, those by some percent would all look like none.
        axes.set_xscale("symlog", linthresh=10.0, linscale=0.6)
        least = min(end for bar in bars if bar is not None for end in (bar.value, bar.low or bar.value))
        axes.set_xlim(1.8 * least if least < -1.0 else -3.0, 1.8 * max(ends))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
        axes.tick_params(axis="x", labelsize=8)


def _title(figure: Drawing, text: str, bars: Sequence[_Bar]) -> None:
    title = wrapped(text, 72 * 0.97 * figure.get_figwidth(), TITLE_PT, "bold", most=4)
    figure.set_size_inches(figure.get_figwidth(), figure.get_figheight() + 0.18 * title.count("\n"))
    figure.suptitle(title, x=0.01, ha="left", fontsize=TITLE_PT, fontweight="bold")
    if any(bar.noise is not False for bar in bars):
        figure.supxlabel("hollow: within noise", x=0.99, ha="right", fontsize=8, color=MUTED)
