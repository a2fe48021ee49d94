"""What waits where, change by change, for those who look at queues and not only at their integrals over time."""

from __future__ import annotations

from array import array
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sim.engine.instant import Clock
from sim.engine.ledger import Ledger
from sim.engine.record import NO_PATH, RunRecord
from sim.engine.reference import Cell, Stream, play_out
from sim.engine.station import Part
from sim.serving.faults import FaultSchedule
from sim.serving.system import System

__all__ = ["CENTRAL", "WaitingChanges", "simulate_with_waiting"]

CENTRAL = NO_PATH
"""Stands for the central queue of late binding where a device would stand."""


@dataclass(frozen=True, slots=True)
class WaitingChanges:
    """Parts that joined and left queues, in the order in which they did.

    Attributes
    ----------
    time_ns, device : int64, shape (changes,)
        When, and which device's queue; `CENTRAL` for the central one.
    change : int64, shape (changes,)
        1 or -1.
    """

    time_ns: NDArray[np.int64]
    device: NDArray[np.int64]
    change: NDArray[np.int64]


class _WatchedLedger(Ledger):
    """A ledger that remembers what joined and left queues."""

    def __init__(self, system: System, env: Clock) -> None:
        super().__init__(system, env)
        self.changes = (array("q"), array("q"), array("q"))

    def join(self, part: Part, node: int) -> None:
        super().join(part, node)
        self._note(part.device, 1)

    def join_centrally(self, part: Part) -> None:
        super().join_centrally(part)
        self._note(CENTRAL, 1)

    def leave(self, part: Part) -> None:
        super().leave(part)
        self._note(CENTRAL if self.late else part.device, -1)

    def _note(self, device: int, change: int) -> None:
        for column, value in zip(self.changes, (self.env.now, device, change), strict=True):
            column.append(value)


def simulate_with_waiting(
    system: System, stream: Stream, *, drain_ns: int, faults: FaultSchedule | None = None
) -> tuple[RunRecord, WaitingChanges]:
    """Run one replication on the reference engine, and return what waited where as well.

    Parameters are those of `sim.engine.reference.simulate`.
    """
    env = Clock()
    ledger = _WatchedLedger(system, env)
    record = play_out(Cell(system, env, ledger), stream, drain_ns=drain_ns, faults=faults)
    return record, WaitingChanges(*(np.array(column, dtype=np.int64) for column in ledger.changes))
