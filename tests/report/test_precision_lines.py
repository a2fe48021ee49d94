"""What a run says of its intervals: precise enough or not, and to be relied on or not."""

from __future__ import annotations

from dataclasses import replace

from sim.report.precision import precision_lines, short_run_line
from sim.report.table import Report, render
from sim.stats.independence import ShortRun
from sim.stats.precision import PrecisionOutcome
from sim.stats.saturation import SaturationVerdict
from sim.stats.summary import ScenarioSummary
from tests.report.test_report import summary

RATES = [{"rate": "1/s"}, {"rate": "2/s"}, {"rate": "3/s"}]
P99 = "latency_ms_p99"


def asked(parameters: dict[str, str], replications: int, outcome: PrecisionOutcome) -> ScenarioSummary:
    return replace(summary(parameters), replications=replications, precision=outcome)


def test_nothing_is_said_where_nothing_was_asked() -> None:
    assert precision_lines([summary({})], "±") == []


def test_each_outcome_has_its_words() -> None:
    reached = PrecisionOutcome(True, P99, 0.019, 0.02, True)
    wide = PrecisionOutcome(False, P99, 0.034, 0.02, True)
    none = PrecisionOutcome(False, P99, None, 0.02, True, "saturated")
    assert precision_lines([asked({}, 40, reached)], "±") == ["precise enough after 40 replications (±2%)"]
    assert precision_lines([asked({}, 200, wide)], "+-") == [
        "not precise enough: latency_ms_p99 +-3.4% after 200 replications, asked for +-2%"
    ]
    three = [asked(RATES[0], 10, reached), asked(RATES[1], 200, wide), asked(RATES[2], 10, none)]
    assert precision_lines(three, "±") == [
        "1 of 3 scenarios: precise enough after 10 replications (±2%)",
        "2/s: not precise enough: latency_ms_p99 ±3.4% after 200 replications, asked for ±2%",
        "3/s: not precise: latency_ms_p99 has no interval to narrow (saturated)",
    ]
    two = [asked(RATES[0], 10, reached), asked(RATES[1], 60, reached)]
    assert precision_lines(two, "±") == ["every scenario: precise enough after 10 to 60 replications (±2%)"]
    absolute = PrecisionOutcome(False, P99, 0.75, 0.5, False)
    assert (
        "latency_ms_p99 ±0.75 ms after 9 replications, asked for ±0.5 ms"
        in precision_lines([asked({}, 9, absolute)], "±")[0]
    )
    many = [asked({"n": str(i)}, 200, wide) for i in range(9)]
    assert precision_lines(many, "±")[-1] == "5 more scenarios are not precise enough"


def test_precision_does_not_hide_that_replications_are_too_short() -> None:
    reached = PrecisionOutcome(True, P99, 0.019, 0.02, True)
    one = replace(asked({}, 40, reached), warnings=(ShortRun(P99, 69.2, 300.0, 8),))
    assert precision_lines([one], "±")[1] == "but latency_ms_p99 stands on replications that are too short"


def report(*summaries: ScenarioSummary) -> Report:
    return Report("n", "m", "p99", None, summaries, (), 1, None)


def test_a_percentile_from_too_short_a_run_has_a_mark_and_a_footnote_that_says_what_to_do() -> None:
    short = replace(summary(RATES[0]), warnings=(ShortRun(P99, 69.2, 300.0, 8),))
    text = render(report(short, summary(RATES[1])), 100)
    assert "1/s    5.00*  0.50" in text and "2/s    5.00   0.50" in text
    flat = " ".join(text.split())
    assert "* p99 may be too low and its interval too narrow" in flat
    assert "worth 69 independent latencies, and it takes 300; make the workload at least 8 times as long" in flat
    assert "*" not in render(report(summary(RATES[0])), 100)


def test_the_worst_of_all_is_told_and_only_of_the_percentile_that_is_shown() -> None:
    one = replace(
        summary(RATES[0]), warnings=(ShortRun(P99, 69.2, 300.0, 8), ShortRun("latency_ms_p999", 69.2, 3e3, 80))
    )
    other = replace(summary(RATES[1]), warnings=(ShortRun("rare: latency_ms_p99", 20.0, 300.0, 25),))
    assert "worth 20 " in (short_run_line([one, other], "p99", "*") or "")
    assert "least 80 times" in (short_run_line([one, other], "p999", "*") or "")
    assert short_run_line([one, other], "p95", "*") is None


def test_a_saturated_scenario_shows_its_load_and_its_drift() -> None:
    verdict = SaturationVerdict(True, 0.2, 0.18, 1.25, "the offered load is 1.25; the backlog grew by 20.0%")
    text = render(report(replace(summary(RATES[0], None, saturated=True), saturation=verdict), summary(RATES[1])), 140)
    header, _, first, second = text.splitlines()[3:7]
    assert header.split()[-2:] == ["load", "drift"]
    assert first.split()[-2:] == ["1.25", "20.0%"] and second.split()[-2:] == ["-", "0.0%"]
    assert "1/s: the offered load is 1.25; the backlog grew by 20.0%" in text
    assert "drift" not in render(report(summary(RATES[0])), 40)


def test_the_replications_of_all_scenarios_are_told() -> None:
    assert "; 3 replications, 95%" in render(report(summary({})), 100)
    assert "; 3 to 40 replications, 95%" in render(
        report(summary(RATES[0]), replace(summary(RATES[1]), replications=40)), 100
    )
