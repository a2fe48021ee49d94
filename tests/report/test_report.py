"""What a run says: comparisons, verdicts, the table, files."""

from __future__ import annotations

import errno
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sim.report import rundir
from sim.report.comparison import baselines, check_baseline, gains
from sim.report.figures.series import read_run
from sim.report.json_files import read_summary
from sim.report.rundir import RunDirectory, RunDirectoryError
from sim.report.table import Report, render
from sim.report.verdict import Answer, headline, judge
from sim.stats.measure import METRICS
from sim.stats.saturation import SaturationVerdict
from sim.stats.summary import Metric, ScenarioSummary, Warmup


def metric(value: float | None, half: float = 0.0, values: tuple[float, ...] = (), reason: str | None = None) -> Metric:
    if value is None:
        return Metric(None, None, None, reason, ())
    return Metric(value, value - half, value + half, None, values or (value - half, value, value + half))


def summary(
    parameters: dict[str, Any],
    p99_ms: float | None = 5.0,
    half_ms: float = 0.5,
    correct: tuple[float, ...] = (100.0, 110.0, 120.0),
    *,
    saturated: bool = False,
    drop_rate: float = 0.0,
    reason: str | None = None,
    in_time: float = 0.987,
) -> ScenarioSummary:
    mean = sum(correct) / len(correct)
    metrics = {name: metric(1.0) for name in METRICS}
    metrics |= {
        "latency_ms_p99": metric(p99_ms, half_ms, reason=reason),
        "correct_predictions_per_s": metric(mean, 1.0, correct),
        "correct_predictions_within_sla_per_s": metric(mean, 1.0, correct),
        "sla_attainment": metric(in_time, 0.01),
        "accuracy_served": metric(0.7879),
        "drop_rate": metric(drop_rate),
    }
    counts = {"offered": 10, "served_in_time": 10, "served_late": 0, "dropped": 0, "in_flight": 0}
    return ScenarioSummary(
        parameters=parameters,
        evidence="measured",
        saturation=SaturationVerdict(
            saturated, 0.2 if saturated else 0.0, None, None, "load 1.2" if saturated else None
        ),
        warmup=Warmup("mser-5", 0.05, True),
        replications=3,
        confidence=0.95,
        counts=counts,
        dropped_by_reason={},
        measured=counts,
        metrics=metrics,
        path_mix={"table@cpu": 1.0},
        utilisation={"cpu": 0.5},
        waiting_parts={"cpu": 0.1},
        sla_ms=10.0,
        percentile_curve=(),
    )


def test_the_interval_decides_whether_the_sla_is_met() -> None:
    assert judge(summary({}, 9.0, 0.9), "p99").answer is Answer.MEETS
    assert judge(summary({}, 9.5, 0.6), "p99").answer is Answer.CLOSE
    assert judge(summary({}, 10.4, 0.3), "p99").answer is Answer.MISSES
    assert judge(summary({}, None, saturated=True), "p99").answer is Answer.SATURATED
    unknown = judge(summary({}, None, reason="too few queries"), "p99")
    assert unknown.answer is Answer.UNKNOWN and unknown.why == "too few queries"


def test_what_is_dropped_or_late_for_sure_misses_whatever_the_percentile() -> None:
    # In an outage nothing is answered, so no percentile is known.
    assert judge(summary({}, None, drop_rate=1.0, reason="too few queries"), "p99").answer is Answer.MISSES
    # From 9 to 11 ms, and at most 97.9% in time: p99 cannot be within 10 ms.
    late = judge(summary({}, 10.0, 1.0, in_time=0.969), "p99")
    assert late.answer is Answer.MISSES and late.why == "at most 97.9% of the queries are in time"
    assert judge(summary({}, 10.0, 1.0, in_time=0.98), "p99").answer is Answer.CLOSE


def test_what_is_unknown_is_not_called_missed() -> None:
    def told(*values: float | None) -> list[str]:
        summaries = [summary({"policy": str(i)}, value) for i, value in enumerate(values)]
        return headline(summaries, [judge(one, "p99") for one in summaries], [None] * len(values), "p99")

    assert told(None, None) == ["whether the SLA is met at p99 is unknown"]
    assert told(20.0, None) == ["no scenario is known to meet the SLA at p99; of 1 it is unknown"]
    assert told(20.0, 30.0) == ["no scenario meets the SLA at p99"]
    # Their intervals, of 0.5 ms to both sides, hold the limit of 10 ms.
    assert told(20.0, 10.0) == ["no scenario is known to meet the SLA at p99; 1 is too close to call"]
    assert told(None, 10.0) == [
        "no scenario is known to meet the SLA at p99; of 1 it is unknown; 1 is too close to call"
    ]
    assert told(9.9, 10.0) == ["whether the SLA is met at p99 is too close to call"]
    (line,) = told(5.0, None, 20.0)
    assert line.startswith("1 of 3 meet the SLA at p99; of 1 it is unknown; most correct predictions in time: 0")


def test_what_is_asked_is_not_what_is_compared() -> None:
    rate = "workload.arrivals.rate"

    def told(*parameters: dict[str, str]) -> list[str]:
        summaries = [summary(one, 5.0) for one in parameters]
        return headline(summaries, [judge(one, "p99") for one in summaries], [None] * len(summaries), "p99")

    # Whatever comes first in the sweep, designs are compared under each load.
    loads_first = told(*({rate: load, "policy": name} for load in ("1/s", "2/s") for name in "ab"))
    assert loads_first == told(*({"policy": name, rate: load} for load in ("1/s", "2/s") for name in "ab"))
    assert [line.partition(";")[0] for line in loads_first] == [
        "1/s: 2 of 2 meet the SLA at p99",
        "2/s: 2 of 2 meet the SLA at p99",
    ]
    # Loads are not compared with each other.
    assert told({rate: "1/s"}, {rate: "2/s"}) == ["2 of 2 meet the SLA at p99"]
    assert told({rate: "1/s"}) == ["1/s meets the SLA at p99"]


def test_drops_beyond_the_percentile_miss_it_whatever_the_others_latency() -> None:
    assert judge(summary({}, 1.0, drop_rate=0.009), "p99").answer is Answer.MEETS
    verdict = judge(summary({}, 1.0, drop_rate=0.02), "p99")
    assert verdict.answer is Answer.MISSES and "2.0% of the queries are dropped" in verdict.why


GRID = [{"policy": p, "rate": r} for p in ("base", "other") for r in ("1/s", "2/s")]


def test_baselines_differ_in_nothing_but_what_they_name() -> None:
    assert baselines(GRID, "base") == [None, None, 0, 1]
    assert baselines(GRID, {"policy": "base", "rate": "1/s"}) == [None, 0, 0, 0]
    assert baselines(GRID, None) == [None] * 4
    check_baseline(GRID, "base")
    with pytest.raises(ValueError, match="its labels are: base, 1/s, 2/s, other"):
        check_baseline(GRID, "bas")
    with pytest.raises(ValueError, match="there is no sweep"):
        check_baseline([{}], "base")


def test_gains_are_ratios_of_means_paired_by_replication() -> None:
    base = summary(GRID[0], correct=(190.0, 200.0, 210.0))
    other = summary(GRID[2], correct=(285.0, 300.0, 315.0))
    first, second = gains([base, other], "base")
    assert first is None and second is not None
    # Every replication gives exactly 1.5, however much the replications differ from each other.
    assert second.correct.value == pytest.approx(1.5)
    assert second.correct.low == pytest.approx(1.5) and second.correct.high == pytest.approx(1.5)


def test_figures_of_latency_show_every_class_with_its_own_limit() -> None:
    one = summary(GRID[0]).to_json_dict()
    other = {
        **summary(GRID[1]).to_json_dict(),
        "classes": {
            "tight": {"sla_ms": 1.0, "saturated": True, "metrics": {}},
            "loose": {"sla_ms": 9.0, "saturated": False, "metrics": {"latency_ms_p99": {"value": 4.0}}},
        },
    }
    run = read_run({"name": "x", "percentile": "p99", "scenarios": [one, other]})
    shown = [(entry.label, entry.load, entry.data["sla_ms"], entry.saturated) for entry in run.by_class.entries]
    assert shown == [("base", 1.0, 10.0, False), ("base, tight", 2.0, 1.0, True), ("base, loose", 2.0, 9.0, False)]
    assert run.by_class.entries[2].metric("latency_ms_p99").value == 4.0
    assert [entry.label for entry in run.entries] == ["base", "base"]


def report(**changes: Any) -> Report:
    summaries = (
        summary(GRID[0], 5.0, 0.25, (100.0, 101.0, 99.0)),
        summary(GRID[1], 9.9, 0.4, (200.0, 202.0, 198.0)),
        summary(GRID[2], 4.0, 0.1, (110.0, 111.0, 109.0)),
        summary(GRID[3], None, saturated=True, correct=(1.0, 2.0, 3.0)),
    )
    values: dict[str, Any] = {
        "name": "A test",
        "model": "m",
        "percentile": "p99",
        "baseline": "base",
        "summaries": summaries,
        "assumptions": ("something is assumed",),
        "seed": 1,
        "out_dir": Path("runs") / "test",
    }
    return Report(**(values | changes))


def test_it_is_said_why_a_scenario_misses_whose_percentile_does_not_say_so() -> None:
    late = summary({"policy": "a"}, 10.0, 1.0, in_time=0.969)
    plain = summary({"policy": "b"}, 20.0, 1.0, in_time=0.5)
    text = " ".join(render(report(summaries=(late, plain), baseline=None), 200).split())
    assert "a: at most 97.9% of the queries are in time, so it misses the SLA whatever p99 is" in text
    assert text.count("misses the SLA whatever") == 1


def test_one_replication_is_told_and_what_is_saturated_never_settles() -> None:
    steady, unsettled = summary({"policy": "a"}), summary({"policy": "b"})
    unsettled = replace(unsettled, warmup=Warmup("mser-5", 0.5, False))
    overloaded = replace(summary({"policy": "c"}, None, saturated=True), warmup=Warmup("mser-5", 0.5, False))
    assert "1 scenario had not settled" in render(report(summaries=(steady, unsettled, overloaded), baseline=None), 100)
    assert "had not settled" not in render(report(summaries=(steady, overloaded), baseline=None), 100)
    alone = render(report(summaries=(replace(steady, replications=1),), baseline=None), 100)
    assert "1 replication\n" in alone and "one replication gives no interval" in alone


TABLE = """\
A test
m, SLA 10 ms at p99; 3 replications, 95% intervals

policy  rate  p99 ms  SLA        correct/s in time                 gain×
────────────────────────────────────────────────────────────────────────
base     1/s    5.00  meets                    100                     -
base     2/s    9.90  close                    200                     -

other    1/s    4.00  meets                    110  1.100 [1.098, 1.103]
other    2/s       -  saturated               2.00  0.010 [0.000, 0.023]

1/s: 2 of 2 meet the SLA at p99; most correct predictions in time: other (1.1x
  the baseline [1.098, 1.103])
2/s: no scenario is known to meet the SLA at p99; 1 is too close to call
1 scenario is saturated: the backlog grows for as long as the load lasts, so
  there is no tail
other, 2/s: load 1.2

Assumptions
  · something is assumed
Evidence: measured
Files: runs/test
"""


def test_table_at_80_columns() -> None:
    assert render(report(), 80).splitlines() == TABLE.splitlines()


def test_narrow_terminals_lose_columns_and_not_sense() -> None:
    lines = render(report(), 50).splitlines()
    assert max(map(len, lines)) <= 50
    header = next(line for line in lines if line.startswith("policy"))
    assert header.split() == ["policy", "rate", "p99", "ms", "SLA", "correct/s", "in", "time"]
    assert render(report(), 50, unicode=False).isascii()


def test_it_says_which_scenario_to_take_and_what_it_stands_on() -> None:
    text = render(report(), 200)
    assert "1/s: 2 of 2 meet the SLA at p99; most correct predictions in time: other (1.1x the baseline" in text
    assert "2/s: no scenario is known to meet the SLA at p99; 1 is too close to call" in text
    assert "1 scenario is saturated" in text
    assert "something is assumed" in text
    assert "Evidence: measured" in text and text.endswith(f"Files: {Path('runs') / 'test'}")


def test_where_every_scenario_is_saturated_it_says_so_and_which_served_most() -> None:
    overloaded = tuple(
        summary(GRID[i], None, saturated=True, correct=correct)
        for i, correct in ((0, (100.0, 101.0, 99.0)), (2, (200.0, 202.0, 198.0)))
    )
    text = render(report(summaries=overloaded), 200)
    assert "1/s: every scenario is saturated; most correct predictions in time: other (2x the baseline" in text


def test_json_has_the_shape_that_is_promised() -> None:
    content = report().to_json_dict()
    entry = content["scenarios"][2]
    assert {"parameters", "saturated", "evidence", "counts", "metrics", "path_mix", "utilisation"} <= set(entry)
    assert entry["verdict"] == "meets"
    assert entry["gain"]["correct_predictions_per_s"]["value"] == pytest.approx(1.1)
    run = read_run(content)
    assert (
        run.load_axis == "offered load, queries/s" and run.loads == ["1/s", "2/s"] and run.labels == ["base", "other"]
    )


def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    directory = RunDirectory(tmp_path / "run")
    directory.write_summary({"scenarios": [1]})
    before = (tmp_path / "run" / "summary.json").read_bytes()

    def full(stream: Any, content: bytes) -> None:
        stream.write(content[:3])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(rundir, "_write_whole", full)
    with pytest.raises(RunDirectoryError, match=r"summary\.json could not be written: No space left on device"):
        directory.write_summary({"scenarios": [2]})
    assert (tmp_path / "run" / "summary.json").read_bytes() == before
    assert [file.name for file in (tmp_path / "run").iterdir()] == ["summary.json"]


@pytest.mark.parametrize("text", ["", "[]", '{"scenarios": []}', "{"])
def test_damaged_summaries_are_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "summary.json").write_text(text)
    with pytest.raises(RunDirectoryError):
        read_summary(tmp_path)
    with pytest.raises(RunDirectoryError, match="cannot be read"):
        read_summary(tmp_path / "nowhere")
