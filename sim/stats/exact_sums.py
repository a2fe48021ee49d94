"""Integer sums that do not overflow: what compiled loops add to is carried over in time."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

__all__ = ["ExactSums"]

ROOM = 2**62
SMALLEST_BOUND = 2**40
"""More than a row adds to any sum but a sum of times: a size, or the number of a query."""


class ExactSums:
    """Arrays of sums in two halves.

    Loops add to `low`, whose arrays are plain int64; before these could overflow, all but their 32 lowest bits go to
    another array.

    Parameters
    ----------
    shapes : mapping of str to shape

    Attributes
    ----------
    low : dict of int64 arrays
        To add to.
    """

    def __init__(self, shapes: Mapping[str, tuple[int, ...]]) -> None:
        ends = np.cumsum([math.prod(shape) for shape in shapes.values()]).tolist()
        self._low = np.zeros(ends[-1], dtype=np.int64)
        self._high = np.zeros(ends[-1], dtype=np.int64)
        self._room = ROOM
        self._place = {
            name: (slice(end - math.prod(shape), end), shape)
            for (name, shape), end in zip(shapes.items(), ends, strict=True)
        }
        self.low = {name: self._low[at].reshape(shape) for name, (at, shape) in self._place.items()}

    def rows_at_once(self, largest: int) -> int:
        """Return how many rows may be added at once of which none adds more than `largest` to any sum."""
        return max(ROOM // 2 // max(largest, SMALLEST_BOUND), 1)

    def make_room(self, rows: int, largest: int) -> None:
        """Carry over if what these rows add might not fit."""
        needed = rows * max(largest, SMALLEST_BOUND)
        if needed > self._room:
            self._high += self._low >> 32
            self._low &= 0xFFFFFFFF
            self._room = ROOM
        self._room -= needed

    def total(self, name: str) -> int:
        """Return the sum of an array, exactly."""
        at, _ = self._place[name]
        # The low halves may be large too, so they are split again.
        low = self._low[at]
        carried = int(self._high[at].sum()) + int((low >> 32).sum())
        return (carried << 32) + int((low & 0xFFFFFFFF).sum())

    def counts(self, name: str) -> NDArray[np.int64]:
        """Return sums that are known to fit, as counts do."""
        at, shape = self._place[name]
        return ((self._high[at] << 32) + self._low[at]).reshape(shape)

    def times_ns(self, name: str) -> NDArray[np.float64]:
        """Return sums as floats; those below 2**53 (104 days) exactly."""
        at, shape = self._place[name]
        return (self._high[at] * 2.0**32 + self._low[at]).reshape(shape)
