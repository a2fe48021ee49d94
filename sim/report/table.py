"""The table and the verdict that a run prints."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sim.report.comparison import Gain, gains
from sim.report.precision import is_too_short, precision_lines, short_run_line
from sim.report.verdict import Answer, Verdict, headline, judge
from sim.report.written import duration_text
from sim.stats.classes import ClassSummary
from sim.stats.summary import Metric, ScenarioSummary

__all__ = [
    "Column",
    "Marks",
    "Report",
    "Row",
    "columns_of",
    "conclusions",
    "evidence_of",
    "percent",
    "render",
    "rows_of",
    "setting",
    "significant",
]

EVIDENCE = ("modelled", "published", "measured")


@dataclass(frozen=True, slots=True)
class Report:
    """What a finished run has to say.

    Attributes
    ----------
    name, model : str
    percentile : str
        The latency percentile that has to meet the SLA, such as ``"p99"``.
    baseline : str, mapping or None
    summaries : tuple of ScenarioSummary
    assumptions : tuple of str
    seed : int
    out_dir : Path or None
    """

    name: str
    model: str
    percentile: str
    baseline: str | Mapping[str, Any] | None
    summaries: tuple[ScenarioSummary, ...]
    assumptions: tuple[str, ...]
    seed: int
    out_dir: Path | None

    @property
    def evidence(self) -> str:
        """The weakest kind of evidence that any scenario stands on."""
        return min((summary.evidence for summary in self.summaries), key=EVIDENCE.index)

    def to_json_dict(self) -> dict[str, Any]:
        """Return the content of ``summary.json``."""
        return {
            "name": self.name,
            "model": self.model,
            "seed": self.seed,
            "percentile": self.percentile,
            "baseline": self.baseline,
            "evidence": self.evidence,
            "assumptions": list(self.assumptions),
            "scenarios": [
                self._entry(entry) | {"gain": _gain_json(gain)}
                for entry, gain in zip(self.summaries, gains(self.summaries, self.baseline), strict=True)
            ],
        }

    def _entry(self, summary: ScenarioSummary) -> dict[str, Any]:
        entry = summary.to_json_dict()
        for name, one in summary.classes.items():
            entry["classes"][name]["verdict"] = judge(one, self.percentile).answer.value
        return entry | {"verdict": judge(summary, self.percentile).answer.value}


def _gain_json(gain: Gain | None) -> dict[str, Any] | None:
    if gain is None:
        return None
    return {
        name: {"value": ratio.value, "low": ratio.low, "high": ratio.high}
        for name, ratio in (
            ("correct_predictions_per_s", gain.correct),
            ("correct_predictions_within_sla_per_s", gain.correct_within_sla),
        )
    }


@dataclass(frozen=True, slots=True)
class Row:
    """A row of the table: a scenario, or a class of its queries where `query_class` names one.

    `short` says that replications are too short for the interval of its percentile.
    """

    summary: ScenarioSummary | ClassSummary
    verdict: Verdict
    gain: Gain | None
    parameters: Mapping[str, Any]
    query_class: str
    short: bool


@dataclass(frozen=True, slots=True)
class Column:
    """A column: columns of a higher `rank` are the first to go where the terminal is narrow.

    `metric` is what its cells are the value of, where that is one of the metrics.
    """

    header: str
    cell: Callable[[Row], str]
    rank: int
    right: bool = True
    metric: str | None = None


def render(report: Report, width: int, *, unicode: bool = True) -> str:
    """Return the table, the verdict, the assumptions and where the files are, as text of at most `width` columns.

    Parameters
    ----------
    report : Report
    width : int
        Columns of the terminal; under 40 counts as 40.
    unicode : bool
        Whether the terminal can show more than ASCII.
    """
    width = max(width, 40)
    marks = Marks(unicode)
    found = gains(report.summaries, report.baseline)
    rows = rows_of(report, found)
    lines = _wrapped(report.name, width)
    lines += _wrapped(setting(report), width)
    lines += ["", *_table(report, rows, width, marks), ""]
    for line in conclusions(report, found, marks):
        lines += _wrapped(line, width, "  ")
    lines += ["", "Assumptions"]
    for assumption in report.assumptions or ("none beyond what the experiment file says",):
        lines += _wrapped(f"{marks.bullet} {assumption}", width, "    ", "  ")
    lines += [f"Evidence: {evidence_of(report)}"]
    if report.out_dir is not None:
        lines.append(f"Files: {report.out_dir}")
    text = "\n".join(line.rstrip() for line in lines)
    return text if unicode else text.encode("ascii", "replace").decode("ascii")


def setting(report: Report) -> str:
    """Return what was asked of which model, how often and with which intervals, in a line."""
    slas = dict.fromkeys(sla for summary in report.summaries for sla in _slas(summary))
    several = any(summary.replications > 1 for summary in report.summaries)
    intervals = f", {report.summaries[0].confidence:.0%} intervals" if several else ""
    asked = f"{report.model}, SLA {', '.join(slas)} at {report.percentile}"
    return f"{asked}; {_replications(report.summaries)}{intervals}"


def _replications(summaries: Sequence[ScenarioSummary]) -> str:
    least, most = (pick(summary.replications for summary in summaries) for pick in (min, max))
    return f"{'' if least == most else f'{least} to '}{most} replication{'s' if most > 1 else ''}"


def conclusions(report: Report, found: Sequence[Gain | None], marks: Marks) -> list[str]:
    """Return the verdict, a line a group of scenarios, how precise it is, and what is to be read with care.

    Parameters
    ----------
    report : Report
    found : sequence of Gain or None
        Of every scenario, as from `sim.report.comparison.gains`.
    marks : Marks
    """
    verdicts = [judge(summary, report.percentile) for summary in report.summaries]
    return [
        *headline(report.summaries, verdicts, found, report.percentile),
        *precision_lines(report.summaries, marks.plus_minus),
        *_warnings(report, rows_of(report, found)),
    ]


def evidence_of(report: Report) -> str:
    """Return the weakest kind of evidence, and that it is the weakest where scenarios differ."""
    several = len({summary.evidence for summary in report.summaries}) > 1
    return report.evidence + (" (the weakest of what the scenarios stand on)" if several else "")


def rows_of(report: Report, found: Sequence[Gain | None]) -> list[Row]:
    """Return a row a scenario, and below it those of its classes."""
    rows = []
    for summary, gain in zip(report.summaries, found, strict=True):
        own: dict[str, ScenarioSummary | ClassSummary] = {"": summary, **summary.classes}
        for name, one in own.items():
            short = is_too_short(summary, report.percentile, name)
            query_class = name or ("all" if summary.classes else "")
            own_gain = None if name else gain
            rows.append(Row(one, judge(one, report.percentile), own_gain, summary.parameters, query_class, short))
    return rows


def _slas(summary: ScenarioSummary) -> list[str]:
    if not summary.classes:
        return [duration_text(summary.sla_ms)]
    return [f"{name} {duration_text(one.sla_ms)}" for name, one in summary.classes.items()]


class Marks:
    """Characters that depend on what the terminal can show."""

    def __init__(self, unicode: bool) -> None:
        self.plus_minus = "±" if unicode else "+-"
        self.times = "×" if unicode else "x"
        self.bullet = "·" if unicode else "-"
        self.rule = "─" if unicode else "-"
        self.cut = "…" if unicode else "~"


def _wrapped(text: str, width: int, later: str = "", first: str = "") -> list[str]:
    return textwrap.wrap(text, width, initial_indent=first, subsequent_indent=later, break_on_hyphens=False) or [""]


def columns_of(report: Report, rows: Sequence[Row], marks: Marks) -> list[Column]:
    """Return the columns of the table of scenarios."""
    names = list(dict.fromkeys(key for summary in report.summaries for key in summary.parameters))
    percentile, in_time = f"latency_ms_{report.percentile}", "correct_predictions_within_sla_per_s"

    def parameter(name: str) -> Callable[[Row], str]:
        return lambda row: str(row.parameters.get(name, ""))

    columns = [Column(name.split(".")[-1], parameter(name), 0, right=i > 0) for i, name in enumerate(names)]
    if any(summary.classes for summary in report.summaries):
        columns.append(Column("class", lambda row: row.query_class, 0, right=False))
    columns += [
        Column(f"{report.percentile} ms", _marked(rows, percentile), 0, metric=percentile),
        Column(marks.plus_minus, lambda row: _half_width(row.summary.metrics[percentile]), 4),
        Column("SLA", lambda row: _answer(row.verdict), 0, right=False),
        Column("in time", _share("sla_attainment"), 3, metric="sla_attainment"),
        Column("correct/s in time", lambda row: _number(row, in_time), 1, metric=in_time),
        Column("accuracy", _share("accuracy_served"), 5, metric="accuracy_served"),
    ]
    if any(summary.saturation.offered_load is not None for summary in report.summaries):
        columns.append(Column("load", _offered_load, 7))
    columns.append(Column("drift", lambda row: f"{row.summary.saturation.growth_fraction:z.1%}", 6))
    if report.baseline is not None:
        columns.append(Column(f"gain{marks.times}", lambda row: _gain(row, marks), 2))
    if any((summary.metrics["drop_rate"].value or 0) > 0 for summary in report.summaries):
        columns.append(Column("dropped", _share("drop_rate"), 2, metric="drop_rate"))
    for header, name, rank in (
        ("attempts", "attempts_per_query", 2),
        ("wasted", "wasted_work", 3),
        ("up", "availability", 3),
        ("nodes", "nodes_on", 2),
    ):
        if any(name in row.metrics for row in report.summaries):
            columns.append(Column(header, _optional(name), rank, metric=name))
    if any("nodes_on" in row.metrics for row in report.summaries):
        # Where nodes come and go, what they cost is the point.
        columns.append(
            Column("$/M correct", _optional("cost_per_million_correct"), 1, metric="cost_per_million_correct")
        )
    return columns


def _marked(rows: Sequence[Row], metric: str) -> Callable[[Row], str]:
    """Return the cells of the percentile, with a mark where a replication is too short for it."""
    room = " " if any(row.short for row in rows) else ""
    return lambda row: _value(row, metric) + (SHORT if row.short else room)


def _offered_load(row: Row) -> str:
    saturation = row.summary.saturation
    return "-" if saturation.offered_load is None else f"{saturation.offered_load:.2f}"


def _share(name: str) -> Callable[[Row], str]:
    """Return the cells of a metric that is a share."""
    return lambda row: percent(row.summary.metrics[name].value)


def _optional(name: str) -> Callable[[Row], str]:
    """Return the cells of a metric that only some scenarios have."""

    def cell(row: Row) -> str:
        metric = row.summary.metrics.get(name)
        if metric is None or metric.value is None:
            return "-"
        if name in ("wasted_work", "availability"):
            return percent(metric.value)
        return f"{metric.value:.3f}" if name == "attempts_per_query" else significant(metric.value)

    return cell


def _value(row: Row, name: str) -> str:
    metric = row.summary.metrics[name]
    return "-" if metric.value is None else significant(metric.value)


def _half_width(metric: Metric) -> str:
    if metric.low is None or metric.high is None:
        return "-"
    return significant((metric.high - metric.low) / 2, 2)


def _number(row: Row, name: str) -> str:
    value = row.summary.metrics[name].value
    if value is None:
        return "-"
    return f"{value:,.0f}" if value >= 1000 else significant(value)


def significant(value: float, digits: int = 3) -> str:
    """Return a number with so many significant digits, and all those before the point."""
    text = f"{value:#.{digits}g}".removesuffix(".")
    if "e" not in text:
        return text
    return f"{value:,.0f}" if abs(value) >= 1 else f"{value:.{digits}f}"


def percent(value: float | None) -> str:
    """Return a share in percent; a dash where there is none."""
    return "-" if value is None else f"{100 * value:.2f}%"


def _gain(row: Row, marks: Marks) -> str:
    if row.gain is None or row.gain.correct_within_sla.value is None:
        return "-"
    ratio = row.gain.correct_within_sla
    if ratio.low is None or ratio.high is None:
        return f"{ratio.value:.3f}"
    return f"{ratio.value:.3f} [{ratio.low:.3f}, {ratio.high:.3f}]"


def _answer(verdict: Verdict) -> str:
    return {
        Answer.MEETS: "meets",
        Answer.MISSES: "misses",
        Answer.CLOSE: "close",
        Answer.SATURATED: "saturated",
        Answer.UNKNOWN: "unknown",
    }[verdict.answer]


def _table(report: Report, rows: Sequence[Row], width: int, marks: Marks) -> list[str]:
    columns = columns_of(report, rows, marks)
    cells = [[column.cell(row) for column in columns] for row in rows]
    widths = [max(len(column.header), *(len(row[i]) for row in cells)) for i, column in enumerate(columns)]
    kept = list(range(len(columns)))
    while sum(widths[i] for i in kept) + 2 * (len(kept) - 1) > width:
        removable = max(kept, key=lambda i: (columns[i].rank, i))
        if columns[removable].rank == 0:
            widths[kept[0]] -= sum(widths[i] for i in kept) + 2 * (len(kept) - 1) - width
            widths[kept[0]] = max(widths[kept[0]], 6)
            break
        kept.remove(removable)

    def line(texts: Sequence[str]) -> str:
        shown = []
        for i in kept:
            text = texts[i] if len(texts[i]) <= widths[i] else texts[i][: widths[i] - 1] + marks.cut
            shown.append(text.rjust(widths[i]) if columns[i].right else text.ljust(widths[i]))
        return "  ".join(shown)

    header = line([column.header for column in columns])
    lines = [header, marks.rule * min(len(header), width)]
    for i, row in enumerate(cells):
        if i and len(rows[i].parameters) > 1 and row[0] != cells[i - 1][0]:
            lines.append("")
        lines.append(line(row))
    return lines


SHORT = "*"
"""Marks a percentile that replications are too short for."""

NAMED = 4
"""Scenarios of which it is told why they are saturated, or miss; the table has the figures of all, if there is room."""


def _why(row: Row) -> str:
    """Say what the verdict on a scenario stands on."""
    name = ", ".join(str(value) for value in row.parameters.values())
    return f"{name}: {row.verdict.why}" if name else row.verdict.why


def _warnings(report: Report, rows: Sequence[Row]) -> list[str]:
    """Say what the table cannot: why numbers are missing or to be read with care."""
    lines: list[str] = []
    scenarios = [row.summary for row in rows if isinstance(row.summary, ScenarioSummary)]
    saturated = sum(row.verdict.answer is Answer.SATURATED for row in rows if isinstance(row.summary, ScenarioSummary))
    if saturated:
        verb = "scenarios are" if saturated > 1 else "scenario is"
        lines.append(
            f"{saturated} {verb} saturated: the backlog grows for as long as the load lasts, so there is no tail"
        )
        shown = [
            row for row in rows if isinstance(row.summary, ScenarioSummary) and row.verdict.answer is Answer.SATURATED
        ]
        lines += [_why(row) for row in shown[:NAMED]]
    missed = [
        row
        for row in rows
        if isinstance(row.summary, ScenarioSummary) and row.verdict.answer is Answer.MISSES and row.verdict.why
    ]
    lines += [f"{_why(row)}, so it misses the SLA whatever {report.percentile} is" for row in missed[:NAMED]]
    reasons = dict.fromkeys(row.verdict.why for row in rows if row.verdict.answer is Answer.UNKNOWN)
    lines += [f"no {reason_of} in some scenarios: {why}" for reason_of, why in (("percentile", r) for r in reasons)]
    short = short_run_line(scenarios, report.percentile, SHORT)
    if short is not None:
        lines.append(short)
    if scenarios and max(one.replications for one in scenarios) == 1:
        lines.append("one replication gives no interval: what another would give is not known")
    unsettled = sum(not scenario.warmup.established and not scenario.saturated for scenario in scenarios)
    if unsettled:
        lines.append(
            f"{unsettled} scenario{'s' if unsettled > 1 else ''} had not settled when the run was half over: "
            "give the workload more time"
        )
    return lines
