"""A worker: a process pinned to one core that holds the subjects of a lane and serves one query at a time."""

from __future__ import annotations

import gc
import os
import signal
import time
import traceback
from collections.abc import Sequence
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Any, Literal

from sim.calibrate.measure.interference import BlockReading
from sim.calibrate.measure.readings import WHILE_IDLE, Observer
from sim.calibrate.observe.mailbox import ASKED, SIZE, SUBJECT, Mailbox, shared_cells
from sim.calibrate.observe.subject import SubjectSpec

__all__ = ["BEGIN_BLOCK", "END_BLOCK", "STOP", "Waiting", "Worker", "WorkerFailed"]

Waiting = Literal["poll", "block"]

STOP, BEGIN_BLOCK, END_BLOCK = -1, -2, -3
"""What a worker is asked instead of a subject: to end, to watch what disturbs a block, and to say it."""

POLLS_PER_GLANCE, POLLS_PER_LOOK = 1 << 10, 1 << 16
"""A worker that polls looks this often at the clock of its core, unless it just did, and whether somebody would still
take its answers. The former are some 50 us apart."""

UNKNOWN = -1


class WorkerFailed(RuntimeError):
    """A worker ended before it was told to."""


class Worker:
    """The dispatcher's side of a worker.

    Parameters
    ----------
    name : str
        For messages.
    subjects : sequence of SubjectSpec
        Asked by their index.
    core : int or None
        Core to pin it to; None leaves that to the system.
    waiting : {"poll", "block"}
        Whether it spins while there is nothing to do, or sleeps.
    seed : int
        Of what the subjects draw.
    """

    def __init__(
        self, name: str, subjects: Sequence[SubjectSpec], core: int | None, waiting: Waiting, seed: int
    ) -> None:
        self.name = name
        self.core = core
        context = get_context("spawn")
        shared = shared_cells(context)
        self.mailbox = Mailbox(shared)
        self.wakes = waiting == "block"
        theirs, self.pipe = context.Pipe(duplex=True)
        self.process = context.Process(
            target=_run,
            args=(shared, theirs, tuple(subjects), core, waiting, seed),
            name=name,
            daemon=True,
        )
        self.process.start()
        theirs.close()

    def wait_until_loaded(self) -> None:
        """Wait until every subject is in memory.

        Raises
        ------
        WorkerFailed
            If one cannot be made; the message is the worker's.
        """
        try:
            said = self.pipe.recv()
        except EOFError:
            said = "its process ended"
        if said is not None:
            raise WorkerFailed(f"{self.name} could not load its models: {said}")

    def ask(self, subject: int, size: int) -> None:
        """Hand it a query; it must have finished the one before."""
        self.mailbox.ask(subject, size)
        if self.wakes:
            self.pipe.send_bytes(b"x")

    def check(self) -> None:
        """Raise WorkerFailed if it has ended."""
        if self.mailbox.failed or not self.process.is_alive():
            raise WorkerFailed(f"{self.name} ended while it served; its error is on stderr")

    def serve(self, subject: int, size: int) -> None:
        """Hand it a query and wait for the end."""
        self.ask(subject, size)
        looked_ns = time.monotonic_ns()
        while not self.mailbox.is_done():
            if time.monotonic_ns() - looked_ns > 100_000_000:
                looked_ns = time.monotonic_ns()
                self.check()

    def begin_block(self) -> None:
        """Let it watch from now on what disturbs it."""
        self.serve(BEGIN_BLOCK, 0)

    def end_block(self) -> BlockReading:
        """Return what disturbed it since `begin_block`."""
        self.serve(END_BLOCK, 0)
        duration_ns, spin_ns, *rest = self.mailbox.reading[:5]
        return BlockReading(duration_ns, spin_ns, *(None if one == UNKNOWN else one for one in rest))

    def stop(self) -> None:
        """End its process."""
        if self.process.is_alive() and not self.mailbox.failed and self.mailbox.is_done():
            self.ask(STOP, 0)
            self.process.join(timeout=5)
        if self.process.is_alive():
            self.process.terminate()
            self.process.join()
        self.pipe.close()


def _run(
    shared: Any, pipe: Connection, specs: Sequence[SubjectSpec], core: int | None, waiting: Waiting, seed: int
) -> None:
    mailbox = Mailbox(shared)
    # Ctrl-C goes to all processes of a terminal; the dispatcher ends its workers itself.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        if core is not None:
            os.sched_setaffinity(0, {core})
        subjects = [spec.load(seed + number) for number, spec in enumerate(specs)]
    except Exception as error:
        mailbox.fail()
        pipe.send(f"{type(error).__name__}: {error}")
        return
    gc.collect()
    gc.freeze()
    gc.disable()
    pipe.send(None)
    try:
        _serve(mailbox, pipe, [subject.serve for subject in subjects], [] if core is None else [core], waiting)
    except EOFError:
        # The dispatcher went away.
        mailbox.fail()
    except Exception:
        mailbox.fail()
        traceback.print_exc()


def _serve(mailbox: Mailbox, pipe: Connection, serve: Sequence[Any], cores: Sequence[int], waiting: Waiting) -> None:
    cells = mailbox.cells
    clock = time.monotonic_ns
    parent = os.getppid()
    seen = 0
    observer: Observer | None = None
    while True:
        if waiting == "block":
            pipe.recv_bytes()
        polls = 0
        while cells[ASKED] == seen:
            polls += 1
            if polls % POLLS_PER_GLANCE:
                continue
            if observer is not None:
                observer.glance()
            if polls == POLLS_PER_LOOK:
                polls = 0
                if os.getppid() != parent:
                    return
        seen = cells[ASKED]
        subject = cells[SUBJECT]
        started_ns = clock()
        if subject >= 0:
            serve[subject](cells[SIZE])
        elif subject == BEGIN_BLOCK:
            gc.collect()
            observer = Observer(cores, look=WHILE_IDLE)
        elif subject == END_BLOCK:
            assert observer is not None
            mailbox.report(_numbers(observer.reading()))
            observer = None
        mailbox.end(started_ns, clock())
        if subject == STOP:
            return


def _numbers(reading: BlockReading) -> list[int]:
    numbers = (
        reading.duration_ns,
        reading.spin_ns,
        reading.steal_ns,
        reading.waiting_ns,
        reading.involuntary_switches,
    )
    return [UNKNOWN if one is None else one for one in numbers]
