"""What both logs of an MLPerf LoadGen run say, and when its latencies are service times."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from sim.calibrate.measured_text import Complaints
from sim.calibrate.sources.choices import Choices
from sim.calibrate.sources.percentile_rows import PercentileRow, check_order
from sim.spec.problems import Position

__all__ = ["ALONE", "LoadGenRun", "report_twice", "service_row", "whole_number"]

ALONE = ("SingleStream", "MultiStream")
"""Scenarios that send a query when the one before is answered: no query waits for another."""


@dataclass(frozen=True)
class LoadGenRun:
    """A performance run.

    Attributes
    ----------
    scenario : str
        SingleStream, MultiStream, Server or Offline; empty if the log does not say.
    scenario_line : int
    system : str
        Name of the system under test.
    valid : bool or None
        The run's own verdict; None if it gives none.
    samples_per_query : int or None
    queries : int or None
    latency_ns : dict
        Quantile level -> latency in ns.
    lines : dict
        Quantile level -> line.
    """

    scenario: str
    scenario_line: int
    system: str
    valid: bool | None
    samples_per_query: int | None
    queries: int | None
    latency_ns: Mapping[float, int]
    lines: Mapping[float, int]


def service_row(run: LoadGenRun, choices: Choices, complaints: Complaints) -> PercentileRow:
    """Return a run as percentiles of one query size.

    Raises
    ------
    SpecError
        With everything that is wrong, `complaints` included: latencies that include waiting, no percentiles, no
        model, percentiles that are not sorted or not positive.
    """
    if run.scenario not in ALONE and not choices.with_queueing and not complaints.problems:
        complaints.report(
            run.scenario_line,
            1,
            "latencies of this scenario include waiting for other queries: they are no service times",
            run.scenario or None,
            allowed=f"{' or '.join(ALONE)}, or --with-queueing",
        )
    if choices.model is None and not complaints.problems:
        complaints.report(1, 1, "the log does not say the model", allowed="--model")
    percentiles = [level for level in run.latency_ns if 0 < level < 1]
    if not percentiles and not complaints.problems:
        complaints.report(1, 1, "the log has no percentiles of the latency")
    for level, value in run.latency_ns.items():
        if value <= 0:
            complaints.report(run.lines[level], 1, "the time is not positive", value)
    if not complaints.problems:
        check_order(run.latency_ns, {level: (line, 1) for level, line in run.lines.items()}, complaints)
    complaints.raise_any()
    return PercentileRow(
        model=choices.model or "",
        representation=choices.representation,
        size=choices.size or run.samples_per_query or 1,
        service_ns=dict(sorted(run.latency_ns.items())),
        queries=run.queries,
        where=Position(complaints.file, min(run.lines.values()), 1),
        device=run.system,
    )


def report_twice(name: str, line: int, first: int, complaints: Complaints) -> None:
    """Report a latency that the log gave before, as where the logs of two runs are in one file."""
    complaints.report(line, 1, f"{name} stands twice (first on line {first}): a log is of one run")


def whole_number(value: str, line: int, name: str, complaints: Complaints) -> int:
    """Return a number of a log; what is none is reported, and 1 stands for it."""
    if not re.fullmatch(r"-?\d{1,18}", value):
        complaints.report(line, 1, f"{name} is not a whole number", value)
        return 1
    return int(value)
