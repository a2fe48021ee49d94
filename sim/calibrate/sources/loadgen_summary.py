"""`mlperf_log_summary.txt` of MLPerf LoadGen: lines `NAME : VALUE` under three headings.

Format: github mlcommons/inference, loadgen/results.cc (PerformanceSummary::LogSummary) and logging.cc, which ends the
file with a line that counts the errors.
"""

from __future__ import annotations

import re

from sim.calibrate.measured_text import Complaints
from sim.calibrate.sources.choices import Choices
from sim.calibrate.sources.loadgen_run import LoadGenRun, report_twice, service_row, whole_number
from sim.calibrate.sources.percentile_rows import PercentileRow

__all__ = ["HEADING", "read_loadgen_summary"]

HEADING = "MLPerf Results Summary"

_LINE = re.compile(r"^\s*([^:]+?)\s*:\s*(.*?)\s*$")
_PERCENTILE = re.compile(r"(\d+(?:\.\d+)?) percentile latency \(ns\)")
_END = re.compile(r"(No|\d+) errors? encountered|\d+ ERRORS? encountered", re.IGNORECASE)
_EXTREMES = {"Min latency (ns)": 0.0, "Max latency (ns)": 1.0}


def read_loadgen_summary(text: str, file: str, choices: Choices) -> tuple[PercentileRow, list[str]]:
    """Read the percentiles of a run, and remarks on it.

    Raises
    ------
    SpecError
        With the lines of what is wrong: no summary, cut off, a latency that is no whole number, and what
        `sim.calibrate.sources.loadgen_run.service_row` refuses.
    """
    complaints = Complaints(file)
    lines = text.splitlines()
    said: dict[str, tuple[int, str]] = {}
    for number, line in enumerate(lines, start=1):
        match = _LINE.match(line)
        if match:
            if match[1] in said and _level(match[1]) is not None:
                report_twice(match[1], number, said[match[1]][0], complaints)
            said[match[1]] = (number, match[2])
    if HEADING not in text:
        complaints.report(1, 1, "not a summary of MLPerf LoadGen", allowed=f"a file with the heading {HEADING!r}")
    elif not any(_END.search(line) for line in lines):
        complaints.report(len(lines), 1, "the summary is cut off: the line that counts the errors is missing")
    latency_ns: dict[float, int] = {}
    at: dict[float, int] = {}
    for name, (number, value) in said.items():
        level = _level(name)
        if level is not None:
            latency_ns[level] = whole_number(value, number, name, complaints)
            at[level] = number
    number, per_query = said.get("samples_per_query", (1, ""))
    run = LoadGenRun(
        scenario=said.get("Scenario", (1, ""))[1],
        scenario_line=said.get("Scenario", (1, ""))[0],
        system=said.get("SUT name", (1, ""))[1],
        valid={"VALID": True, "INVALID": False}.get(said.get("Result is", (1, ""))[1]),
        samples_per_query=whole_number(per_query, number, "samples_per_query", complaints) if per_query else None,
        queries=None,
        latency_ns=latency_ns,
        lines=at,
    )
    row = service_row(run, choices, complaints)
    return row, [] if run.valid is not False else [f"{file}: LoadGen calls this run invalid"]


def _level(name: str) -> float | None:
    """Quantile level of the latency that a name stands for; None for other names."""
    match = _PERCENTILE.fullmatch(name)
    return round(float(match[1]) / 100, 9) if match else _EXTREMES.get(name)
