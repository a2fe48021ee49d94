"""When queries come to a real server: on a drawn schedule, or each after the end of another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

__all__ = ["NOT_YET", "Queries", "back_to_back", "on_schedule", "with_pauses"]

NOT_YET = 2**62
"""Arrival of a query whose time depends on queries that have not ended."""


@dataclass(slots=True)
class Queries:
    """What a server is asked in one block.

    Attributes
    ----------
    arrival_ns : list of int
        Scheduled arrivals, in order; `NOT_YET` where they follow the end of other queries.
    size : list of int
    router_u : float64, shape (queries, choices)
        Draws for the router.
    path : list of int or None
        The path that serves each query, where that is given instead of chosen by the policy.
    pause_ns : list of int
        From the end of a query to the next arrival that is `NOT_YET`, by that arrival; empty where none is.
    end_ns : int or None
        End of the arrival period; the last arrival where None.
    """

    arrival_ns: list[int]
    size: list[int]
    router_u: NDArray[np.float64]
    path: list[int] | None = None
    pause_ns: list[int] = field(default_factory=list)
    end_ns: int | None = None

    def __len__(self) -> int:
        return len(self.size)


def on_schedule(
    arrival_ns: NDArray[np.int64], size: NDArray[np.int64], router_u: NDArray[np.float64], end_ns: int
) -> Queries:
    """Let queries arrive as they were drawn, whether the server keeps up or not."""
    return Queries(arrival_ns.tolist(), size.tolist(), router_u, end_ns=end_ns)


def back_to_back(path: Sequence[int], size: Sequence[int]) -> Queries:
    """Let two queries be there at any time, so that the next one waits when one ends."""
    arrival_ns = [0 if query < 2 else NOT_YET for query in range(len(size))]
    return Queries(arrival_ns, list(size), np.zeros((len(size), 0)), list(path), [0] * len(size))


def with_pauses(path: Sequence[int], size: Sequence[int], pause_ns: Sequence[int]) -> Queries:
    """Let a query arrive a while after the one before has ended, so that it finds the server idle."""
    arrival_ns = [0 if query == 0 else NOT_YET for query in range(len(size))]
    return Queries(arrival_ns, list(size), np.zeros((len(size), 0)), list(path), list(pause_ns))
