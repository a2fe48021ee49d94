"""Shared memory between the dispatcher and one worker: a query goes in, the news of its end comes out.

There is one writer for each half. A query is written before its number, and so is its end, so that whoever sees a
number sees what belongs to it; this relies on stores becoming visible in order, as they do on x86, and as a pipe
guarantees anywhere for workers that block.
"""

from __future__ import annotations

import ctypes
from multiprocessing.context import SpawnContext
from typing import Any

__all__ = ["LONGEST_READING", "Mailbox", "shared_cells"]

# The halves lie on cache lines of their own: polling one does not slow the writer of the other.
ASKED, SUBJECT, SIZE = 0, 1, 2
ENDED, STARTED_NS, FINISHED_NS, FAILED = 16, 17, 18, 19
READING = 32
CELLS = 64

LONGEST_READING = 8
"""Most numbers that a worker can say of a block."""


def shared_cells(context: SpawnContext) -> Any:
    """Return memory that can be handed to a process when it is started."""
    return context.RawArray(ctypes.c_int64, CELLS)


class Mailbox:
    """A view of the shared memory of one worker.

    Parameters
    ----------
    shared : array
        As from `shared_cells`.
    """

    __slots__ = ("cells",)

    def __init__(self, shared: Any) -> None:
        # Plain bytes cast to numbers: an element costs a third of what it costs through ctypes.
        self.cells = memoryview(shared).cast("B").cast("q")

    def ask(self, subject: int, size: int) -> None:
        """Hand a query to the worker."""
        cells = self.cells
        cells[SUBJECT] = subject
        cells[SIZE] = size
        cells[ASKED] += 1

    def is_done(self) -> bool:
        """Whether the worker has finished what it was asked."""
        cells = self.cells
        return cells[ENDED] == cells[ASKED]

    def end(self, started_ns: int, finished_ns: int) -> None:
        """Say that the query is answered, and when the worker was at it."""
        cells = self.cells
        cells[STARTED_NS] = started_ns
        cells[FINISHED_NS] = finished_ns
        cells[ENDED] += 1

    @property
    def worked_ns(self) -> int:
        """How long the worker was at the query that it finished last."""
        return self.cells[FINISHED_NS] - self.cells[STARTED_NS]

    @property
    def failed(self) -> bool:
        """Whether the worker has ended with an error."""
        return self.cells[FAILED] != 0

    def fail(self) -> None:
        """Say that the worker ends with an error."""
        self.cells[FAILED] = 1

    @property
    def reading(self) -> list[int]:
        """What the worker said of the last block."""
        return self.cells[READING : READING + LONGEST_READING].tolist()

    def report(self, reading: list[int]) -> None:
        """Say something of a block."""
        for i, value in enumerate(reading):
            self.cells[READING + i] = value
