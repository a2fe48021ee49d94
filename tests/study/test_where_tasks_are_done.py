"""Processes are started for work that takes longer than starting them; what was asked for by number is done there."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from sim.engine.engines import Engine
from sim.study import executor as executors
from sim.study.execute import execute
from sim.study.executor import InProcess, local_executor
from sim.study.prepare import PreparedScenario
from sim.study.scenario import load_scenarios
from sim.study.study import Study
from sim.study.tasks import expected_s, reference_s
from sim.study.workers import STARTING_S, LocalWorkers
from tests.harness import ONE_LANE


class Elsewhere(InProcess):
    """Does tasks here, and counts how often it is asked."""

    def __init__(self, workers: int, starting_s: float) -> None:
        self.workers = workers
        self.starting_s = starting_s
        self.calls = 0

    def run(self, function: Callable[[Any, Any], Any], given: Any, tasks: Sequence[Any]) -> Iterator[tuple[Any, Any]]:
        self.calls += 1
        return super().run(function, given, tasks)


@pytest.fixture(name="study")
def _study(tmp_path: Path) -> Study:
    (tmp_path / "e.yaml").write_text(ONE_LANE)
    return Study.of(load_scenarios(str(tmp_path / "e.yaml")))


def work_s(prepared: Sequence[PreparedScenario], tasks: Sequence[tuple[int, int, int]]) -> float:
    return expected_s(prepared, tasks, [Engine.REFERENCE] * len(prepared))


@pytest.mark.parametrize(("share", "calls"), [(0.99, 1), (1.01, 0)])
def test_processes_have_to_save_more_than_they_cost(study: Study, share: float, calls: int) -> None:
    # Of four tasks two at a time save half.
    saved_s = work_s(study.prepared, study.tasks) / 2
    executor = Elsewhere(2, saved_s * share)
    assert len(list(execute(study.prepared, study.tasks, executor=executor))) == 4
    assert executor.calls == calls


def test_no_more_than_there_are_tasks_work_at_once(study: Study) -> None:
    two = study.tasks[:2]
    executor = Elsewhere(16, work_s(study.prepared, two) * 0.51)
    list(execute(study.prepared, two, executor=executor))
    assert executor.calls == 0


def test_a_single_task_is_done_here_and_others_where_nothing_is_started(study: Study) -> None:
    executor = Elsewhere(2, 0.0)
    list(execute(study.prepared, study.tasks[:1], executor=executor))
    assert executor.calls == 0
    list(execute(study.prepared, study.tasks, executor=executor))
    assert executor.calls == 1


def test_the_expected_time_is_that_of_the_engine(study: Study) -> None:
    # 300 queries a task on the reference engine, 30,000 a second; 10 ms a task besides.
    assert work_s(study.prepared, study.tasks) == pytest.approx(4 * (0.01 + 0.01))
    assert expected_s(study.prepared, study.tasks, [Engine.COMPILED]) == pytest.approx(4 * (0.01 + 300e-6))
    assert reference_s(study.prepared) == pytest.approx(4 * 0.01)


def test_a_number_of_processes_is_taken_at_its_word(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(executors, "usable_cores", lambda: 3)
    by_itself, by_number = local_executor(None), local_executor(2)
    assert (by_itself.workers, by_itself.starting_s) == (3, STARTING_S)
    assert (by_number.workers, by_number.starting_s) == (2, 0.0)
    monkeypatch.setattr(executors, "usable_cores", lambda: 1)
    assert local_executor(None).workers == 1


def test_processes_that_are_there_cost_nothing_to_start() -> None:
    with LocalWorkers(2, if_worth_it=True) as crew:
        assert crew.starting_s == STARTING_S
        assert sorted(result for _, result in crew.run(_larger, 1, [1, 2])) == [2, 3]
        assert crew.starting_s == 0.0


def _larger(given: int, task: int) -> int:
    return given + task
