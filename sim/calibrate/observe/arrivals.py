"""When queries come to a real server: on a drawn schedule, or after the end of others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

__all__ = ["NOT_YET", "WITH_IT", "Queries", "back_to_back", "on_schedule", "with_pauses"]

NOT_YET = 2**62
"""Arrival of a query whose time depends on queries that have not ended."""

WITH_IT = -1
"""Pause of a query that arrives together with the one before."""


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
        From the end of a query to the next arrival that is `NOT_YET`, by that arrival, or `WITH_IT`; empty where none
        is.
    most_left : int
        Queries that may be in the system when a query ends that one which is `NOT_YET` waits for.
    end_ns : int or None
        End of the arrival period; the last arrival where None.
    """

    arrival_ns: list[int]
    size: list[int]
    router_u: NDArray[np.float64]
    path: list[int] | None = None
    pause_ns: list[int] = field(default_factory=list)
    most_left: int = 0
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
    return Queries(arrival_ns, list(size), np.zeros((len(size), 0)), list(path), [0] * len(size), most_left=1)


def with_pauses(path: Sequence[int], size: Sequence[int], pause_ns: Sequence[int]) -> Queries:
    """Let a query arrive a while after all before have ended, so that it finds the server idle, or `WITH_IT`."""
    first = next((query for query in range(1, len(size)) if pause_ns[query] != WITH_IT), len(size))
    arrival_ns = [0 if query < first else NOT_YET for query in range(len(size))]
    return Queries(arrival_ns, list(size), np.zeros((len(size), 0)), list(path), list(pause_ns))
