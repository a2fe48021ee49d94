"""The tables as text."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence

from benchmarks.agreement import agreement
from benchmarks.ratios import cost_ratio, speed_ratio
from benchmarks.rounds import Results

__all__ = ["render_facts", "render_table"]

BARE = "-"


def render_facts(facts: Mapping[str, str]) -> str:
    """Return the facts, one a line."""
    width = max(len(name) for name in facts)
    return "\n".join(f"{name:<{width}}  {value}" for name, value in facts.items())


def render_table(
    results: Results, systems: Sequence[str], titles: Mapping[str, str], *, first: str, base: str, floor: str | None
) -> str:
    """Return a row for each contender on each system.

    Parameters
    ----------
    results : Results
    systems : sequence of str
    titles : mapping
        What each contender is called, by name, in the order of the rows.
    first : str
        Heading of the systems.
    base : str
        Contender that the speed is given in multiples of.
    floor : str or None
        Contender that the cost is given in multiples of.
    """
    heads = [
        first,
        "contender",
        "queries",
        "CPU s",
        "queries / CPU s",
        "spread",
        "peak MB",
        "run MB",
        f"x {titles[base]}",
    ]
    if floor is not None:
        heads.append(f"cost x {titles[floor]}")
    heads.append("answers")
    rows: list[list[str]] = []
    for system in systems:
        rows += [_row(results, system, contender, title, base, floor) for contender, title in titles.items()]
        rows.append([])
    return _aligned(heads, rows[:-1])


def _row(results: Results, system: str, contender: str, title: str, base: str, floor: str | None) -> list[str]:
    label = f"{int(system):,}" if system.isdecimal() else system
    measured = results.of(system, contender)
    if not measured:
        return [label, title, results.reason(system, contender)]
    speeds = [one.queries_per_s for one in measured]
    cells = [
        label,
        title,
        f"{measured[0].queries:,}",
        f"{statistics.median(one.cpu_s for one in measured):.2f}",
        f"{_digits(statistics.median(speeds)):,}",
        f"{(max(speeds) - min(speeds)) / statistics.median(speeds):.0%}" if len(speeds) > 1 else BARE,
        f"{statistics.median(one.peak_bytes for one in measured) / 1e6:,.0f}",
        f"{statistics.median(max(one.peak_bytes - one.before_bytes, 0) for one in measured) / 1e6:,.0f}",
        _ratio(speed_ratio(results, (system, contender), (system, base))),
    ]
    if floor is not None:
        cells.append(_ratio(cost_ratio(results, (system, contender), (system, floor))))
    cells.append(agreement(results, system, contender)[1])
    return cells


def _digits(value: float) -> int:
    """Round to three digits: more of them would not be there again in the next run."""
    return int(float(f"{value:.3g}"))


def _ratio(ratio: float | None) -> str:
    if ratio is None:
        return BARE
    return f"{ratio:,.0f}" if ratio >= 100 else f"{ratio:.3g}"


def _aligned(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return columns of text: the first two and the last to the left, numbers to the right.

    A row with fewer cells says in its last one why there are no numbers, across the columns.
    """
    full = [row for row in rows if len(row) == len(heads)]
    widths = [max(len(row[i]) for row in [heads, *full]) for i in range(len(heads))]
    for i in (0, 1):
        widths[i] = max([widths[i], *(len(row[i]) for row in rows if row)])

    def line(cells: Sequence[str]) -> str:
        short = len(cells) < len(heads)
        placed = [
            cell if short and i == len(cells) - 1 else f"{cell:<{width}}" if i in left else f"{cell:>{width}}"
            for i, (cell, width) in enumerate(zip(cells, widths, strict=False))
        ]
        return "  ".join(placed).rstrip()

    left = {0, 1, len(heads) - 1}
    return "\n".join([line(heads), line(["-" * width for width in widths]), *(line(row) for row in rows)])
