"""Devices and nodes of a plain system: what waits for each lane, and when each part starts and ends.

The next part of a device starts on the lane that is free first (Lindley 1952; Kiefer and Wolfowitz 1955 for several
lanes), so that is known as soon as it joins. A device is brought up to the present when somebody looks at it.
"""

from __future__ import annotations

import numpy as np

from sim.engine.compiled.memory import ints, words
from sim.engine.compiled.tables import NONE, World, flows, later, plain_nodes
from sim.serving.compiled import jit_inline, jit_inner
from sim.serving.estimate import expected_wait_ns, wait_behind

__all__ = ["FOR_EVER_NS", "bring_to_now", "expected_wait_of_ns", "has_one_lane", "join_one", "join_several", "look_at"]

FOR_EVER_NS = np.iinfo(np.int64).max


@jit_inline
def has_one_lane(w: World, device: int) -> bool:
    """Whether a device has one lane; all have in most systems."""
    device_lane = words(w.device_lane_at)
    return w.one_lane > 0 or device_lane[device + 1] - device_lane[device] == 1  # type: ignore[no-any-return]


# -- devices of one lane ----------------------------------------------------------------------------------------


@jit_inline
def _bring_one_to_now(w: World, device: int, node: int, now_ns: int) -> int:
    """Bring a device of one lane up to the present: what waits starts when what is served ends.

    Return when the next one ends.
    """
    f = flows(w)[device]
    table = later(w)
    ended = 0
    while f.finish_ns <= now_ns:
        ended += 1
        entry = f.first
        if entry == NONE:
            f.finish_ns = FOR_EVER_NS
            f.until_ns = 0
            break
        e = table[entry]
        f.first = e.next
        f.last = f.last if e.next != NONE else 0
        f.waiting -= 1
        f.finish_ns = e.finish_ns
        f.until_ns = e.start_ns + e.expected_ns
        f.work_ns -= e.expected_ns
        e.next = w.free_later
        w.free_later = entry
    plain_nodes(w)[node].unfinished -= ended
    return f.finish_ns  # type: ignore[no-any-return]


@jit_inline
def join_one(w: World, device: int, node: int, service: int, expected: int, now_ns: int) -> tuple[int, int]:
    """Let a part join a device of one lane that is up to date; return its lane and its start."""
    f = flows(w)[device]
    n = plain_nodes(w)[node]
    start_ns = now_ns
    if f.finish_ns == FOR_EVER_NS:
        f.finish_ns = now_ns + service
        f.until_ns = now_ns + expected
        n.next_ns = min(n.next_ns, f.finish_ns)
    else:
        start_ns = f.free_ns
        _wait(w, device, start_ns, service, expected, f.first_lane)
        f.waiting += 1
        f.work_ns += expected
    f.free_ns = start_ns + service
    n.unfinished += 1
    return f.first_lane, start_ns


@jit_inline
def _wait(w: World, device: int, start_ns: int, service: int, expected: int, lane: int) -> None:
    """Let a part wait until it starts on a lane."""
    f = flows(w)[device]
    table = later(w)
    entry = w.free_later
    if entry != NONE:
        w.free_later = table[entry].next
    else:
        entry = w.later_used
        w.later_used = entry + 1
    e = table[entry]
    e.start_ns = start_ns
    e.finish_ns = start_ns + service
    e.expected_ns = expected
    e.lane = lane
    e.next = NONE
    # Before the first that waits there is the row that is none: no branch, which would often be guessed wrong.
    table[f.last].next = entry
    f.first = f.first if f.last != 0 else entry
    f.last = entry


# -- devices of several lanes -----------------------------------------------------------------------------------


@jit_inner
def _bring_several_to_now(w: World, device: int, node: int, now_ns: int) -> int:
    """Bring a device of several lanes up to the present: start what waits and is due, and count idle lanes.

    Return when anything of it changes next.
    """
    f = flows(w)[device]
    if f.finish_ns > now_ns:
        return f.finish_ns  # type: ignore[no-any-return]
    table = later(w)
    waiting_parts, waiting_work_ns = words(w.waiting_parts_at), words(w.waiting_work_ns_at)
    idle_lanes = words(w.idle_lanes_at)
    busy_until_ns, lane_until_ns = words(w.busy_until_ns_at), words(w.lane_until_ns_at)
    first_lane, end_lane = f.first_lane, words(w.device_lane_at)[device + 1]
    before = waiting_parts[device] - idle_lanes[device]
    entry = f.first
    while entry != NONE and table[entry].start_ns <= now_ns:
        e = table[entry]
        waiting_parts[device] -= 1
        waiting_work_ns[device] -= e.expected_ns
        lane_until_ns[e.lane] = e.start_ns + e.expected_ns
        busy_until_ns[e.lane] = e.finish_ns
        following = e.next
        e.next = w.free_later
        w.free_later = entry
        entry = following
    f.first = entry
    next_ns = FOR_EVER_NS
    if entry == NONE:
        f.last = 0
    else:
        next_ns = table[entry].start_ns
    idle = 0
    for lane in range(first_lane, end_lane):
        if busy_until_ns[lane] <= now_ns:
            idle += 1
            lane_until_ns[lane] = busy_until_ns[lane]
        elif busy_until_ns[lane] < next_ns:
            next_ns = busy_until_ns[lane]
    idle_lanes[device] = idle
    f.finish_ns = next_ns
    plain_nodes(w)[node].unfinished += waiting_parts[device] - idle - before
    return next_ns


@jit_inner
def join_several(w: World, device: int, node: int, service: int, expected: int, now_ns: int) -> tuple[int, int]:
    """Let a part join a device of several lanes that is up to date; return its lane and its start."""
    f = flows(w)[device]
    busy_until_ns, free_ns, order = words(w.busy_until_ns_at), words(w.free_ns_at), words(w.lane_order_at)
    idle_lanes = words(w.idle_lanes_at)
    lane = f.first_lane
    start_ns = now_ns
    changes_ns = now_ns + service
    if idle_lanes[device] > 0:
        # Nothing waits; the first idle lane starts it at once.
        while busy_until_ns[lane] > now_ns:
            lane += 1
        idle_lanes[device] -= 1
        busy_until_ns[lane] = now_ns + service
        words(w.lane_until_ns_at)[lane] = now_ns + expected
    else:
        for other in range(f.first_lane + 1, words(w.device_lane_at)[device + 1]):
            if free_ns[other] < free_ns[lane] or (free_ns[other] == free_ns[lane] and order[other] < order[lane]):
                lane = other
        start_ns = free_ns[lane]
        changes_ns = start_ns
        _wait(w, device, start_ns, service, expected, lane)
        words(w.waiting_parts_at)[device] += 1
        words(w.waiting_work_ns_at)[device] += expected
    f.finish_ns = min(f.finish_ns, changes_ns)
    n = plain_nodes(w)[node]
    n.next_ns = min(n.next_ns, changes_ns)
    free_ns[lane] = start_ns + service
    w.serial += 1
    order[lane] = w.serial
    n.unfinished += 1
    return lane, start_ns


@jit_inline
def expected_wait_of_ns(w: World, device: int, now_ns: int) -> int:
    """Return the wait that a part would expect that joins a device which is up to date."""
    f = flows(w)[device]
    if has_one_lane(w, device):
        # Of an idle device both are 0, so it needs no case of its own.
        return wait_behind(max(f.until_ns - now_ns, 0), f.work_ns, 1)
    return _expected_wait_of_several_ns(w, device, now_ns)


@jit_inner
def _expected_wait_of_several_ns(w: World, device: int, now_ns: int) -> int:
    return expected_wait_ns(
        device,
        now_ns,
        ints(w.device_lane_at, w.devices + 1),
        ints(w.idle_lanes_at, w.devices),
        ints(w.waiting_parts_at, w.devices),
        ints(w.waiting_work_ns_at, w.devices),
        ints(w.lane_until_ns_at, w.lanes),
    )


# -- nodes ------------------------------------------------------------------------------------------------------


@jit_inner
def bring_to_now(w: World, node: int, now_ns: int) -> None:
    """Bring the devices of a node up to the present."""
    n = plain_nodes(w)[node]
    next_ns = FOR_EVER_NS
    for device in range(n.first_device, n.end_device):
        if has_one_lane(w, device):
            next_ns = min(next_ns, _bring_one_to_now(w, device, node, now_ns))
        else:
            next_ns = min(next_ns, _bring_several_to_now(w, device, node, now_ns))
    n.next_ns = next_ns


@jit_inner
def _write_state(w: World, node: int) -> None:
    """Write to the state, which most routers read, what the tables have of a node."""
    n = plain_nodes(w)[node]
    words(w.unfinished_parts_at)[node] = n.unfinished
    for device in range(n.first_device, n.end_device):
        f = flows(w)[device]
        if has_one_lane(w, device):
            words(w.idle_lanes_at)[device] = int(f.finish_ns == FOR_EVER_NS)
            words(w.waiting_parts_at)[device] = f.waiting
            words(w.waiting_work_ns_at)[device] = f.work_ns
            words(w.lane_until_ns_at)[f.first_lane] = f.until_ns


@jit_inline
def look_at(w: World, node: int, now_ns: int) -> None:
    """Bring a node up to the present for a router that looks at it."""
    if plain_nodes(w)[node].next_ns <= now_ns:
        bring_to_now(w, node, now_ns)
    if w.keeps_state > 0:
        _write_state(w, node)
