"""Engines of a study: what the compiled one cannot run, the reference engine runs, and that is said."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sim.engine.engines import Engine
from sim.study.checkpoint import Checkpoint
from sim.study.engines import choose_engines
from sim.study.executor import local_executor
from sim.study.replication import run_part
from sim.study.scenario import load_scenarios
from sim.study.study import Study

TOO_LONG = """\
name: t
model: {name: m, representations: {table: {accuracy: {value: 90%, evidence: assumed}}}}
sla: 10ms
workload:
  arrivals: {kind: poisson, rate: 0.0003/s}
  sizes: {kind: fixed, size: 1}
  queries: 30
  drain: 40h
fleet:
  - name: n
    count: 1
    devices:
      d: {kind: cpu, lanes: 2, service: {distribution: exponential, mean: 40min}}
interference: {slowdown: [1, 1.5]}
replications: 2
sweep:
  sla: [10ms, 20ms]
"""
LONGER = "a service time that may change its pace is longer than an hour"
SHORT = TOO_LONG.replace("40min", "4us").replace("0.0003/s", "1000/s")
USERS = SHORT.replace("interference: {slowdown: [1, 1.5]}", "policy: {kind: user, function: 'mine:last'}")


def study(folder: Path, text: str) -> Study:
    (folder / "e.yaml").write_text(text)
    return Study.of(load_scenarios(str(folder / "e.yaml")))


@pytest.mark.parametrize("jobs", [1, 2])
def test_services_of_hours_fall_to_the_reference_engine(tmp_path: Path, jobs: int) -> None:
    made = study(tmp_path, TOO_LONG)
    told: list[str] = []
    compiled = [Engine.COMPILED] * len(made.prepared)
    checkpoint = Checkpoint(tmp_path / "out" / "replications", made.fingerprint)
    with local_executor(jobs) as executor:
        result = made.run(checkpoint, executor=executor, keep_records=True, engines=compiled, tell=told.append)
    assert len(told) == 2, told
    assert {line.partition(";")[0] for line in told} == {f"{one.label}: {LONGER}" for one in made.prepared}
    assert all("the reference engine runs it, with the same results" in line for line in told)
    assert Engine.REFERENCE in result.engines
    assert all(file.exists() for file in result.records.values())
    reference = made.run(keep_records=False)
    assert reference.engines == (Engine.REFERENCE,)
    assert [json.dumps(one.to_json_dict()) for one in result.summaries] == [
        json.dumps(one.to_json_dict()) for one in reference.summaries
    ]


def test_a_part_falls_to_the_reference_engine_by_itself(tmp_path: Path) -> None:
    (first, _) = study(tmp_path, TOO_LONG).prepared
    one, other = run_part(first, 0, 0, engine=Engine.COMPILED), run_part(first, 0, 0)
    assert one.to_json_dict() == other.to_json_dict()


def test_what_is_fit_for_the_compiled_engine_runs_on_it(tmp_path: Path) -> None:
    made = study(tmp_path, SHORT)
    told: list[str] = []
    result = made.run(engines=[Engine.COMPILED, Engine.COMPILED], tell=told.append)
    assert told == [] and result.engines == (Engine.COMPILED,)


@pytest.mark.parametrize(
    ("body", "engine"),
    [("return len(accuracy) - 1", Engine.COMPILED), ("return open('x') and 0", Engine.REFERENCE)],
)
def test_a_policy_that_numba_cannot_compile_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str, engine: Engine
) -> None:
    arguments = "size, time_left_ns, accuracy, service_ns, wait_ns, parameters"
    (tmp_path / "mine.py").write_text(f"def last({arguments}):\n    {body}\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(__import__("sys").modules, "mine", raising=False)
    made = study(tmp_path, USERS)
    told: list[str] = []
    engines = choose_engines("compiled", made.prepared, jobs=1, tell=told.append)
    assert engines == (engine, engine)
    said = [line for line in told if "numba cannot compile the policy last" in line]
    assert len(said) == (0 if engine is Engine.COMPILED else 2)


def test_a_few_queries_are_not_worth_compiling_for(tmp_path: Path) -> None:
    made = study(tmp_path, SHORT)
    assert set(choose_engines("auto", made.prepared, jobs=1, tell=print)) == {Engine.REFERENCE}
    assert set(choose_engines("reference", made.prepared, jobs=1, tell=print)) == {Engine.REFERENCE}
    many = study(tmp_path, SHORT.replace("queries: 30", "queries: 10000000"))
    assert set(choose_engines("auto", many.prepared, jobs=1, tell=lambda _: None)) == {Engine.COMPILED}
