"""Rounds of replications until intervals are narrow: the same with any number of processes, interrupted or not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import sim.study.study as study_module
from sim.engine.engines import Engine
from sim.spec.problems import SpecError
from sim.study.checkpoint import Checkpoint
from sim.study.executor import local_executor
from sim.study.scenario import load_scenarios
from sim.study.study import Study, StudyResult

TEXT = """\
name: t
model: {name: m, representations: {table: {accuracy: {value: 90%, evidence: assumed}}}}
sla: 10ms
workload:
  arrivals: {kind: poisson, rate: 500/s}
  sizes: {kind: fixed, size: 1}
  queries: 300
fleet: [{name: n, devices: {d: {kind: cpu, service: {distribution: exponential, mean: 1ms}}}}]
replications: 5
precision: {metric: latency_ms_mean, half_width: 6%, max_replications: 60}
sweep: {workload.arrivals.rate: [200/s, 600/s, 1500/s]}
"""


def study(folder: Path, text: str = TEXT) -> Study:
    (folder / "e.yaml").write_text(text)
    return Study.of(load_scenarios(str(folder / "e.yaml")))


def written(result: StudyResult) -> str:
    return json.dumps([summary.to_json_dict() for summary in result.summaries], sort_keys=True)


@pytest.fixture(scope="module", name="whole")
def _whole(tmp_path_factory: pytest.TempPathFactory) -> StudyResult:
    return study(tmp_path_factory.mktemp("whole")).run()


def test_replications_are_added_where_intervals_are_too_wide(whole: StudyResult) -> None:
    light, heavy, overloaded = whole.summaries
    for summary in (light, heavy):
        assert summary.precision is not None
        metric = summary.metrics["latency_ms_mean"]
        assert metric.value is not None and metric.high is not None
        half_width = (metric.high - metric.value) / metric.value
        assert summary.precision.half_width == pytest.approx(half_width)
        assert summary.precision.reached == (half_width <= 0.06)
        assert summary.precision.reached or summary.replications == 60
        assert len(metric.values) == summary.replications
    # A longer queue varies more. Where there is no steady state there is nothing to wait for.
    assert 5 <= light.replications < heavy.replications
    assert overloaded.replications == 5 and overloaded.precision is not None
    assert overloaded.precision.reason == "saturated"
    assert whole.queries == 300 * sum(summary.replications for summary in whole.summaries)


def test_what_is_not_reached_is_said(tmp_path: Path) -> None:
    text = TEXT.replace("half_width: 6%, max_replications: 60", "half_width: 0.001ms, max_replications: 7")
    for summary in study(tmp_path, text).run().summaries[:2]:
        assert summary.replications == 7
        assert summary.precision is not None and not summary.precision.reached and not summary.precision.relative
        assert summary.to_json_dict()["precision"]["asked"] == 0.001


def test_without_the_key_nothing_of_it_is_written(tmp_path: Path) -> None:
    text = "\n".join(line for line in TEXT.splitlines() if "precision" not in line)
    assert "precision" not in study(tmp_path, text).run().summaries[0].to_json_dict()


def test_first_replications_are_those_of_a_study_without_precision(whole: StudyResult, tmp_path: Path) -> None:
    text = "\n".join(line for line in TEXT.splitlines() if "precision" not in line)
    for plain, more in zip(study(tmp_path, text).run().summaries, whole.summaries, strict=True):
        values = more.metrics["queries_per_s"].values
        # The warm-up is chosen from all replications; where it is the same, so are the values.
        if plain.warmup == more.warmup:
            assert plain.metrics["queries_per_s"].values == values[:5]
    assert plain.parameters == more.parameters


def test_processes_and_engines_change_nothing(whole: StudyResult, tmp_path: Path) -> None:
    with local_executor(2) as executor:
        assert written(study(tmp_path).run(executor=executor)) == written(whole)
    compiled = study(tmp_path).run(engines=[Engine.COMPILED] * 3)
    assert written(compiled) == written(whole)
    assert compiled.engines == (Engine.COMPILED,)


@pytest.mark.parametrize(("after", "records"), [(3, False), (40, True)])
def test_an_interrupted_study_goes_on_in_the_round_where_it_stopped(
    whole: StudyResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: int, records: bool
) -> None:
    one = study(tmp_path)
    checkpoint = Checkpoint(tmp_path / "replications", one.fingerprint)
    run: list[Any] = []
    execute = study_module.execute

    def interrupted(*args: Any, **options: Any) -> Any:
        for item in execute(*args, **options):
            if len(run) == after:
                raise KeyboardInterrupt
            run.append(item[0])
            yield item

    monkeypatch.setattr(study_module, "execute", interrupted)
    with pytest.raises(KeyboardInterrupt):
        one.run(checkpoint, keep_records=records)
    first, total = list(run), sum(summary.replications for summary in whole.summaries)
    assert len(first) == after < total
    after = -1
    result = one.run(checkpoint, keep_records=records)
    assert written(result) == written(whole)
    assert len(run) == total and len(set(run)) == total
    assert len(result.records) == (total if records else 0)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "latency_ms_mean",
            "latency_mean",
            "precision.metric: unknown metric (got 'latency_mean'; allowed: latency_ms_p50",
        ),
        ("latency_ms_mean", "[drop_rate, p99]", "precision.metric[1]: unknown metric (got 'p99'"),
        ("latency_ms_mean", "nodes_on", "precision.metric: the scenario has no such metric (got 'nodes_on'"),
        ("latency_ms_mean", "[]", "precision.metric: has too few entries"),
        (
            "6%",
            "0.1",
            "the half width of latency_ms_mean is a share of it, such as 2%, or a time, such as 0.5ms (got 0.1)",
        ),
        ("latency_ms_mean, half_width: 6%", "drop_rate, half_width: 1ms", "or a plain number (got '1ms')"),
        ("6%", "0%", "precision.half_width: a fraction has to be more than 0"),
        ("6%", "-1", "precision.half_width: a half width has to be more than 0 (got -1)"),
        ("6%", "wide", "precision.half_width: a half width is written as a share of the value (2%)"),
        ("6%", "true", "precision.half_width: "),
        ("replications: 5", "replications: 4", "replications: precision begins with at least 5 replications"),
        ("max_replications: 60", "max_replications: 4", "max_replications 4 is below replications 5"),
        ("max_replications: 60", "most: 4", "precision.most: unknown key"),
    ],
)
def test_mistakes_are_told_where_they_are(tmp_path: Path, old: str, new: str, message: str) -> None:
    with pytest.raises(SpecError) as error:
        study(tmp_path, TEXT.replace(old, new))
    first = str(error.value).splitlines()[0]
    assert message in first
    assert "e.yaml:9:" in first or "e.yaml:10:" in first


@pytest.mark.parametrize("half_width", ["2%", "500us", "1.5us", "100%"])
def test_a_half_width_is_written_as_it_was_read(tmp_path: Path, half_width: str) -> None:
    (scenario, *_) = study(tmp_path, TEXT.replace("6%", half_width)).scenarios
    assert scenario.experiment.model_dump(mode="json")["precision"]["half_width"] == half_width
