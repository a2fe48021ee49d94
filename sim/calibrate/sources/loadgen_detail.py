"""`mlperf_log_detail.txt` of MLPerf LoadGen: lines `:::MLLOG {"key": ..., "value": ..., "time_ms": ..., ...}`.

Format: github mlcommons/inference, loadgen/logging.h (AsyncLog::LogDetail) and results.cc
(PerformanceSummary::LogDetail), whose last key is `num_errors`. Latencies of single queries are not in it, only their
percentiles. Strings are not escaped there, so a line is taken apart at its keys and not as JSON.
"""

from __future__ import annotations

import re

from sim.calibrate.measured_text import Complaints
from sim.calibrate.sources.choices import Choices
from sim.calibrate.sources.loadgen_run import LoadGenRun, report_twice, service_row, whole_number
from sim.calibrate.sources.percentile_rows import PercentileRow

__all__ = ["MARK", "read_loadgen_detail"]

MARK = ":::MLLOG"

_LINE = re.compile(r':::MLLOG \{"key": "([^"]*)", "value": (.*?), "time_ms": [\d.]+,.*\}\s*$')
_PERCENTILE = re.compile(r"result_(\d+(?:\.\d+)?)_percentile_(?:per_query_)?latency_ns")
_EXTREMES = {
    "result_min_latency_ns": 0.0,
    "result_max_latency_ns": 1.0,
    "result_min_query_latency_ns": 0.0,
    "result_max_query_latency_ns": 1.0,
}


def read_loadgen_detail(text: str, file: str, choices: Choices) -> tuple[PercentileRow, list[str]]:
    """Read the percentiles of a run, and remarks on it.

    Under MultiStream the latencies of whole queries are taken, not those of their samples.

    Raises
    ------
    SpecError
        With the lines of what is wrong: no log, cut off, a broken line, a latency that is no whole number, and what
        `sim.calibrate.sources.loadgen_run.service_row` refuses.
    """
    complaints = Complaints(file)
    said: dict[str, tuple[int, str]] = {}
    number = 0
    for number, line in enumerate(text.splitlines(), start=1):
        if complaints.enough:
            break
        if not line.startswith(MARK):
            continue
        match = _LINE.match(line)
        if match is None:
            complaints.report(number, 1, "a broken line of the log, it is cut off or damaged", line)
        else:
            if match[1] in said and _level(match[1]) is not None:
                report_twice(match[1], number, said[match[1]][0], complaints)
            said[match[1]] = (number, match[2])
    if not said:
        complaints.report(1, 1, "not a detail log of MLPerf LoadGen", allowed=f"lines {MARK} {{...}}")
    elif "num_errors" not in said and not complaints.problems:
        complaints.report(number, 1, "the log is cut off: its last key, num_errors, is missing")
    per_query = any("query_latency" in key for key in said)
    latency_ns: dict[float, int] = {}
    at: dict[float, int] = {}
    for key, (where, value) in said.items():
        level = _level(key)
        if level is not None and ("query_latency" in key) == per_query:
            latency_ns[level] = whole_number(value, where, key, complaints)
            at[level] = where
    scenario_line, scenario = said.get("effective_scenario", said.get("requested_scenario", (1, "")))
    run = LoadGenRun(
        scenario=scenario.strip('"'),
        scenario_line=scenario_line,
        system=said.get("sut_name", (1, ""))[1].strip('"'),
        valid={'"VALID"': True, '"INVALID"': False}.get(said.get("result_validity", (1, ""))[1]),
        samples_per_query=_optional("effective_samples_per_query", said, complaints),
        queries=_optional("result_query_count", said, complaints),
        latency_ns=latency_ns,
        lines=at,
    )
    row = service_row(run, choices, complaints)
    return row, [] if run.valid is not False else [f"{file}: LoadGen calls this run invalid"]


def _level(key: str) -> float | None:
    """Quantile level of the latency that a key stands for; None for other keys."""
    match = _PERCENTILE.fullmatch(key)
    return round(float(match[1]) / 100, 9) if match else _EXTREMES.get(key)


def _optional(key: str, said: dict[str, tuple[int, str]], complaints: Complaints) -> int | None:
    if key not in said:
        return None
    line, value = said[key]
    return whole_number(value, line, key, complaints)
