"""Metrics over time: by hand, against the metrics of the whole run, and as files and figures."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import pytest

from sim.report.figures import plot_run
from sim.report.rundir import RunDirectoryError, read_timeline
from sim.spec.problems import SpecError
from sim.stats.measure import measure
from sim.stats.timeline import Timeline, measure_over_time, merge_timelines
from sim.study.replication import run_record
from sim.study.runs import RunRequest, perform
from tests.harness import prepare_text

MS = 1_000_000

TEXT = """\
name: crowd
model: dlrm-kaggle
sla: 10ms
workload:
  arrivals: {kind: piecewise-rate, steps: [{at: 0s, rate: 500/s}, {at: 500ms, rate: 4000/s}]}
  sizes: {kind: lognormal, mean: 128, sigma: 1.0, max: 4096}
  duration: 1250ms
fleet: [{name: hw, devices: {cpu: cpu-broadwell, gpu: gpu-v100}}]
policy: {kind: mp-rec}
queue: {shed: late}
batching: {queries: 4}
replications: 2
report: {timeline: 500ms}
"""


def test_four_queries_by_hand(record_of, one_device):
    # Lane 0 serves 0-2, 3-5 and 5-9 ms; the third query is late by 1 ms; the fourth is dropped.
    record = record_of(
        [0, 3 * MS, 4 * MS, 6 * MS],
        [0, 3 * MS, 5 * MS, 6 * MS],
        [2 * MS, 5 * MS, 9 * MS, 7 * MS],
        end_ns=10 * MS,
        sla_ns=4 * MS,
        size=[10, 20, 30, 40],
        dropped=[3],
    )
    timeline = measure_over_time(record, one_device(sla_ns=4 * MS), 5 * MS)
    assert timeline.edges_ns == [0, 5 * MS, 10 * MS]
    assert timeline.metrics == {
        "offered_per_s": pytest.approx([600, 200]),
        "latency_ms_p50": [None, None],
        "latency_ms_p99": [None, None],
        "sla_attainment": pytest.approx([2 / 3, 0]),
        "drop_rate": [0, 1],
        # A completion at 5 ms belongs to the second interval.
        "queries_per_s": pytest.approx([200, 400]),
        "correct_predictions_per_s": pytest.approx([1000, 5000]),
        "correct_predictions_within_sla_per_s": pytest.approx([1000, 2000]),
        "accuracy_served": [0.5, 0.5],
        "path_mix:table@gpu": [1, 1],
        # 0-2, 3-5, 4-9 ms in the system.
        "queries_in_system": [1.0, 0.8],
        "utilisation:hw1/gpu": [0.8, 0.8],
    }


def test_a_timeline_of_one_interval_is_the_whole_run_and_many_add_up_to_it(tmp_path: Path) -> None:
    (scenario,) = prepare_text(tmp_path, TEXT)
    record = run_record(scenario, 0)
    (whole,) = measure(record, scenario.view, [0])
    one = measure_over_time(record, scenario.view, record.end_ns)
    for name in ("latency_ms_p50", "latency_ms_p99", "sla_attainment", "drop_rate", "queries_per_s", "accuracy_served"):
        assert one.metrics[name] == [pytest.approx(whole.metrics[name], rel=1e-12)], name
    for kind, value in whole.utilisation.items():
        assert one.metrics[f"utilisation:{kind}"] == [pytest.approx(value, rel=1e-9)]
    for path, share in whole.path_mix.items():
        assert one.metrics[f"path_mix:{path}"] == [pytest.approx(share, rel=1e-9)]
    many = measure_over_time(record, scenario.view, 170 * MS)
    seconds = [(b - a) / 1e9 for a, b in zip(many.edges_ns, many.edges_ns[1:], strict=False)]
    assert len(seconds) == 8 and seconds[-1] == pytest.approx(0.06)
    for name in ("queries_per_s", "correct_predictions_within_sla_per_s"):
        total = sum(value * s for value, s in zip(many.metrics[name], seconds, strict=True))
        assert total == pytest.approx(whole.metrics[name] * 1.25)
    # The number in the system adds up to Little's integral, but for what is left after the arrival period.
    in_system = sum(value * s for value, s in zip(many.metrics["queries_in_system"], seconds, strict=True))
    assert in_system <= record.in_system_integral / 1e9 + 1e-9
    assert Timeline.from_json_dict(many.to_json_dict()) == many


def test_replications_are_averaged_where_all_of_them_have_a_value() -> None:
    merged = merge_timelines(
        [Timeline([0, 1, 2], {"a": [1.0, None]}), Timeline([0, 1, 2], {"a": [3.0, 5.0]})], confidence=0.95
    )
    first, second = merged.metrics["a"]
    assert first.value == 2.0 and first.low is not None and first.low < 2.0
    assert second.value is None
    with pytest.raises(ValueError, match="different times"):
        merge_timelines([Timeline([0, 1], {}), Timeline([0, 2], {})], confidence=0.95)


def test_it_is_written_and_drawn(tmp_path: Path) -> None:
    (tmp_path / "e.yaml").write_text(
        TEXT + "sweep: {workload.arrivals.steps: {calm: [{at: 0s, rate: 300/s}], busy: [{at: 0s, rate: 900/s}]}}\n"
    )
    out = tmp_path / "out"
    perform(RunRequest(str(tmp_path / "e.yaml"), out=out, jobs=1))
    rows = list(csv.DictReader((out / "timeline.csv").open()))
    assert {row["workload.arrivals.steps"] for row in rows} == {"calm", "busy"}
    assert {(row["start_s"], row["end_s"]) for row in rows} == {("0.0", "0.5"), ("0.5", "1.0"), ("1.0", "1.25")}
    assert "timeline" not in (out / "summary.json").read_text()
    drawn = (out / "figures" / "timeline.svg").read_bytes()
    shutil.rmtree(out / "figures")
    plot_run(out)
    assert (out / "figures" / "timeline.svg").read_bytes() == drawn
    (out / "timeline.csv").write_text("start_s,end_s,metric,value,low,high\n0,1,a,x,,\n")
    with pytest.raises(RunDirectoryError, match=r"timeline\.csv:2 is damaged"):
        read_timeline(out)


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("duration: 1250ms", "queries: 100", "report.timeline needs workload.duration"),
        ("timeline: 500ms", "timeline: 2s", "cuts the duration into 1 to 10000 intervals"),
        ("timeline: 500ms", "timeline: 1us", "cuts the duration into 1 to 10000 intervals"),
    ],
)
def test_impossible_timelines_are_told(old: str, new: str, expected: str, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=expected):
        prepare_text(tmp_path, TEXT.replace(old, new))
