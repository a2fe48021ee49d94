"""A lane: a process of its own, pinned to its cores, that loads subjects and measures blocks when it is told to."""

from __future__ import annotations

import gc
import os
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.sharedctypes import Synchronized
from multiprocessing.synchronize import Barrier
from typing import TypeAlias

from sim.calibrate.measure.blocks import Alone, MeasuredBlock, Rendezvous, measure_block
from sim.calibrate.measure.pacing import Pacing, Waiting
from sim.calibrate.measure.readings import Observer
from sim.calibrate.measure.subject import Subjects, SubjectSource
from sim.calibrate.measure.visits import Visit

__all__ = ["Answer", "BlockOrder", "Failure", "LoadOrder", "Loaded", "Meeting", "Order", "run_lane"]


@dataclass(frozen=True, slots=True)
class LoadOrder:
    """Load these representations, and say which stages they have."""

    representations: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class BlockOrder:
    """Measure a block."""

    block: int
    visits: tuple[Visit, ...]


Order: TypeAlias = LoadOrder | BlockOrder


@dataclass(frozen=True, slots=True)
class Loaded:
    """Stages of each representation that was loaded, and what is timed apart."""

    stages: dict[str, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Failure:
    """Why an order could not be carried out."""

    message: str


Answer: TypeAlias = Loaded | MeasuredBlock | Failure


@dataclass(frozen=True)
class Meeting:
    """Where lanes meet at the beginning of a visit, and the number of visits that they have done, over all of them."""

    lanes: int
    barrier: Barrier
    finished: Synchronized[int]


class _Together:
    """The rendezvous of several lanes in one block."""

    def __init__(self, meeting: Meeting) -> None:
        self._meeting = meeting
        self._needed = 0

    def begin(self) -> None:
        # Nobody counts the next visit before all have seen the last one done: they do so before they come here.
        self._meeting.barrier.wait()
        if self._needed == 0:
            self._needed = self._meeting.finished.value // self._meeting.lanes * self._meeting.lanes
        self._needed += self._meeting.lanes
        self._meeting.barrier.wait()

    def done(self) -> None:
        with self._meeting.finished.get_lock():
            self._meeting.finished.value += 1

    def all_done(self) -> bool:
        return self._meeting.finished.value >= self._needed


def run_lane(
    orders: Connection,
    source: SubjectSource,
    lane: int,
    cores: Sequence[int],
    waiting: Waiting,
    seed: int,
    meeting: Meeting | None,
) -> None:
    """Carry out orders until there are no more; the body of a lane's process.

    Parameters
    ----------
    orders : Connection
        Gives an `Order` and takes an `Answer`; closed when it is over.
    source : SubjectSource
        Loads what is measured.
    lane : int
        Number of this lane, from 0.
    cores : sequence of int
        Cores to run on and nowhere else; empty where the system cannot pin.
    waiting : Waiting
        How it waits for a query.
    seed : int
    meeting : Meeting or None
        None for a single lane.
    """
    # Ctrl-C goes to the parent, which lets go of the lanes.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if cores and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, cores)
    subjects: Subjects = {}
    while True:
        try:
            order: Order = orders.recv()
        except EOFError:
            return
        try:
            answer: Answer
            if isinstance(order, LoadOrder):
                subjects = {}
                # A model refers to itself, so that it would be there beside the next one, which may not fit then.
                gc.collect()
                subjects = source.load(order.representations, lane)
                answer = Loaded({name: (*subject.stages, *subject.apart) for name, subject in subjects.items()})
            else:
                rendezvous: Rendezvous = Alone() if meeting is None else _Together(meeting)
                answer = measure_block(
                    subjects,
                    order.visits,
                    order.block,
                    Pacing(waiting, seed, lane, order.block),
                    lambda: Observer(cores),
                    rendezvous,
                )
        except Exception as error:
            if meeting is not None:
                meeting.barrier.abort()
            answer = Failure(f"{type(error).__name__}: {error}")
        try:
            orders.send(answer)
        except BrokenPipeError:
            return
