"""Parts, queues and lanes: the pieces that the reference engine puts together."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from heapq import heapify, heappop, heappush
from typing import Protocol

import simpy

from sim.engine.instant import Clock, Rank
from sim.engine.record import NO_PATH

__all__ = ["Fifo", "Lane", "Line", "Part", "Queue", "Sorted"]


class Part:
    """A query, or a part of one, from the queue to its completion."""

    __slots__ = (
        "device",
        "enqueue_ns",
        "expected_ns",
        "key",
        "multipliers",
        "path",
        "query",
        "serial",
        "service_ns",
        "size",
        "u",
    )

    def __init__(self, query: int, size: int, u: float, multipliers: Sequence[float], enqueue_ns: int) -> None:
        self.query = query
        self.size = size
        self.u = u
        self.multipliers = multipliers
        self.enqueue_ns = enqueue_ns
        self.key = 0
        self.serial = 0
        self.path = NO_PATH
        self.device = NO_PATH
        self.service_ns = 0
        self.expected_ns = 0


class Line(Protocol):
    """Parts in the order in which they are to be served."""

    def append(self, part: Part, /) -> None:
        """Add a part."""

    def popleft(self) -> Part:
        """Remove and return the part that is to be served next."""

    def pop(self) -> Part:
        """Remove and return the part that was added last."""

    def __len__(self) -> int:
        """Return the number of parts."""

    def __iter__(self) -> Iterator[Part]:
        """Yield the parts, in any order."""


class Fifo(deque[Part]):
    """First come, first served."""


class Sorted:
    """The least key first; equal keys first come, first served."""

    def __init__(self) -> None:
        self.added = 0
        self.heap: list[tuple[int, int, Part]] = []

    def append(self, part: Part) -> None:
        """Add a part at its key."""
        heappush(self.heap, (part.key, self.added, part))
        self.added += 1

    def popleft(self) -> Part:
        """Remove and return the part with the least key."""
        return heappop(self.heap)[2]

    def pop(self) -> Part:
        """Remove and return the part that was added last."""
        last = max(range(len(self.heap)), key=lambda i: self.heap[i][1])
        part = self.heap[last][2]
        self.heap[last] = self.heap[-1]
        self.heap.pop()
        heapify(self.heap)
        return part

    def __len__(self) -> int:
        """Return the number of parts."""
        return len(self.heap)

    def __iter__(self) -> Iterator[Part]:
        """Yield the parts in their order."""
        return (entry[2] for entry in sorted(self.heap))


class Queue:
    """Parts that wait, and the idle lanes that would take them."""

    __slots__ = ("idle", "limit", "waiting")

    def __init__(self, limit: int, waiting: Line) -> None:
        self.limit = limit
        self.waiting = waiting
        self.idle: list[tuple[int, Lane]] = []

    def has_room(self) -> bool:
        """Whether one more part may join: those that idle lanes are about to take need no place to wait."""
        return self.limit < 0 or len(self.waiting) < self.limit + len(self.idle)

    def wake_lanes(self) -> None:
        """Wake idle lanes, the most preferred first, as many as there are parts for."""
        idle = self.idle
        for _ in range(min(len(self.waiting), len(idle))):
            heappop(idle)[1].wake()


class Lane:
    """One lane of a device: serves one part, or one batch, at a time."""

    __slots__ = ("device", "env", "node", "number", "queue", "rank", "woken")

    def __init__(self, env: Clock, number: int, device: int, node: int, queue: Queue, rank: int) -> None:
        self.env = env
        self.number = number
        self.device = device
        self.node = node
        self.queue = queue
        self.rank = rank
        self.woken = simpy.Event(env)

    def rest(self) -> simpy.Event:
        """Join the idle lanes of the queue; the event returned happens when there is work."""
        self.woken = simpy.Event(self.env)
        heappush(self.queue.idle, (self.rank, self))
        return self.woken

    def wake(self) -> None:
        """Let the lane go on at this instant, before anything else of this instant happens."""
        self.woken._ok = True
        self.woken._value = None
        self.env.schedule(self.woken, Rank.WAKE)  # type: ignore[arg-type]
