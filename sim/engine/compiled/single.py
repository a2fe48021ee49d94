"""Devices of one lane of a plain system: what has not ended, and what a part would wait.

Parts end in the order in which they join (Lindley 1952), so how many have not ended says which: the last ones. They
are counted among the last `KEPT` by comparing all of these, and by no branch, which would often be guessed wrong;
nothing is done when a part ends. The few devices with more parts than that have the older ones in a list.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from sim.engine.compiled.memory import words
from sim.engine.compiled.side_by_side import counter_of
from sim.engine.compiled.tables import FLOW, KEPT, NONE, World, flows, later
from sim.serving.compiled import jit_inline, jit_inner
from sim.serving.estimate import wait_behind

__all__ = [
    "FOR_EVER_NS",
    "join_one",
    "see_one",
    "state_of_one",
    "take_later",
    "unfinished_of_one",
    "wait_behind_ns",
    "wait_of_one_ns",
]

FOR_EVER_NS = np.iinfo(np.int64).max

FLOW_BYTES = FLOW.itemsize
_PLACES: Any = FLOW.fields
ENDS_AT, EXPECTED_AT = _PLACES["end_0_ns"][1], _PLACES["until_0_ns"][1]

NUMBER = KEPT - 1
"""Bits of a part's number that are its place among the last `KEPT`."""

UNTIL_NS, WORK_NS, EXPECTED = 0, 1, 2
"""Where the two numbers stand that are kept of what is expected of a part, and how many these are."""

_later_than = counter_of(KEPT)
"""``_later_than(address, now_ns)``: how many of the last `KEPT` parts have not ended."""


@jit_inline
def _ends_ns(w: World, device: int) -> Any:
    """Return when the last `KEPT` parts end, by place."""
    return words(w.flow_at + FLOW_BYTES * device + ENDS_AT)


@jit_inline
def _expected(w: World, device: int, place: int) -> Any:
    """Return what is expected of the part in a place among the last `KEPT`."""
    return words(w.flow_at + FLOW_BYTES * device + EXPECTED_AT + 8 * EXPECTED * place)


@jit_inline
def unfinished_of_one(w: World, device: int, now_ns: int) -> int:
    """Return how many parts of a device of one lane have not ended."""
    count = _later_than(w.flow_at + FLOW_BYTES * device + ENDS_AT, now_ns)
    if count == KEPT:
        count += _older(w, device, now_ns)
    return count  # type: ignore[no-any-return]


@jit_inline
def see_one(w: World, device: int, now_ns: int) -> int:
    """Return how many parts of a device of one lane have not ended, and note it."""
    count = unfinished_of_one(w, device, now_ns)
    flows(w)[device].seen = count
    return count


@jit_inline
def wait_of_one_ns(w: World, device: int, now_ns: int) -> int:
    """Return the wait that a part would expect that joins a device of one lane."""
    return wait_behind_ns(w, device, unfinished_of_one(w, device, now_ns), now_ns)


@jit_inline
def wait_behind_ns(w: World, device: int, count: int, now_ns: int) -> int:
    """Return the wait that a part would expect behind so many, which are all of a device of one lane."""
    f = flows(w)[device]
    if count > KEPT:
        oldest = later(w)[f.first]
        return wait_behind(max(oldest.until_ns - now_ns, 0), f.work_ns - oldest.work_ns, 1)
    served = _expected(w, device, (f.joined - count) & NUMBER)
    wait_ns = wait_behind(max(served[UNTIL_NS] - now_ns, 0), f.work_ns - served[WORK_NS], 1)
    return wait_ns & -int(count > 0)


@jit_inline
def join_one(w: World, device: int, service: int, expected: int, now_ns: int) -> tuple[int, int]:
    """Let a part join a device of one lane; return its lane and its start."""
    f = flows(w)[device]
    ends_ns = _ends_ns(w, device)
    start_ns = max(now_ns, ends_ns[(f.joined - 1) & NUMBER])
    place = f.joined & NUMBER
    if ends_ns[place] > now_ns:
        _keep_older(w, device, now_ns)
    f.work_ns += expected
    ends_ns[place] = start_ns + service
    part = _expected(w, device, place)
    part[UNTIL_NS] = start_ns + expected
    part[WORK_NS] = f.work_ns
    f.joined += 1
    return f.first_lane, start_ns


@jit_inner
def state_of_one(w: World, device: int, now_ns: int) -> tuple[int, int, int, int]:
    """Return what routers read of a device of one lane, and when it changes.

    That is how many parts have not ended, what is expected of those that wait, and when what is served is expected to
    end.
    """
    f = flows(w)[device]
    count = unfinished_of_one(w, device, now_ns)
    if count == 0:
        return 0, 0, 0, FOR_EVER_NS
    if count > KEPT:
        oldest = later(w)[f.first]
        return count, f.work_ns - oldest.work_ns, oldest.until_ns, oldest.finish_ns
    place = (f.joined - count) & NUMBER
    served = _expected(w, device, place)
    ends_ns = _ends_ns(w, device)
    return count, f.work_ns - served[WORK_NS], served[UNTIL_NS], ends_ns[place]


@jit_inner
def _older(w: World, device: int, now_ns: int) -> int:
    """Return how many parts have not ended besides the last `KEPT`; forget those that have."""
    f = flows(w)[device]
    table = later(w)
    while f.older > 0 and table[f.first].finish_ns <= now_ns:
        entry = f.first
        f.first = table[entry].next
        table[entry].next = w.free_later
        w.free_later = entry
        f.older -= 1
    return f.older  # type: ignore[no-any-return]


@jit_inline
def take_later(w: World) -> int:
    """Return the number of a free row for a part that has not ended."""
    entry = w.free_later
    if entry != NONE:
        w.free_later = later(w)[entry].next
    else:
        entry = w.later_used
        w.later_used = entry + 1
    return entry  # type: ignore[no-any-return]


@jit_inner
def _keep_older(w: World, device: int, now_ns: int) -> None:
    """Keep the oldest of the last `KEPT` parts, which has not ended, in the list of older ones."""
    f = flows(w)[device]
    table = later(w)
    before = _older(w, device, now_ns)
    entry = take_later(w)
    place = f.joined & NUMBER
    oldest = _expected(w, device, place)
    e = table[entry]
    e.finish_ns = _ends_ns(w, device)[place]
    e.until_ns = oldest[UNTIL_NS]
    e.work_ns = oldest[WORK_NS]
    e.next = NONE
    if before == 0:
        f.first = entry
    else:
        table[f.last].next = entry
    f.last = entry
    f.older = before + 1
