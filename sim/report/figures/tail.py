"""The tail of the latency, as far as the run can support: percentile plots, and how many queries take longer."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from sim.report.figures.colours import MUTED
from sim.report.figures.findings import who_meets
from sim.report.figures.layout import Key, headline, line_key, outer_labels, panel_title, panels, sla_key
from sim.report.figures.load import LOG_RANGE
from sim.report.figures.series import Entry, Run
from sim.report.figures.style import OUT_OF_SIGHT, SLA_DASHES, Drawing, colour, dashes, large_numbers, logarithmic
from sim.report.written import duration_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["exceedance_plots", "percentile_plots"]

TICKS = (0.5, 0.9, 0.99, 0.999, 0.9999, 0.99999, 0.999999)
MOST_PANELS = 12
"""Loads in one figure, the highest: those are where the tail is."""
LINES = 8
"""Lines in one panel; more go to further figures."""

Panel = tuple[str, list[tuple[int, str, Entry]]]
"""What a panel is about, and its lines: which colour, which name, which scenario."""


def _tails(run: Run) -> Iterator[tuple[str, list[Panel]]]:
    """Yield the panels of a figure and what follows its name: one a load, or one for all where no load is swept."""
    names = run.labels
    if run.load_axis is None or len(names) == 1:
        known = [entry for entry in run.entries if entry.data.get("percentile_curve")]
        for page in range(math.ceil(len(known) / LINES)):
            shown = known[page * LINES : (page + 1) * LINES]
            lines = [(i, entry.name, entry) for i, entry in enumerate(shown)]
            yield f"-{page + 1}" if page else "", [("", lines)]
        return
    for page in range(math.ceil(len(names) / LINES)):
        here = names[page * LINES : (page + 1) * LINES]
        found: list[Panel] = []
        for load in run.loads:
            lines = [
                (here.index(entry.label), entry.label, entry)
                for entry in run.at(load)
                if entry.label in here and entry.data.get("percentile_curve")
            ]
            if lines:
                found.append((load, lines))
        if found:
            yield f"-{page + 1}" if page else "", found[-MOST_PANELS:]


def _keys(shown: Sequence[Panel], slas: Sequence[float]) -> list[Key]:
    named = {index: name for _, lines in shown for index, name, _ in lines}
    keys = [line_key(index, named[index], marked=False, style=dashes(index % 4)) for index in sorted(named)]
    return [*keys, sla_key(slas)] if slas else keys


def _panel_name(run: Run, load: str) -> str:
    if not load:
        return ""
    entries = run.at(load)
    met = sum(entry.verdict == "meets" for entry in entries)
    told = all(entry.verdict for entry in entries)
    return f"{load}: {met} of {len(entries)} meet{'s' if met == 1 else ''} the SLA" if told else load


def _heading(run: Run, shown: Sequence[Panel], question: str) -> tuple[str, str]:
    """Return title and note of a figure of tails."""
    bands = f"bands: {run.certainty}" if run.certainty else ""
    if len(shown) > 1:
        return question, bands
    load, _ = shown[0]
    entries = run.at(load) if load else list(run.entries)
    names = [entry.label if load else entry.name for entry in entries]
    found = who_meets(run, entries, names)
    if not found:
        return f"{question[:-1]} at {load}?" if load else question, bands
    if len(entries) == 1:
        found = f"{names[0] or 'p' + run.percentile[1:]} {found if names[0] else found.split(' at ')[0]}"
    return f"{f'At {load} ' if load else ''}{found if load else found[0].upper() + found[1:]}", bands


def _slas(shown: Sequence[Panel]) -> list[float]:
    return sorted({float(entry.data["sla_ms"]) for _, lines in shown for _, _, entry in lines})


def _values(shown: Sequence[Panel]) -> list[float]:
    return [
        point["value"]
        for _, lines in shown
        for _, _, entry in lines
        for point in entry.data["percentile_curve"]
        if point["value"] > 0
    ]


def percentile_plots(run: Run) -> Iterator[tuple[str, Drawing]]:
    """Yield latency over its percentiles, a panel for each load.

    The x axis is -log10(1 - p), so that every decade of the tail is as wide; lines end where fewer than ten queries
    of a replication lie beyond.
    """
    for suffix, shown in _tails(run):
        figure, grid = panels(len(shown), 2, 3.6 if len(shown) == 1 else 2.5, sharex=True, sharey=True)
        values, slas = _values(shown), _slas(shown)
        drawn = [sla for sla in slas if not values or sla <= OUT_OF_SIGHT * max(values)]
        ends = [-math.log10(1 - e.data["percentile_curve"][-1]["p"]) for _, lines in shown for _, _, e in lines]
        ticks = [p for p in TICKS if -math.log10(1 - p) <= max(ends) + 0.05]
        for axes, (load, lines) in zip(grid, shown, strict=True):
            for index, _, entry in lines:
                curve = entry.data["percentile_curve"]
                x = [-math.log10(1.0 - point["p"]) for point in curve]
                axes.plot(x, [point["value"] for point in curve], color=colour(index), linestyle=dashes(index % 4))
                low, high = _interval(entry)
                axes.fill_between(x, low, high, color=colour(index), alpha=0.18, linewidth=0)
            for sla in sorted(set(drawn) & set(_slas([(load, lines)]))):
                axes.axhline(sla, color=MUTED, linewidth=1.1, linestyle=SLA_DASHES)
            panel_title(axes, _panel_name(run, load) if len(shown) > 1 else "")
            axes.set_xticks([-math.log10(1 - p) for p in ticks], [f"p{100 * p:.10g}" for p in ticks])
            axes.set_xlim(0.1, max(ends) * 1.02)
        _latency_axis(grid[0], [*values, *drawn], "y")
        outer_labels(grid, "percentile of queries", "latency, ms")
        title, note = _heading(run, shown, "How long is the tail?")
        headline(figure, title, _with_limits(note, slas, drawn), _keys(shown, drawn))
        yield f"percentiles{suffix}", figure


def exceedance_plots(run: Run) -> Iterator[tuple[str, Drawing]]:
    """Yield the share of queries that take longer than a latency (the complementary distribution), both logarithmic.

    A straight line is a power law, one that bends down falls faster. Lines end where percentile plots do.
    """
    for suffix, shown in _tails(run):
        figure, grid = panels(len(shown), 2, 3.6 if len(shown) == 1 else 2.5, sharex=True, sharey=True)
        values, slas = _values(shown), _slas(shown)
        drawn = [sla for sla in slas if not values or sla <= OUT_OF_SIGHT * max(values)]
        least = min(1 - e.data["percentile_curve"][-1]["p"] for _, lines in shown for _, _, e in lines)
        for axes, (load, lines) in zip(grid, shown, strict=True):
            for index, _, entry in lines:
                curve = entry.data["percentile_curve"]
                beyond = [100 * (1.0 - point["p"]) for point in curve]
                axes.plot([point["value"] for point in curve], beyond, color=colour(index), linestyle=dashes(index % 4))
                low, high = _interval(entry)
                axes.fill_betweenx(beyond, low, high, color=colour(index), alpha=0.18, linewidth=0)
            for sla in sorted(set(drawn) & set(_slas([(load, lines)]))):
                axes.axvline(sla, color=MUTED, linewidth=1.1, linestyle=SLA_DASHES)
            panel_title(axes, _panel_name(run, load) if len(shown) > 1 else "")
        axes = grid[0]
        axes.set_ylim(80 * least, 100)
        logarithmic(axes)
        _latency_axis(axes, [*values, *drawn], "x", always=True)
        if len(shown) > 1:
            logarithmic(axes, "x", ticks=(1.0,))
        outer_labels(grid, "latency, ms", "queries that take longer, %")
        title, note = _heading(run, shown, "How many queries take longer?")
        headline(figure, title, _with_limits(note, slas, drawn), _keys(shown, drawn))
        yield f"ccdf{suffix}", figure


def _interval(entry: Entry) -> tuple[list[float], list[float]]:
    curve = entry.data["percentile_curve"]
    nan = float("nan")
    # A latency cannot be less than zero, and a logarithmic axis has no zero.
    low = [nan if point["low"] is None else max(point["low"], 1e-3 * point["value"]) for point in curve]
    return low, [nan if point["high"] is None else point["high"] for point in curve]


def _latency_axis(axes: Axes, values: Sequence[float], which: str, *, always: bool = False) -> None:
    """Give the axis of the latency the range of what is drawn but for bands, logarithmic where that is wide."""
    low, high = min(values, default=1.0), max(values, default=1.0)
    set_limits = axes.set_ylim if which == "y" else axes.set_xlim
    if always or high > LOG_RANGE * low:
        set_limits(low / 1.2, high * 1.4)
        logarithmic(axes, which)
    else:
        set_limits(0, high * 1.15)
        large_numbers(axes)


def _with_limits(note: str, slas: Sequence[float], drawn: Sequence[float]) -> str:
    above = [f"the SLA of {duration_text(sla)} lies beyond" for sla in slas if sla not in drawn]
    return "; ".join(part for part in (note, *above) if part)
