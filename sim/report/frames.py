"""Results as pandas data frames; pandas is an extra, and imported only here."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sim.engine.record import Outcome
from sim.report.capacity import CapacityReport
from sim.report.difference_files import COLUMNS, rows_of
from sim.report.differences import Comparison, named_values
from sim.report.replications import replications_of
from sim.stats.classes import ClassSummary
from sim.stats.summary import ScenarioSummary

if TYPE_CHECKING:
    from pandas import DataFrame

__all__ = [
    "capacity_frame",
    "differences_frame",
    "looked_frame",
    "metrics_frame",
    "queries_frame",
    "replications_frame",
    "timeline_frame",
]

OUTCOMES = [outcome.name.lower().replace("_", " ") for outcome in Outcome]


def _pandas() -> Any:
    try:
        import pandas
    except ImportError as error:
        raise ImportError("data frames need pandas: pip install 'mprec-sim[frames]'") from error
    return pandas


def metrics_frame(summaries: Sequence[ScenarioSummary]) -> DataFrame:
    """Return one row a scenario, class and metric: its value and interval, and why one is missing.

    Columns are the sweep's parameters, ``class`` where there are classes, and those of `metrics.csv`.
    """
    return _frame(
        _metric_rows(summaries),
        summaries,
        ("metric", "value", "low", "high", "reason", "replications", "saturated", "evidence"),
    )


def _metric_rows(summaries: Sequence[ScenarioSummary]) -> Iterator[dict[str, Any]]:
    for summary in summaries:
        groups: list[tuple[str, ScenarioSummary | ClassSummary]] = [("", summary), *summary.classes.items()]
        for query_class, one in groups:
            for name, metric in one.metrics.items():
                yield {
                    **summary.parameters,
                    "class": query_class,
                    "metric": name,
                    "value": metric.value,
                    "low": metric.low,
                    "high": metric.high,
                    "reason": metric.reason or "",
                    "replications": summary.replications,
                    "saturated": one.saturated,
                    "evidence": summary.evidence,
                }


def replications_frame(summaries: Sequence[ScenarioSummary]) -> DataFrame:
    """Return one row a scenario, class and replication, with a column a metric."""
    rows = list(_replication_rows(summaries))
    names = dict.fromkeys(key for row in rows for key in row)
    parameters = {key for summary in summaries for key in summary.parameters}
    return _frame(rows, summaries, [name for name in names if name not in {*parameters, "class"}])


def _replication_rows(summaries: Sequence[ScenarioSummary]) -> Iterator[dict[str, Any]]:
    for summary in summaries:
        whole = replications_of(summary)
        for query_class, one in (("", whole), *whole.classes.items()):
            values = named_values(one)
            for index, number in enumerate(one.numbers):
                known = {name: found[index] if found else None for name, found in values.items()}
                metrics = {name: math.nan if value is None else value for name, value in known.items()}
                yield {**summary.parameters, "class": query_class, "replication": number, **metrics}


def timeline_frame(summaries: Sequence[ScenarioSummary]) -> DataFrame:
    """Return one row a scenario, interval of time and metric.

    Raises
    ------
    ValueError
        If the run measured nothing over time.
    """
    if any(summary.timeline is None for summary in summaries):
        raise ValueError("nothing was measured over time: set report.timeline, such as report.timeline=1s")
    return _frame(_timeline_rows(summaries), summaries, ("start_s", "end_s", "metric", "value", "low", "high"))


def _timeline_rows(summaries: Sequence[ScenarioSummary]) -> Iterator[dict[str, Any]]:
    for summary in summaries:
        assert summary.timeline is not None
        seconds = [edge / 1e9 for edge in summary.timeline.edges_ns]
        for name, points in summary.timeline.metrics.items():
            for start, end, point in zip(seconds[:-1], seconds[1:], points, strict=True):
                numbers = {"value": point.value, "low": point.low, "high": point.high}
                yield {**summary.parameters, "start_s": start, "end_s": end, "metric": name, **numbers}


def queries_frame(file: Path, summaries: Sequence[ScenarioSummary], path_names: Sequence[Sequence[str]]) -> DataFrame:
    """Return one row a query, of every scenario and replication, with its latency in ms.

    Parameters
    ----------
    file : Path
        ``queries.npz`` of a run directory.
    summaries : sequence of ScenarioSummary
    path_names : sequence of sequence of str
        By scenario, the names of its paths.

    Raises
    ------
    ValueError
        If the run kept no queries.
    """
    import numpy as np

    if not file.is_file():
        raise ValueError("the run kept no queries: set report.queries=always")
    pandas = _pandas()
    with np.load(file) as arrays:
        columns = {name: arrays[name] for name in arrays.files}
    scenario, path = columns["scenario"], columns["path"]
    finished = np.isin(columns["outcome"], (Outcome.SERVED_IN_TIME, Outcome.SERVED_LATE))
    latency_ms = np.where(finished, (columns["finish_ns"] - columns["arrival_ns"]) / 1e6, np.nan)
    names = np.full(len(path), "", dtype=object)
    for number, known in enumerate(path_names):
        for index, name in enumerate(known):
            names[(scenario == number) & (path == index)] = name
    frame = pandas.DataFrame({name: values for name, values in columns.items() if name != "scenario"})
    frame = frame.assign(
        path=names, outcome=np.array(OUTCOMES, dtype=object)[columns["outcome"]], latency_ms=latency_ms
    )
    for position, key in enumerate(_parameters(summaries)):
        values = np.array([summary.parameters.get(key) for summary in summaries], dtype=object)
        frame.insert(position, key, values[scenario])
    return frame


def differences_frame(comparisons: Sequence[Comparison]) -> DataFrame:
    """Return one row a comparison and metric: the difference and the relative change with their intervals."""
    return _pandas().DataFrame(list(rows_of(comparisons)), columns=list(COLUMNS))


def capacity_frame(report: CapacityReport) -> DataFrame:
    """Return one row a scenario of a capacity search: the bracket that was proved, and what belongs to it."""
    rows = [
        {
            **one.parameters,
            "meets": one.meets,
            "misses": one.misses,
            "estimate": one.estimate,
            "saturates": one.saturates,
            "reached": one.reached,
            "cost": one.cost,
            **{f"nodes of {group}": count for group, count in one.counts.items()},
        }
        for one in report.answers
    ]
    return _pandas().DataFrame(rows)


def looked_frame(report: CapacityReport) -> DataFrame:
    """Return one row a scenario and value that a capacity search looked at."""
    rows = [
        {
            **one.parameters,
            "value": looked.value,
            **{f"nodes of {group}": count for group, count in looked.counts.items()},
            "decision": looked.decision,
            "excess": looked.excess,
            "low": looked.low,
            "high": looked.high,
            "latency_ms": looked.latency_ms,
            "replications": looked.replications,
            "saturated": looked.saturated,
        }
        for one in report.answers
        for looked in one.looked
    ]
    return _pandas().DataFrame(rows)


def _parameters(summaries: Sequence[ScenarioSummary]) -> list[str]:
    return list(dict.fromkeys(key for summary in summaries for key in summary.parameters))


def _frame(
    rows: Iterator[dict[str, Any]] | Sequence[Mapping[str, Any]],
    summaries: Sequence[ScenarioSummary],
    columns: Sequence[str],
) -> DataFrame:
    """Return rows as a frame: the sweep's parameters first, then the class where there are any."""
    classes = ["class"] if any(summary.classes for summary in summaries) else []
    return _pandas().DataFrame(list(rows), columns=[*_parameters(summaries), *classes, *columns])
