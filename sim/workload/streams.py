"""Named random streams: every draw is a function of seed, stream name, replication and query number.

One uniform a query and stream; whatever needs another distribution transforms it by the inverse of that
distribution's function. So the same seed gives the same queries under every policy, the size of chunks changes
nothing, and a new stream never shifts another's draws.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["Stream", "columns", "open_stream"]

SMALLEST = 2.0**-54
"""Stands for a uniform of exactly 0 (one in 2**53), so that every inverse is finite."""


def _words(name: str) -> tuple[int, ...]:
    """Return a stable 128-bit hash of `name` as 32-bit words."""
    digest = hashlib.blake2b(name.encode(), digest_size=16).digest()
    return tuple(int.from_bytes(digest[i : i + 4], "little") for i in range(0, 16, 4))


class Stream:
    """Uniforms in (0, 1), in the order of the queries."""

    def __init__(self, seed: int, name: str, replication: int) -> None:
        sequence = np.random.SeedSequence(seed, spawn_key=(*_words(name), replication))
        self._generator = np.random.Generator(np.random.Philox(sequence))

    def uniforms(self, count: int, out: NDArray[np.float64] | None = None) -> NDArray[np.float64]:
        """Return the uniforms of the next `count` queries, in `out` if it is given."""
        drawn = self._generator.random(count, out=out)
        return np.maximum(drawn, SMALLEST, out=drawn)


def columns(streams: Sequence[Stream], count: int) -> NDArray[np.float64]:
    """Return the uniforms of the next `count` queries of several streams, a column each, shape (count, streams)."""
    drawn = np.empty((len(streams), count))
    for stream, row in zip(streams, drawn, strict=True):
        stream.uniforms(count, row)
    return drawn.T


def open_stream(seed: int, name: str, replication: int) -> Stream:
    """Return the stream of `name` from its first query on."""
    return Stream(seed, name, replication)
