"""Devices of several lanes and nodes of a plain system: what waits for each lane, and when each part starts and ends.

The next part of a device starts on the lane that is free first (Kiefer and Wolfowitz 1955), so that is known as soon as
it joins. A device is brought up to the present when somebody looks at it. Those of one lane are in `single`.
"""

from __future__ import annotations

from sim.engine.compiled.memory import ints, words
from sim.engine.compiled.single import (
    FOR_EVER_NS,
    join_one,
    state_of_one,
    take_later,
    unfinished_of_one,
    wait_of_one_ns,
)
from sim.engine.compiled.tables import NONE, World, later, plain_nodes
from sim.serving.compiled import jit_inline, jit_inner
from sim.serving.estimate import expected_wait_ns

__all__ = [
    "bring_to_now",
    "end_device_of",
    "expected_wait_of_ns",
    "first_device_of",
    "join",
    "lanes_of",
    "look_at",
    "unfinished_of",
]


@jit_inline
def _has_one_lane(w: World, device: int) -> bool:
    """Whether a device has one lane; all have in most systems."""
    device_lane = words(w.device_lane_at)
    return w.one_lane > 0 or device_lane[device + 1] - device_lane[device] == 1  # type: ignore[no-any-return]


# -- devices of several lanes -----------------------------------------------------------------------------------


@jit_inner
def _bring_several_to_now(w: World, device: int, node: int, now_ns: int) -> int:
    """Bring a device of several lanes up to the present: start what waits and is due, and count idle lanes.

    Return when anything of it changes next.
    """
    first_waiting, last_waiting, changes_ns = (
        words(w.first_waiting_at),
        words(w.last_waiting_at),
        words(w.changes_ns_at),
    )
    if changes_ns[device] > now_ns:
        return changes_ns[device]  # type: ignore[no-any-return]
    table = later(w)
    waiting_parts, waiting_work_ns = words(w.waiting_parts_at), words(w.waiting_work_ns_at)
    idle_lanes = words(w.idle_lanes_at)
    busy_until_ns, lane_until_ns = words(w.busy_until_ns_at), words(w.lane_until_ns_at)
    first_lane, end_lane = words(w.device_lane_at)[device], words(w.device_lane_at)[device + 1]
    before = waiting_parts[device] - idle_lanes[device]
    entry = first_waiting[device]
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
    first_waiting[device] = entry
    next_ns = FOR_EVER_NS
    if entry == NONE:
        last_waiting[device] = 0
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
    changes_ns[device] = next_ns
    plain_nodes(w)[node].unfinished += waiting_parts[device] - idle - before
    return next_ns


@jit_inline
def _wait(w: World, device: int, start_ns: int, service: int, expected: int, lane: int) -> None:
    """Let a part wait until it starts on a lane."""
    first_waiting, last_waiting = words(w.first_waiting_at), words(w.last_waiting_at)
    table = later(w)
    entry = take_later(w)
    e = table[entry]
    e.start_ns = start_ns
    e.finish_ns = start_ns + service
    e.expected_ns = expected
    e.lane = lane
    e.next = NONE
    # Before the first that waits there is the row that is none: no branch, which would often be guessed wrong.
    table[last_waiting[device]].next = entry
    first_waiting[device] = first_waiting[device] if last_waiting[device] != 0 else entry
    last_waiting[device] = entry


@jit_inner
def _join_several(w: World, device: int, node: int, service: int, expected: int, now_ns: int) -> tuple[int, int]:
    """Let a part join a device of several lanes that is up to date; return its lane and its start."""
    busy_until_ns, free_ns, order = words(w.busy_until_ns_at), words(w.free_ns_at), words(w.lane_order_at)
    idle_lanes = words(w.idle_lanes_at)
    lane = first_lane = words(w.device_lane_at)[device]
    start_ns = now_ns
    next_ns = now_ns + service
    if idle_lanes[device] > 0:
        # Nothing waits; the first idle lane starts it at once.
        while busy_until_ns[lane] > now_ns:
            lane += 1
        idle_lanes[device] -= 1
        busy_until_ns[lane] = now_ns + service
        words(w.lane_until_ns_at)[lane] = now_ns + expected
    else:
        for other in range(first_lane + 1, words(w.device_lane_at)[device + 1]):
            if free_ns[other] < free_ns[lane] or (free_ns[other] == free_ns[lane] and order[other] < order[lane]):
                lane = other
        start_ns = free_ns[lane]
        next_ns = start_ns
        _wait(w, device, start_ns, service, expected, lane)
        words(w.waiting_parts_at)[device] += 1
        words(w.waiting_work_ns_at)[device] += expected
    changes_ns = words(w.changes_ns_at)
    changes_ns[device] = min(changes_ns[device], next_ns)
    n = plain_nodes(w)[node]
    n.next_ns = min(n.next_ns, next_ns)
    free_ns[lane] = start_ns + service
    w.serial += 1
    order[lane] = w.serial
    n.unfinished += 1
    return lane, start_ns


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


# -- devices of any number of lanes -----------------------------------------------------------------------------


@jit_inline
def expected_wait_of_ns(w: World, device: int, now_ns: int) -> int:
    """Return the wait that a part would expect that joins a device, whose node is up to date."""
    if _has_one_lane(w, device):
        return wait_of_one_ns(w, device, now_ns)
    return _expected_wait_of_several_ns(w, device, now_ns)


@jit_inline
def join(w: World, device: int, node: int, service: int, expected: int, now_ns: int) -> tuple[int, int]:
    """Let a part join a device, whose node is up to date; return its lane and its start."""
    if _has_one_lane(w, device):
        lane = device if w.one_lane > 0 else words(w.device_lane_at)[device]
        start_ns = join_one(w, device, service, expected, now_ns)
    else:
        lane, start_ns = _join_several(w, device, node, service, expected, now_ns)
    if w.keeps_state > 0:
        # Whoever looks at it next, at this very instant maybe, is to see the part.
        plain_nodes(w)[node].next_ns = now_ns
    return lane, start_ns


# -- nodes ------------------------------------------------------------------------------------------------------
# Where all have as many devices of one lane, the number of a node says all that is looked up of others.


@jit_inline
def first_device_of(w: World, node: int) -> int:
    """Return the first device of a node."""
    return node * w.node_devices if w.node_devices > 0 else plain_nodes(w)[node].first_device  # type: ignore[no-any-return]


@jit_inline
def end_device_of(w: World, node: int) -> int:
    """Return the device after the last one of a node."""
    return first_device_of(w, node + 1) if w.node_devices > 0 else plain_nodes(w)[node].end_device


@jit_inline
def lanes_of(w: World, node: int) -> int:
    """Return the number of lanes of a node."""
    return w.node_devices if w.node_devices > 0 else plain_nodes(w)[node].lanes  # type: ignore[no-any-return]


@jit_inner
def bring_to_now(w: World, node: int, now_ns: int) -> None:
    """Bring the devices of a node up to the present, and the state of it where a router reads that."""
    n = plain_nodes(w)[node]
    next_ns = FOR_EVER_NS
    of_one = 0
    for device in range(n.first_device, n.end_device):
        if not _has_one_lane(w, device):
            next_ns = min(next_ns, _bring_several_to_now(w, device, node, now_ns))
        elif w.keeps_state > 0:
            count, work_ns, until_ns, end_ns = state_of_one(w, device, now_ns)
            of_one += count
            words(w.idle_lanes_at)[device] = int(count == 0)
            words(w.waiting_parts_at)[device] = max(count - 1, 0)
            words(w.waiting_work_ns_at)[device] = work_ns
            words(w.lane_until_ns_at)[words(w.device_lane_at)[device]] = until_ns
            next_ns = min(next_ns, end_ns)
    n.next_ns = next_ns
    if w.keeps_state > 0:
        words(w.unfinished_parts_at)[node] = n.unfinished + of_one


@jit_inline
def look_at(w: World, node: int, now_ns: int) -> None:
    """Bring a node up to the present if it is not."""
    if plain_nodes(w)[node].next_ns <= now_ns:
        bring_to_now(w, node, now_ns)


@jit_inline
def unfinished_of(w: World, node: int, now_ns: int) -> int:
    """Return how many parts of a node have not ended; bring it up to the present."""
    count = 0
    if w.one_lane == 0:
        look_at(w, node, now_ns)
        count = plain_nodes(w)[node].unfinished
    for device in range(first_device_of(w, node), end_device_of(w, node)):
        if _has_one_lane(w, device):
            count += unfinished_of_one(w, device, now_ns)
    return count
