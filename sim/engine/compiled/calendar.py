"""The calendar: events to come in their order, and the lanes that go on before anything else of this instant.

What `sim.engine.instant` asks of SimPy, as a binary heap: events go by time, then by rank, then as they were scheduled.
A lane that was woken goes on at once, the first one that was woken first.
"""

from __future__ import annotations

from enum import IntEnum

from sim.engine.compiled.memory import words
from sim.engine.compiled.tables import CALENDAR_FULL, World, events
from sim.engine.instant import Rank
from sim.serving.compiled import jit_inner, jit_once

__all__ = [
    "ARRIVAL",
    "COMPLETION",
    "FAULT",
    "STOP",
    "TIMER",
    "Kind",
    "next_order",
    "next_woken",
    "pop_event",
    "schedule",
    "wake",
]

FAULT, COMPLETION, TIMER, ARRIVAL, STOP = (
    int(rank) << 56 for rank in (Rank.FAULT, Rank.COMPLETION, Rank.TIMER, Rank.ARRIVAL, Rank.STOP)
)
"""Ranks as the high bits of an order; the low bits are a serial number."""


class Kind(IntEnum):
    """What an event is, and what its numbers are."""

    COMPLETION = 0
    """Of a lane."""
    ANSWER = 1
    """An attempt; its generation."""
    REACH = 2
    """An attempt; its generation."""
    OVERDUE = 3
    """A device with a batching queue."""
    TIMEOUT = 4
    """An attempt; its generation."""
    HEDGE = 5
    """A query; its generation."""
    RETRY = 6
    """A query; its generation."""
    SCALE = 7
    """A scaler."""
    READY = 8
    """A node; the start that it ends."""
    REMAP_TICK = 9
    REMAP_DECIDE = 10
    REMAP_LOADED = 11
    """The round of re-mapping."""


@jit_inner
def next_order(w: World, rank: int) -> int:
    """Return the order of the next thing that is scheduled at this rank."""
    w.serial += 1
    return int(rank | w.serial)


@jit_once
def _goes_before(a: World, b: World) -> bool:
    return bool(a.time_ns < b.time_ns or (a.time_ns == b.time_ns and a.order < b.order))


@jit_inner
def schedule(w: World, delay_ns: int, rank: int, kind: int, first: int, second: int) -> int:
    """Let an event happen so long from now; return its order."""
    order = next_order(w, rank)
    heap = events(w)
    time_ns = w.now + delay_ns
    hole = w.event_count
    if hole >= w.event_room:
        w.error = CALENDAR_FULL
        return order
    w.event_count = hole + 1
    while hole > 0:
        above = (hole - 1) >> 1
        if heap[above].time_ns < time_ns or (heap[above].time_ns == time_ns and heap[above].order < order):
            break
        heap[hole] = heap[above]
        hole = above
    entry = heap[hole]
    entry.time_ns = time_ns
    entry.order = order
    entry.kind = kind
    entry.first = first
    entry.second = second
    return order


@jit_once
def pop_event(w: World) -> None:
    """Take the first event off the heap; it has been read before."""
    heap = events(w)
    last = w.event_count - 1
    w.event_count = last
    if last == 0:
        return
    time_ns = heap[last].time_ns
    order = heap[last].order
    hole = 0
    while True:
        child = 2 * hole + 1
        if child >= last:
            break
        if child + 1 < last and _goes_before(heap[child + 1], heap[child]):
            child += 1
        if time_ns < heap[child].time_ns or (time_ns == heap[child].time_ns and order < heap[child].order):
            break
        heap[hole] = heap[child]
        hole = child
    if hole != last:
        heap[hole] = heap[last]


@jit_inner
def wake(w: World, lane: int) -> None:
    """Let a lane go on when what happens now is over."""
    ring = words(w.wake_at)
    ring[(w.wake_first + w.wake_count) % w.wake_room] = lane
    w.wake_count += 1


@jit_once
def next_woken(w: World) -> int:
    """Return the lane that goes on next, of those that were woken."""
    ring = words(w.wake_at)
    lane = ring[w.wake_first]
    w.wake_first = (w.wake_first + 1) % w.wake_room
    w.wake_count -= 1
    return int(lane)
