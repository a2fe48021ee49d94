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
from sim.engine.compiled.tables import FLOW, KEPT, NONE, World, later
from sim.serving.compiled import jit_inline, jit_inner
from sim.serving.estimate import wait_behind

__all__ = [
    "FOR_EVER_NS",
    "join_one",
    "state_of_one",
    "take_later",
    "unfinished_of_one",
    "wait_of_one_ns",
]

FOR_EVER_NS = np.iinfo(np.int64).max

FLOW_BYTES = FLOW.itemsize
_PLACES: Any = FLOW.fields
ENDS_AT, EXPECTED_AT = _PLACES["end_0_ns"][1], _PLACES["until_0_ns"][1]

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
def _place(w: World, device: int, parts: int) -> int:
    """Return the place of the part that joined so many parts, at most `KEPT`, before the next one does."""
    return (words(w.joined_at)[device] - parts) & (KEPT - 1)  # type: ignore[no-any-return]


@jit_inline
def wait_of_one_ns(w: World, device: int, now_ns: int) -> int:
    """Return the wait that a part would expect that joins a device of one lane."""
    count = unfinished_of_one(w, device, now_ns)
    work_ns = _expected(w, device, _place(w, device, 1))[WORK_NS]
    if count > KEPT:
        oldest = later(w)[_oldest(w, device)]
        return wait_behind(max(oldest.until_ns - now_ns, 0), work_ns - oldest.work_ns, 1)
    served = _expected(w, device, _place(w, device, count))
    wait_ns = wait_behind(max(served[UNTIL_NS] - now_ns, 0), work_ns - served[WORK_NS], 1)
    return wait_ns & -int(count > 0)


@jit_inline
def join_one(w: World, device: int, service: int, expected: int, now_ns: int) -> int:
    """Let a part join a device of one lane; return its start."""
    ends_ns = _ends_ns(w, device)
    place, last = _place(w, device, 0), _place(w, device, 1)
    start_ns = max(now_ns, ends_ns[last])
    if ends_ns[place] > now_ns:
        _keep_older(w, device, now_ns)
    ends_ns[place] = start_ns + service
    part = _expected(w, device, place)
    part[UNTIL_NS] = start_ns + expected
    part[WORK_NS] = _expected(w, device, last)[WORK_NS] + expected
    words(w.joined_at)[device] += 1
    return start_ns  # type: ignore[no-any-return]


@jit_inner
def state_of_one(w: World, device: int, now_ns: int) -> tuple[int, int, int, int]:
    """Return what routers read of a device of one lane, and when it changes.

    That is how many parts have not ended, what is expected of those that wait, and when what is served is expected to
    end.
    """
    count = unfinished_of_one(w, device, now_ns)
    if count == 0:
        return 0, 0, 0, FOR_EVER_NS
    work_ns = _expected(w, device, _place(w, device, 1))[WORK_NS]
    if count > KEPT:
        oldest = later(w)[_oldest(w, device)]
        return count, work_ns - oldest.work_ns, oldest.until_ns, oldest.finish_ns
    place = _place(w, device, count)
    served = _expected(w, device, place)
    return count, work_ns - served[WORK_NS], served[UNTIL_NS], _ends_ns(w, device)[place]


@jit_inline
def _oldest(w: World, device: int) -> int:
    """Return the first of the older parts of a device; there is one."""
    return later(w)[words(w.last_older_at)[device]].next  # type: ignore[no-any-return]


@jit_inner
def _older(w: World, device: int, now_ns: int) -> int:
    """Return how many parts have not ended besides the last `KEPT`; forget those that have."""
    older, last = words(w.older_parts_at), words(w.last_older_at)
    table = later(w)
    while older[device] > 0 and table[_oldest(w, device)].finish_ns <= now_ns:
        entry = _oldest(w, device)
        table[last[device]].next = table[entry].next
        table[entry].next = w.free_later
        w.free_later = entry
        older[device] -= 1
    return older[device]  # type: ignore[no-any-return]


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
    older, last = words(w.older_parts_at), words(w.last_older_at)
    place = _place(w, device, 0)
    table = later(w)
    before = _older(w, device, now_ns)
    entry = take_later(w)
    oldest = _expected(w, device, place)
    e = table[entry]
    e.finish_ns = _ends_ns(w, device)[place]
    e.until_ns = oldest[UNTIL_NS]
    e.work_ns = oldest[WORK_NS]
    if before == 0:
        e.next = entry
    else:
        e.next = table[last[device]].next
        table[last[device]].next = entry
    last[device] = entry
    older[device] = before + 1
