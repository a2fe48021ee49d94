"""Worker processes that do one task at a time, each spoken to over a pipe of its own.

The workers of `concurrent.futures.ProcessPoolExecutor` share one pipe for their results. One that is killed while it
writes leaves half a message there, and who reads it waits for the other half for ever (seen with Python 3.11). Here the
pipe of a worker that dies ends with it.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import traceback
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import Generic, TypeVar

__all__ = ["WorkerLost", "over_workers"]

Given = TypeVar("Given")
Task = TypeVar("Task")
Result = TypeVar("Result")

ENDED_WITHIN_S = 5.0
"""How long a worker that is told to end is waited for."""


class WorkerLost(RuntimeError):
    """A worker process died without an exception, most often for want of memory."""


@dataclass(frozen=True, slots=True)
class _Failure:
    """An exception of a task; its notes hold where it was raised."""

    error: BaseException


class _Worker(Generic[Task]):
    """A process and the end of its pipe that is ours."""

    def __init__(self, path: list[str]) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.process: SpawnProcess = context.Process(target=_serve, args=(theirs, path), daemon=True)
        self.process.start()
        # The worker has the only other end, so the pipe ends when it does.
        theirs.close()
        self.task: Task | None = None

    def send(self, message: object) -> None:
        try:
            self.pipe.send(message)
        except OSError as error:
            raise WorkerLost("a worker process died (out of memory?)") from error

    def receive(self) -> object:
        try:
            return self.pipe.recv()
        except (EOFError, OSError) as error:
            raise WorkerLost("a worker process died (out of memory?)") from error

    def end(self) -> None:
        self.process.terminate()
        self.process.join(ENDED_WITHIN_S)
        self.pipe.close()


def over_workers(
    function: Callable[[Given, Task], Result], given: Given, tasks: Sequence[Task], workers: int
) -> Iterator[tuple[Task, Result]]:
    """Yield every task with ``function(given, task)`` as it finishes, in any order.

    Parameters
    ----------
    function : callable
        Can be pickled, as `given`, the tasks and the results can.
    given : object
        What all tasks need; sent to each worker once.
    tasks : sequence
    workers : int
        Processes, at most.

    Raises
    ------
    WorkerLost
        When a worker dies. What other workers had finished by then is yielded before, and so it is when a task fails
        or on KeyboardInterrupt.
    """
    waiting = deque(tasks)
    crew: list[_Worker[Task]] = []
    reading: _Worker[Task] | None = None
    taken: list[tuple[Task, object]] = []
    try:
        with _interrupts_ignored():
            # Workers inherit the disposition: Ctrl-C is for this process to handle.
            for _ in range(min(workers, len(tasks))):
                crew.append(_Worker(list(sys.path)))
        for worker in crew:
            worker.send((function, given))
            worker.task = waiting.popleft()
            worker.send(worker.task)
        while busy := {worker.pipe: worker for worker in crew if worker.task is not None}:
            for pipe in wait(list(busy)):
                assert isinstance(pipe, Connection)
                reading = busy[pipe]
                task, result = reading.task, reading.receive()
                assert task is not None
                worker, reading = reading, None
                worker.task = None
                if isinstance(result, _Failure):
                    raise result.error
                taken.append((task, result))
                if waiting:
                    worker.task = waiting.popleft()
                    worker.send(worker.task)
                yield taken.pop()  # type: ignore[misc]
    except GeneratorExit:
        raise
    except BaseException:
        yield from taken  # type: ignore[misc]
        # What is being read may have been read in part; the rest of it would be taken for a message.
        yield from _finished([worker for worker in crew if worker is not reading])  # type: ignore[misc]
        raise
    finally:
        for worker in crew:
            worker.end()


def _finished(crew: list[_Worker[Task]]) -> Iterator[tuple[Task, object]]:
    """Yield what workers have finished and nobody has taken yet."""
    busy = {worker.pipe: worker for worker in crew if worker.task is not None}
    for pipe in wait(list(busy), timeout=0):
        assert isinstance(pipe, Connection)
        worker = busy[pipe]
        try:
            result = worker.receive()
        except WorkerLost:
            continue
        if not isinstance(result, _Failure):
            assert worker.task is not None
            yield worker.task, result


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


def _serve(pipe: Connection, path: list[str]) -> None:
    """Do tasks as they come, with modules from where the main process has them (--plugins may add a folder)."""
    sys.path[:] = path
    threading.Thread(target=_end_with_parent, daemon=True).start()
    function, given = pipe.recv()
    while True:
        try:
            task = pipe.recv()
        except EOFError:
            return
        result: object
        try:
            result = function(given, task)
        except Exception as error:
            error.add_note(f"in a worker process:\n{traceback.format_exc()}")
            result = _Failure(error)
        pipe.send(result)


def _end_with_parent() -> None:
    """End this process when the main one is gone, however it ended: nobody would ever take what it computes."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
