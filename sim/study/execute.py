"""Runs tasks over local processes; what is finished when something goes wrong is kept."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from sim.engine.engines import Engine
from sim.study.prepare import PreparedScenario
from sim.study.replication import Part, run_task

__all__ = ["Task", "WorkerLost", "execute", "usable_cores"]

Task = tuple[int, int, int]
"""A scenario, the number of one of its replications, and one of its cells."""

Result = TypeVar("Result")


def _tell_nobody(_scenario: int, _reason: str) -> None:
    pass


class WorkerLost(RuntimeError):
    """A worker process died without an exception, most often for want of memory."""


def usable_cores() -> int:
    """Return the number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def execute(
    scenarios: Sequence[PreparedScenario],
    tasks: Sequence[Task],
    *,
    jobs: int,
    records: dict[Task, Path] | None = None,
    engines: Sequence[Engine] | None = None,
    not_compiled: Callable[[int, str], None] = _tell_nobody,
) -> Iterator[tuple[Task, Part]]:
    """Run `tasks` and yield each with its result as it finishes, in any order.

    The results do not depend on `jobs`: a cell of a replication is a function of its scenario and its numbers.

    Parameters
    ----------
    scenarios : sequence of PreparedScenario
    tasks : sequence of (scenario, replication, cell)
        `scenario` is an index into `scenarios`.
    jobs : int
        Processes; 1 runs in this one.
    records : dict of Task to Path, optional
        Where to save the per-query records of a task.
    engines : sequence of Engine, optional
        Of each scenario; the reference engine by default.
    not_compiled : callable
        ``not_compiled(scenario, reason)`` is told of every task that the compiled engine could not run; the reference
        engine did.

    Raises
    ------
    WorkerLost
        When a worker process dies. What was yielded before is sound, and all that was finished is yielded.
    """
    records = records or {}
    engines = engines or [Engine.REFERENCE] * len(scenarios)
    if jobs <= 1 or len(tasks) <= 1:
        for task in tasks:
            scenario, replication, cell = task
            part, reason = run_task(scenarios[scenario], replication, cell, records.get(task), engines[scenario])
            if reason is not None:
                not_compiled(scenario, reason)
            yield task, part
        return
    pool = ProcessPoolExecutor(
        max_workers=min(jobs, len(tasks)),
        mp_context=multiprocessing.get_context("spawn"),
        initializer=_start_worker,
        initargs=(list(sys.path),),
    )
    try:
        with _interrupts_ignored():
            # Workers inherit the disposition: Ctrl-C is for this process to handle.
            futures: dict[Future[tuple[Part, str | None]], Task] = {
                pool.submit(run_task, scenarios[task[0]], *task[1:], records.get(task), engines[task[0]]): task
                for task in tasks
            }
        for task, (part, reason) in _finished(futures):
            if reason is not None:
                not_compiled(task[0], reason)
            yield task, part
    finally:
        # Reached with work left after Ctrl-C or an error: end the workers instead of waiting for them.
        pool.shutdown(wait=False, cancel_futures=True)
        for process in multiprocessing.active_children():
            process.terminate()


def _finished(futures: dict[Future[Result], Task]) -> Iterator[tuple[Task, Result]]:
    """Yield results as they come; what was finished comes also when a task fails, a worker has died or on Ctrl-C."""
    lost: BrokenProcessPool | None = None
    try:
        for future in as_completed(list(futures)):
            # Forgotten here, so that results do not pile up in this process.
            task = futures.pop(future)
            try:
                result = future.result()
            except BrokenProcessPool as error:
                lost = error
                continue
            yield task, result
    except GeneratorExit:
        raise
    except BaseException:
        for future, task in futures.items():
            if future.done() and not future.cancelled() and future.exception() is None:
                yield task, future.result()
        raise
    if lost is not None:
        raise WorkerLost("a worker process died (out of memory?)") from lost


@contextmanager
def _interrupts_ignored() -> Iterator[None]:
    try:
        previous = signal.signal(signal.SIGINT, signal.SIG_IGN)
    except ValueError:  # Not the main thread: there is nothing to set.
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, previous)


def _start_worker(path: list[str]) -> None:
    """Import modules from where the main process does: --plugins may have extended the path. End when it does."""
    sys.path[:] = path
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """End this process when the main one is gone, however it ended: nobody would ever take what it computes."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
