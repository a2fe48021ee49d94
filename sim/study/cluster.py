"""Does tasks on a Dask cluster: one that runs somewhere, or processes of this machine."""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import pickle
import re
import secrets
import signal
import socket
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from typing import Any, Self, TypeVar

from sim.study.identity import code_version
from sim.study.interrupts import interrupts_held_back, raise_if_interrupted
from sim.study.workers import Failure, WorkerLost, failure

__all__ = ["BadClusterAddress", "ClusterError", "DaskCluster"]

Given = TypeVar("Given")
Task = TypeVar("Task")
Result = TypeVar("Result")

ANSWERS_WITHIN_S = 15
TAKEN_WITHIN_S = 10
"""How long a scheduler is waited for, and a result that is finished when a run is interrupted."""

SCHEDULER = re.compile(r"(tcp|tls|ws|wss|ucx|ucxx)://[^/\s]+:\d{1,5}")


class BadClusterAddress(ValueError):
    """What is given as a cluster's address is none."""


class ClusterError(RuntimeError):
    """The cluster cannot be used; the message says why."""


class DaskCluster:
    """A Dask cluster, which does tasks until it is closed.

    Tasks of a worker that is lost run again on others; results do not depend on which worker has which task.

    Parameters
    ----------
    address : str
        ``tcp://host:8786`` of a scheduler, or ``local:4`` for that many processes of this machine.
    tell : callable
        ``tell(line)`` is told where the dashboard is, and what is waited for.

    Raises
    ------
    BadClusterAddress
        If `address` is neither.
    ClusterError
        If distributed is not installed, no scheduler answers, or a worker has other code.
    """

    starting_s = 0.0
    shares_files = False

    def __init__(self, address: str, tell: Callable[[str], None]) -> None:
        local = _local_workers(address)
        self.is_elsewhere = local is None
        self._address = address
        self._cluster: Any = None
        self._client: Any = None
        self._call: Generator[Any, None, None] | None = None
        if importlib.util.find_spec("distributed") is None:
            raise ClusterError("--cluster needs Dask: pip install 'mprec-sim[cluster]'")
        _tell_in_a_line()
        try:
            if local is None:
                self._connect(address)
            else:
                self._start(local)
            self._greet(tell)
            self._check()
        except BaseException:
            self.close()
            raise

    def _start(self, workers: int) -> None:
        from distributed import Client, LocalCluster

        with interrupts_held_back():
            self._cluster = LocalCluster(
                n_workers=workers,
                threads_per_worker=1,
                processes=True,
                memory_limit=0,
                dashboard_address="127.0.0.1:0",
                silence_logs=logging.CRITICAL,
            )
        self._client = Client(self._cluster, set_as_default=False)
        # Workers that take the place of lost ones are for this process to end, too.
        self._client.register_plugin(_interrupt_plugin())

    def _connect(self, address: str) -> None:
        from distributed import Client

        host, _, port = address.rpartition("://")[2].rpartition(":")
        try:
            # Dask would try again and again where nobody listens.
            with socket.create_connection((host.strip("[]"), int(port)), timeout=ANSWERS_WITHIN_S):
                pass
            self._client = Client(address, timeout=ANSWERS_WITHIN_S, set_as_default=False)
        except Exception as error:  # Whatever answers there may not be a scheduler at all.
            raise ClusterError(f"no Dask scheduler answers at {address}") from error

    def _greet(self, tell: Callable[[str], None]) -> None:
        client = self._client
        if not client.nthreads():
            tell(f"waiting for the first worker of {self._address}")
            client.wait_for_workers(1)
        if self.is_elsewhere or importlib.util.find_spec("bokeh") is not None:
            tell(f"{len(client.nthreads())} workers; dashboard: {client.dashboard_link}")
        if any(threads > 1 for threads in client.nthreads().values()):
            tell("workers with several threads do one task at a time, about: give them --nthreads 1")

    def _check(self) -> None:
        try:
            found = self._client.run(code_version)
        except Exception as error:
            raise ClusterError(
                f"the workers of {self._address} cannot load this version of mprec-sim: {error or type(error).__name__}"
            ) from error
        for worker, theirs in found.items():
            trouble = _difference(theirs, code_version())
            if trouble:
                raise ClusterError(f"worker {worker} would give other results: {trouble}")

    @property
    def workers(self) -> int:
        """Tasks that are done at one time, by the workers that are there now."""
        threads: dict[str, int] = self._client.nthreads()
        return max(1, sum(threads.values()))

    def cpu_s(self) -> float:
        """Return the CPU time that the workers have had since they were started."""
        times: dict[str, float] = self._client.run(time.process_time)
        return sum(times.values())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Leave the cluster; end it if it is local."""
        if self._call is not None:
            self._call.close()
        for one in (self._client, self._cluster):
            if one is not None:
                one.close()
        self._client = self._cluster = None

    def run(
        self, function: Callable[[Given, Task], Result], given: Given, tasks: Sequence[Task]
    ) -> Iterator[tuple[Task, Result]]:
        """Yield every task with ``function(given, task)`` as it finishes, in any order; see `Executor.run`.

        Raises
        ------
        WorkerLost
            When several workers in turn died of a task, or the scheduler is gone. What had been finished by then is
            yielded before, and so it is when a task fails or on KeyboardInterrupt.
        ClusterError
            When a worker that came later has other code.
        """
        if self._call is not None:
            self._call.close()
        self._call = self._tasks_done(function, given, tasks)
        return self._call

    def _tasks_done(
        self, function: Callable[[Given, Task], Result], given: Given, tasks: Sequence[Task]
    ) -> Generator[tuple[Task, Result], None, None]:
        from distributed import as_completed

        if not tasks:
            return
        content = pickle.dumps((function, given), protocol=pickle.HIGHEST_PROTOCOL)
        # A task of its own: it is computed again where the workers that held it are lost, and a worker gets it once.
        client = self._client
        sent = client.submit(_Sent, content, code_version(), pure=False)
        _give_to_all(client, sent)
        # A name of their own: Dask takes tasks to last as long as others of their name, those of calls before too.
        name = f"{_do.__name__}_{secrets.token_urlsafe(8)}"
        futures = client.map(_do, [pickle.dumps(task) for task in tasks], sent=sent, key=name, pure=False)
        waiting = dict(zip((future.key for future in futures), zip(tasks, futures, strict=True), strict=True))
        done = as_completed(futures, loop=client.loop, with_results=True, raise_errors=False)
        del futures
        try:
            for future, result in done:
                raise_if_interrupted()
                if future.status != "finished":
                    raise _lost(future)
                if isinstance(result, Failure):
                    raise result.error
                task, _ = waiting.pop(future.key)
                # The cluster keeps a result for as long as it is referred to.
                del future, _
                yield task, result
        except GeneratorExit:
            raise
        except BaseException:
            yield from _finished(waiting)
            raise
        finally:
            if waiting:
                client.cancel([future for _, future in waiting.values()], force=True)


def _give_to_all(client: Any, sent: Any) -> None:
    """Let every worker that is there have what tasks need.

    Dask gives a task to the workers that hold what it needs, and to others only what these do not get to in time by its
    guess of how long tasks last. So a second task may wait for the first one while another worker has nothing to do.
    """
    # What is wrong with the workers is told by their first tasks.
    with contextlib.suppress(Exception):
        client.replicate([sent])


class _Sent:
    """What all tasks of a call need, unpacked once a worker."""

    def __init__(self, content: bytes, version: dict[str, str]) -> None:
        self._content = content
        self._version = version
        self._unpacked: list[tuple[Callable[[Any, Any], object], Any]] = []

    def __getstate__(self) -> tuple[bytes, dict[str, str]]:
        return self._content, self._version

    def __setstate__(self, state: tuple[bytes, dict[str, str]]) -> None:
        self._content, self._version = state
        self._unpacked = []

    def open(self) -> tuple[Callable[[Any, Any], object], Any]:
        if not self._unpacked:
            trouble = _difference(code_version(), self._version)
            if trouble:
                raise ClusterError(f"a worker would give other results: {trouble}")
            self._unpacked.append(pickle.loads(self._content))
        return self._unpacked[0]


def _do(task: bytes, sent: _Sent) -> object:
    """Do a task on a worker; an error is a result, which the cluster has no reason to try again."""
    try:
        function, given = sent.open()
        return function(given, pickle.loads(task))
    except Exception as error:
        return failure(error)


def _tell_in_a_line() -> None:
    """Keep Dask from writing what becomes of the cluster, with its tracebacks: the errors here say it."""
    import distributed  # Sets the levels of its loggers.

    logging.getLogger(f"{distributed.__name__}.client").setLevel(logging.CRITICAL)


def _difference(worker: Mapping[str, str], client: Mapping[str, str]) -> str:
    """Return in what a worker's code differs from that of who asks; nothing if it does not."""
    names = [name for name in {**client, **worker} if client.get(name) != worker.get(name)]
    return ", ".join(f"{name} is {worker.get(name)} there and {client.get(name)} here" for name in names)


def _lost(future: Any) -> Exception:
    error = future.exception() if future.status == "error" else None
    if error is None:
        return WorkerLost("the cluster has dropped a task (is its scheduler gone?)")
    if type(error).__name__ == "KilledWorker":
        return WorkerLost("several workers in turn died of one task (out of memory?)")
    return error if isinstance(error, Exception) else WorkerLost(str(error))


def _finished(waiting: dict[str, tuple[Any, Any]]) -> Iterator[tuple[Any, Any]]:
    """Yield what is finished and nobody has taken yet."""
    for key, (task, future) in list(waiting.items()):
        if future.status != "finished":
            continue
        try:
            result = future.result(timeout=TAKEN_WITHIN_S)
        except Exception:
            continue
        del waiting[key]
        if not isinstance(result, Failure):
            yield task, result


def _local_workers(address: str) -> int | None:
    """Return how many processes of this machine are meant; None if the address is that of a scheduler."""
    kind, _, rest = address.partition(":")
    if kind == "local":
        if not rest.isdecimal() or not int(rest):
            raise BadClusterAddress(f"{address} is no cluster: local:N, with N worker processes")
        return int(rest)
    if not SCHEDULER.fullmatch(address):
        raise BadClusterAddress(f"{address} is no cluster: tcp://HOST:8786, or local:N for N processes of this machine")
    return None


def _interrupt_plugin() -> Any:
    from distributed import WorkerPlugin

    class Ignores(WorkerPlugin):
        """Leaves Ctrl-C to the process that asks."""

        def setup(self, worker: Any) -> None:
            signal.signal(signal.SIGINT, signal.SIG_IGN)

    return Ignores()
