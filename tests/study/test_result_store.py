"""The store of finished results: found again by content alone, never believed where damaged, bounded, shared."""

from __future__ import annotations

import json
import multiprocessing
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import sim.study.identity as identity_module
import sim.study.study as study_module
from sim.stats.summary import ReplicationResult
from sim.study.checkpoint import Checkpoint
from sim.study.execute import execute
from sim.study.identity import NoIdentity, code_version, scenario_hash, source_files
from sim.study.prepare import PreparedScenario
from sim.study.replication import Part, run_part
from sim.study.scenario import load_scenarios
from sim.study.store import ResultStore, store_folder
from sim.study.study import Study, StudyResult
from sim.study.tasks import Task

TEXT = """\
name: t
model: {name: m, representations: {table: {accuracy: {value: 90%, evidence: assumed}}}}
sla: 10ms
workload:
  arrivals: {kind: poisson, rate: 2000/s}
  sizes: {kind: uniform, min: 1, max: 50}
  duration: 200ms
fleet:
  - name: n
    count: 4
    devices:
      d: {kind: cpu, service: {distribution: exponential, mean: 700us}}
replications: 3
sweep:
  workload.arrivals.rate: [1000/s, 2000/s]
"""
CELLS = TEXT.replace("sla: 10ms", "sla: 10ms\ncells: 4")


def study(folder: Path, text: str = TEXT, *overrides: str) -> Study:
    folder.mkdir(exist_ok=True)
    (folder / "e.yaml").write_text(text)
    return Study.of(load_scenarios(str(folder / "e.yaml"), overrides))


def only(folder: Path, *overrides: str, text: str = TEXT) -> PreparedScenario:
    (prepared,) = study(folder, text, "sweep={}", *overrides).prepared
    return prepared


def written(result: StudyResult) -> str:
    return json.dumps([summary.to_json_dict() for summary in result.summaries], sort_keys=True)


@pytest.fixture(name="ran")
def _ran(monkeypatch: pytest.MonkeyPatch) -> list[Task]:
    """The tasks that were run and not taken from the store."""
    ran: list[Task] = []

    def counts(scenarios: Any, tasks: Any, **options: Any) -> Iterator[tuple[Task, Part]]:
        for task, part in execute(scenarios, tasks, **options):
            ran.append(task)
            yield task, part

    monkeypatch.setattr(study_module, "execute", counts)
    return ran


# -- what results are known by ----------------------------------------------------------------------------


def test_scenarios_of_every_kind_have_identities_of_their_own(tmp_path: Path) -> None:
    trace = tmp_path / "trace.csv"
    trace.write_text("TIMESTAMP\n2026-12-01 00:00:00\n2026-12-01 00:00:01\n2026-12-01 00:00:03\n")
    hashes = []
    for name in ("remapping", "retry-storm", "autoscale-day", "bursty-trace", "two-models"):
        # The trace of this one does not ship.
        own = [f"workload.arrivals.file={trace}"] if name == "bursty-trace" else []
        hashes += [scenario_hash(one) for one in Study.of(load_scenarios(name, own)).prepared]
    assert len(set(hashes)) == len(hashes) == 26


@pytest.mark.parametrize(
    "change",
    [
        "seed=2",
        "sla=11ms",
        "workload.arrivals.rate=2001/s",
        "workload.duration=201ms",
        "workload.warmup=50ms",
        "workload.drain=1s",
        "workload.sizes.max=51",
        "fleet.n.count=5",
        "fleet.n.devices.d.service.mean=701us",
        "fleet.n.devices.d.lanes=2",
        "router={kind: random}",
        "queue={order: smallest-first}",
        "timeout={after: 9ms}",
        "network={delay: 1ms}",
        "cells=4",
        "model.representations.table.accuracy.value=91%",
        "report={timeline: 100ms}",
        "faults={crashes: [{group: n, nodes: [0], at: 100ms, for: 10ms}]}",
    ],
)
def test_what_changes_results_changes_the_identity(tmp_path: Path, change: str) -> None:
    assert scenario_hash(only(tmp_path, change)) != scenario_hash(only(tmp_path))


def test_names_labels_and_what_is_shown_do_not(tmp_path: Path) -> None:
    one = scenario_hash(only(tmp_path / "a"))
    shown = ("name=another", "replications=7", "report={confidence: 0.9, percentile: p95, queries: never}")
    assert scenario_hash(only(tmp_path / "b", *shown)) == one
    swept = study(tmp_path / "c").prepared
    assert scenario_hash(swept[1]) == one and scenario_hash(swept[0]) != one


def test_every_field_of_a_prepared_scenario_is_known_here() -> None:
    """Whoever adds a field decides whether results depend on it: all count that are not named."""
    names = {one.name for one in fields(PreparedScenario)}
    assert names >= identity_module.SAME_RESULTS


def test_a_trace_counts_by_its_content(tmp_path: Path) -> None:
    rows = "at\n" + "".join(f"{number}\n" for number in range(400))
    arrivals = "workload.arrivals={kind: trace, file: t.csv, unit: ms, rate: 500/s}"
    for folder, content in (("a", rows), ("b", rows), ("c", rows.replace("\n100\n", "\n100.5\n"))):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "t.csv").write_text(content)
    one, same, other = (scenario_hash(only(tmp_path / folder, arrivals)) for folder in "abc")
    (tmp_path / "b" / "moved.csv").write_text(rows)
    assert one == same != other
    assert scenario_hash(only(tmp_path / "b", arrivals.replace("t.csv", "moved.csv"))) == one


def test_the_source_of_a_policy_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plugins = tmp_path / "plugins"
    plugins.mkdir()
    source = "def last(size, time_left_ns, accuracy, service_ns, wait_ns, parameters):\n    return len(accuracy) - 1\n"
    monkeypatch.syspath_prepend(str(plugins))
    policy = "policy={kind: user, function: 'stored_policy:last'}"
    (plugins / "stored_policy.py").write_text(source)
    (plugins / "beside.py").write_text("X = 1\n")
    prepared = only(tmp_path / "e", policy)
    one = scenario_hash(prepared)
    assert set(source_files(prepared.system.choose)) == {"beside.py", "stored_policy.py"}
    (plugins / "beside.py").write_text("X = 2\n")
    assert scenario_hash(prepared) != one
    (plugins / "beside.py").write_text("X = 1\n")
    assert scenario_hash(prepared) == one
    (plugins / "stored_policy.py").write_text(source + "# changed\n")
    assert scenario_hash(prepared) != one
    sys.modules.pop("stored_policy")


def test_a_function_without_source_is_not_kept(tmp_path: Path, ran: list[Task]) -> None:
    made = study(tmp_path)
    unknown = tuple(replace(one, system=replace(one.system, choose=np.argmax)) for one in made.prepared)
    told: list[str] = []
    store = ResultStore(tmp_path / "store", tell=told.append)
    with pytest.raises(NoIdentity):
        scenario_hash(replace(unknown[0], parameters={}, system=replace(unknown[0].system, router=object())))
    assert store.find(replace(unknown[0], system=replace(unknown[0].system, router=object())), 0) is None
    assert len(told) == 1 and "its results are not kept for other runs" in told[0]


def test_another_state_of_the_source_takes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ran: list[Task]
) -> None:
    made, store = study(tmp_path), tmp_path / "store"
    made.run(store=ResultStore(store))
    version = {**code_version(), "mprec-sim source": "another"}
    monkeypatch.setattr(identity_module, "code_version", lambda: version)
    ran.clear()
    assert made.run(store=ResultStore(store)).stored == 0 and len(ran) == 6


# -- what is kept -----------------------------------------------------------------------------------------


def test_nothing_is_run_twice(tmp_path: Path, ran: list[Task]) -> None:
    made, store = study(tmp_path), ResultStore(tmp_path / "store")
    first = made.run(store=store)
    assert first.stored == 0 and len(ran) == 6
    again = made.run(store=ResultStore(tmp_path / "store"))
    assert again.stored == 6 and len(ran) == 6
    assert written(again) == written(first) == written(made.run())
    ran.clear()
    # A further point, and a further replication, of an experiment with another name.
    more = study(tmp_path / "more", TEXT, "name=more", "replications=4", "sweep={workload.arrivals.rate: [1k/s, 3k/s]}")
    assert more.run(store=store).stored == 3
    assert sorted(ran) == [(0, 3, 0), *((1, replication, 0) for replication in range(4))]


def test_cells_are_kept_until_their_replication_is_complete(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ran: list[Task]
) -> None:
    made, folder = study(tmp_path, CELLS), tmp_path / "store"
    whole = written(made.run())
    ran.clear()

    def stops(scenarios: Any, tasks: Any, **options: Any) -> Iterator[tuple[Task, Part]]:
        for task, part in execute(scenarios, tasks, **options):
            if len(ran) == 6:
                raise KeyboardInterrupt
            ran.append(task)
            yield task, part

    with monkeypatch.context() as patch:
        patch.setattr(study_module, "execute", stops)
        with pytest.raises(KeyboardInterrupt):
            made.run(store=ResultStore(folder))
    assert len(list(folder.glob("*/*.result"))) == 1 + 2
    resumed = made.run(store=ResultStore(folder))
    assert resumed.stored == 6 and len(ran) == len(made.tasks) == len(set(ran))
    assert written(resumed) == whole
    assert len(list(folder.glob("*/*.result"))) == 6
    again = made.run(store=ResultStore(folder))
    assert again.stored == len(made.tasks) == len(ran) and written(again) == whole


@pytest.mark.parametrize("text", [TEXT, CELLS])
def test_records_come_back_and_what_has_none_is_run_for_them(tmp_path: Path, text: str, ran: list[Task]) -> None:
    made, folder = study(tmp_path, text), tmp_path / "store"
    tasks = len(made.tasks)
    made.run(store=ResultStore(folder))
    first = made.run(Checkpoint(tmp_path / "a", "f"), store=ResultStore(folder), keep_records=True)
    assert first.stored == 0 and len(ran) == 2 * tasks
    again = made.run(Checkpoint(tmp_path / "b", "f"), store=ResultStore(folder), keep_records=True)
    assert again.stored == tasks and len(ran) == 2 * tasks and written(again) == written(first)
    for task, file in again.records.items():
        assert file.read_bytes() == first.records[task].read_bytes()
    # Without records a result that has some will do.
    assert made.run(store=ResultStore(folder)).stored == tasks


@pytest.mark.parametrize("how", ["cut", "flipped", "empty", "swapped"])
def test_a_damaged_file_is_run_again(tmp_path: Path, how: str, ran: list[Task]) -> None:
    made, folder = study(tmp_path), tmp_path / "store"
    whole = written(made.run(store=ResultStore(folder)))
    file, other = sorted(folder.glob("*/*.result"))[:2]
    content = file.read_bytes()
    damaged = {
        "cut": content[:-5],
        "flipped": content[:100] + bytes([content[100] ^ 1]) + content[101:],
        "empty": b"",
        "swapped": other.read_bytes(),
    }[how]
    file.write_bytes(damaged)
    ran.clear()
    again = made.run(store=ResultStore(folder))
    assert again.stored == 5 and len(ran) == 1 and written(again) == whole
    assert file.read_bytes() == content


def test_damaged_records_are_run_again(tmp_path: Path, ran: list[Task]) -> None:
    made, folder = study(tmp_path), tmp_path / "store"
    first = made.run(Checkpoint(tmp_path / "a", "f"), store=ResultStore(folder), keep_records=True)
    cut, gone = sorted(folder.glob("*/*.npz"))[:2]
    cut.write_bytes(cut.read_bytes()[:-1])
    gone.unlink()
    again = made.run(Checkpoint(tmp_path / "b", "f"), store=ResultStore(folder), keep_records=True)
    assert again.stored == 4 and written(again) == written(first)
    assert all(again.records[task].read_bytes() == file.read_bytes() for task, file in first.records.items())


def test_a_store_is_bounded_and_the_oldest_goes_first(tmp_path: Path) -> None:
    prepared = only(tmp_path)
    part = run_part(prepared, 0, 0)
    store = ResultStore(tmp_path / "store", bound_bytes=64 * 4096)
    for replication in range(80):
        store.keep(prepared, replication, part)
    store.trim()
    sizes = [-(-file.stat().st_size // 4096) * 4096 for file in store.folder.glob("*/*")]
    assert 0.5 * 64 * 4096 < sum(sizes) <= 64 * 4096
    assert store.find(prepared, 79) is not None and store.find(prepared, 0) is None
    # What was used lately stays.
    for number, file in enumerate(sorted(store.folder.glob("*/*"))):
        os.utime(file, (1_000_000 + number, 1_000_000 + number))
    oldest = min(range(80), key=lambda k: _used(store, prepared, k))
    assert store.find(prepared, oldest) is not None
    for replication in range(100, 150):
        store.keep(prepared, replication, part)
    assert store.find(prepared, oldest) is not None


def _used(store: ResultStore, prepared: PreparedScenario, replication: int) -> float:
    file = store._file(prepared, replication, None, False)
    return file.stat().st_mtime if file is not None and file.exists() else float("inf")


def test_what_a_killed_process_had_begun_is_removed(tmp_path: Path) -> None:
    store = ResultStore(tmp_path / "store")
    prepared = only(tmp_path)
    store.keep(prepared, 0, run_part(prepared, 0, 0))
    (folder,) = store.folder.iterdir()
    for name, age_s in ((".old", 7200), (".new", 60)):
        (folder / name).write_bytes(b"some of it")
        os.utime(folder / name, (time.time() - age_s,) * 2)
    store.trim()
    assert not (folder / ".old").exists() and (folder / ".new").exists() and store.find(prepared, 0) is not None


def fill(folder: str, file: str, rounds: int) -> None:
    (prepared,) = Study.of(load_scenarios(file, ["sweep={}"])).prepared
    parts = [run_part(prepared, replication, 0) for replication in range(3)]
    store = ResultStore(Path(folder), bound_bytes=40 * 4096)
    for number in range(rounds):
        for replication, part in enumerate(parts):
            store.keep(prepared, replication, part)
            found = store.find(prepared, replication)
            # The other process may have removed it, but never half written it.
            assert found is None or found.to_json_dict() == part.to_json_dict()
            store.keep(prepared, 1000 + os.getpid() * 1000 + number, part)


def test_two_processes_may_use_it_at_once(tmp_path: Path) -> None:
    study(tmp_path)
    arguments = (str(tmp_path / "store"), str(tmp_path / "e.yaml"))
    other = multiprocessing.get_context("spawn").Process(target=fill, args=(*arguments, 12))
    other.start()
    while other.is_alive():
        fill(*arguments, 1)
    assert other.exitcode == 0
    assert not list((tmp_path / "store").glob("*/.*"))


def test_a_store_that_cannot_be_written_is_told_once_and_costs_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    told: list[str] = []
    made = study(tmp_path)
    result = made.run(store=ResultStore(tmp_path / "file" / "store", tell=told.append))
    assert written(result) == written(made.run())
    assert len(told) == 1 and "cannot be written: Not a directory" in told[0]


def test_where_it_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MPREC_STORE", str(tmp_path / "named"))
    assert (
        store_folder() == tmp_path / "named" and store_folder("here") == Path("here") and store_folder("none") is None
    )
    monkeypatch.setenv("MPREC_STORE", "none")
    assert store_folder() is None and store_folder("here") == Path("here")
    monkeypatch.delenv("MPREC_STORE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert store_folder() == tmp_path / "mprec-sim-results"


def test_a_result_comes_back_exactly(tmp_path: Path) -> None:
    prepared = only(tmp_path, "report={timeline: 50ms}")
    part = run_part(prepared, 1, 0)
    store = ResultStore(tmp_path / "store")
    store.keep(prepared, 1, part)
    found = store.find(prepared, 1)
    assert isinstance(found, ReplicationResult) and found.to_json_dict() == part.to_json_dict()
    assert store.find(prepared, 0) is None
