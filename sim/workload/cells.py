"""The part of the load that is one cell's: its own draws, and its queries among those of a trace."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sim.workload.arrivals import TraceArrivals
from sim.workload.sources import Source
from sim.workload.streams import Stream, open_stream

__all__ = ["CellDraws", "Dealt"]

Dealt = tuple[NDArray[np.int64], NDArray[np.bool_] | None, NDArray[np.int64]]
"""Arrival times in order, which of them are the cell's (None: all), and the numbers of these among the queries of all
cells."""


@dataclass(frozen=True, slots=True)
class CellDraws:
    """The random streams of one cell in one replication.

    Attributes
    ----------
    seed, replication : int
    cell, cells : int
        Which of how many. Every one of several has streams of its own, ``cell3/gap`` and so on.
    """

    seed: int
    replication: int
    cell: int = 0
    cells: int = 1

    def open(self, name: str) -> Stream:
        """Return the cell's own stream of `name` from its first query on."""
        own = name if self.cells == 1 else f"cell{self.cell}/{name}"
        return open_stream(self.seed, own, self.replication)

    def numbers(self, first: int, count: int) -> NDArray[np.int64]:
        """Return the numbers that a cell's own queries have among those of all cells, where these come in turn."""
        return np.arange(first, first + count, dtype=np.int64) * self.cells + self.cell

    def dealt(self, source: Source, trace: TraceArrivals, chunk: int) -> Iterator[Dealt]:
        """Yield successive chunks of a trace.

        Every query of the trace is drawn to be in one of the cells, all with equal chances, from a stream that the
        cells have in common: together they have the trace.
        """
        which = open_stream(self.seed, source.stream("cell"), self.replication)
        first = 0
        while True:
            times_ns = trace.times(first, chunk)
            count = len(times_ns)
            if not count:
                return
            if self.cells > 1:
                own = (which.uniforms(count) * self.cells).astype(np.int64) == self.cell
                yield times_ns, own, first + np.flatnonzero(own)
            else:
                yield times_ns, None, np.arange(first, first + count)
            first += count
