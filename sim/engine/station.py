"""Attempts, parts, queues and lanes: the pieces that the reference engine puts together."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from heapq import heapify, heappop, heappush
from typing import Protocol

import numpy as np
import simpy
from numpy.typing import NDArray

from sim.engine.instant import Clock, trigger
from sim.engine.record import NO_PATH

__all__ = ["Attempt", "Fifo", "Lane", "Line", "Part", "Queue", "Sorted"]


class Attempt:
    """One try at serving a query: its first, a copy that hedges it, or a retry.

    Attributes
    ----------
    number : int
        0 for the first attempt of the query.
    node : int
        Where it was sent; `NO_PATH` before that, and under late binding.
    parts : list of Part
    left : int
        Parts that have not ended.
    correct : float
        Expected correct predictions of the parts that were served.
    wanted : bool
        Whether somebody still waits for its answer.
    dead : bool
        Whether what waits of it is left out when its turn comes.
    record : int
        Its place among the recorded attempts, where these are recorded.
    router : int
        Which router sent it.
    back_ns : int
        How long its answer takes from the node to the client.
    """

    __slots__ = (
        "back_ns",
        "correct",
        "dead",
        "left",
        "node",
        "number",
        "parts",
        "query",
        "record",
        "router",
        "size",
        "wanted",
    )

    def __init__(self, query: int, size: int, number: int = 0) -> None:
        self.query = query
        self.size = size
        self.number = number
        self.node = NO_PATH
        self.parts: list[Part] = []
        self.left = 0
        self.correct = 0.0
        self.wanted = True
        self.dead = False
        self.record = 0
        self.router = 0
        self.back_ns = 0


class Part:
    """An attempt, or a part of one, from the queue to its completion."""

    __slots__ = (
        "attempt",
        "device",
        "enqueue_ns",
        "expected_ns",
        "key",
        "lane",
        "multipliers",
        "path",
        "queued",
        "serial",
        "service_ns",
        "size",
        "u",
    )

    def __init__(self, attempt: Attempt, size: int, u: float, multipliers: Sequence[float], enqueue_ns: int) -> None:
        self.attempt = attempt
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
        self.queued = False
        self.lane: Lane | None = None


class Line(Protocol):
    """Parts in the order in which they are to be served."""

    def append(self, part: Part, /) -> None:
        """Add a part."""

    def popleft(self) -> Part:
        """Remove and return the part that is to be served next."""

    def pop(self) -> Part:
        """Remove and return the part that was added last."""

    def remove(self, part: Part, /) -> None:
        """Remove a part, wherever it stands."""

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
        part = max(self.heap, key=lambda entry: entry[1])[2]
        self.remove(part)
        return part

    def remove(self, part: Part) -> None:
        """Remove a part, wherever it stands."""
        self.heap = [entry for entry in self.heap if entry[2] is not part]
        heapify(self.heap)

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

    def retire(self, lane: Lane) -> None:
        """Let a lane that was idle, or not, stand idle no more."""
        self.idle = [entry for entry in self.idle if entry[1] is not lane]
        heapify(self.idle)


class Lane:
    """One lane of a device: serves one part, or one batch, at a time.

    Attributes
    ----------
    takes : bool
        Whether it may take what waits: it may not while its device is down.
    resting : bool
        Whether it waits to be woken.
    serving : sequence of Part
        What it serves.
    first_record : int
        Where the records of these parts begin.
    ended_ns : int
        When it ended what it served last; 0 before the first.
    idle_ns : list of int
        By carry, the idle time that counted for what it served last (`sim.serving.aftereffects.counted`); 0 before the
        first.
    last_size : int
        The samples of what it served last; 0 before the first.
    counted_size : list of int
        By carry, those that counted for that.
    past : float64[components]
        The draws of what it served, summed up, where its device has spells; see `sim.serving.spells.next_level`.
    """

    __slots__ = (
        "completion",
        "counted_size",
        "device",
        "done",
        "ended_ns",
        "env",
        "first_record",
        "idle_ns",
        "last_size",
        "left",
        "node",
        "number",
        "past",
        "queue",
        "rank",
        "resting",
        "serving",
        "takes",
        "woken",
    )

    def __init__(
        self,
        env: Clock,
        number: int,
        device: int,
        node: int,
        queue: Queue,
        rank: int,
        components: int = 0,
        idle_carries: int = 1,
        size_carries: int = 1,
    ) -> None:
        self.env = env
        self.number = number
        self.device = device
        self.node = node
        self.queue = queue
        self.rank = rank
        self.woken = simpy.Event(env)
        self.takes = True
        self.resting = False
        self.serving: Sequence[Part] = ()
        self.first_record = 0
        self.ended_ns = 0
        self.idle_ns = [0] * idle_carries
        self.last_size = 0
        self.counted_size = [0] * size_carries
        self.past: NDArray[np.float64] = np.zeros(components)
        # How a controlled lane ends what it serves, see `sim.engine.pace`.
        self.left = 0
        self.done = self.woken
        self.completion: simpy.Event | None = None

    def rest(self) -> simpy.Event:
        """Join the idle lanes of the queue; the event returned happens when there is work."""
        self.woken = simpy.Event(self.env)
        self.resting = True
        heappush(self.queue.idle, (self.rank, self))
        return self.woken

    def sleep(self) -> simpy.Event:
        """Leave the idle lanes alone; the event returned happens when the lane may take parts again."""
        self.woken = simpy.Event(self.env)
        self.resting = True
        return self.woken

    def wake(self) -> None:
        """Let the lane go on at this instant, before anything else of this instant happens."""
        self.resting = False
        trigger(self.env, self.woken)
