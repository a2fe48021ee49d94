"""The benchmark's table: pairs of one round, ratios that are asked for, answers that differ."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks.__main__ import main, report
from benchmarks.agreement import disagreements
from benchmarks.ratios import cost_ratio, speed_ratio
from benchmarks.rounds import Measurement, Rehearsal, Results, measure_rounds, queries_for


def check(p99: float, finishes: str | None) -> dict[int, dict[str, Any]]:
    metrics = {"latency_ms_p99": p99, "latency_ms_p999": None}
    return {2000: {"queries": 2000, "metrics": metrics, "path_mix": {"a": 1.0}, "finishes": finishes}}


def runs(contender: str, system: str, queries: int, *cpu_s: float) -> list[Measurement]:
    return [Measurement(contender, system, i, queries, s, 200_000_000, 150_000_000) for i, s in enumerate(cpu_s)]


def results() -> Results:
    return Results(
        rehearsals={
            ("60", "drawing"): Rehearsal(1e-7, 0.0),
            ("60", "compiled"): Rehearsal(1e-7, 0.0, checks=check(9.995, None)),
            ("60", "reference"): Rehearsal(1e-5, 0.0, checks=check(10.0, "abc")),
            ("60", "simpy"): Rehearsal(1e-5, 0.0, checks=check(10.0, "abc")),
            ("60", "ciw"): Rehearsal(reason="takes longer than 60 s"),
        },
        measurements=[
            *runs("drawing", "60", 10_000_000, 1.0, 2.0, 1.0),
            *runs("compiled", "60", 10_000_000, 2.0, 4.0, 2.5),
            *runs("reference", "60", 40_000, 1.0, 2.0, 1.0),
            *runs("simpy", "60", 40_000, 1.0, 2.0, 0.8),
        ],
    )


def test_ratios_are_medians_over_pairs_of_one_round() -> None:
    # Round by round 125, 125 and 80, although the second round ran on a machine that was twice as slow.
    assert speed_ratio(results(), ("60", "compiled"), ("60", "simpy")) == 125.0
    assert cost_ratio(results(), ("60", "compiled"), ("60", "drawing")) == 2.0
    assert speed_ratio(results(), ("60", "ciw"), ("60", "simpy")) is None


def test_the_table_says_what_was_measured_and_what_was_not() -> None:
    lines = report(results(), ["60"], [], ["drawing", "compiled", "reference", "simpy", "ciw"]).splitlines()
    rows = [" ".join(line.split()) for line in lines if line.startswith("60 ")]
    assert rows == [
        "60 drawing alone 10,000,000 1.00 10,000,000 50% 200 50 250 1 -",
        "60 compiled engine 10,000,000 2.50 4,000,000 62% 200 50 125 2 within 0.05% (latency_ms_p99), 2,000 queries",
        "60 reference engine 40,000 1.00 40,000 50% 200 50 1 250 -",
        "60 plain SimPy 40,000 1.00 40,000 75% 200 50 1 250 same nanoseconds, 2,000 queries",
        "60 plain Ciw takes longer than 60 s",
    ]
    assert lines[-2:] == [
        "compiled / plain SimPy, 60 servers (asked: at least 120): 125.0: reached",
        "compiled, cost / drawing alone, 60 servers (asked: at most 2.5): 2.00: reached",
    ]


def test_an_unreached_ratio_is_called_so() -> None:
    slow = results()
    slow.measurements[3:6] = runs("compiled", "60", 10_000_000, 4.0, 8.0, 5.0)
    lines = report(slow, ["60"], [], ["drawing", "compiled", "reference", "simpy"]).splitlines()
    assert lines[-2:] == [
        "compiled / plain SimPy, 60 servers (asked: at least 120): 62.5: MISSED",
        "compiled, cost / drawing alone, 60 servers (asked: at most 2.5): 4.00: MISSED",
    ]


def test_answers_that_differ_are_told() -> None:
    assert disagreements(results()) == []
    wrong = results()
    wrong.rehearsals["60", "simpy"] = Rehearsal(1e-5, 0.0, checks=check(10.0, "abd"))
    wrong.rehearsals["60", "compiled"] = Rehearsal(1e-5, 0.0, checks=check(10.02, None))
    assert disagreements(wrong) == [
        "compiled on 60 does not agree with the reference engine: OFF by 0.20% (latency_ms_p99), 2,000 queries",
        "simpy on 60 does not agree with the reference engine: OTHER nanoseconds, 2,000 queries",
    ]


def test_runs_are_long_enough_for_models_that_are_slow_to_build() -> None:
    assert queries_for(1e-5, 0.0, seconds=3.0, limit_s=60.0) == 300_000
    assert queries_for(1e-3, 5.0, seconds=3.0, limit_s=60.0) == 20_000
    assert queries_for(1e-3, 20.0, seconds=3.0, limit_s=60.0) == 10_000
    assert queries_for(1.0, 0.0, seconds=3.0, limit_s=60.0) == 100


def test_a_measurement_is_made_in_a_process_of_its_own() -> None:
    found = Results()
    said: list[str] = []
    measure_rounds(found, ["6"], ["simpy"], rounds=1, seconds=0.01, limit_s=20.0, say=said.append)
    (one,) = found.measurements
    assert (one.contender, one.system, one.round) == ("simpy", "6", 0)
    assert one.queries >= 100
    assert 0 < one.cpu_s < 10
    assert one.peak_bytes >= one.before_bytes > 10_000_000
    assert len(said) == 2


@pytest.mark.parametrize("option", [["--servers", "7"], ["--contenders", "nobody"], ["--repeats", "0"]])
def test_options_that_mean_nothing_are_refused(option: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as refused:
        main(option)
    assert refused.value.code == 2
    assert option[1] in capsys.readouterr().err
