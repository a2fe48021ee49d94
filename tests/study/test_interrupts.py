"""Ctrl-C is not lost: not where other code swallows it, not while processes are started, and not to the workers."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from sim.study.executor import Executor, InProcess
from sim.study.interrupts import interrupts_held_back, interrupts_remembered, raise_if_interrupted
from sim.study.workers import LocalWorkers

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")


def double(_given: object, task: int) -> int:
    return 2 * task


def own_pid(_given: object, _task: int) -> int:
    return os.getpid()


@pytest.fixture(autouse=True)
def _interrupts_are_heard_again() -> Iterator[None]:
    """Undo what a test makes of Ctrl-C."""
    before = signal.getsignal(signal.SIGINT)
    yield
    signal.signal(signal.SIGINT, before)


def swallowed(number: signal.Signals) -> None:
    """Do what numpy does, for one, with an exception in a function that it calls."""
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(number)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("open_executor", [InProcess, lambda: LocalWorkers(1)], ids=["in process", "worker"])
def test_what_is_swallowed_ends_the_tasks(open_executor: Callable[[], Executor], number: signal.Signals) -> None:
    done = []
    with pytest.raises(KeyboardInterrupt), interrupts_remembered(), open_executor() as executor:
        for task, result in executor.run(double, None, range(1000)):
            done.append((task, result))
            if task == 2:
                swallowed(number)
    # A worker may have finished another one by then, and that is kept.
    assert done[:3] == [(0, 0), (1, 2), (2, 4)] and len(done) <= 4


def test_an_exception_in_its_place_is_an_interrupt() -> None:
    with pytest.raises(KeyboardInterrupt) as raised, interrupts_remembered():
        swallowed(signal.SIGINT)
        error = ValueError("error in a callback")
        error.add_note("what is kept")
        raise error
    assert isinstance(raised.value.__cause__, ValueError)
    assert raised.value.__notes__ == ["what is kept"]


def test_other_exceptions_stay_what_they_are() -> None:
    with pytest.raises(ValueError, match="mine"), interrupts_remembered():
        raise ValueError("mine")


def test_it_is_forgotten_and_the_handlers_are_put_back() -> None:
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with interrupts_remembered():
        swallowed(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            raise_if_interrupted()
    raise_if_interrupted()
    with interrupts_remembered():
        raise_if_interrupted()
    assert handlers == [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]


def test_it_is_raised_once_the_processes_are_started() -> None:
    reached = False
    done = threading.Event()
    # The system may give it to any thread.
    other = threading.Thread(target=done.wait, daemon=True)
    other.start()
    with pytest.raises(KeyboardInterrupt), interrupts_held_back():
        signal.pthread_kill(other.ident or 0, signal.SIGINT)
        time.sleep(0.1)
        os.kill(os.getpid(), signal.SIGINT)
        reached = True
    done.set()
    assert reached
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, ())


def test_what_is_ignored_stays_ignored() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with interrupts_remembered(), interrupts_held_back():
        signal.raise_signal(signal.SIGINT)
        raise_if_interrupted()
    assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN


def test_it_does_not_reach_the_workers() -> None:
    """A terminal sends it to every process that was started in it."""
    with LocalWorkers(1) as crew:
        pids = []
        for _, pid in crew.run(own_pid, None, range(4)):
            pids.append(pid)
            os.kill(pid, signal.SIGINT)
    assert len(set(pids)) == 1 and pids[0] != os.getpid()
