"""Worker processes: whatever happens to one, what others have finished is handed on and nobody waits for ever."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import sim.study.workers as workers_module
from sim.study.workers import LocalWorkers, WorkerLost, over_workers

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")

LONG_S = 120.0


def does(folder: Path, task: str) -> Any:
    """Do what the task's first word says; tell in the folder that it is about to end."""
    word = task.split()[0]
    if word == "large":
        wait_for(folder / "taken")
        # Far more than a pipe holds: the worker is in the middle of its answer for as long as nobody reads.
        (folder / task).write_text(str(os.getpid()))
        return bytes(1 << 26)
    if word == "fails":
        wait_for_answer(folder / "quick")
        raise OSError("disk full")
    if word == "dies":
        wait_for_answer(folder / "quick")
        os.kill(os.getpid(), signal.SIGKILL)
    if word == "long":
        (folder / task).touch()
        time.sleep(LONG_S)
    (folder / task).touch()
    return os.getpid()


def wait_for(file: Path) -> None:
    deadline = time.monotonic() + 60
    while not file.exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def wait_for_answer(file: Path) -> None:
    wait_for(file)
    time.sleep(0.5)  # The answer follows the file.


def test_every_task_comes_back_once(tmp_path: Path) -> None:
    tasks = [f"quick {number}" for number in range(20)]
    got = dict(over_workers(does, tmp_path, tasks, 3))
    assert sorted(got) == sorted(tasks)
    assert os.getpid() not in got.values() and 1 <= len(set(got.values())) <= 3


@pytest.mark.parametrize(("task", "error"), [("fails", OSError), ("dies", WorkerLost)])
def test_what_others_had_finished_comes_before_the_error(tmp_path: Path, task: str, error: type[Exception]) -> None:
    got = []
    with pytest.raises(error) as raised:
        for done, _ in over_workers(does, tmp_path, [task, "quick", "long"], 3):
            got.append(done)
    assert got == ["quick"]
    if error is OSError:
        assert "in a worker process" in raised.value.__notes__[0] and "does" in raised.value.__notes__[0]


def test_a_worker_that_is_killed_while_it_answers_is_not_waited_for(tmp_path: Path) -> None:
    """The other half of its answer never comes."""
    started = time.monotonic()
    finished = over_workers(does, tmp_path, ["quick", "large", "long"], 3)
    assert next(finished)[0] == "quick"
    (tmp_path / "taken").touch()
    wait_for(tmp_path / "large")
    time.sleep(0.3)  # It has begun to write by now; a worker that has not is lost all the same.
    os.kill(int((tmp_path / "large").read_text()), signal.SIGKILL)
    with pytest.raises(WorkerLost):
        next(finished)
    assert time.monotonic() - started < LONG_S / 2


def test_what_is_finished_comes_before_an_interrupt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = workers_module.wait

    def interrupted(pipes: Any, timeout: float | None = None) -> Any:
        if timeout is None:
            ready: list[Any] = []
            deadline = time.monotonic() + 60
            while len(ready) < 2 and time.monotonic() < deadline:
                ready = real(pipes, timeout=0.05)
            raise KeyboardInterrupt
        return real(pipes, timeout=timeout)

    monkeypatch.setattr(workers_module, "wait", interrupted)
    got = []
    with pytest.raises(KeyboardInterrupt):
        for task, _ in over_workers(does, tmp_path, ["quick 1", "quick 2", "long"], 3):
            got.append(task)
    assert sorted(got) == ["quick 1", "quick 2"]


def test_a_result_is_not_lost_when_its_worker_dies_before_it_takes_the_next_task(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    send = workers_module._Worker.send

    def dies(worker: Any, message: object) -> None:
        if message == "quick 2":
            raise WorkerLost("gone")
        send(worker, message)

    monkeypatch.setattr(workers_module._Worker, "send", dies)
    got = []
    with pytest.raises(WorkerLost):
        for task, _ in over_workers(does, tmp_path, ["quick 1", "quick 2"], 1):
            got.append(task)
    assert got == ["quick 1"]


def test_workers_end_with_the_one_who_asks(tmp_path: Path) -> None:
    finished: Iterator[Any] = over_workers(does, tmp_path, ["quick", "long"], 2)
    _, worker = next(finished)
    wait_for(tmp_path / "long")
    finished.close()  # type: ignore[attr-defined]
    assert not Path(f"/proc/{worker}").exists()


def given_to(given: object, task: int) -> tuple[int, object]:
    return os.getpid(), (given, task)


class CannotBeRead:
    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return _refuses, ("mine",)


def _refuses(name: str) -> None:
    raise ModuleNotFoundError(f"No module named {name!r}")


def test_workers_serve_call_after_call() -> None:
    with LocalWorkers(2) as crew:
        processes = set()
        for call in range(5):
            got = dict(crew.run(given_to, f"call {call}", range(4)))
            assert {task: result for task, (_, result) in got.items()} == {k: (f"call {call}", k) for k in range(4)}
            processes |= {process for process, _ in got.values()}
        assert len(processes) <= 2
        assert list(crew.run(given_to, None, [])) == []
    assert not any(Path(f"/proc/{process}").exists() for process in processes)


@pytest.mark.parametrize(("task", "error"), [("fails", OSError), ("dies", WorkerLost)])
def test_workers_serve_on_after_an_error(tmp_path: Path, task: str, error: type[Exception]) -> None:
    with LocalWorkers(3) as crew:
        with pytest.raises(error):
            list(crew.run(does, tmp_path, [task, "quick", "long"]))
        assert sorted(key for key, _ in crew.run(does, tmp_path, ["quick 1", "quick 2"])) == ["quick 1", "quick 2"]


def test_a_call_that_was_not_taken_to_its_end_gives_way_to_the_next(tmp_path: Path) -> None:
    with LocalWorkers(2) as crew:
        first = crew.run(does, tmp_path, ["quick", "long"])
        _, worker = next(first)
        got = dict(crew.run(does, tmp_path, ["quick 1", "quick 2", "quick 3"]))
        assert sorted(got) == ["quick 1", "quick 2", "quick 3"] and worker in got.values()
        assert list(first) == []


def test_what_cannot_be_read_there_is_said(tmp_path: Path) -> None:
    with LocalWorkers(1) as crew:
        with pytest.raises(ModuleNotFoundError, match="mine"):
            list(crew.run(given_to, CannotBeRead(), [1]))
        assert [result for _, (_, result) in crew.run(given_to, 2, [1])] == [(2, 1)]
