"""The Pareto front of a search over designs: one panel for each objective beside the one that all are drawn over."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sim.report.designs import DesignPoint, DesignReport, metric_title
from sim.report.figures.style import INK, MUTED, Drawing, colour, note, save, styled
from sim.stats.dominance import Standing
from sim.stats.merge import is_share

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.transforms import Bbox

__all__ = ["plot_front"]

PANEL_IN = 2.7
OFFSETS = ((5, 4), (5, -10), (-5, 4), (-5, -10), (0, 8), (0, -14), (12, 0), (-12, 0))
"""Where a label may stand, in points from its marker; the first place where it covers nothing is taken."""


def plot_front(report: DesignReport, folder: Path) -> list[Path]:
    """Draw the front as SVG and PNG; nothing where feasible designs differ in less than two objectives.

    Returns
    -------
    list of Path

    Raises
    ------
    RunDirectoryError
        If a file cannot be written.
    """
    across = report.across
    up = [name for name in report.differing if name != across]
    if not up:
        return []
    with styled():
        return save(_front(report, across, up), folder / "pareto-front")


def _front(report: DesignReport, across: str, up: Sequence[str]) -> Drawing:
    from matplotlib.figure import Figure

    figure = Figure()
    figure.set_size_inches(figure.get_figwidth(), 1.1 + PANEL_IN * len(up))
    panels = figure.subplots(len(up), 1, sharex=True, squeeze=False)[:, 0]
    for axes, name in zip(panels, up, strict=True):
        _panel(axes, report, across, name)
    panels[-1].set_xlabel(_label(report, across))
    count = len(report.front)
    panels[0].set_title(
        f"{count} of {len(report.points):,} designs tried {'is' if count == 1 else 'are'} best in some way"
    )
    shown = [*report.front, *report.undecided]
    same = len({(_value(p, across), *(_value(p, name) for name in up)) for p in shown})
    note(panels[0], "numbers: points" if same == len(shown) else "numbers: points, one where they coincide")
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=min(len(labels), 4))
    figure.canvas.draw()
    for axes, name in zip(panels, up, strict=True):
        _number(axes, shown, across, name)
    return figure


def _panel(axes: Axes, report: DesignReport, across: str, name: str) -> None:
    dominated = [p for p in report.points if p.standing in (Standing.DOMINATED, Standing.SAME)]
    infeasible = [p for p in report.points if p.status == "infeasible" and _drawn(p, across, name)]
    groups: tuple[tuple[str, list[DesignPoint], dict[str, Any]], ...] = (
        ("misses a constraint", infeasible, {"marker": "x", "color": MUTED, "s": 16, "linewidths": 0.9}),
        (
            "dominated, or the same as another",
            dominated,
            {"marker": "o", "color": MUTED, "alpha": 0.55, "s": 16, "linewidths": 0},
        ),
        (
            "undecided: beaten, but not beyond noise",
            report.undecided,
            {"marker": "D", "facecolors": "none", "edgecolors": colour(1), "s": 30, "linewidths": 1.2},
        ),
        ("front", report.front, {"marker": "o", "color": colour(0), "s": 38, "linewidths": 0}),
    )
    for label, points, look in groups:
        if points:
            axes.scatter(
                [_value(p, across) for p in points], [_value(p, name) for p in points], label=label, zorder=3, **look
            )
    for point in [*report.front, *report.undecided]:
        _interval(axes, point, across, name, colour(0) if point.standing == Standing.FRONT else colour(1))
    _limits(axes, [*report.front, *report.undecided, *dominated], across, name)
    step = _best_of_two(report, across, name)
    if len(step) > 1:
        axes.plot(
            [_value(p, across) for p in step],
            [_value(p, name) for p in step],
            color=colour(0),
            linewidth=1.1,
            alpha=0.6,
            zorder=2,
            label="best of these two objectives",
        )
    axes.set_ylabel(_label(report, name))


def _interval(axes: Axes, point: DesignPoint, across: str, name: str, shade: str) -> None:
    """Draw the intervals of a point in both directions."""
    x, y = _value(point, across), _value(point, name)
    (x_low, x_high), (y_low, y_high) = _ends(point, across), _ends(point, name)
    axes.plot([x, x], [y_low, y_high], color=shade, linewidth=1.0, alpha=0.7)
    axes.plot([x_low, x_high], [y, y], color=shade, linewidth=1.0, alpha=0.7)


def _limits(axes: Axes, points: Sequence[DesignPoint], across: str, name: str) -> None:
    """Show what is feasible: what misses a constraint may lie far off."""
    for set_limits, metric in ((axes.set_xlim, across), (axes.set_ylim, name)):
        ends = [end for point in points for end in (*_ends(point, metric), _value(point, metric))]
        room = 0.09 * (max(ends) - min(ends))
        if room > 0:
            set_limits(min(ends) - room, max(ends) + room)


def _best_of_two(report: DesignReport, across: str, name: str) -> list[DesignPoint]:
    """Return the front points that are best in these two objectives alone, from left to right."""
    sign = {metric: 1.0 if way == "min" else -1.0 for metric, way in report.objectives}
    found: list[DesignPoint] = []
    for point in sorted(report.front, key=lambda p: (sign[across] * _value(p, across), sign[name] * _value(p, name))):
        if not found or sign[name] * _value(point, name) < sign[name] * _value(found[-1], name):
            found.append(point)
    return sorted(found, key=lambda p: _value(p, across))


def _number(axes: Axes, points: Sequence[DesignPoint], across: str, name: str) -> None:
    """Write the numbers of points next to their markers, where one does not cover another or a marker."""
    from matplotlib.transforms import Bbox

    taken: list[Bbox] = []
    seen: set[tuple[float, float]] = set()
    for point in points:
        x, y = axes.transData.transform((_value(point, across), _value(point, name)))
        taken.append(Bbox.from_bounds(x - 4, y - 4, 8, 8))
    frame = axes.get_window_extent()
    for point in points:
        place = (_value(point, across), _value(point, name))
        if place in seen:
            continue
        seen.add(place)
        for right, above in OFFSETS:
            text = axes.annotate(
                str(point.number),
                place,
                (right, above),
                textcoords="offset points",
                ha="left" if right > 0 else "right" if right < 0 else "center",
                fontsize=8,
                color=INK,
                zorder=4,
            )
            box = text.get_window_extent()
            if _inside(box, frame) and not any(box.overlaps(other) for other in taken):
                taken.append(box)
                break
            text.remove()


def _inside(box: Bbox, frame: Bbox) -> bool:
    return bool(box.x0 >= frame.x0 and box.x1 <= frame.x1 and box.y0 >= frame.y0 and box.y1 <= frame.y1)


def _scale(metric: str) -> float:
    return (
        100.0 if is_share(metric) else 1e-3 if metric.endswith("predictions_per_s") or "within_sla" in metric else 1.0
    )


def _drawn(point: DesignPoint, *metrics: str) -> bool:
    return all(name in point.metrics and point.metrics[name].value is not None for name in metrics)


def _value(point: DesignPoint, metric: str) -> float:
    return (point.metrics[metric].value or 0.0) * _scale(metric)


def _ends(point: DesignPoint, metric: str) -> tuple[float, float]:
    found, value = point.metrics[metric], _value(point, metric)
    if found.low is None or found.high is None:
        return value, value
    return found.low * _scale(metric), found.high * _scale(metric)


def _label(report: DesignReport, metric: str) -> str:
    title, unit = metric_title(metric)
    if _scale(metric) == 1e-3:
        unit = "thousands/s"
    way = "less" if dict(report.objectives)[metric] == "min" else "more"
    return f"{title}{f', {unit}' if unit else ''}\n({way} is better)"
