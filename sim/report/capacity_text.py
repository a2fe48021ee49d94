"""A capacity search as text: a table of brackets, which comes first, and what they stand on."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from dataclasses import dataclass

from sim.report.capacity import Answer, CapacityReport, RunnerUp, shown
from sim.report.parameters import label

__all__ = ["render_capacity"]

WORDS = {
    "rate": ("How much load does it take?", "meets up to", "misses from"),
    "nodes": ("How many nodes does it need?", "meets from", "misses up to"),
    "sla": ("How tight an SLA does it meet?", "meets from", "misses up to"),
}
"""The question, and the heads of what is proved to meet and to miss, by what is looked for."""


@dataclass(frozen=True, slots=True)
class _Column:
    """A column; those of a higher rank are the first to go where the terminal is narrow."""

    header: str
    cell: Callable[[Answer], str]
    rank: int
    right: bool = True


def render_capacity(report: CapacityReport, width: int, *, unicode: bool = True) -> str:
    """Return the brackets, the ranking and what they stand on, as text of at most `width` columns."""
    width = max(width, 40)
    question, _, _ = WORDS[report.find]
    lines = _wrapped(report.name, width)
    asked = [] if report.find == "sla" else [f"SLA {', '.join(report.slas)} at {report.percentile}"]
    asked += [f"{report.percentile} within it"] if report.find == "sla" else []
    asked += [] if report.attainment is None else [f"{report.attainment:.5g} of the queries in time"]
    lines += _wrapped(
        f"{question} {report.model}, {', '.join(asked)}; every bracket holds with {report.confidence:.0%} confidence",
        width,
    )
    lines += ["", *_table(report, width, unicode)]
    verdict = [part for line in _verdict(report) for part in _wrapped(line, width, "  ")]
    lines += ["", *verdict] if verdict else []
    lines += ["", "Assumptions"]
    bullet = "·" if unicode else "-"
    for assumption in report.assumptions:
        lines += _wrapped(f"{bullet} {assumption}", width, "    ", "  ")
    lines.append(f"Evidence: {report.evidence}")
    if report.out_dir is not None:
        lines.append(f"Files: {report.out_dir}")
    text = "\n".join(line.rstrip() for line in lines)
    return text if unicode else text.encode("ascii", "replace").decode("ascii")


def _wrapped(text: str, width: int, later: str = "", first: str = "") -> list[str]:
    return textwrap.wrap(text, width, initial_indent=first, subsequent_indent=later, break_on_hyphens=False) or [""]


def _columns(report: CapacityReport) -> list[_Column]:
    _, meets, misses = WORDS[report.find]
    names = list(dict.fromkeys(key for answer in report.answers for key in answer.parameters))

    def parameter(name: str) -> Callable[[Answer], str]:
        return lambda answer: str(answer.parameters.get(name, ""))

    columns = [_Column(name.split(".")[-1], parameter(name), 0, right=i > 0) for i, name in enumerate(names)]
    groups = list(dict.fromkeys(group for answer in report.answers for group in answer.counts))
    if len(groups) > 1:

        def count(group: str) -> Callable[[Answer], str]:
            return lambda answer: str(answer.counts.get(group, "-"))

        columns += [_Column(group, count(group), 0) for group in groups]
        unit = "US$/h" if report.by == "price" else "W"
        columns.append(_Column(unit, lambda one: "-" if one.cost is None else f"{one.cost:,.4g}", 0))
        return columns
    columns += [
        _Column(meets, lambda answer: shown(report.find, answer.meets), 0),
        _Column(misses, lambda answer: shown(report.find, answer.misses), 0),
        _Column("estimate", lambda answer: shown(report.find, answer.estimate), 2),
    ]
    if report.find == "rate":
        columns.append(_Column("saturates at", _saturation, 1))
    columns.append(_Column("looks", lambda answer: str(len(answer.looked)), 3))
    return columns


def _saturation(answer: Answer) -> str:
    if answer.saturates is None:
        return "-"
    return ("" if answer.saturates_by == "offered load" else "about ") + shown("rate", answer.saturates)


def _table(report: CapacityReport, width: int, unicode: bool) -> list[str]:
    columns = _columns(report)
    while True:
        cells = [[column.header, *(column.cell(answer) for answer in report.answers)] for column in columns]
        widths = [max(len(cell) for cell in column) for column in cells]
        if sum(widths) + 2 * (len(widths) - 1) <= width or max(column.rank for column in columns) == 0:
            break
        last = max(range(len(columns)), key=lambda i: (columns[i].rank, i))
        columns = columns[:last] + columns[last + 1 :]
    rows = []
    for row in zip(*cells, strict=True):
        parts = [
            cell.rjust(size) if column.right else cell.ljust(size)
            for cell, size, column in zip(row, widths, columns, strict=True)
        ]
        rows.append("  ".join(parts)[:width])
    rule = ("─" if unicode else "-") * min(sum(widths) + 2 * (len(widths) - 1), width)
    return [rows[0], rule, *rows[1:]]


def _verdict(report: CapacityReport) -> list[str]:
    lines = []
    for ranking in report.rankings:
        prefix = f"{label(ranking.asked)}: " if len(report.rankings) > 1 else ""
        if not ranking.order:
            lines.append(f"{prefix}nothing was proved to meet it")
        elif len(ranking.answers) > 1:
            best = report.answers[ranking.order[0]]
            lines.append(f"{prefix}{_superlative(report)}: {best.design}, {_achieved(report, best)}")
        elif not prefix:
            lines.append(_achieved(report, report.answers[ranking.order[0]]))
        if ranking.runner_up is not None:
            lines.append(f"{prefix}{_second(report, ranking.runner_up)}")
    for answer in report.answers:
        prefix = f"{answer.label}: " if answer.label else ""
        lines += [f"{prefix}{note}" for note in answer.notes]
    return lines


def _superlative(report: CapacityReport) -> str:
    if report.by:
        return "cheapest" if report.by == "price" else "least power"
    return {"rate": "most load", "nodes": "fewest nodes", "sla": "tightest SLA"}[report.find]


def _achieved(report: CapacityReport, answer: Answer) -> str:
    if len(answer.counts) > 1:
        mix = " + ".join(f"{count} {group}" for group, count in answer.counts.items())
        unit = "US$/h" if report.by == "price" else "W"
        return f"{mix}, {answer.cost:,.4g} {unit}"
    proved = f"proved to meet {'up to' if report.find == 'rate' else 'from'} {shown(report.find, answer.meets)}"
    if answer.misses is None:
        return proved
    return f"{proved}, to miss {'from' if report.find == 'rate' else 'up to'} {shown(report.find, answer.misses)}"


def _second(report: CapacityReport, runner_up: RunnerUp) -> str:
    first, second = report.answers[runner_up.first], report.answers[runner_up.second]
    text = f"{'as good' if second.meets == first.meets else 'runner-up'}: {second.design}, {_achieved(report, second)}"
    if not runner_up.told_apart:
        text += "; the two brackets overlap"
    where = shown(report.find, runner_up.at)
    if runner_up.saturated:
        return f"{text}; at {where} it is saturated"
    gap = runner_up.difference
    if gap is None or gap.value is None or gap.low is None or gap.high is None:
        return text
    its, that = f"{text}; at {where} its {report.percentile}", f"that of {first.design}"
    if gap.low == gap.high == 0.0:
        return f"{its} is {that}"
    if gap.low <= 0.0 <= gap.high:
        return f"{its} differs from {that} by {gap.value:+.3g} ms [{gap.low:+.3g}, {gap.high:+.3g}], within noise"
    near, far = sorted((abs(gap.low), abs(gap.high)))
    slower = "higher" if gap.value > 0.0 else "lower"
    return f"{its} is {abs(gap.value):.3g} ms {slower} [{near:.3g}, {far:.3g}] than {that}"
