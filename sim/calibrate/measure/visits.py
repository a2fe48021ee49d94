"""In which order cells are visited: all of them in every block, shuffled, so that drift does not look like size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from sim.calibrate.measure.subject import Cell
from sim.workload.streams import open_stream

__all__ = ["PILOT", "CellPlan", "Visit", "visits_of_block", "visits_of_pilot"]

PILOT = -1
"""Number of the block before the first: it warms up, and says how long a query takes."""

PILOT_REPEATS = 3
LONGEST_VISIT = 25
LONG_NS = 100_000_000


@dataclass(frozen=True, slots=True)
class Visit:
    """Queries of one cell that are served one after the other.

    Attributes
    ----------
    cell : Cell
    repeats : int
        How many are kept.
    usual_ns : int
        How long one takes, from the pilot; 0 in the pilot.
    """

    cell: Cell
    repeats: int
    usual_ns: int = 0

    @property
    def dropped(self) -> int:
        """Queries before those that are kept: one, which finds the caches as another cell left them.

        A query of a tenth of a second or more hardly notices, and would cost as much as a repeat.
        """
        return int(self.usual_ns < LONG_NS)


class CellPlan(NamedTuple):
    """How often a cell is measured in a block, and how long one of its queries takes."""

    repeats: int
    usual_ns: int


def visits_of_pilot(cells: Sequence[Cell]) -> list[Visit]:
    """Every cell once, the small sizes first."""
    return [Visit(cell, PILOT_REPEATS) for cell in sorted(cells, key=lambda cell: cell.size)]


def visits_of_block(plan: Mapping[Cell, CellPlan], seed: int, block: int) -> list[Visit]:
    """Every cell with its repeats, in visits of at most 25 and in an order that is drawn for each block.

    Parameters
    ----------
    plan : mapping
        By cell.
    seed, block : int
        The same give the same order.
    """
    visits = []
    for cell, own in plan.items():
        count = -(-own.repeats // LONGEST_VISIT)
        for number in range(count):
            repeats = own.repeats * (number + 1) // count - own.repeats * number // count
            visits.append(Visit(cell, repeats, own.usual_ns))
    order = np.argsort(open_stream(seed, "visits", block).uniforms(len(visits)), kind="stable")
    return [visits[place] for place in order]
