"""What a capacity search has to say: a table of brackets, the ranking, and its files."""

from __future__ import annotations

import csv
import io
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sim.report.table import EVIDENCE
from sim.stats.interval import Interval

__all__ = ["Answer", "CapacityReport", "Looked", "RunnerUp", "points_csv", "render_capacity", "shown", "weakest"]

WORDS = {
    "rate": ("How much load does it take?", "meets up to", "misses from"),
    "nodes": ("How many nodes does it need?", "meets from", "misses up to"),
    "sla": ("How tight an SLA does it meet?", "meets from", "misses up to"),
}
"""The question, and the heads of what is proved to meet and to miss, by what is looked for."""


@dataclass(frozen=True, slots=True)
class Looked:
    """A look at one value of one scenario.

    Attributes
    ----------
    value : float
        Queries a second, nodes, or milliseconds of the SLA.
    counts : dict
        Nodes of each group, where these are looked for.
    decision : str
    excess, low, high : float or None
        The worst of what is asked over its limit, with the bounds that decided.
    latency_ms : float or None
        Mean over replications of the percentile that is asked for.
    replications : int
    queries : float
        Mean number in a replication.
    saturated : bool
    why : str
    """

    value: float
    counts: dict[str, int]
    decision: str
    excess: float | None
    low: float | None
    high: float | None
    latency_ms: float | None
    replications: int
    queries: float
    saturated: bool
    why: str


@dataclass(frozen=True, slots=True)
class Answer:
    """What was found for one scenario.

    Attributes
    ----------
    parameters : dict
        What distinguishes it in the sweep.
    meets, misses : float or None
        Ends of the bracket: values proved to meet and to miss; None where nothing was proved.
    estimate : float or None
        Where it stops to meet, by interpolation.
    saturates : float or None
        The load from which it is saturated, or the smallest that was found to be.
    saturates_by : str
        "offered load" where that is known exactly, "drift" where the backlog says so.
    reached : bool
        Whether the bracket is as narrow as asked.
    counts : dict
        The nodes of each group of the answer, where these are looked for.
    cost : float or None
        US$ an hour, or watts, of the answer.
    notes : tuple of str
        What the reader has to know besides.
    looked : tuple of Looked
        Everything that was looked at, in its order.
    """

    parameters: dict[str, Any]
    meets: float | None
    misses: float | None
    estimate: float | None
    saturates: float | None
    saturates_by: str
    reached: bool
    counts: dict[str, int]
    cost: float | None
    notes: tuple[str, ...]
    looked: tuple[Looked, ...]

    @property
    def label(self) -> str:
        """Its parameters in one line."""
        return ", ".join(str(value) for value in self.parameters.values())


@dataclass(frozen=True, slots=True)
class RunnerUp:
    """The second of the ranking beside the first, at the value that the first was proved to meet.

    Attributes
    ----------
    first, second : int
        Indices of the answers.
    told_apart : bool
        Whether their brackets do not overlap.
    at : float
    difference : Interval or None
        Latency of the second less that of the first in ms, paired by replication; None where there is no pair.
    saturated : bool
        The second is saturated there.
    """

    first: int
    second: int
    told_apart: bool
    at: float
    difference: Interval | None
    saturated: bool


@dataclass(frozen=True, slots=True)
class CapacityReport:
    """The whole answer.

    Attributes
    ----------
    name, model : str
    find : str
        "rate", "nodes" or "sla".
    percentile : str
    slas : tuple of str
        As they are shown.
    attainment : float or None
    confidence, tolerance : float
    by : str
        "price" or "energy", where several groups are mixed; empty otherwise.
    answers : tuple of Answer
        In the order of the sweep.
    runner_up : RunnerUp or None
    assumptions : tuple of str
    evidence : str
    seed : int
    queries : int
        Simulated, not counting what was taken from earlier runs.
    out_dir : Path or None
    """

    name: str
    model: str
    find: str
    percentile: str
    slas: tuple[str, ...]
    attainment: float | None
    confidence: float
    tolerance: float
    by: str
    answers: tuple[Answer, ...]
    runner_up: RunnerUp | None
    assumptions: tuple[str, ...]
    evidence: str
    seed: int
    out_dir: Path | None

    @property
    def ranking(self) -> list[int]:
        """Indices of the answers that are proved to meet something, the best first."""
        known = [i for i, answer in enumerate(self.answers) if answer.meets is not None]
        return sorted(known, key=self._rank)

    def _rank(self, index: int) -> float:
        answer = self.answers[index]
        assert answer.meets is not None
        if self.find == "rate":
            return -answer.meets
        return answer.meets if answer.cost is None else answer.cost

    def to_json_dict(self) -> dict[str, Any]:
        """Return the content of ``capacity.json``."""
        runner_up = self.runner_up
        return {
            "name": self.name,
            "model": self.model,
            "seed": self.seed,
            "find": self.find,
            "unit": {"rate": "queries/s", "nodes": "nodes", "sla": "ms"}[self.find],
            "percentile": self.percentile,
            "slas": list(self.slas),
            "attainment": self.attainment,
            "confidence": self.confidence,
            "tolerance": self.tolerance,
            **({"by": self.by} if self.by else {}),
            "evidence": self.evidence,
            "assumptions": list(self.assumptions),
            "answers": [
                {
                    "parameters": answer.parameters,
                    "meets": answer.meets,
                    "misses": answer.misses,
                    "estimate": answer.estimate,
                    "reached": answer.reached,
                    "saturates": answer.saturates,
                    "saturates_by": answer.saturates_by,
                    **({"counts": answer.counts, "cost": answer.cost} if answer.counts else {}),
                    "notes": list(answer.notes),
                    "looks": len(answer.looked),
                }
                for answer in self.answers
            ],
            "ranking": self.ranking,
            "runner_up": None
            if runner_up is None
            else {
                "first": runner_up.first,
                "second": runner_up.second,
                "told_apart": runner_up.told_apart,
                "at": runner_up.at,
                "latency_ms_difference": None
                if runner_up.difference is None
                else {name: getattr(runner_up.difference, name) for name in ("value", "low", "high")},
                "saturated": runner_up.saturated,
            },
        }


def points_csv(report: CapacityReport) -> str:
    """Return ``points.csv``: a row for every look."""
    parameters = list(dict.fromkeys(key for answer in report.answers for key in answer.parameters))
    groups = list(dict.fromkeys(g for answer in report.answers for looked in answer.looked for g in looked.counts))
    text = io.StringIO(newline="")
    rows = csv.writer(text, lineterminator="\n")
    value = {"rate": "rate_per_s", "nodes": "nodes", "sla": "sla_ms"}[report.find]
    rows.writerow(
        [
            *parameters,
            value,
            *(f"nodes_{group}" for group in groups),
            *("decision", "excess", "low", "high", f"latency_ms_{report.percentile}"),
            *("replications", "queries", "saturated", "why"),
        ]
    )
    for answer in report.answers:
        for one in answer.looked:
            numbers = (one.excess, one.low, one.high, one.latency_ms)
            rows.writerow(
                [
                    *(answer.parameters.get(key, "") for key in parameters),
                    repr(one.value),
                    *(one.counts.get(group, 0) for group in groups),
                    one.decision,
                    *("" if number is None else repr(number) for number in numbers),
                    one.replications,
                    repr(one.queries),
                    str(one.saturated).lower(),
                    one.why,
                ]
            )
    return text.getvalue()


def shown(find: str, value: float | None) -> str:
    """Return a value with its unit."""
    if value is None:
        return "-"
    if find == "rate":
        return f"{value:,.4g}/s" if value < 10_000 else f"{value:,.0f}/s"
    return f"{value:,.0f}" if find == "nodes" else f"{value:,.4g} ms"


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
    lines += ["", *_table(report, width, unicode), ""]
    for line in _verdict(report):
        lines += _wrapped(line, width, "  ")
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
    ranking = report.ranking
    if not ranking:
        lines.append("nothing was proved to meet it")
    elif len(report.answers) > 1:
        best = report.answers[ranking[0]]
        lines.append(f"{_superlative(report)}: {best.label}, {_achieved(report, best)}")
    else:
        lines.append(_achieved(report, report.answers[0]))
    runner_up = report.runner_up
    if runner_up is not None:
        lines.append(_second(report, runner_up))
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
    text = f"runner-up: {second.label}, {_achieved(report, second)}"
    if not runner_up.told_apart:
        text += "; the two brackets overlap"
    where = shown(report.find, runner_up.at)
    if runner_up.saturated:
        return f"{text}; at {where} it is saturated"
    gap = runner_up.difference
    if gap is None or gap.value is None or gap.low is None or gap.high is None:
        return text
    noise = ", within noise" if gap.low <= 0.0 <= gap.high else ""
    slower = "higher" if gap.value >= 0 else "lower"
    ends = sorted((abs(gap.low), abs(gap.high))) if gap.low * gap.high > 0 else [gap.low, gap.high]
    return (
        f"{text}; at {where} its {report.percentile} is {abs(gap.value):.3g} ms {slower} "
        f"[{ends[0]:.3g}, {ends[1]:.3g}]{noise} than that of {first.label}"
    )


def weakest(kinds: Sequence[str]) -> str:
    """Return the weakest kind of evidence."""
    return min(kinds, key=EVIDENCE.index)
