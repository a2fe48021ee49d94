"""Cells of a study: merged in their order whatever order they finish in, and kept when something goes wrong."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import sim.study.study as study_module
from sim.engine.audit import InvariantError
from sim.report.rundir import RunDirectoryError, written_whole
from sim.stats.summary import ReplicationResult
from sim.study.checkpoint import Checkpoint, CheckpointMismatch
from sim.study.execute import execute
from sim.study.executor import local_executor
from sim.study.gather import Gathered
from sim.study.replication import Part, run_part, run_record
from sim.study.scenario import load_scenarios
from sim.study.study import Study, StudyResult
from sim.study.tasks import Task

CELLS = 4
TEXT = """\
name: t
model: {name: m, representations: {table: {accuracy: {value: 90%, evidence: assumed}}}}
sla: 10ms
cells: 4
workload:
  arrivals: {kind: poisson, rate: 8000/s}
  sizes: {kind: uniform, min: 1, max: 50}
  duration: 500ms
fleet:
  - name: n
    count: 8
    devices:
      d: {kind: cpu, service: {distribution: exponential, mean: 700us}}
replications: 2
sweep:
  router: {random: {kind: random}, least backlog: {kind: least-backlog}}
"""
TASKS = 2 * 2 * CELLS


def study(folder: Path, text: str = TEXT) -> Study:
    (folder / "e.yaml").write_text(text)
    return Study.of(load_scenarios(str(folder / "e.yaml")))


def written(result: StudyResult) -> str:
    return json.dumps([summary.to_json_dict() for summary in result.summaries], sort_keys=True)


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> dict[Task, Part]:
    """Every task of the study, run once."""
    made = study(tmp_path_factory.mktemp("parts"))
    return {task: run_part(made.prepared[task[0]], task[1], task[2]) for task in made.tasks}


def test_every_cell_of_every_replication_is_a_task(tmp_path: Path) -> None:
    tasks = study(tmp_path).tasks
    assert len(tasks) == len(set(tasks)) == TASKS
    assert tasks[: CELLS + 1] == [*((0, 0, cell) for cell in range(CELLS)), (1, 0, 0)]


def test_cells_may_finish_in_any_order(tmp_path: Path) -> None:
    made = study(tmp_path)
    outcomes = set()
    for seed in (None, 1, 2):
        order = list(range(TASKS))
        if seed is not None:
            np.random.default_rng(seed).shuffle(order)
        gathered = Gathered(made.prepared, None)
        for place in order:
            index, replication, cell = made.tasks[place]
            gathered.add(made.tasks[place], run_part(made.prepared[index], replication, cell))
        assert all(gathered.has(task) for task in made.tasks)
        found = sorted(gathered.results.items())
        assert [key for key, _ in found] == [(0, 0), (0, 1), (1, 0), (1, 1)]
        outcomes.add(json.dumps([result.to_json_dict() for _, result in found]))
    assert len(outcomes) == 1


def test_a_replication_is_all_of_its_cells(tmp_path: Path) -> None:
    made = study(tmp_path)
    result = made.run()
    scenario = made.prepared[1]
    records = [run_record(scenario, 0, cell) for cell in range(CELLS)]
    offered = sum(len(record.arrival_ns) for record in records)
    every = [run_record(one, k, cell) for one in made.prepared for k in range(2) for cell in range(CELLS)]
    assert result.queries == sum(len(record.arrival_ns) for record in every)
    gathered = Gathered(made.prepared, None)
    for cell in range(CELLS):
        gathered.add((1, 0, cell), run_part(scenario, 0, cell))
    merged = gathered.results[1, 0]
    assert merged.counts["offered"] == offered
    in_time = sum(int(np.sum(record.outcome == 0)) for record in records)
    assert merged.counts["served_in_time"] == in_time
    # The whole run is the measurement with nothing cut.
    whole = merged.measurements[0]
    latency_ms = np.concatenate([record.finish_ns - record.arrival_ns for record in records]) / 1e6
    exact = float(np.quantile(latency_ms, 0.99, method="inverted_cdf"))
    assert whole.metrics["latency_ms_p99"] == pytest.approx(exact, rel=2e-3)
    assert whole.metrics["queries_per_s"] == pytest.approx(offered / 0.5, rel=0.02)


@pytest.mark.parametrize("kept", [0, 1, CELLS - 1, CELLS, CELLS + 2, TASKS - 1])
@pytest.mark.parametrize("keep_records", [False, True])
def test_what_was_finished_is_not_run_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, parts: dict[Task, Part], kept: int, keep_records: bool
) -> None:
    made = study(tmp_path)
    whole = written(made.run())
    checkpoint = Checkpoint(tmp_path / "out" / "replications", made.fingerprint)
    ran: list[Task] = []

    def stops(scenarios: Any, tasks: Any, **options: Any) -> Iterator[tuple[Task, Part]]:
        for task, part in execute(scenarios, tasks, **options):
            if len(ran) == kept:
                raise KeyboardInterrupt
            ran.append(task)
            yield task, part

    monkeypatch.setattr(study_module, "execute", stops)
    with pytest.raises(KeyboardInterrupt):
        made.run(checkpoint, keep_records=keep_records)
    first = list(ran)
    assert len(first) == kept
    assert len(list(checkpoint.folder.glob("*.json"))) == kept // CELLS
    # Cells of a replication that is complete are not kept besides.
    assert len(list(checkpoint.folder.glob("*.cell"))) == kept % CELLS
    seen: list[tuple[int, int, str]] = []
    kept = TASKS
    resumed = made.run(checkpoint, keep_records=keep_records, progress=lambda *at: seen.append(at))
    assert ran[: len(first)] == first and sorted(ran) == sorted(made.tasks)
    assert written(resumed) == whole
    assert seen[0] == (len(first), TASKS, "cells") and seen[-1] == (TASKS, TASKS, "cells")
    assert set(resumed.records) == (set(made.tasks) if keep_records else set())


def test_cells_that_have_lost_their_records_are_run_again(tmp_path: Path) -> None:
    made = study(tmp_path)
    checkpoint = Checkpoint(tmp_path / "out" / "replications", made.fingerprint)
    whole = made.run(checkpoint, keep_records=True)
    checkpoint.records_file((1, 0, 2)).unlink()
    seen: list[int] = []
    again = made.run(checkpoint, keep_records=True, progress=lambda done, total, what: seen.append(done))
    assert seen == list(range(TASKS - CELLS, TASKS + 1))
    assert written(again) == written(whole) and checkpoint.records_file((1, 0, 2)).exists()


def test_another_experiment_cannot_go_on(tmp_path: Path) -> None:
    made = study(tmp_path)
    Checkpoint(tmp_path / "out" / "replications", "another").start()
    with pytest.raises(CheckpointMismatch):
        made.run(Checkpoint(tmp_path / "out" / "replications", made.fingerprint))


def test_processes_change_nothing(tmp_path: Path) -> None:
    made = study(tmp_path)
    with local_executor(2) as executor:
        assert written(made.run(executor=executor)) == written(made.run())


def test_a_saved_cell_comes_back_whole(tmp_path: Path, parts: dict[Task, Part]) -> None:
    made = study(tmp_path)
    checkpoint = Checkpoint(tmp_path, made.fingerprint)
    gathered, again = Gathered(made.prepared, None), Gathered(made.prepared, None)
    for cell in range(CELLS):
        part = run_part(made.prepared[0], 0, cell)
        assert not isinstance(part, ReplicationResult)
        checkpoint.save_cell((0, 0, cell), part)
        again.add((0, 0, cell), checkpoint.load_cell((0, 0, cell)))
        gathered.add((0, 0, cell), part)
    assert checkpoint.cells() == [(0, 0, cell) for cell in range(CELLS)]
    assert again.results[0, 0].to_json_dict() == gathered.results[0, 0].to_json_dict()


@pytest.mark.parametrize("recorded", [False, True])
def test_a_law_that_is_broken_is_told_with_the_cell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, recorded: bool
) -> None:
    made = study(tmp_path)
    laws = "sim.study.replication.audit" if recorded else "sim.stats.tally.broken_laws"
    monkeypatch.setattr(laws, lambda *_: ["a lane served two"])
    with pytest.raises(InvariantError, match="replication 1, cell 3, seed 1: a lane served two"):
        run_part(made.prepared[0], 1, 3, tmp_path / "records.npz" if recorded else None)


def test_a_file_that_cannot_be_written_is_named_and_leaves_nothing(tmp_path: Path) -> None:
    checkpoint = Checkpoint(tmp_path / "out" / "replications", "f")
    checkpoint.start()
    file = checkpoint.records_file((0, 1, 2))
    named = r"s0-r1-c2\.npz could not be written: No space left on device"
    with pytest.raises(RunDirectoryError, match=named), written_whole(file) as stream:
        stream.write(b"some of it")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    with pytest.raises(KeyboardInterrupt), written_whole(file) as stream:
        stream.write(b"some of it")
        raise KeyboardInterrupt
    assert [one.name for one in checkpoint.folder.iterdir()] == ["fingerprint"]
