"""Worker processes that do one task at a time, each spoken to over a pipe of its own.

The workers of `concurrent.futures.ProcessPoolExecutor` share one pipe for their results. One that is killed while it
writes leaves half a message there, and who reads it waits for the other half for ever (seen with Python 3.11). Here the
pipe of a worker that dies ends with it.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import sys
import threading
import traceback
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import Any, Self, TypeVar

from sim.study.interrupts import interrupts_held_back, raise_if_interrupted

__all__ = ["Failure", "LocalWorkers", "WorkerLost", "failure", "over_workers"]

Given = TypeVar("Given")
Task = TypeVar("Task")
Result = TypeVar("Result")

STARTING_S = 2.0
"""What starting processes takes before they work, about: all of them import the simulator, at the same time."""

ENDED_WITHIN_S = 5.0
"""How long a worker that is told to end is waited for."""


class WorkerLost(RuntimeError):
    """A worker process died without an exception, most often for want of memory."""


@dataclass(frozen=True, slots=True)
class _Begin:
    """What is sent before the tasks of a call: where modules are found, and the function with what it is given."""

    path: list[str]
    content: bytes


@dataclass(frozen=True, slots=True)
class Failure:
    """An exception of a task; its notes hold where it was raised."""

    error: BaseException


class _Worker:
    """A process and the end of its pipe that is ours."""

    def __init__(self) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.process: SpawnProcess = context.Process(target=_serve, args=(theirs, list(sys.path)), daemon=True)
        self.process.start()
        # The worker has the only other end, so the pipe ends when it does.
        theirs.close()
        self.task: Any = None
        self.busy = False

    def send(self, message: object) -> None:
        try:
            self.pipe.send(message)
        except OSError as error:
            raise WorkerLost("a worker process died (out of memory?)") from error

    def take(self, task: object) -> None:
        self.task = task
        self.busy = True
        self.send(task)

    def receive(self) -> object:
        try:
            return self.pipe.recv()
        except (EOFError, OSError) as error:
            raise WorkerLost("a worker process died (out of memory?)") from error

    def end(self) -> None:
        self.process.terminate()
        self.process.join(ENDED_WITHIN_S)
        self.pipe.close()


class LocalWorkers:
    """Worker processes of this machine that are kept from one call of `run` to the next, until `close`.

    Parameters
    ----------
    workers : int
        Processes, at most; they are started when there are tasks for them.
    if_worth_it : bool
        Whether tasks that take less time than starting processes for them are to be done elsewhere; see `starting_s`.
    """

    shares_files = True
    is_elsewhere = False

    def __init__(self, workers: int, *, if_worth_it: bool = False) -> None:
        self.workers = workers
        self._if_worth_it = if_worth_it
        self._crew: list[_Worker] = []
        self._call: Generator[tuple[Any, Any], None, None] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def starting_s(self) -> float:
        """Seconds that starting processes takes, if it is to be worth that; 0 where they are there."""
        return STARTING_S if self._if_worth_it and not self._crew else 0.0

    def close(self) -> None:
        """End the processes; a later `run` starts others."""
        if self._call is not None:
            self._call.close()
        crew, self._crew = self._crew, []
        for worker in crew:
            worker.end()

    def run(
        self, function: Callable[[Given, Task], Result], given: Given, tasks: Sequence[Task]
    ) -> Iterator[tuple[Task, Result]]:
        """Yield every task with ``function(given, task)`` as it finishes, in any order.

        Parameters
        ----------
        function : callable
            Can be pickled, as `given`, the tasks and the results can.
        given : object
            What all tasks need; sent to each worker once a call.
        tasks : sequence

        Raises
        ------
        WorkerLost
            When a worker dies. What other workers had finished by then is yielded before, and so it is when a task
            fails or on KeyboardInterrupt. Workers that were still at work are ended; others serve the next call.

        Notes
        -----
        A call that was not taken to its end is given up by the next one.
        """
        if self._call is not None:
            self._call.close()
        self._call = self._tasks_done(function, given, tasks)
        return self._call

    def _tasks_done(
        self, function: Callable[[Given, Task], Result], given: Given, tasks: Sequence[Task]
    ) -> Generator[tuple[Task, Result], None, None]:
        waiting = deque(tasks)
        crew: list[_Worker] = []
        reading: _Worker | None = None
        taken: list[tuple[Task, object]] = []
        try:
            begin = _Begin(list(sys.path), pickle.dumps((function, given), protocol=pickle.HIGHEST_PROTOCOL))
            crew = self._muster(min(self.workers, len(tasks)))
            for worker in crew:
                # One that was sent half a message is of no more use.
                worker.busy = True
                worker.send(begin)
                worker.take(waiting.popleft())
            while busy := {worker.pipe: worker for worker in crew if worker.busy}:
                raise_if_interrupted()
                for pipe in wait(list(busy)):
                    assert isinstance(pipe, Connection)
                    reading = busy[pipe]
                    task, result = reading.task, reading.receive()
                    worker, reading = reading, None
                    worker.busy = False
                    if isinstance(result, Failure):
                        raise result.error
                    taken.append((task, result))
                    if waiting:
                        worker.take(waiting.popleft())
                    yield taken.pop()  # type: ignore[misc]
        except GeneratorExit:
            raise
        except BaseException:
            yield from taken  # type: ignore[misc]
            # What is being read may have been read in part; the rest of it would be taken for a message.
            yield from _finished([worker for worker in crew if worker is not reading])  # type: ignore[misc]
            raise
        finally:
            self._dismiss(reading)

    def _muster(self, count: int) -> list[_Worker]:
        """Return `count` workers that live, new ones where there are too few."""
        for worker in [one for one in self._crew if not one.process.is_alive()]:
            self._crew.remove(worker)
            worker.end()
        with interrupts_held_back():
            while len(self._crew) < count:
                self._crew.append(_Worker())
        return self._crew[:count]

    def _dismiss(self, reading: _Worker | None) -> None:
        """End the workers whose answers nobody waits for any more."""
        for worker in [one for one in self._crew if one.busy or one is reading]:
            self._crew.remove(worker)
            worker.end()


def over_workers(
    function: Callable[[Given, Task], Result], given: Given, tasks: Sequence[Task], workers: int
) -> Iterator[tuple[Task, Result]]:
    """Yield every task with ``function(given, task)``, from processes that end with it; see `LocalWorkers.run`."""
    with LocalWorkers(workers) as crew:
        yield from crew.run(function, given, tasks)


def _finished(crew: list[_Worker]) -> Iterator[tuple[object, object]]:
    """Yield what workers have finished and nobody has taken yet."""
    busy = {worker.pipe: worker for worker in crew if worker.busy}
    for pipe in wait(list(busy), timeout=0):
        assert isinstance(pipe, Connection)
        worker = busy[pipe]
        try:
            result = worker.receive()
        except WorkerLost:
            continue
        worker.busy = False
        if not isinstance(result, Failure):
            yield worker.task, result


def _serve(pipe: Connection, path: list[str]) -> None:
    """Do tasks as they come, with modules from where the main process has them (--plugins may add a folder)."""
    sys.path[:] = path
    threading.Thread(target=_end_with_parent, daemon=True).start()
    function: Callable[[Any, Any], object] | None = None
    given: Any = None
    unfit: Failure | None = None
    while True:
        try:
            message = pipe.recv()
        except EOFError:
            return
        if isinstance(message, _Begin):
            sys.path[:] = message.path
            # What was given before may be large.
            function = given = unfit = None
            try:
                function, given = pickle.loads(message.content)
            except Exception as error:
                unfit = failure(error)
            continue
        result: object
        try:
            assert unfit is not None or function is not None
            result = unfit if function is None else function(given, message)
        except Exception as error:
            result = failure(error)
        pipe.send(result)


def failure(error: Exception) -> Failure:
    """Return an exception that is being handled, to be raised again in the process that asked for the task."""
    error.add_note(f"in a worker process:\n{traceback.format_exc()}")
    return Failure(error)


def _end_with_parent() -> None:
    """End this process when the main one is gone, however it ended: nobody would ever take what it computes."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
