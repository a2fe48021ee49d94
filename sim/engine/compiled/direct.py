"""Plain systems, query by query: when each part starts and ends is known as soon as it joins its queue.

Where queries are bound when they arrive, queues are first in, first out and unbounded, and nothing comes between, the
next part of a device starts on the lane that is free first (Lindley 1952; Kiefer and Wolfowitz 1955 for several lanes).
So there is no calendar: a device is brought up to the present when a router or a policy looks at it.
"""

from __future__ import annotations

import numpy as np

from sim.engine.compiled.choice import POWER_OF_D, RANDOM, ROUND_ROBIN, choose, route
from sim.engine.compiled.memory import floats, ints, prefetch, reals, words
from sim.engine.compiled.service_times import mean_ns, true_ns
from sim.engine.compiled.tables import (
    FLOW,
    NONE,
    PLAIN_NODE,
    World,
    flows,
    later,
    pending_rows,
    plain_nodes,
    query_rows,
    served_rows,
    world_at,
)
from sim.engine.compiled.world import LEVEL_SHIFT
from sim.engine.record import NEVER, NO_ATTEMPT, NO_PATH, Outcome
from sim.serving.clients import DropReason
from sim.serving.compiled import jit, jit_inline, jit_inner
from sim.serving.estimate import expected_wait_ns, wait_behind
from sim.serving.policies.base import DROP
from sim.serving.routers.backlog import lighter
from sim.serving.routers.power_of_d import draw_distinct, least_backlogged_of

__all__ = ["release_pending", "run_directly"]

AHEAD = 6
"""How many queries before it is looked at something is fetched."""

MANY = 256
"""Nodes from which on these are fetched; fewer stay in the cache."""

PATH_BITS = 8
NOT_IN_TIME = 127 << LEVEL_SHIFT
"""Above every level of accuracy."""

PLAIN_NODE_BYTES, FLOW_BYTES = PLAIN_NODE.itemsize, FLOW.itemsize
FOR_EVER_NS = np.iinfo(np.int64).max
DROPPED, BY_POLICY = int(Outcome.DROPPED), int(DropReason.POLICY)
NEVER_NS, PATHLESS, UNANSWERED = NEVER, NO_PATH, NO_ATTEMPT


@jit_inline
def _has_one_lane(w: World, device: int) -> bool:
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
def _join_one(w: World, device: int, node: int, service: int, expected: int, now_ns: int) -> tuple[int, int]:
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
def _join_several(w: World, device: int, node: int, service: int, expected: int, now_ns: int) -> tuple[int, int]:
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


# -- nodes ------------------------------------------------------------------------------------------------------


@jit_inner
def _bring_to_now(w: World, node: int, now_ns: int) -> None:
    """Bring the devices of a node up to the present."""
    n = plain_nodes(w)[node]
    next_ns = FOR_EVER_NS
    for device in range(n.first_device, n.end_device):
        if _has_one_lane(w, device):
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
        if _has_one_lane(w, device):
            words(w.idle_lanes_at)[device] = int(f.finish_ns == FOR_EVER_NS)
            words(w.waiting_parts_at)[device] = f.waiting
            words(w.waiting_work_ns_at)[device] = f.work_ns
            words(w.lane_until_ns_at)[f.first_lane] = f.until_ns


@jit_inline
def _look_at(w: World, node: int, now_ns: int) -> None:
    """Bring a node up to the present for a router that looks at it."""
    if plain_nodes(w)[node].next_ns <= now_ns:
        _bring_to_now(w, node, now_ns)
    if w.keeps_state > 0:
        _write_state(w, node)


@jit_inner
def _draw_nodes(w: World) -> None:
    """Draw the nodes among which power of d choices picks, for all queries of the chunk: they are always the same."""
    classes = words(w.query_class_at)
    class_model = words(w.class_model_at)
    u, picks = reals(w.router_u_at), words(w.drawn_at)
    for i in range(w.chunk):
        count = words(w.nodes_taking_at + 8 * class_model[classes[i]] * (w.nodes + 1))[0]
        if w.choices == 2 and count > 1:
            # What `draw_distinct` does with two draws.
            one = min(int(u[2 * i] * count), count - 1)
            other = min(int(u[2 * i + 1] * (count - 1)), count - 2)
            picks[2 * i] = one
            picks[2 * i + 1] = other + int(one <= other)
        else:
            draws = floats(w.router_u_at + 8 * i * w.choices, w.choices)
            draw_distinct(draws, count, ints(w.drawn_at + 8 * i * w.choices, w.choices))


@jit_inner
def _route(w: World, i: int, size: int, model: int, now_ns: int) -> int:
    """Return the node of query i of the chunk, up to date."""
    taking = w.nodes_taking_at + 8 * model * (w.nodes + 1)
    count = words(taking)[0]
    among = ints(taking + 8, count)
    w.now = now_ns
    if w.router == POWER_OF_D:
        drawn = ints(w.drawn_at + 8 * i * w.choices, min(w.choices, count))
        for j in range(len(drawn)):
            _look_at(w, among[drawn[j]], now_ns)
        return least_backlogged_of(
            now_ns,
            True,
            drawn,
            among,
            ints(w.node_device_at, w.nodes + 1),
            ints(w.device_lane_at, w.devices + 1),
            ints(w.waiting_work_ns_at, w.devices),
            ints(w.lane_until_ns_at, w.lanes),
            ints(w.unfinished_parts_at, w.nodes),
        )
    if w.router != RANDOM and w.router != ROUND_ROBIN:
        for j in range(count):
            _look_at(w, among[j], now_ns)
    turns = words(w.turns_at)
    turn = turns[0]
    turns[0] += 1
    node = route(w, 0, turn, size, model, floats(w.router_u_at + 8 * i * w.choices, w.choices), among)
    if plain_nodes(w)[node].next_ns <= now_ns:
        _bring_to_now(w, node, now_ns)
    return node


@jit_inline
def _lightest_drawn(w: World, i: int, model: int, now_ns: int) -> int:
    """Return the node with the fewest parts a lane of those drawn for query i, up to date; the first among equals."""
    taking = w.nodes_taking_at + 8 * model * (w.nodes + 1)
    count, among = words(taking)[0], words(taking + 8)
    drawn = words(w.drawn_at + 8 * i * w.choices)
    table = plain_nodes(w)
    best = among[drawn[0]]
    if table[best].next_ns <= now_ns:
        _bring_to_now(w, best, now_ns)
    for j in range(1, min(w.choices, count)):
        node = among[drawn[j]]
        n = table[node]
        if n.next_ns <= now_ns:
            _bring_to_now(w, node, now_ns)
        b = table[best]
        if lighter(n.unfinished, n.lanes, b.unfinished, b.lanes):
            best = node
    return best  # type: ignore[no-any-return]


@jit_inline
def _expected_wait_ns(w: World, device: int, now_ns: int) -> int:
    """Return the wait that a part would expect that joins a device which is up to date."""
    f = flows(w)[device]
    if _has_one_lane(w, device):
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


@jit_inner
def _pick(w: World, first: int, count: int, first_device: int, size: int, query_class: int) -> int:
    """Return the policy's pick among the paths from `first` on, on a node that is up to date."""
    service_out = ints(w.service_out_at, count)
    wait_out = ints(w.wait_out_at, count)
    if w.uses_estimates > 0:
        slots = words(w.path_slot_at)
        slot = -1
        wait_ns = 0
        for k in range(count):
            service_out[k] = mean_ns(w, first + k, size)
            if slots[first + k] != slot and w.sees_queue > 0:
                slot = slots[first + k]
                wait_ns = _expected_wait_ns(w, first_device + slot, w.now)
            wait_out[k] = wait_ns
    accuracy = floats(w.path_accuracy_at + 8 * first, count)
    return choose(w, query_class, size, words(w.class_sla_ns_at)[query_class], accuracy, service_out, wait_out)


@jit_inline
def _pick_most_accurate(
    w: World, first: int, count: int, first_device: int, size: int, query_class: int, now_ns: int
) -> int:
    """Return the choice of `choose_most_accurate_in_time`, without a branch that depends on what is chosen.

    Such branches are guessed wrong more often than not. The path's level of accuracy, its completion and its number
    make one number, the least of which is the choice; those that are not in time come after all levels.
    """
    mean = words(w.mean_ns_at + 8 * (size * w.paths + first))
    slots, level = words(w.path_slot_at + 8 * first), words(w.path_level_at + 8 * first)
    limit_ns = words(w.class_limit_ns_at)[query_class]
    slot = -1
    wait_ns = 0
    seen = 0
    least = FOR_EVER_NS
    for k in range(count):
        if slots[k] != slot and w.sees_queue > 0:
            slot = slots[k]
            wait_ns = _expected_wait_ns(w, first_device + slot, now_ns)
        completion_ns = mean[k] + wait_ns
        seen |= completion_ns
        before = level[k] if completion_ns <= limit_ns else NOT_IN_TIME
        least = min(least, before + (completion_ns << PATH_BITS) + k)
    if seen >> (LEVEL_SHIFT - PATH_BITS) > 0:
        w.now = now_ns
        return _pick(w, first, count, first_device, size, query_class)
    if w.drops_late > 0 and least >= NOT_IN_TIME:
        return DROP
    return least & ((1 << PATH_BITS) - 1)


@jit_inline
def _fetch(w: World, i: int, size: int, by_count: bool) -> None:
    """Let the processor fetch what query i of the chunk is going to look at."""
    prefetch(w.mean_ns_at + 8 * w.paths * min(size, w.tabulated_sizes))
    if by_count and w.nodes >= MANY:
        drawn = words(w.drawn_at + 8 * i * w.choices)
        among = words(w.nodes_taking_at + 8 * words(w.class_model_at)[words(w.query_class_at)[i]] * (w.nodes + 1) + 8)
        for j in range(2):
            node = among[drawn[j]]
            prefetch(w.plain_node_at + PLAIN_NODE_BYTES * node)
            prefetch(w.flow_at + FLOW_BYTES * words(w.node_device_at)[node])
            prefetch(w.flow_at + FLOW_BYTES * words(w.node_device_at)[node] + 64)


@jit
def run_directly(address: int, known_ns: int) -> None:
    """Let the queries of the chunk arrive; what has ended by `known_ns` is handed on, the rest is pending."""
    w: World = world_at(address)
    arrival = words(w.arrival_ns_at)
    sizes = words(w.size_at)
    classes = words(w.query_class_at)
    u = reals(w.service_u_at)
    multiplier = reals(w.multiplier_at)
    class_model = words(w.class_model_at)
    nodes = plain_nodes(w)
    group_path = words(w.group_path_at)
    slots = words(w.path_slot_at)
    units = words(w.path_unit_at)
    done = served_rows(w)
    pending = pending_rows(w)
    in_system, waited = 0, 0
    if w.router == POWER_OF_D:
        _draw_nodes(w)
    by_count = w.router == POWER_OF_D and w.by_work == 0
    for i in range(w.chunk):
        now_ns = arrival[i]
        size = sizes[i]
        model = class_model[classes[i]]
        if i + AHEAD < w.chunk:
            _fetch(w, i + AHEAD, sizes[i + AHEAD], by_count)
        node = _lightest_drawn(w, i, model, now_ns) if by_count else _route(w, i, size, model, now_ns)
        cell = nodes[node].group * w.models + model
        first = group_path[cell]
        first_device = nodes[node].first_device
        paths = group_path[cell + 1] - first
        if w.has_levels > 0 and size < w.tabulated_sizes:
            pick = _pick_most_accurate(w, first, paths, first_device, size, classes[i], now_ns)
        else:
            w.now = now_ns
            pick = _pick(w, first, paths, first_device, size, classes[i])
            if w.error > 0:
                return
        if pick == DROP:
            _drop(w, i)
            continue
        path = first + pick
        m = 1.0
        if units[path] >= 0:
            m = multiplier[i * w.draws * w.units + units[path]]
        service = true_ns(w, path, size, u[i * w.draws], m)
        expected = service if w.knows_service > 0 else mean_ns(w, path, size)
        device = first_device + slots[path]
        if _has_one_lane(w, device):
            lane, start_ns = _join_one(w, device, node, service, expected, now_ns)
        else:
            lane, start_ns = _join_several(w, device, node, service, expected, now_ns)
        finish_ns = start_ns + service
        if finish_ns <= known_ns:
            row = done[w.served_row_count]
            w.served_row_count += 1
            in_system += finish_ns - now_ns
            waited += start_ns - now_ns
        else:
            row = pending[w.pending_row_count]
            w.pending_row_count += 1
        row.query = w.query + i
        row.arrival_ns = now_ns
        row.start_ns = start_ns
        row.finish_ns = finish_ns
        row.size = size
        row.query_class = classes[i]
        row.path = path
        row.lane = lane
    w.query += w.chunk
    w.sum_in_system += in_system
    w.sum_waited += waited


@jit_inner
def _drop(w: World, i: int) -> None:
    """Hand on query i of the chunk, which the policy would rather drop."""
    row = query_rows(w)[w.query_row_count]
    w.query_row_count += 1
    row.query = w.query + i
    row.arrival_ns = words(w.arrival_ns_at)[i]
    row.start_ns = NEVER_NS
    row.finish_ns = NEVER_NS
    row.drop_ns = row.arrival_ns
    row.correct = 0.0
    row.size = words(w.size_at)[i]
    row.query_class = words(w.query_class_at)[i]
    row.node = PATHLESS
    row.path = PATHLESS
    row.answered_by = UNANSWERED
    row.outcome = DROPPED
    row.drop_reason = BY_POLICY


@jit
def release_pending(address: int, known_ns: int) -> None:
    """Hand on what was pending and has ended by now."""
    w: World = world_at(address)
    done = served_rows(w)
    pending = pending_rows(w)
    kept = 0
    for i in range(w.pending_row_count):
        if pending[i].finish_ns <= known_ns:
            done[w.served_row_count] = pending[i]
            w.served_row_count += 1
            w.sum_in_system += pending[i].finish_ns - pending[i].arrival_ns
            w.sum_waited += pending[i].start_ns - pending[i].arrival_ns
        else:
            pending[kept] = pending[i]
            kept += 1
    w.pending_row_count = kept
