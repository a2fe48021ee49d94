"""Tables of the scenarios of a run: what was asked, whether they were steady, and everything that was measured."""

from __future__ import annotations

from sim.report.finished import Finished
from sim.report.html.markup import Content, Markup, element, join, table
from sim.report.table import Column, Marks, Row, columns_of, percent, rows_of, significant
from sim.stats.merge import Metric, is_share
from sim.stats.summary import ScenarioSummary

__all__ = ["every_metric", "scenarios", "shares", "steadiness"]

OUTCOMES = ("offered", "served_in_time", "served_late", "dropped", "in_flight")


def scenarios(run: Finished) -> Markup:
    """Return the table that the run printed, with the intervals of what has one."""
    marks = Marks(unicode=True)
    # Intervals stand with their values here.
    rows = rows_of(run.report, run.gains)
    columns = [one for one in columns_of(run.report, rows, marks) if one.header != marks.plus_minus]
    names = len(run.report.summaries[0].parameters) + any(summary.classes for summary in run.report.summaries)
    caption = f"Scenarios: means over replications, with {run.report.summaries[0].confidence:.0%} intervals"
    return table(
        caption,
        [one.header for one in columns],
        ([_cell(row, one) for one in columns] for row in rows),
        row_headers=names,
        numeric=[one.right for one in columns],
    )


def _cell(row: Row, column: Column) -> Content:
    if column.header == "SLA":
        return _answer(row)
    text = column.cell(row)
    metric = row.summary.metrics.get(column.metric) if column.metric is not None else None
    if metric is None or metric.low is None or metric.high is None:
        return text
    return [text, " ", element("small", _interval(str(column.metric), metric))]


def _answer(row: Row) -> Markup:
    answer = row.verdict.answer
    return element("span", answer.value, class_=f"answer {answer.name.lower()}")


def _interval(name: str, metric: Metric) -> str:
    def said(value: float | None) -> str:
        if is_share(name):
            return percent(value)
        return "-" if value is None else significant(value)

    return f"[{said(metric.low)}, {said(metric.high)}]"


def _scenario(run: Finished, summary: ScenarioSummary) -> str:
    return ", ".join(str(value) for value in summary.parameters.values()) or run.report.name


def steadiness(run: Finished) -> Markup:
    """Return what is known of every scenario's steadiness, and what became of its queries."""
    steady, ended = [], []
    for summary in run.report.summaries:
        saturation, warmup = summary.saturation, summary.warmup
        cut = "nothing" if not warmup.fraction else f"{warmup.fraction:.1%} of the queries"
        steady.append(
            [
                _scenario(run, summary),
                "saturated" if saturation.saturated else "steady",
                "-" if saturation.offered_load is None else f"{saturation.offered_load:.1%}",
                f"{saturation.growth_fraction:+.2%}",
                element("div", saturation.reason or "", class_="why"),
                f"{cut} ({warmup.method})",
                "yes" if warmup.established else "no",
            ]
        )
        ended.append(
            [
                _scenario(run, summary),
                f"{summary.replications}",
                *(f"{summary.counts.get(name, 0):,}" for name in OUTCOMES),
                ", ".join(f"{number:,} {reason}" for reason, number in summary.dropped_by_reason.items()),
            ]
        )
    note = element(
        "p",
        "Offered load is work offered over work possible, where no choice decides it. The backlog grows by a share of "
        "the offered queries. Counts are of whole runs, warm-up and all, over all replications.",
    )
    headers = ["scenario", "verdict", "offered load", "growth of the backlog", "why", "warm-up cut", "settled"]
    outcomes = [name.replace("_", " ") for name in OUTCOMES]
    return join(
        [
            note,
            table("Whether each scenario has a steady state", headers, steady, numeric=[False, False, True, True]),
            table(
                "What became of the queries",
                ["scenario", "replications", *outcomes, "why dropped"],
                ended,
                numeric=[False, True, *([True] * len(OUTCOMES))],
            ),
        ]
    )


def every_metric(run: Finished) -> Markup:
    """Return a folded table of all metrics of all scenarios and classes."""
    rows = rows_of(run.report, run.gains)
    names = list(dict.fromkeys(name for row in rows for name in row.summary.metrics))

    def cell(metric: Metric | None) -> Content:
        if metric is None:
            return ""
        if metric.value is None:
            return element("small", metric.reason or "unknown")
        value = f"{metric.value:.6g}"
        if metric.low is None or metric.high is None:
            return value
        return [value, " ", element("small", f"[{metric.low:.6g}, {metric.high:.6g}]")]

    def label(row: Row) -> str:
        values = [str(value) for value in row.parameters.values()]
        return ", ".join([*values, *([row.query_class] if row.query_class else [])]) or run.report.name

    whole = table(
        "Every metric: mean over replications, with its interval, or why there is none",
        ["scenario", *names],
        ([label(row), *(cell(row.summary.metrics.get(name)) for name in names)] for row in rows),
        numeric=[False, *([True] * len(names))],
    )
    return element("details", element("summary", "Every metric of every scenario"), whole)


def shares(run: Finished) -> Markup:
    """Return folded tables of the path mix and of how busy the devices were: what their figures show."""
    tables = []
    for caption, name in (
        ("Share of the samples that each path served", "path_mix"),
        ("Busy lanes, share of lane time", "utilisation"),
        ("Parts that wait, mean number by device", "waiting_parts"),
    ):
        of = [getattr(summary, name) for summary in run.report.summaries]
        keys = list(dict.fromkeys(key for one in of for key in one))
        if not keys:
            continue
        rows = []
        for summary, one in zip(run.report.summaries, of, strict=True):
            values = [one.get(key) for key in keys]
            said = [significant(v) if name == "waiting_parts" and v is not None else percent(v) for v in values]
            rows.append([_scenario(run, summary), *said])
        tables.append(table(caption, ["scenario", *keys], rows, numeric=[False, *([True] * len(keys))]))
    return element("details", element("summary", "Paths and devices"), tables)
