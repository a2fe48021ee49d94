"""The state that routers and policies read, and what routers see of it where their knowledge is old.

Every change goes through `change`: it is carried out at once in the true state, and noted where routers see it later.
"""

from __future__ import annotations

from sim.engine.compiled.memory import words
from sim.engine.compiled.tables import NO_ROOM_FOR_ROWS, World, changes
from sim.serving.compiled import jit_inner, jit_once

__all__ = ["IDLE", "UNFINISHED", "UNTIL", "WAITING", "WORK", "catch_up", "change"]

IDLE, WAITING, WORK, UNTIL, UNFINISHED = range(5)
"""The arrays of `sim.serving.state.State`."""


@jit_once
def note(w: World, which: int, index: int, value: int) -> None:
    """Note a change that routers will see."""
    if w.change_count >= w.change_room:
        w.error = NO_ROOM_FOR_ROWS
        return
    entry = changes(w)[(w.change_first + w.change_count) % w.change_room]
    entry.time_ns = w.now
    entry.which = which
    entry.index = index
    entry.value = value
    w.change_count += 1


@jit_inner
def change(w: World, which: int, index: int, by: int) -> None:
    """Add to a number of idle or unfinished things, or to the work that waits."""
    if which == IDLE:
        array = words(w.idle_lanes_at)
    elif which == WAITING:
        array = words(w.waiting_parts_at)
    elif which == WORK:
        array = words(w.waiting_work_ns_at)
    else:
        array = words(w.unfinished_parts_at)
    array[index] += by
    if w.knowledge_delay_ns > 0:
        note(w, which, index, array[index])


@jit_once
def busy_until(w: World, lane: int, time_ns: int) -> None:
    """Say when a lane is expected to be free."""
    words(w.lane_until_ns_at)[lane] = time_ns
    if w.knowledge_delay_ns > 0:
        note(w, UNTIL, lane, time_ns)


@jit_once
def catch_up(w: World) -> None:
    """Bring what routers see to how things were so long ago, with all that happened at that instant."""
    until_ns = w.now - w.knowledge_delay_ns
    ring = changes(w)
    while w.change_count > 0 and ring[w.change_first].time_ns <= until_ns:
        entry = ring[w.change_first]
        if entry.which == IDLE:
            words(w.seen_idle_lanes_at)[entry.index] = entry.value
        elif entry.which == WAITING:
            words(w.seen_waiting_parts_at)[entry.index] = entry.value
        elif entry.which == WORK:
            words(w.seen_waiting_work_ns_at)[entry.index] = entry.value
        elif entry.which == UNTIL:
            words(w.seen_lane_until_ns_at)[entry.index] = entry.value
        else:
            words(w.seen_unfinished_parts_at)[entry.index] = entry.value
        w.change_first = (w.change_first + 1) % w.change_room
        w.change_count -= 1
