"""Figures of a capacity search: what was found at every value that was looked at, with the bracket that was proved."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from sim.report.capacity import Answer, CapacityReport, Looked
from sim.report.figures.style import (
    MUTED,
    Drawing,
    colour,
    legend_beside,
    logarithmic,
    marker,
    new_figure,
    note,
    save,
    styled,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["plot_capacity"]

LOG_RANGE = 20.0
"""An axis is logarithmic where the values span more than this factor."""

MOST_EXCESS = 10.0
"""What lies further over the limit is drawn at the upper edge: there is no end to it."""

AXES = {"rate": "offered load, queries/s", "nodes": "nodes", "sla": "SLA, ms"}
TITLES = {
    "rate": "Up to which load is the SLA met?",
    "nodes": "From how many nodes on is the SLA met?",
    "sla": "From which SLA on is it met?",
}


def plot_capacity(report: CapacityReport, folder: Path) -> list[Path]:
    """Draw the figure of a search as SVG and PNG.

    Raises
    ------
    RunDirectoryError
        If a file cannot be written.
    """
    groups = {group for answer in report.answers for looked in answer.looked for group in looked.counts}
    with styled():
        if len(groups) == 2:
            return [
                file
                for number, answer in enumerate(report.answers)
                for file in save(_mixes(report, answer), folder / ("mixes" if not number else f"mixes-{number + 1}"))
            ]
        if len(groups) > 2:
            return []
        return save(_over_values(report), folder / "capacity")


def _last_looks(answer: Answer) -> list[Looked]:
    """Return the last look at every value, in the order of the values."""
    last = {looked.value: looked for looked in answer.looked}
    return [last[value] for value in sorted(last)]


def _over_values(report: CapacityReport) -> Drawing:
    """Draw the worst of what is asked over its limit, over the values; open decisions are hollow."""
    figure, axes = new_figure()
    values = [looked.value for answer in report.answers for looked in answer.looked]
    for index, answer in enumerate(report.answers):
        _line(axes, answer, index)
        if answer.estimate is not None:
            axes.plot([answer.estimate], [1.0], color=colour(index), marker="|", markersize=16, label="_estimate")
        if answer.meets is not None and answer.misses is not None:
            axes.axvspan(*sorted((answer.meets, answer.misses)), color=colour(index), alpha=0.15, linewidth=0)
    axes.axhline(1.0, color=MUTED, linewidth=1.1, linestyle=(0, (6, 3)))
    if values and min(values) > 0 and max(values) > LOG_RANGE * min(values):
        axes.set_xscale("log")
    logarithmic(axes)
    axes.set_ylim(top=MOST_EXCESS * 1.3)
    axes.set_xlabel(AXES[report.find])
    what = f"{report.percentile} latency" if report.attainment is None else "worst of what is asked"
    axes.set_ylabel(f"{what}, multiples of its limit ({MOST_EXCESS:.0f}: or more)")
    axes.set_title(TITLES[report.find])
    if any(_open(looked) for answer in report.answers for looked in _last_looks(answer)):
        note(axes, "hollow: too close to call")
    legend_beside(axes)
    return figure


def _line(axes: Axes, answer: Answer, index: int) -> None:
    known = [one for one in _last_looks(answer) if one.excess is not None or one.saturated]
    heights = [_height(one) for one in known]
    axes.plot(
        [one.value for one in known],
        heights,
        color=colour(index),
        linewidth=1.0,
        marker="none",
        label="_line",
    )
    for one, height in zip(known, heights, strict=True):
        if one.low is not None and one.high is not None and height < MOST_EXCESS:
            top = min(one.high, MOST_EXCESS)
            axes.vlines(one.value, max(one.low, 1e-3), top, color=colour(index), linewidth=1.4)
    for hollow in (False, True):
        shown = [(one.value, height) for one, height in zip(known, heights, strict=True) if _open(one) is hollow]
        axes.plot(
            [value for value, _ in shown],
            [height for _, height in shown],
            color=colour(index),
            marker=marker(index),
            markerfacecolor="white" if hollow else colour(index),
            linestyle="none",
            label="_open" if hollow else answer.label or "p",
        )


def _open(looked: Looked) -> bool:
    return looked.decision == "open"


def _height(looked: Looked) -> float:
    if looked.saturated or looked.excess is None:
        return MOST_EXCESS
    return min(looked.excess, MOST_EXCESS)


def _mixes(report: CapacityReport, answer: Answer) -> Drawing:
    """Draw the mixes of two groups that were looked at: which meet, which miss."""
    from matplotlib.ticker import MaxNLocator

    figure, axes = new_figure()
    groups = list(dict.fromkeys(group for looked in answer.looked for group in looked.counts))
    last = {tuple(one.counts[group] for group in groups): one.decision for one in answer.looked}
    for index, decision in enumerate(("meets", "misses", "open")):
        mixes = {mix for mix, one in last.items() if one == decision}
        if not mixes:
            continue
        axes.plot(
            [mix[0] for mix in sorted(mixes)],
            [mix[1] for mix in sorted(mixes)],
            linestyle="none",
            color=colour((2, 1, 6)[index]),
            marker=marker(index),
            markerfacecolor="white" if decision == "open" else colour((2, 1, 6)[index]),
            label={"open": "too close to call"}.get(decision, decision),
        )
    if answer.counts:
        axes.plot(
            [answer.counts[groups[0]]],
            [answer.counts[groups[1]]],
            linestyle="none",
            marker="o",
            markersize=15,
            markerfacecolor="none",
            color=MUTED,
            label="cheapest" if report.by == "price" else "least power",
        )
    axes.set_xlabel(f"{groups[0]} nodes")
    axes.set_ylabel(f"{groups[1]} nodes")
    axes.set_xlim(-0.5, max(mix[0] for mix in last) + 0.5)
    axes.set_ylim(-0.5, max(mix[1] for mix in last) + 0.5)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_title(f"Which mix meets the SLA{f', {answer.label}' if answer.label else ''}?")
    legend_beside(axes)
    return figure
