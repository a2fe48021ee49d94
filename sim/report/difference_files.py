"""Comparisons as files: everything as JSON, one row a metric as CSV."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from sim.report.differences import Comparison, Row
from sim.report.guard import Judgement
from sim.report.rundir import encoded, written_whole
from sim.stats.interval import Interval

__all__ = ["COLUMNS", "differences_json", "rows_of", "write_csv", "write_json"]

COLUMNS = (
    "baseline",
    "other",
    "scenario",
    "class",
    "metric",
    "baseline_value",
    "value",
    "difference",
    "difference_low",
    "difference_high",
    "relative",
    "relative_low",
    "relative_high",
    "within_noise",
    "paired",
    "pairs",
    "confidence",
    "reason",
)
"""Of the CSV file and of the data frame; `relative` is a fraction, 0.02 for 2%."""


def rows_of(comparisons: Sequence[Comparison]) -> Iterator[tuple[Any, ...]]:
    """Yield the values of `COLUMNS` for every metric of every comparison; None where there is none."""
    for one in comparisons:
        for row in one.rows:
            yield _row(one, row)


def _row(one: Comparison, row: Row) -> tuple[Any, ...]:
    found = row.difference
    nothing: tuple[Any, ...] = (None,) * 9
    numbers = nothing
    if found is not None:
        absolute, relative = found.absolute, found.relative
        ends = (absolute.value, absolute.low, absolute.high, relative.value, relative.low, relative.high)
        numbers = (found.baseline, found.value, *ends, found.within_noise)
    return (
        one.baseline_name,
        one.other_name,
        one.where,
        row.query_class,
        row.metric,
        *numbers,
        one.pairing.paired,
        len(one.pairing.numbers),
        one.confidence,
        row.reason,
    )


def write_csv(file: Path, comparisons: Sequence[Comparison]) -> None:
    """Write one row a metric.

    Raises
    ------
    RunDirectoryError
        If it cannot be written.
    """
    text = io.StringIO(newline="")
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(COLUMNS)
    for row in rows_of(comparisons):
        rows.writerow([_cell(value) for value in row])
    with written_whole(file) as stream:
        stream.write(encoded(text.getvalue()))


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    return repr(value) if isinstance(value, float) else str(value)


def write_json(
    file: Path, comparisons: Sequence[Comparison], alone: Sequence[str], judgements: Sequence[Judgement], failed: bool
) -> None:
    """Write everything that was found, and what became of the limits.

    Raises
    ------
    RunDirectoryError
        If it cannot be written.
    """
    content = differences_json(comparisons, alone) | {
        "limits": [
            {
                "limit": one.limit.text,
                "comparison": one.comparison.title,
                "answer": one.answer.value,
                "reason": one.reason,
            }
            for one in judgements
        ],
        "failed": failed,
    }
    with written_whole(file) as stream:
        stream.write(encoded(json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n"))


def differences_json(comparisons: Sequence[Comparison], alone: Sequence[str]) -> dict[str, Any]:
    """Return comparisons as plain values: the same runs give the same bytes."""
    return {
        "comparisons": [
            {
                "title": one.title,
                "baseline": {"run": one.baseline.run, "parameters": dict(one.baseline.parameters)},
                "other": {"run": one.other.run, "parameters": dict(one.other.parameters)},
                "confidence": one.confidence,
                "paired": one.pairing.paired,
                "replications": list(one.pairing.numbers),
                "same_queries": one.pairing.same_queries,
                "note": one.pairing.note,
                "changed": list(one.changed),
                "metrics": {row.metric: _metric(row) for row in one.rows},
            }
            for one in comparisons
        ],
        "not_compared": list(alone),
    }


def _metric(row: Row) -> dict[str, Any]:
    found = row.difference
    if found is None:
        return {"reason": row.reason}
    return {
        "baseline": found.baseline,
        "value": found.value,
        "difference": _interval(found.absolute),
        "relative": _interval(found.relative),
        "within_noise": found.within_noise,
    }


def _interval(one: Interval) -> dict[str, Any]:
    entry: dict[str, Any] = {"value": one.value, "low": one.low, "high": one.high}
    return entry if one.reason is None else entry | {"reason": one.reason}
