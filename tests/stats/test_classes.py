"""A record of two classes whose every number is worked out by hand, and what a run says of it."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sim.engine.record import RunRecord
from sim.report.rundir import RunDirectory
from sim.report.table import Report, render
from sim.report.verdict import Answer, judge
from sim.stats.classes import measure_classes
from sim.stats.devices import ClassView, SystemView
from sim.stats.measure import CLASS_METRICS, METRICS, measure
from sim.stats.saturation import SaturationVerdict
from sim.stats.summary import ReplicationResult, ScenarioSummary, reduce_record, summarise

MS = 1_000_000
CLASSES = (ClassView("tight", 3 * MS), ClassView("loose", 20 * MS))


def two_classes(record_of: Callable[..., RunRecord]) -> RunRecord:
    """Ten queries, one a millisecond, each served for 2 ms on a lane of its own; every other one is loose."""
    arrival = np.arange(10) * MS
    start = arrival + np.array([0, 0, 2, 0, 0, 4, 0, 0, 0, 0]) * MS
    record = record_of(
        arrival,
        start,
        start + 2 * MS,
        end_ns=10 * MS,
        sla_ns=3 * MS,
        size=np.arange(1, 11),
        dropped=[9],
        lane=np.arange(10),
    )
    query_class = (np.arange(10) % 2).astype(np.int32)
    # Latencies: 2 ms each but query 2 (tight, 4 ms: late) and query 5 (loose, 6 ms: in time).
    outcome = record.outcome.copy()
    outcome[5] = 0
    return replace(record, query_class=query_class, outcome=outcome)


def view(one_device: Callable[..., SystemView]) -> SystemView:
    return one_device(lane_device=np.zeros(10, dtype=np.int64), classes=CLASSES)


def test_metrics_of_each_class(record_of: Callable[..., RunRecord], one_device: Callable[..., SystemView]) -> None:
    record, described = two_classes(record_of), view(one_device)
    results = measure_classes(record, described, [0, 4])
    tight, loose = results["tight"], results["loose"]
    assert tight.counts == {"offered": 5, "served_in_time": 4, "served_late": 1, "dropped": 0, "in_flight": 0}
    assert loose.counts == {"offered": 5, "served_in_time": 4, "served_late": 0, "dropped": 1, "in_flight": 0}
    assert loose.dropped_by_reason == {"queue full": 1} and tight.dropped_by_reason == {}
    whole, cut = tight.measurements
    assert set(whole.metrics) == set(CLASS_METRICS) < set(METRICS)
    assert whole.metrics["sla_attainment"] == pytest.approx(0.8)
    assert whole.metrics["latency_ms_mean"] == pytest.approx((4 * 2 + 4) / 5)
    # All five tight queries finish by 10 ms: sizes 1, 3, 5, 7 and 9, half of them correct.
    assert whole.metrics["samples_per_s"] == pytest.approx(25 / 0.01)
    assert whole.metrics["correct_predictions_within_sla_per_s"] == pytest.approx((25 - 3) / 2 / 0.01)
    # Query 2 waits 2 ms of the 10.
    assert whole.waiting_parts == {"hw1/gpu": pytest.approx(0.2)}
    assert whole.utilisation == {} and whole.path_mix == {"table@gpu": 1.0}
    # The cut keeps queries 4 to 9, three of them tight; the window starts at 4 ms, when query 4 arrives.
    assert (cut.cut, cut.window_start_ns, cut.measured["offered"]) == (2, 4 * MS, 3)
    assert cut.metrics["sla_attainment"] == 1.0
    # Query 2 finishes at 6 ms, within the window, and queries 4, 6 and 8 as well.
    assert cut.metrics["queries_per_s"] == pytest.approx(4 / 0.006)
    assert loose.measurements[1].metrics["drop_rate"] == pytest.approx(1 / 3)
    windows = [(m.window_start_ns, m.window_end_ns) for m in measure(record, described, [0, 4])]
    assert windows == [(m.window_start_ns, m.window_end_ns) for m in tight.measurements]


def test_what_is_not_yet_late_is_judged_by_the_limit_of_its_class(
    record_of: Callable[..., RunRecord], one_device: Callable[..., SystemView]
) -> None:
    # Both are in flight for 5 ms when the clock stops: too late for the one, not known for the other.
    record = record_of([0, 0], [0, 0], [9 * MS, 9 * MS], end_ns=MS, stop_ns=5 * MS, lane=[0, 1])
    record = replace(record, query_class=np.array([0, 1], dtype=np.int32))
    results = measure_classes(record, view(one_device), [0])
    assert results["tight"].measurements[0].metrics["sla_attainment"] == 0.0
    assert results["loose"].measurements[0].metrics["sla_attainment"] is None


def summary(record_of: Callable[..., RunRecord], one_device: Callable[..., SystemView]) -> ScenarioSummary:
    results = []
    for replication in range(3):
        record = two_classes(record_of)
        result = reduce_record(record, view(one_device), replication=replication, warmup_ns=0)
        results.append(ReplicationResult.from_json_dict(json.loads(json.dumps(result.to_json_dict()))))
        assert results[-1].to_json_dict() == result.to_json_dict()
    return summarise({"rate": "1/s"}, "measured", results, sla_ns=10 * MS)


def test_summary_json_and_csv_tell_the_classes_apart(
    record_of: Callable[..., RunRecord], one_device: Callable[..., SystemView], tmp_path: Path
) -> None:
    merged = summary(record_of, one_device)
    entry = merged.to_json_dict()
    assert list(entry["classes"]) == ["tight", "loose"]
    for key in ("counts", "measured"):
        for name, number in entry[key].items():
            assert number == sum(one[key][name] for one in entry["classes"].values())
    assert entry["classes"]["tight"]["sla_ms"] == 3.0
    assert entry["classes"]["tight"]["metrics"]["sla_attainment"]["value"] == pytest.approx(0.8)
    rows = list(csv.DictReader(RunDirectory(tmp_path).write_metrics([merged]).open()))
    assert [row["class"] for row in rows] == [""] * len(METRICS) + ["tight"] * len(CLASS_METRICS) + ["loose"] * len(
        CLASS_METRICS
    )
    (attained,) = [float(row["value"]) for row in rows if (row["class"], row["metric"]) == ("loose", "sla_attainment")]
    assert attained == pytest.approx(0.8)


def report_of(merged: ScenarioSummary) -> Report:
    return Report("A test", "m", "p50", None, (merged,), (), 1, None)


def changed(merged: ScenarioSummary, name: str, **fields: Any) -> ScenarioSummary:
    return replace(merged, classes=merged.classes | {name: replace(merged.classes[name], **fields)})


def with_p50(merged: ScenarioSummary, name: str, value: float) -> ScenarioSummary:
    """Give a class this median, no drops and a steady state."""
    metrics = dict(merged.classes[name].metrics)
    metrics["latency_ms_p50"] = replace(
        metrics["latency_ms_p50"], value=value, low=value - 0.1, high=value + 0.1, reason=None
    )
    metrics["drop_rate"] = replace(metrics["drop_rate"], value=0.0)
    return changed(merged, name, metrics=metrics, saturation=SaturationVerdict(False, 0.0, None, None, ""))


def test_every_class_is_judged_by_its_own_sla(
    record_of: Callable[..., RunRecord], one_device: Callable[..., SystemView]
) -> None:
    merged = summary(record_of, one_device)
    both = with_p50(with_p50(merged, "tight", 2.0), "loose", 15.0)
    assert judge(both, "p50").answer is Answer.MEETS
    late = with_p50(both, "tight", 15.0)
    assert judge(late, "p50").answer is Answer.MISSES and judge(late.classes["loose"], "p50").answer is Answer.MEETS
    assert judge(with_p50(both, "tight", 3.0), "p50").answer is Answer.CLOSE
    grows = changed(both, "loose", saturation=SaturationVerdict(True, 0.3, None, None, "it grows"))
    assert judge(grows, "p50").answer is Answer.SATURATED and judge(grows, "p50").why == "loose: it grows"
    entry = report_of(late).to_json_dict()["scenarios"][0]
    assert entry["verdict"] == "misses"
    assert {name: one["verdict"] for name, one in entry["classes"].items()} == {"tight": "misses", "loose": "meets"}
    text = render(report_of(late), 100)
    assert "SLA tight 3 ms, loose 20 ms at p50" in text
    (line,) = [line for line in text.splitlines() if line.startswith("1/s") and "tight" in line]
    assert "misses" in line and "80.00%" in line
    assert "no scenario meets the SLA of every class at p50" in text


def test_nothing_is_said_of_classes_where_there_are_none(
    record_of: Callable[..., RunRecord], one_device: Callable[..., SystemView], tmp_path: Path
) -> None:
    record = replace(two_classes(record_of), query_class=np.zeros(10, dtype=np.int32))
    result = reduce_record(record, replace(view(one_device), classes=()), replication=0, warmup_ns=0)
    merged = summarise({}, "measured", [result], sla_ns=10 * MS)
    assert "classes" not in merged.to_json_dict()
    assert "class" not in RunDirectory(tmp_path).write_metrics([merged]).read_text().splitlines()[0].split(",")
    assert "class" not in render(report_of(merged), 100)
