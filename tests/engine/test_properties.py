"""Generated scenarios over every option: whatever is combined, the laws hold and the same run comes out twice."""

from __future__ import annotations

import dataclasses
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sim.engine.audit import audit
from sim.engine.engines import Engine
from sim.engine.record import Outcome, RunRecord
from sim.spec.problems import SpecError
from sim.stats.measure import measure
from sim.stats.summary import ReplicationResult
from sim.stats.timeline import measure_over_time
from sim.study.replication import run_record, run_replication
from tests.engine.scenarios import QUERIES, experiments
from tests.harness import prepare_text

SLOW_IS_FINE = [HealthCheck.too_slow, HealthCheck.filter_too_much]


def run(document: dict[str, Any], engine: Engine | None = None) -> RunRecord | None:
    with tempfile.TemporaryDirectory() as folder:
        try:
            (scenario,) = prepare_text(Path(folder), yaml.safe_dump(document))
        except SpecError:
            return None  # The fleet has no path for the policy, or the two contradict each other.
        record = run_record(scenario, 0, engine=engine)
        assert audit(record, scenario.system) == []
        return record


LEAST_CHECKED = 300


def test_any_scenario_obeys_the_laws_and_repeats_exactly() -> None:
    checked = []

    # Nine in ten scenarios run; the others contradict themselves, and are refused.
    @settings(max_examples=380, deadline=None, suppress_health_check=SLOW_IS_FINE)
    @given(experiments())
    def check(document: dict[str, Any]) -> None:
        record = run(document)
        if record is None:
            return
        offered = QUERIES if "queries" in document["workload"] else len(record.arrival_ns)
        assert np.bincount(record.outcome, minlength=len(Outcome)).sum() == offered
        again = run(document)
        assert again is not None
        for field in dataclasses.fields(RunRecord):
            assert np.array_equal(getattr(record, field.name), getattr(again, field.name)), field.name
        # Common random numbers: another policy sees the same queries, on either engine.
        other = run({**document, "policy": {"kind": "fastest"}}, Engine.COMPILED)
        assert other is not None
        assert np.array_equal(record.arrival_ns, other.arrival_ns)
        assert np.array_equal(record.size, other.size)
        checked.append(document)

    check()
    print(f"{len(checked)} scenarios run and checked")
    assert len(checked) >= LEAST_CHECKED


@settings(max_examples=60, deadline=None, suppress_health_check=SLOW_IS_FINE)
@given(experiments().filter(lambda document: "duration" in document["workload"]), st.integers(1, 9))
def test_the_intervals_of_a_timeline_add_up_to_the_run(document: dict[str, Any], intervals: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        try:
            (scenario,) = prepare_text(Path(folder), yaml.safe_dump(document))
        except SpecError:
            return
    record = run_record(scenario, 0)
    (whole,) = measure(record, scenario.view, [0])
    one = measure_over_time(record, scenario.view, record.end_ns).metrics
    for name in ("sla_attainment", "drop_rate", "queries_per_s", "accuracy_served", "availability", "wasted_work"):
        if name in one and name in whole.metrics:
            expected = whole.metrics[name]
            assert one[name] == [expected if expected is None else pytest.approx(expected, rel=1e-9)], name
    for kind, value in whole.utilisation.items():
        # A kind of which no device is ever on is 0% busy in the whole, and has no value over time.
        assert [x or 0.0 for x in one[f"utilisation:{kind}"]] == [pytest.approx(value, rel=1e-9)], kind
    many = measure_over_time(record, scenario.view, -(-record.end_ns // intervals))
    seconds = np.diff(many.edges_ns) / 1e9
    for name in one:
        if name.endswith("_per_s") or name in ("queries_in_system", "nodes_up", "availability"):
            assert np.dot(many.metrics[name], seconds) == pytest.approx(one[name][0] * seconds.sum()), name


def test_most_generated_scenarios_run() -> None:
    ran = []
    slowed = []
    failed = []
    lost = []

    @settings(max_examples=150, deadline=None, database=None, derandomize=True)
    @given(experiments())
    def count(document: dict[str, Any]) -> None:
        record = run(document)
        ran.append(record is not None)
        failed.append(record is not None and "faults" in document)
        lost.append(record is not None and bool(record.part_cut.any()) and "faults" in document)
        slowed.append(ran[-1] and "interference" in document)

    count()
    assert np.mean(ran) > 0.75
    assert np.mean(slowed) > 0.1
    assert np.mean(failed) > 0.2
    assert np.mean(lost) > 0.05


NEUTRAL = (
    {"queue": {"order": "fifo", "shed": "never"}},
    {"queue": {"order": "earliest-deadline"}},  # With one SLA the earliest deadline is the oldest query.
    {"batching": {"queries": 1}},
    {"classes": [{"name": "all"}]},
    {"classes": [{"name": "one", "share": 0.25}, {"name": "another", "share": 0.75}]},
)


@settings(max_examples=40, deadline=None, suppress_health_check=SLOW_IS_FINE)
@given(experiments(), st.sampled_from(NEUTRAL))
def test_settings_that_change_nothing_change_nothing(document: dict[str, Any], neutral: dict[str, Any]) -> None:
    plain = {key: value for key, value in document.items() if key not in ("queue", "batching", "classes")}
    if neutral.get("queue", {}).get("order") == "earliest-deadline":
        # Copies and retries join behind younger queries, and the earliest deadline goes before these.
        # So does what takes longer on its way to the node.
        behind = ("timeout", "retries", "hedging", "network")
        plain = {key: value for key, value in plain.items() if key not in behind}
    late = plain.get("binding", {}).get("kind") == "late"
    record = run(plain)
    if record is None or (late and "batching" in neutral):
        return
    same = run(plain | neutral)
    assert same is not None
    for field in dataclasses.fields(RunRecord):
        if field.name != "query_class":
            assert np.array_equal(getattr(record, field.name), getattr(same, field.name)), field.name


@settings(max_examples=60, deadline=None, suppress_health_check=SLOW_IS_FINE)
@given(experiments().filter(lambda document: "classes" in document))
def test_the_classes_add_up_to_the_whole(document: dict[str, Any]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        try:
            (scenario,) = prepare_text(Path(folder), yaml.safe_dump(document))
        except SpecError:
            return
        result = run_replication(scenario, 0)
    parts = list(result.classes.values())
    assert list(result.classes) == [one["name"] for one in document["classes"]]
    for counts, whole in (
        ([one.counts for one in parts], result.counts),
        ([one.measurements[0].measured for one in parts], result.measurements[0].measured),
    ):
        assert {name: sum(one[name] for one in counts) for name in whole} == whole
    for name in ("queries_per_s", "samples_per_s", "correct_predictions_per_s", "correct_predictions_within_sla_per_s"):
        added = sum(one.measurements[0].metrics[name] or 0.0 for one in parts)
        assert added == pytest.approx(result.measurements[0].metrics[name] or 0.0, rel=1e-9)
    backlogs = sum(one.backlog.in_system for one in parts)
    assert np.array_equal(backlogs, result.backlog.in_system)
    assert ReplicationResult.from_json_dict(json.loads(json.dumps(result.to_json_dict()))).to_json_dict() == (
        result.to_json_dict()
    )


@settings(max_examples=40, deadline=None, suppress_health_check=SLOW_IS_FINE)
@given(experiments())
def test_lanes_that_slow_each_other_by_a_factor_of_one_are_undisturbed(document: dict[str, Any]) -> None:
    document.pop("interference", None)
    with tempfile.TemporaryDirectory() as folder:
        try:
            (scenario,) = prepare_text(Path(folder), yaml.safe_dump(document))
        except SpecError:
            return
    record = run_record(scenario, 0)
    # As a file such a slowdown is refused. The engine is told to expect changes of speed that never come.
    paced = dataclasses.replace(scenario, system=dataclasses.replace(scenario.system, controls_lanes=True))
    same = run_record(paced, 0)
    for field in dataclasses.fields(RunRecord):
        assert np.array_equal(getattr(record, field.name), getattr(same, field.name)), field.name
