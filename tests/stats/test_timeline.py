"""Metrics over time: by hand, against the metrics of the whole run, and as files and figures."""

from __future__ import annotations

import csv
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sim.engine.record import Cause, Span
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


def test_intervals_of_shares_end_where_shares_do() -> None:
    names = ("sla_attainment", "path_mix:table@cpu", "queries_per_s")
    timelines = [Timeline([0, 1], {name: [value] for name in names}) for value in (0.01, 0.99, 0.99)]
    found = merge_timelines(timelines, confidence=0.95).metrics
    bounds = {name: (interval.low, interval.high) for name, (interval,) in found.items()}
    assert bounds["sla_attainment"] == bounds["path_mix:table@cpu"] == (0.0, 1.0)
    low, high = bounds["queries_per_s"]
    assert low == 0.0 and high is not None and high > 2.0


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


FAULTY = ("attempts_per_query", "hedges_per_query", "retries_per_query", "wasted_work", "availability")


def test_attempts_and_faults_by_hand(record_of, one_device):
    # Node 0 has devices 0 and 1, node 1 has device 2; no path uses device 3. Query 0 is served by its second attempt.
    record = replace(
        record_of(
            [0, 3 * MS, 6 * MS],
            [0, 3 * MS, 6 * MS],
            [8 * MS, 5 * MS, 12 * MS],
            end_ns=10 * MS,
            stop_ns=20 * MS,
            dropped=[1],
        ),
        drop_ns=np.array([-1, 7 * MS, -1]),
        drop_reason=np.array([-1, 1, -1]),
        answered_by=np.array([1, -1, 0]),
        part_query=np.array([0, 0, 1, 2]),
        part_attempt=np.array([0, 1, 0, 0]),
        part_path=np.zeros(4, int),
        part_lane=np.array([0, 1, 2, 0]),
        part_size=np.array([10, 10, 30, 10]),
        part_enqueue_ns=np.array([0, 4, 4, 6]) * MS,
        part_start_ns=np.array([0, 4, 4, 6]) * MS,
        part_finish_ns=np.array([5, 8, 8, 12]) * MS,
        # The copy of query 0 and query 1, which is three times as large, are a batch on one lane.
        part_batch=np.array([0, 1, 1, 2]),
        part_cut=np.zeros(4, bool),
        attempt_query=np.array([0, 1, 0, 2, 1, 1]),
        attempt_cause=np.array([Cause.FIRST, Cause.FIRST, Cause.HEDGE, Cause.FIRST, Cause.RETRY, Cause.RETRY]),
        attempt_sent_ns=np.array([0, 3, 4, 6, 10, 11]) * MS,
        span_device=np.array([0, 1, 2, 0, 3]),
        span_kind=np.array([Span.DOWN, Span.CLOSED, Span.DOWN, Span.CLOSED, Span.DOWN]),
        span_from_ns=np.array([1, 2, 4, 3, 0]) * MS,
        span_to_ns=np.array([4, 6, 7, 9, 20]) * MS,
    )
    view = one_device(
        lane_device=np.arange(4),
        device_kind=np.zeros(4, int),
        device_node=[0, 0, 1, -1],
        more_metrics=FAULTY,
        drop_reasons=("queue-full", "timeout"),
        **dict.fromkeys(("device_idle_w", "device_busy_w", "device_price_usd_per_h"), np.ones(4)),
    )
    plain = measure_over_time(record, replace(view, more_metrics=(), device_node=()), 5 * MS).metrics
    metrics = measure_over_time(record, view, 5 * MS).metrics
    assert {name: values for name, values in metrics.items() if name not in plain} == {
        # Down: device 0 in 1-4, 2 in 4-7, 3 always, of 20 ms of device time an interval.
        "availability": pytest.approx([1 - 9 / 20, 1 - 7 / 20]),
        # Node 0 takes nothing in 2-6 (device 0 is away in 1-9, 1 in 2-6), node 1 nothing in 4-7.
        "nodes_up": pytest.approx([2 - 4 / 5, 2 - 3 / 5]),
        # A retry at 10 ms is sent in the last interval, one at 11 ms after the arrival period.
        "attempts_per_s": pytest.approx([600, 400]),
        "retries_per_s": pytest.approx([0, 200]),
        "hedges_per_s": pytest.approx([200, 0]),
        # Wasted: the first part of query 0 in 0-5, and three quarters of the batch in 4-8. Query 2 is still served.
        "wasted_work": pytest.approx([5.75 / 6, 2.25 / 7]),
        "dropped:queue-full_per_s": [0, 0],
        "dropped:timeout_per_s": [0, 200],
    }
    merged = merge_timelines([measure_over_time(record, view, 5 * MS)] * 2, confidence=0.95).metrics
    assert {name for name in metrics if name not in merged} == {"dropped:queue-full_per_s"}


def test_utilisation_leaves_out_the_time_that_lanes_are_off(record_of, one_device):
    # Device 0 has one lane and device 1 two. Lane 0 serves 0-4 ms, lane 1 2-8 ms; device 1 is off in 8-15, device 0 in
    # 10-15. That it is down as well in 12-14 changes nothing.
    record = replace(
        record_of([0, 2 * MS], [0, 2 * MS], [4 * MS, 8 * MS], end_ns=20 * MS, lane=[0, 1]),
        span_device=np.array([1, 0, 0]),
        span_kind=np.array([Span.OFF, Span.OFF, Span.DOWN]),
        span_from_ns=np.array([8, 10, 12]) * MS,
        span_to_ns=np.array([15, 15, 14]) * MS,
    )
    view = one_device(
        lane_device=np.array([0, 1, 1]),
        device_kind=np.zeros(2, int),
        **dict.fromkeys(("device_idle_w", "device_busy_w", "device_price_usd_per_h"), np.ones(2)),
    )
    # Busy 7 and 3 ms of lane time. Of 15 ms two lanes are off for 2 in the second interval, and all for the third.
    assert measure_over_time(record, view, 5 * MS).metrics["utilisation:hw1/gpu"] == [7 / 15, 3 / 11, None, 0.0]


def test_nodes_that_come_and_go_are_busy_as_in_the_whole_run(tmp_path: Path) -> None:
    (scenario,) = prepare_text(
        tmp_path,
        TEXT.replace("{name: hw,", "{name: hw, count: 3,")
        + "autoscaling: [{group: hw, measure: utilisation, target: 50%, every: 50ms, initial: 1}]",
    )
    record = run_record(scenario, 0)
    (whole,) = measure(record, scenario.view, [0])
    assert np.any(record.span_kind == Span.OFF)
    one = measure_over_time(record, scenario.view, record.end_ns).metrics
    for kind, value in whole.utilisation.items():
        assert one[f"utilisation:{kind}"] == [pytest.approx(value, rel=1e-9)]


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ("", set()),
        ("timeout: {after: 5ms}", {"attempts_per_s", "retries_per_s", "hedges_per_s", "wasted_work"}),
        ("faults: {crashes: [{at: 100ms, for: 50ms}]}", {"availability", "nodes_up", "wasted_work"}),
    ],
)
def test_only_what_is_configured_is_given(keys: str, expected: set[str], tmp_path: Path) -> None:
    (scenario,) = prepare_text(tmp_path, TEXT + keys)
    metrics = measure_over_time(run_record(scenario, 0), scenario.view, 50 * MS).metrics
    other = {"attempts_per_s", "retries_per_s", "hedges_per_s", "wasted_work", "availability", "nodes_up"} - expected
    assert expected <= metrics.keys() and not other & metrics.keys()
    assert any(name.startswith("dropped:") for name in metrics) == bool(expected)


def test_intervals_of_attempts_and_faults_add_up_to_the_whole_run(tmp_path: Path) -> None:
    (scenario,) = prepare_text(
        tmp_path,
        TEXT.replace("{name: hw,", "{name: hw, count: 3,")
        + "timeout: {after: 4ms}\nretries: {limit: 2}\nhedging: {after: 2ms}\n"
        "faults: {lifetimes: [{each: device, mtbf: 99ms, mttr: 30ms}], maintenance: [{at: 0s, drain: 9ms, down: 9ms}]}",
    )
    record = run_record(scenario, 0)
    (whole,) = measure(record, scenario.view, [0])
    one, many = (measure_over_time(record, scenario.view, ns).metrics for ns in (record.end_ns, 10 * MS))
    assert one["availability"] == [pytest.approx(whole.metrics["availability"], rel=1e-12)]
    assert one["wasted_work"] == [pytest.approx(whole.metrics["wasted_work"], rel=1e-9)]
    for name in ("availability", "nodes_up", "attempts_per_s", "hedges_per_s", "retries_per_s"):
        assert np.mean(many[name]) == pytest.approx(one[name][0]), name
    # Node by node and instant by instant, what the spans say.
    at_ns = np.arange(MS // 2, record.end_ns, MS)
    out = np.zeros((6, len(at_ns)), dtype=bool)
    for device, begin, end in zip(record.span_device, record.span_from_ns, record.span_to_ns, strict=True):
        out[device] |= (begin <= at_ns) & (at_ns < end)
    nodes = (~out.reshape(3, 2, -1)).any(axis=1).sum(axis=0)
    assert np.mean(np.abs(many["nodes_up"] - nodes.reshape(-1, 10).mean(axis=1))) < 0.1
