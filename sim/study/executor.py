"""Where tasks are done: in this process, by local processes, on a cluster. What comes back is the same from each."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol, Self, TypeVar

from sim.study.interrupts import raise_if_interrupted
from sim.study.workers import LocalWorkers

__all__ = ["Executor", "InProcess", "local_executor", "open_executor", "usable_cores"]

Given = TypeVar("Given")
Task = TypeVar("Task")
Result = TypeVar("Result")


class Executor(Protocol):
    """Does tasks; what it needs for that is kept from one call to the next, until it is closed."""

    @property
    def workers(self) -> int:
        """Tasks that are done at one time, at most."""

    @property
    def starting_s(self) -> float:
        """Seconds that starting what does the tasks takes, if it is to be started only where that is worth it; or 0."""

    @property
    def shares_files(self) -> bool:
        """Whether tasks may read and write files of this process."""

    @property
    def is_elsewhere(self) -> bool:
        """Whether tasks are done on other machines."""

    def run(
        self, function: Callable[[Given, Task], Result], given: Given, tasks: Sequence[Task]
    ) -> Iterator[tuple[Task, Result]]:
        """Yield every task with ``function(given, task)`` as it finishes, in any order.

        Parameters
        ----------
        function : callable
            Can be pickled, as `given`, the tasks and the results can.
        given : object
            What all tasks need; sent once a call to where they are done.
        tasks : sequence

        Raises
        ------
        WorkerLost
            When tasks are lost for good. What had been finished by then is yielded before, and so it is when a task
            fails or on KeyboardInterrupt.
        """

    def close(self) -> None:
        """End what was started for it."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...


class InProcess:
    """Does one task after the other in this process."""

    workers = 1
    starting_s = 0.0
    shares_files = True
    is_elsewhere = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def close(self) -> None:
        """Do nothing: nothing was started."""

    def run(
        self, function: Callable[[Given, Task], Result], given: Given, tasks: Sequence[Task]
    ) -> Iterator[tuple[Task, Result]]:
        """Yield every task with ``function(given, task)``, in their order."""
        for task in tasks:
            raise_if_interrupted()
            yield task, function(given, task)


def usable_cores() -> int:
    """Return the number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def local_executor(jobs: int | None) -> Executor:
    """Return an executor of `jobs` processes of this machine; 1 is this one.

    None is as many as there are cores, where the work is worth starting them, and this one where it is not.
    """
    workers = usable_cores() if jobs is None else jobs
    return InProcess() if workers <= 1 else LocalWorkers(workers, if_worth_it=jobs is None)


def open_executor(jobs: int | None, cluster: str | None, tell: Callable[[str], None]) -> Executor:
    """Return the executor that the command line asks for.

    Parameters
    ----------
    jobs : int or None
        Processes of this machine, where there is no cluster, as `local_executor` takes them.
    cluster : str or None
        Address of a Dask cluster.
    tell : callable
        ``tell(line)`` is told of the cluster.

    Raises
    ------
    BadClusterAddress, ClusterError
        If the cluster cannot be used.
    """
    if cluster is None:
        return local_executor(jobs)
    from sim.study.cluster import DaskCluster

    return DaskCluster(cluster, tell)
