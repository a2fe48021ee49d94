"""The inverse of a discrete distribution function, by an index into it: exact, whatever the number of values."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["InverseTable"]

BUCKETS = 4096
"""A power of two, so that the bucket of a uniform is found without rounding."""


class InverseTable:
    """Finds the first row whose cumulative probability reaches a uniform.

    Parameters
    ----------
    cumulative : float64, shape (rows,)
        Does not fall; the last is 1.

    Notes
    -----
    The answer is that of a binary search. An index (Chen and Asau 1974) holds the row of each of 4096 equal parts of
    (0, 1): it starts the search where most uniforms are one comparison from their row.
    """

    __slots__ = ("_cumulative", "_start")

    def __init__(self, cumulative: NDArray[np.float64]) -> None:
        self._cumulative = cumulative
        self._start = np.searchsorted(cumulative, np.arange(BUCKETS) / BUCKETS, side="left")

    def rows(self, u: NDArray[np.float64]) -> NDArray[np.intp]:
        """Return the row of each of the uniforms `u`, each of them in [0, 1)."""
        row = self._start[(u * BUCKETS).astype(np.intp)]
        row += self._cumulative[row] < u
        # What is left lies where many rows share a bucket: in the tails.
        far = np.flatnonzero(self._cumulative[row] < u)
        if len(far):
            row[far] = np.searchsorted(self._cumulative, u[far], side="left")
        return row
