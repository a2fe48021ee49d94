"""Curves over what is swept, mostly the offered load: latency, correct predictions in time, accuracy served."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from sim.report.figures.colours import MUTED, PAPER
from sim.report.figures.findings import meets_up_to, most_correct
from sim.report.figures.layout import beside, headline, line_key
from sim.report.figures.series import Entry, Run
from sim.report.figures.style import (
    OUT_OF_SIGHT,
    SLA_DASHES,
    Drawing,
    colour,
    dashes,
    large_numbers,
    logarithmic,
    marker,
    new_figure,
    plain_ticks,
    shown_limit,
)
from sim.report.written import duration_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["LOG_RANGE", "accuracy_over_load", "correct_over_load", "latency_over_load"]

LOG_RANGE = 20.0
"""An axis is logarithmic where the values span more than this factor."""
MOST_LINES = 8
"""Lines in one figure; more go to further figures."""
CORRECT = "correct_predictions_within_sla_per_s"
"""The metric that tells how much is served well."""


def _pages(run: Run, stem: str) -> Iterator[tuple[str, Run, str]]:
    """Yield name, part of the run and where in the whole it is: as many lines as one figure can hold."""
    labels = run.labels
    for page in range(math.ceil(len(labels) / MOST_LINES)):
        shown = labels[page * MOST_LINES : (page + 1) * MOST_LINES]
        part = replace(run, entries=tuple(entry for entry in run.entries if entry.label in shown))
        first = page * MOST_LINES
        where = f"lines {first + 1} to {first + len(shown)} of {len(labels)}" if len(labels) > MOST_LINES else ""
        yield f"{stem}-{page + 1}" if page else stem, part, where


def _curve(axes: Axes, entries: Sequence[Entry], metric: str, index: int, scale: float = 1.0) -> None:
    """Draw a metric over the load with its interval as a band; missing values interrupt the line."""

    def scaled(value: float | None) -> float:
        return float("nan") if value is None else value * scale

    loads = [entry.load or 0.0 for entry in entries]
    points = [entry.metric(metric) for entry in entries]
    axes.plot(
        loads,
        [scaled(point.value) for point in points],
        color=colour(index),
        marker=marker(index),
        linestyle=dashes(index // 8),
    )
    low, high = [scaled(point.low) for point in points], [scaled(point.high) for point in points]
    axes.fill_between(loads, low, high, color=colour(index), alpha=0.18, linewidth=0)


def _hollow(axes: Axes, loads: Sequence[float], heights: Sequence[float], index: int) -> None:
    axes.plot(
        loads, heights, color=colour(index), marker=marker(index), markerfacecolor=PAPER, linestyle="none", zorder=3
    )


def _load_axis(axes: Axes, run: Run) -> None:
    loads = [entry.load or 0.0 for entry in run.entries]
    if min(loads) > 0 and max(loads) > LOG_RANGE * min(loads):
        axes.set_xlim(min(loads) / 1.2, max(loads) * 1.2)
        logarithmic(axes, "x")
    elif max(loads) >= 10_000:
        plain_ticks(axes, "x")
    axes.set_xlabel(run.load_axis or "")


def _swept(run: Run) -> str:
    return "load" if run.load_is_rate else (run.load_axis or "").split(",")[0]


def _note(run: Run, *more: str) -> str:
    certainty = f"bands: {run.certainty}" if run.certainty else ""
    return "; ".join(part for part in (certainty, *more) if part)


def latency_over_load(run: Run) -> Iterator[tuple[str, Drawing]]:
    """Yield the percentile that has to meet the SLA over the offered load.

    Saturated scenarios have no tail: they stand as hollow markers at the upper edge, at their load.
    """
    for name, part, where in _pages(run, "latency-load"):
        if not all(entry.saturated for entry in part.entries):
            yield name, _latency(part, where)


def _latency(run: Run, where: str) -> Drawing:
    figure, axes = new_figure(height=3.6)
    metric = f"latency_ms_{run.percentile}"
    tails = [entry for entry in run.entries if not entry.saturated]
    for index, label in enumerate(run.labels):
        _curve(axes, [_without_tail(entry, metric) for entry in run.line(label)], metric, index)
    values = [v for entry in tails if (v := entry.metric(metric).value)]
    over_sla = run.load_key == "sla"
    near = [] if over_sla else [sla for sla in run.slas_ms if not values or sla <= OUT_OF_SIGHT * max(values)]
    if values and max(values) > LOG_RANGE * min(values):
        top = max([*values, *near]) * 3
        axes.set_ylim(min([*values, *near]) / 1.6, top)
        logarithmic(axes)
        edge = [top / 1.35**k for k in range(1, 9)]
    else:
        top = max([*values, *near], default=1.0) * 1.35
        axes.set_ylim(0, top)
        edge = [top * (1 - 0.035 * k) for k in range(1, 9)]
        large_numbers(axes)
    texts = []
    saturated = [any(entry.saturated for entry in run.line(label)) for label in run.labels]
    for index, label in enumerate(run.labels):
        loads = [entry.load or 0.0 for entry in run.line(label) if entry.saturated]
        if loads:
            _hollow(axes, loads, [edge[sum(saturated[:index])]] * len(loads), index)
    if any(saturated):
        texts.append((edge[0], "saturated"))
    notes = ["hollow: saturated, the backlog grows and there is no tail" if any(saturated) else "", where]
    if over_sla:
        # A limit that is as long as itself is a curve where only one of the axes is logarithmic.
        first, last = min(run.slas_ms), min(max(run.slas_ms), axes.get_ylim()[1])
        limits = [first + (last - first) * k / 100 for k in range(101)]
        axes.plot(limits, limits, color=MUTED, linewidth=1.1, linestyle=SLA_DASHES, scalex=False, scaley=False)
        texts.append((last, "the SLA"))
    else:
        drawn = [sla for sla in near if shown_limit(axes, sla)]
        texts += [(sla, f"SLA {duration_text(sla)}") for sla in drawn]
        notes += [f"the SLA of {duration_text(sla)} lies above" for sla in run.slas_ms if sla not in drawn]
    _load_axis(axes, run)
    axes.set_ylabel(f"{run.percentile} latency, ms")
    beside(axes, texts)
    question = f"How does {run.percentile} change with {_swept(run)}?"
    keys = [line_key(index, label) for index, label in enumerate(run.labels)]
    headline(figure, meets_up_to(run) or question, _note(run, *notes), keys)
    return figure


def _without_tail(entry: Entry, metric: str) -> Entry:
    """Return a scenario as it is drawn: a saturated one has no latency."""
    if not entry.saturated:
        return entry
    return replace(entry, data={**entry.data, "metrics": {**entry.data["metrics"], metric: {}}})


def correct_over_load(run: Run) -> Iterator[tuple[str, Drawing]]:
    """Yield correct predictions per second within the SLA over the load, or over the SLA where that is swept."""
    stem = f"correct-predictions-{'sla' if run.load_key == 'sla' else 'load'}"
    for name, part, where in _pages(run, stem):
        figure, axes = new_figure(height=3.6)
        for index, label in enumerate(part.labels):
            entries = part.line(label)
            _curve(axes, entries, CORRECT, index)
            saturated = [entry for entry in entries if entry.saturated]
            _hollow(
                axes, [one.load or 0.0 for one in saturated], [one.metric(CORRECT).value or 0.0 for one in saturated],
                index,
            )  # fmt: skip
        axes.set_ylim(bottom=0)
        large_numbers(axes)
        _load_axis(axes, part)
        axes.set_ylabel("correct predictions in time, 1/s")
        hollow = "hollow: saturated" if any(entry.saturated for entry in part.entries) else ""
        keys = [line_key(index, label) for index, label in enumerate(part.labels)]
        question = (
            "What does a tighter SLA cost in correct predictions?"
            if run.load_key == "sla"
            else "Who serves the most correct predictions in time?"
        )
        found = most_correct(part) if not where and run.load_key != "sla" else None
        headline(figure, found or question, _note(part, hollow, where), keys)
        yield name, figure


def accuracy_over_load(run: Run) -> Iterator[tuple[str, Drawing]]:
    """Yield the accuracy of what is served over the load."""
    for name, part, where in _pages(run, "accuracy-load"):
        figure, axes = new_figure(height=3.6)
        for index, label in enumerate(part.labels):
            entries = part.line(label)
            _curve(axes, entries, "accuracy_served", index, 100.0)
            saturated = [e for e in entries if e.saturated and e.metric("accuracy_served").value is not None]
            _hollow(
                axes, [one.load or 0.0 for one in saturated],
                [100.0 * (one.metric("accuracy_served").value or 0.0) for one in saturated], index,
            )  # fmt: skip
        low, high = axes.get_ylim()
        if high - low < 0.01:
            axes.set_ylim((low + high) / 2 - 0.005, (low + high) / 2 + 0.005)
        _load_axis(axes, part)
        axes.set_ylabel("accuracy of what is served, %")
        hollow = "hollow: saturated" if any(entry.saturated for entry in part.entries) else ""
        keys = [line_key(index, label) for index, label in enumerate(part.labels)]
        question = (
            "What does load cost in accuracy?" if run.load_is_rate else f"How does accuracy change with {_swept(run)}?"
        )
        headline(figure, question, _note(part, hollow, where), keys)
        yield name, figure
