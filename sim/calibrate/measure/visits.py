"""In which order cells are visited: all of them in every block, shuffled, so that drift does not look like size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from sim.calibrate.measure.subject import Cell
from sim.workload.streams import open_stream

__all__ = ["PILOT", "CellPlan", "Visit", "queries_behind_cache", "visits_of_block", "visits_of_pilot"]

PILOT = -1
"""Number of the block before the first: it warms up, and says how long a query takes."""

PILOT_REPEATS = 3
LONGEST_VISIT = 25
LONG_NS = 100_000_000

SAMPLES_BEHIND_CACHE = 64
"""Samples behind an MP-Cache after which a CPU's caches are as such queries leave them."""


def queries_behind_cache(size: int) -> int:
    """Return how many queries of a size go behind an MP-Cache before one whose time counts, three at least.

    Such a query works only on the features of which it misses an ID: it takes many small ones until all that they work
    on is as near as it is going to be.
    """
    return max(3, SAMPLES_BEHIND_CACHE // size)


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
    behind_cache : bool
        Whether a CPU serves them behind an MP-Cache.
    """

    cell: Cell
    repeats: int
    usual_ns: int = 0
    behind_cache: bool = False

    @property
    def dropped(self) -> int:
        """Queries before those that are kept, which find the caches as another cell left them.

        One, behind an MP-Cache more. A query of a tenth of a second or more hardly notices, and would cost as much as a
        repeat.
        """
        if self.usual_ns >= LONG_NS:
            return 0
        return queries_behind_cache(self.cell.size) if self.behind_cache else 1


class CellPlan(NamedTuple):
    """How often a cell is measured in a block, and how long one of its queries takes."""

    repeats: int
    usual_ns: int


def visits_of_pilot(cells: Sequence[Cell], *, behind_cache: bool = False) -> list[Visit]:
    """Every cell once, the small sizes first."""
    ordered = sorted(cells, key=lambda cell: cell.size)
    return [Visit(cell, PILOT_REPEATS, behind_cache=behind_cache) for cell in ordered]


def visits_of_block(plan: Mapping[Cell, CellPlan], seed: int, block: int, *, behind_cache: bool = False) -> list[Visit]:
    """Every cell with its repeats, in visits of at most 25 and in an order that is drawn for each block.

    Parameters
    ----------
    plan : mapping
        By cell.
    seed, block : int
        The same give the same order.
    behind_cache : bool
        Whether a CPU serves them behind an MP-Cache.
    """
    visits = []
    for cell, own in plan.items():
        count = -(-own.repeats // LONGEST_VISIT)
        for number in range(count):
            repeats = own.repeats * (number + 1) // count - own.repeats * number // count
            visits.append(Visit(cell, repeats, own.usual_ns, behind_cache))
    order = np.argsort(open_stream(seed, "visits", block).uniforms(len(visits)), kind="stable")
    return [visits[place] for place in order]
