"""Parts, queues and lanes: the pieces that the reference engine puts together."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from heapq import heappop, heappush

import simpy

from sim.engine.instant import Clock, Rank
from sim.engine.record import NO_PATH

__all__ = ["Lane", "Part", "Queue"]


class Part:
    """A query, or a part of one, from the queue to its completion."""

    __slots__ = (
        "device",
        "enqueue_ns",
        "expected_ns",
        "multipliers",
        "path",
        "query",
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
        self.path = NO_PATH
        self.device = NO_PATH
        self.service_ns = 0
        self.expected_ns = 0


class Queue:
    """Parts that wait, first in, first out, and the idle lanes that would take them."""

    __slots__ = ("idle", "limit", "waiting")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.waiting: deque[Part] = deque()
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
    """One lane of a device: serves one part at a time."""

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
