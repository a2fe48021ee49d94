"""Made-up logs in the formats of MLPerf LoadGen."""

from __future__ import annotations

__all__ = ["LATENCIES", "detail_log", "summary_log"]

LATENCIES = {"50.00": 4_000_000, "90.00": 5_000_000, "99.00": 7_000_000}


def summary_log(scenario: str = "SingleStream", samples_per_query: int = 1, verdict: str = "VALID") -> str:
    percentiles = "\n".join(f"{name} percentile latency (ns)   : {value}" for name, value in LATENCIES.items())
    return f"""\
================================================
MLPerf Results Summary
================================================
SUT name : MadeUp
Scenario : {scenario}
Mode     : PerformanceOnly
90.0th percentile latency (ns) : 5000000
Result is : {verdict}
  Min duration satisfied : Yes

================================================
Additional Stats
================================================
QPS w/ loadgen overhead         : 240.00

Min latency (ns)                : 3000000
Max latency (ns)                : 9000000
Mean latency (ns)               : 4200000
{percentiles}

================================================
Test Parameters Used
================================================
samples_per_query : {samples_per_query}
target_qps : 1000

No warnings encountered during test.

No errors encountered during test.
"""


def detail_log(scenario: str = "SingleStream", per_query: bool = False) -> str:
    kind = "per_query_" if per_query else ""
    entries: dict[str, object] = {
        "sut_name": '"MadeUp"',
        "generic_message": '"not "escaped" here"',
        "effective_scenario": f'"{scenario}"',
        "effective_samples_per_query": 8 if per_query else 1,
        "result_validity": '"VALID"',
        "result_query_count": 1200,
        **{f"result_{name}_percentile_{kind}latency_ns": value for name, value in LATENCIES.items()},
        "result_mean_latency_ns": 4200000,
        "num_errors": 0,
    }
    return "".join(
        f':::MLLOG {{"key": "{key}", "value": {value}, "time_ms": 0.012345, "namespace": "mlperf::logging", '
        '"event_type": "POINT_IN_TIME", "metadata": {"is_error": false, "is_warning": false, '
        f'"file": "results.cc", "line_no": {number}, "pid": 1, "tid": 2}}}}\n'
        for number, (key, value) in enumerate(entries.items())
    )
