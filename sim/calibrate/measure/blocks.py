"""Measures one block on one lane: every visit in turn, watched from beginning to end."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from sim.calibrate.measure.interference import BlockReading
from sim.calibrate.measure.pacing import Pacing
from sim.calibrate.measure.subject import Cell, Subject
from sim.calibrate.measure.visits import Visit

__all__ = ["APART_EVERY", "NOT_TIMED", "Alone", "MeasuredBlock", "Rendezvous", "Watch", "measure_block"]

APART_EVERY = 5
"""What is timed apart is timed after one in so many queries of a visit, the first of them. It may take ten times as
long as the query, and its mean needs fewer repeats than a quantile; the query after it finds the caches as it left
them."""

NOT_TIMED = -1
"""Stands for the time of what was not timed with a query."""


@dataclass(frozen=True, eq=False)
class MeasuredBlock:
    """Service times of a block on one lane.

    Attributes
    ----------
    times : dict
        Cell -> int64 array in ns, (repeats, 1 + stages + apart): the whole query, its stages, and what is timed apart,
        `NOT_TIMED` where it was not.
    reading : BlockReading
        What disturbed it.
    """

    times: dict[Cell, NDArray[np.int64]]
    reading: BlockReading


class Rendezvous(Protocol):
    """Keeps lanes together, so that all of them serve the same cell at any time."""

    def begin(self) -> None:
        """Wait until every lane is here; the next visit begins."""

    def done(self) -> None:
        """Say that this lane has what it needs of the visit."""

    def all_done(self) -> bool:
        """Whether every lane has; until then this one goes on serving, for the others to be disturbed by."""


class Alone:
    """The rendezvous of a single lane."""

    def begin(self) -> None:
        """Nobody to wait for."""

    def done(self) -> None:
        """Nobody to tell."""

    def all_done(self) -> bool:
        """Always."""
        return True


class Watch(Protocol):
    """What `sim.calibrate.measure.readings.Observer` does."""

    def glance(self) -> bool:
        """Called between visits; returns whether it looked at the clock."""

    def reading(self) -> BlockReading:
        """What happened since it was made."""


def measure_block(
    subjects: Mapping[str, Subject],
    visits: Sequence[Visit],
    block: int,
    pacing: Pacing,
    watch: Callable[[], Watch],
    rendezvous: Rendezvous,
) -> MeasuredBlock:
    """Serve the queries of every visit and keep their times.

    Parameters
    ----------
    subjects : mapping
        By representation.
    visits : sequence of Visit
        In the order in which they are made.
    block : int
        Its number, for the inputs.
    pacing : Pacing
        How to wait before each query.
    watch : callable
        Starts to watch for what disturbs.
    rendezvous : Rendezvous
        Of the lanes.
    """
    for name in {visit.cell.representation for visit in visits}:
        subjects[name].renew(block)
    times: dict[Cell, list[tuple[int, ...]]] = {}
    watched = watch()
    for visit in visits:
        subject, size = subjects[visit.cell.representation], visit.cell.size
        kept = times.setdefault(visit.cell, [])
        watched.glance()
        rendezvous.begin()
        for repeat in range(visit.dropped + visit.repeats):
            inputs = subject.take(size)
            pacing.wait(visit.usual_ns)
            served = subject.serve(inputs)
            if repeat >= visit.dropped:
                chosen = (repeat - visit.dropped) % APART_EVERY == 0
                apart = subject.time_apart(inputs) if chosen else [NOT_TIMED] * len(subject.apart)
                kept.append((served.total_ns, *served.stage_ns, *apart))
        rendezvous.done()
        while not rendezvous.all_done():
            inputs = subject.take(size)
            pacing.wait(visit.usual_ns)
            subject.serve(inputs)
    reading = watched.reading()
    return MeasuredBlock({cell: np.array(rows, dtype=np.int64) for cell, rows in times.items()}, reading)
