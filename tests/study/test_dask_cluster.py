"""A Dask cluster: the results of a run here, whatever becomes of its workers, and nothing needed from this disk."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import typer

import sim.study.cluster as cluster_module
from sim.cli.options import cannot_both
from sim.engine.audit import InvariantError
from sim.study.checkpoint import Checkpoint
from sim.study.cluster import BadClusterAddress, ClusterError, DaskCluster
from sim.study.identity import code_version
from sim.study.runs import RunRequest, perform
from sim.study.scenario import load_scenarios
from sim.study.shipping import with_laws
from sim.study.study import Study, StudyResult
from sim.study.workers import WorkerLost

distributed = pytest.importorskip("distributed")
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")

MPREC = Path(sys.executable).parent / "mprec"
TEXT = """\
name: t
model: {name: m, representations: {table: {accuracy: {value: 90%, evidence: assumed}}}}
sla: 10ms
workload:
  arrivals: {kind: poisson, rate: 2000/s}
  sizes: {kind: uniform, min: 1, max: 50}
  duration: 500ms
fleet:
  - name: n
    count: 4
    devices:
      d: {kind: cpu, service: {distribution: exponential, mean: 700us}}
replications: 4
sweep:
  workload.arrivals.rate: [1000/s, 2000/s]
"""


def study(folder: Path, *overrides: str) -> Study:
    (folder / "e.yaml").write_text(TEXT)
    return Study.of(load_scenarios(str(folder / "e.yaml"), overrides))


def written(result: StudyResult) -> str:
    return json.dumps([summary.to_json_dict() for summary in result.summaries], sort_keys=True)


def tell_nobody(_line: str) -> None:
    pass


@pytest.fixture(name="cluster", scope="module")
def _cluster() -> Iterator[DaskCluster]:
    with DaskCluster("local:2", tell_nobody) as cluster:
        yield cluster


@pytest.fixture(name="scheduler", scope="module")
def _scheduler(cluster: DaskCluster) -> str:
    """The address under which others reach the cluster."""
    address: str = cluster._cluster.scheduler_address
    return address


def mprec(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([MPREC, *arguments], cwd=cwd, capture_output=True, text=True, timeout=300, check=False)


def test_two_workers_give_the_bytes_of_one_process(tmp_path: Path, scheduler: str) -> None:
    study(tmp_path)
    told: list[str] = []
    alone = RunRequest(str(tmp_path / "e.yaml"), out=tmp_path / "alone", jobs=1)
    perform(alone, tell=told.append)
    perform(replace(alone, out=tmp_path / "cluster", jobs=None, cluster=scheduler), tell=told.append)
    for name in ("summary.json", "metrics.csv", "queries.npz", "experiment.yaml"):
        assert (tmp_path / "alone" / name).read_bytes() == (tmp_path / "cluster" / name).read_bytes()
    assert len(told) == 1 and told[0].startswith("2 workers; dashboard: http")


def test_cells_and_their_records_come_back(tmp_path: Path, cluster: DaskCluster) -> None:
    made = study(tmp_path, "cells=4", "replications=2")
    assert cluster.workers == 2 and not cluster.is_elsewhere and not cluster.shares_files
    here = made.run(Checkpoint(tmp_path / "here" / "r", made.fingerprint), keep_records=True)
    there = made.run(Checkpoint(tmp_path / "there" / "r", made.fingerprint), keep_records=True, executor=cluster)
    assert written(here) == written(there) == written(made.run(executor=cluster))
    assert all(there.records[task].read_bytes() == file.read_bytes() for task, file in here.records.items())


def test_a_trace_travels(tmp_path: Path, cluster: DaskCluster) -> None:
    rows = "at,size\n" + "".join(f"{number * 0.7},{1 + number % 50}\n" for number in range(900))
    (tmp_path / "t.csv").write_text(rows)
    made = study(
        tmp_path,
        "sweep={router: {a: {kind: random}, b: {kind: round-robin}}}",
        "workload.arrivals={kind: trace, file: t.csv, column: at, unit: ms}",
        "workload.sizes={kind: trace, file: t.csv, column: size, repeat: true}",
    )
    here = written(made.run())
    sent = with_laws(made.prepared)
    assert sent[0].laws is sent[1].laws
    (tmp_path / "t.csv").unlink()
    assert written(replace(made, prepared=sent).run(executor=cluster)) == here


def test_a_policy_travels_and_its_next_version_takes_its_place(
    tmp_path: Path, cluster: DaskCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    arguments = "(size, time_left_ns, accuracy, service_ns, wait_ns, parameters)"
    served = []
    for version in ("0", "-1 if size > 25 else 0"):
        (tmp_path / "beside.py").write_text(f"def pick(size):\n    return {version}\n")
        source = f"from beside import pick\n\ndef mine{arguments}:\n    return pick(size)\n"
        (tmp_path / "sent_policy.py").write_text(source)
        for name in ("sent_policy", "beside"):
            sys.modules.pop(name, None)
        made = study(tmp_path, "policy={kind: user, function: 'sent_policy:mine'}", "replications=1")
        result = made.run(executor=cluster)
        assert written(result) == written(made.run())
        served.append(result.summaries[0].counts["dropped"])
    assert served[0] == 0 < served[1]
    for name in ("sent_policy", "beside"):
        sys.modules.pop(name, None)


def pause(folder: str, task: int) -> tuple[int, int]:
    """Say which process has the task, and wait for leave to end it."""
    file = Path(folder) / f"{task}-{os.getpid()}"
    file.touch()
    deadline = time.monotonic() + 60
    while task < 2 and not (Path(folder) / "go").exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return task, os.getpid()


def begun(folder: Path, count: int) -> list[int]:
    """Return the processes that have begun tasks, once there are so many."""
    deadline = time.monotonic() + 60
    while len(found := [int(one.name.partition("-")[2]) for one in folder.glob("*-*")]) < count:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return found


def fails(folder: str, task: int) -> int:
    if task == 0:
        deadline = time.monotonic() + 60
        while not (Path(folder) / "finished").exists():
            assert time.monotonic() < deadline
            time.sleep(0.02)
        raise InvariantError("a lane served two")
    return task


def test_an_error_there_is_an_error_here(tmp_path: Path, cluster: DaskCluster) -> None:
    got = []
    with pytest.raises(InvariantError, match="a lane served two") as raised:
        for task, _ in cluster.run(fails, str(tmp_path), [0, 1, 2]):
            got.append(task)
            if len(got) == 2:
                (tmp_path / "finished").touch()
    assert sorted(got) == [1, 2]
    assert "in a worker process" in raised.value.__notes__[0]
    # The cluster serves on, call after call.
    for call in range(3):
        assert sorted(cluster.run(fails, str(tmp_path), [1 + call, 5])) == [(1 + call, 1 + call), (5, 5)]
    assert list(cluster.run(fails, str(tmp_path), [])) == []


def test_a_call_that_is_given_up_leaves_the_workers_to_the_next(tmp_path: Path, cluster: DaskCluster) -> None:
    first = cluster.run(pause, str(tmp_path), [5, 0, 1, 6, 7, 8])
    assert next(first)[0] == 5
    second = cluster.run(fails, str(tmp_path), [1, 2])
    (tmp_path / "go").touch()
    assert sorted(second) == [(1, 1), (2, 2)]
    assert list(first) == []


def test_what_is_finished_comes_before_an_interrupt(
    tmp_path: Path, cluster: DaskCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = distributed.as_completed

    class Interrupted:
        def __init__(self, futures: Any, **options: Any) -> None:
            self.futures = list(futures)

        def __iter__(self) -> Iterator[Any]:
            deadline = time.monotonic() + 60
            while sum(future.status == "finished" for future in self.futures) < 2:
                assert time.monotonic() < deadline
                time.sleep(0.02)
            raise KeyboardInterrupt

    monkeypatch.setattr(distributed, "as_completed", Interrupted)
    got = []
    with pytest.raises(KeyboardInterrupt):
        for task, _ in cluster.run(pause, str(tmp_path), [2, 3, 0]):
            got.append(task)
    (tmp_path / "go").touch()
    assert sorted(got) == [2, 3]
    monkeypatch.setattr(distributed, "as_completed", real)
    assert list(cluster.run(fails, str(tmp_path), [7])) == [(7, 7)]


def meet(folder: str, task: int) -> int:
    """Wait for the other one of two tasks to be begun."""
    (Path(folder) / str(task)).touch()
    deadline = time.monotonic() + 20
    while not (Path(folder) / str(1 - task)).exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return os.getpid()


def test_no_task_waits_while_a_worker_has_nothing_to_do(tmp_path: Path, cluster: DaskCluster) -> None:
    """Dask reckons with how long earlier tasks lasted, and with who has what they need."""
    for repeat in range(20):
        list(cluster.run(fails, "", [1, 2, 3, 4, 5, 6, 7]))
        folder = tmp_path / str(repeat)
        folder.mkdir()
        assert len({process for _, process in cluster.run(meet, str(folder), [0, 1])}) == 2


def test_a_lost_worker_loses_nothing(tmp_path: Path, cluster: DaskCluster) -> None:
    made = study(tmp_path)
    killed: list[int] = []

    def kill() -> None:
        """Kill one of the workers while each has a task that waits, and let these end once one was begun again."""
        killed.append(begun(tmp_path, 2)[0])
        os.kill(killed[0], signal.SIGKILL)
        begun(tmp_path, 3)
        (tmp_path / "go").touch()

    killer = threading.Thread(target=kill)
    killer.start()
    results = dict(cluster.run(pause, str(tmp_path), [0, 1]))
    killer.join()
    assert sorted(results) == [0, 1] and all(task == done for task, (done, _) in results.items())
    assert killed[0] not in {process for _, process in results.values()}
    assert written(made.run(executor=cluster)) == written(made.run())


def test_other_code_is_refused(scheduler: str, cluster: DaskCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = {**code_version(), "numpy": "1.0"}
    real = code_version()["numpy"]
    monkeypatch.setattr(cluster_module, "code_version", lambda: mine)
    monkeypatch.setattr(mine_holder := _Answers(cluster._client), "answer", {"tcp://w:1": code_version()})
    monkeypatch.setattr(cluster, "_client", mine_holder)
    with pytest.raises(ClusterError, match=rf"worker tcp://w:1 .* numpy is {real} there and 1\.0 here"):
        cluster._check()
    monkeypatch.setattr(mine_holder, "answer", ModuleNotFoundError("No module named 'sim'"))
    with pytest.raises(ClusterError, match="cannot load this version of mprec-sim: No module named 'sim'"):
        cluster._check()
    # A worker that came later is asked with its first task.
    with pytest.raises(ClusterError, match=rf"numpy is {real} there and 1\.0 here"):
        list(cluster.run(fails, "", [1]))


class _Answers:
    """A client whose workers answer as told."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self.answer: Any = None

    def run(self, _function: object) -> Any:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)


@pytest.mark.parametrize(
    "address", ["local:0", "local:", "local:two", "host:8786", "tcp://", "tcp://host", "tcp://host:port", "http://h:1"]
)
def test_what_is_no_address_is_said(address: str) -> None:
    with pytest.raises(BadClusterAddress, match="is no cluster"):
        DaskCluster(address, tell_nobody)


def test_nobody_there_is_said_and_leaves_nothing(tmp_path: Path) -> None:
    study(tmp_path)
    done = mprec("run", "e.yaml", "--cluster", "tcp://127.0.0.1:9", "--out", "out", cwd=tmp_path)
    assert done.returncode == 1 and done.stderr == "no Dask scheduler answers at tcp://127.0.0.1:9\n"
    assert not (tmp_path / "out").exists()
    with pytest.raises(typer.BadParameter, match="--jobs has no meaning"):
        cannot_both(2, "local:2")


def test_without_dask_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    with pytest.raises(ClusterError, match=r"pip install 'mprec-sim\[cluster\]'"):
        DaskCluster("local:2", tell_nobody)


def kills(_given: None, _task: int) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.slow
def test_a_task_that_kills_every_worker_is_given_up() -> None:
    with (
        DaskCluster("local:2", tell_nobody) as cluster,
        pytest.raises(WorkerLost, match="several workers in turn died of one task"),
    ):
        list(cluster.run(kills, None, [0]))


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_run_on_a_cluster_is_interrupted_and_resumed(tmp_path: Path, how: signal.Signals) -> None:
    """Ctrl-C as a terminal sends it, to every process; SIGTERM to the main one; SIGKILL to a worker costs nothing."""
    study(tmp_path)
    long = (
        "run",
        "e.yaml",
        "--set",
        "workload.duration=20s",
        "--replications",
        "6",
        "--engine",
        "reference",
        "--out",
        "out",
    )
    process = subprocess.Popen(
        [MPREC, *long, "--cluster", "local:2"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    deadline = time.monotonic() + 300
    while len(list((tmp_path / "out" / "replications").glob("*.json"))) < 2:
        assert process.poll() is None and time.monotonic() < deadline, process.communicate()
        time.sleep(0.05)
    if how is signal.SIGINT:
        os.killpg(process.pid, how)
    elif how is signal.SIGTERM:
        process.send_signal(how)
    else:
        children = subprocess.run(["pgrep", "-P", str(process.pid)], capture_output=True, text=True, check=True)
        os.kill(max(int(child) for child in children.stdout.split()), how)
    _, errors = process.communicate(timeout=300)
    assert "Traceback" not in errors
    if how is signal.SIGKILL:
        assert process.returncode == 0, errors
    else:
        assert process.returncode == 130 and "interrupted; what is finished is kept" in errors
        assert 2 <= len(list((tmp_path / "out" / "replications").glob("*.json"))) < 12
        resumed = mprec(*long, "--resume", "--cluster", "local:2", cwd=tmp_path)
        assert resumed.returncode == 0, resumed.stderr
    whole = mprec(*long[:-1], "whole", "--jobs", "1", cwd=tmp_path)
    assert whole.returncode == 0
    assert (tmp_path / "out" / "summary.json").read_bytes() == (tmp_path / "whole" / "summary.json").read_bytes()
