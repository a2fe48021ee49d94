"""``warmup.csv``: what the choice of the warm-up is looked at by."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sim.report.rundir import RunDirectoryError, encoded, written_whole
from sim.stats.summary import ScenarioSummary

__all__ = ["WarmupPoint", "read_warmup", "write_warmup"]

COLUMNS = ["first_query", "queries", "latency_ms_mean", "kept"]


@dataclass(frozen=True, slots=True)
class WarmupPoint:
    """A row of `warmup.csv`.

    Attributes
    ----------
    scenario : tuple of str
        The sweep's parameters as they are written there.
    first_query, queries : int
        The stretch of every replication that it is about.
    mean_ms : float or None
        Mean latency over replications; None where none of these queries was served.
    kept : bool
        Whether the stretch, or most of it, lies behind the warm-up.
    """

    scenario: tuple[str, ...]
    first_query: int
    queries: int
    mean_ms: float | None
    kept: bool


def write_warmup(run_dir: Path, summaries: Sequence[ScenarioSummary]) -> None:
    """Write the series of the scenarios whose warm-up was chosen; no file where there are none."""
    parameters = list(dict.fromkeys(key for summary in summaries for key in summary.parameters))
    text = io.StringIO(newline="")
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow([*parameters, *COLUMNS])
    for summary in summaries:
        series = summary.welch
        if series is None:
            continue
        own = [summary.parameters.get(key, "") for key in parameters]
        for i, mean_ms in enumerate(series.mean_ms):
            first = i * series.queries_per_point
            value = "" if mean_ms is None else repr(mean_ms)
            kept = str(first + series.queries_per_point / 2 >= series.cut_query).lower()
            rows.writerow([*own, first, series.queries_per_point, value, kept])
    if all(summary.welch is None for summary in summaries):
        return
    with written_whole(run_dir / "warmup.csv") as stream:
        stream.write(encoded(text.getvalue()))


def read_warmup(run_dir: Path) -> list[WarmupPoint]:
    """Read ``warmup.csv`` of a run directory; nothing if the run has none.

    Raises
    ------
    RunDirectoryError
        If it cannot be read, or is damaged.
    """
    file = run_dir / "warmup.csv"
    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError:
        return []
    except (OSError, UnicodeDecodeError) as error:
        raise RunDirectoryError(f"{file} cannot be read: {error}") from error
    rows = list(csv.reader(io.StringIO(text)))
    if not rows or rows[0][-len(COLUMNS) :] != COLUMNS:
        raise RunDirectoryError(f"{file} is damaged: its columns should end in {', '.join(COLUMNS)}")
    points = []
    for number, row in enumerate(rows[1:], start=2):
        try:
            first, queries, mean_ms, kept = row[-len(COLUMNS) :]
            scenario = tuple(row[: -len(COLUMNS)])
            value = float(mean_ms) if mean_ms else None
            points.append(WarmupPoint(scenario, int(first), int(queries), value, {"true": True, "false": False}[kept]))
        except (ValueError, KeyError) as error:
            raise RunDirectoryError(f"{file}:{number} is damaged: {error}") from error
    return points
