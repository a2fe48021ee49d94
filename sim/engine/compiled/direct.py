"""Plain systems, query by query: when each part starts and ends is known as soon as it joins its queue.

Where queries are bound when they arrive, queues are first in, first out and unbounded, and nothing comes between, the
next part of a device starts on the lane that is free first (Lindley 1952; Kiefer and Wolfowitz 1955 for several lanes).
So there is no calendar: a device is brought up to the present when a router or a policy looks at it.
"""

from __future__ import annotations

import numpy as np

from sim.engine.compiled.choice import POWER_OF_D, RANDOM, ROUND_ROBIN, choose, route
from sim.engine.compiled.memory import floats, ints, reals, words
from sim.engine.compiled.service_times import mean_ns, true_ns
from sim.engine.compiled.tables import (
    NONE,
    World,
    flows,
    later,
    pending_rows,
    query_rows,
    served_rows,
    world_at,
)
from sim.engine.record import NEVER, NO_ATTEMPT, NO_PATH, Outcome
from sim.serving.clients import DropReason
from sim.serving.compiled import jit, jit_inline, jit_inner
from sim.serving.estimate import expected_wait_ns
from sim.serving.policies.base import DROP
from sim.serving.routers.power_of_d import draw_distinct

__all__ = ["release_pending", "run_directly"]

FOR_EVER_NS = np.iinfo(np.int64).max
DROPPED, BY_POLICY = int(Outcome.DROPPED), int(DropReason.POLICY)
NEVER_NS, PATHLESS, UNANSWERED = NEVER, NO_PATH, NO_ATTEMPT


@jit_inner
def _bring_to_now(w: World, device: int, node: int, now_ns: int) -> None:
    """Bring a device up to the present: start what waits and is due, and count what has ended."""
    f = flows(w)[device]
    waiting_parts = words(w.waiting_parts_at)
    idle_lanes = words(w.idle_lanes_at)
    busy_until_ns = words(w.busy_until_ns_at)
    first_lane, end_lane = f.first_lane, f.end_lane
    before = waiting_parts[device] + (end_lane - first_lane) - idle_lanes[device]
    if f.next_start_ns <= now_ns:
        table = later(w)
        waiting_work_ns = words(w.waiting_work_ns_at)
        lane_until_ns = words(w.lane_until_ns_at)
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
        if entry == NONE:
            f.last = NONE
            f.next_start_ns = FOR_EVER_NS
        else:
            f.next_start_ns = table[entry].start_ns
    idle = 0
    next_end_ns = FOR_EVER_NS
    if end_lane - first_lane == 1:
        end_ns = busy_until_ns[first_lane]
        idle = int(end_ns <= now_ns)
        next_end_ns = FOR_EVER_NS if idle else end_ns
    else:
        for lane in range(first_lane, end_lane):
            if busy_until_ns[lane] <= now_ns:
                idle += 1
            elif busy_until_ns[lane] < next_end_ns:
                next_end_ns = busy_until_ns[lane]
    idle_lanes[device] = idle
    f.next_change_ns = min(f.next_start_ns, next_end_ns)
    after = waiting_parts[device] + (end_lane - first_lane) - idle
    words(w.unfinished_parts_at)[node] -= before - after


@jit_inline
def _bring_node_to_now(w: World, node: int, now_ns: int) -> None:
    node_device = words(w.node_device_at)
    table = flows(w)
    for device in range(node_device[node], node_device[node + 1]):
        if table[device].next_change_ns <= now_ns:
            _bring_to_now(w, device, node, now_ns)


@jit_inline
def _route(w: World, i: int, size: int, model: int, now_ns: int) -> int:
    """Return the node of query i of the chunk; -1 if no node takes it."""
    taking = w.nodes_taking_at + 8 * model * (w.nodes + 1)
    count = words(taking)[0]
    if count == 0:
        return NONE
    among = ints(taking + 8, count)
    draws = floats(w.router_u_at + 8 * i * w.choices, w.choices)
    turns = words(w.turns_at)
    turn = turns[0]
    turns[0] += 1
    if w.router == POWER_OF_D:
        picks = ints(w.picks_at, w.choices)
        for j in range(draw_distinct(draws, count, picks)):
            _bring_node_to_now(w, among[picks[j]], now_ns)
    elif w.router != RANDOM and w.router != ROUND_ROBIN:
        for j in range(count):
            _bring_node_to_now(w, among[j], now_ns)
    w.now = now_ns
    node = route(w, 0, turn, size, model, draws, among)
    if w.router == RANDOM or w.router == ROUND_ROBIN:
        _bring_node_to_now(w, node, now_ns)
    return node


@jit_inline
def _pick(w: World, first: int, count: int, node: int, size: int, query_class: int) -> int:
    """Return the policy's pick among the paths from `first` on, on a node that is up to date."""
    service_out = ints(w.service_out_at, count)
    wait_out = ints(w.wait_out_at, count)
    if w.uses_estimates > 0:
        slots = words(w.path_slot_at)
        first_device = words(w.node_device_at)[node]
        slot = -1
        wait_ns = 0
        for k in range(count):
            service_out[k] = mean_ns(w, first + k, size)
            if w.sees_queue > 0 and slots[first + k] != slot:
                slot = slots[first + k]
                wait_ns = expected_wait_ns(
                    first_device + slot,
                    w.now,
                    ints(w.device_lane_at, w.devices + 1),
                    ints(w.idle_lanes_at, w.devices),
                    ints(w.waiting_parts_at, w.devices),
                    ints(w.waiting_work_ns_at, w.devices),
                    ints(w.lane_until_ns_at, w.lanes),
                )
            wait_out[k] = wait_ns
    accuracy = floats(w.path_accuracy_at + 8 * first, count)
    sla_ns = words(w.class_sla_ns_at)[query_class]
    return choose(w, query_class, size, sla_ns, accuracy, service_out, wait_out)


@jit_inline
def _join(w: World, device: int, node: int, service: int, expected: int, now_ns: int) -> tuple[int, int]:
    """Let a part join a device that is up to date; return its lane and its start."""
    f = flows(w)[device]
    busy_until_ns = words(w.busy_until_ns_at)
    free_ns = words(w.free_ns_at)
    order = words(w.lane_order_at)
    idle_lanes = words(w.idle_lanes_at)
    words(w.unfinished_parts_at)[node] += 1
    lane = f.first_lane
    if idle_lanes[device] > 0:
        # Nothing waits; the first idle lane starts it at once.
        while busy_until_ns[lane] > now_ns:
            lane += 1
        start_ns = now_ns
        idle_lanes[device] -= 1
        busy_until_ns[lane] = now_ns + service
        words(w.lane_until_ns_at)[lane] = now_ns + expected
        f.next_change_ns = min(f.next_change_ns, now_ns + service)
    else:
        for other in range(f.first_lane + 1, f.end_lane):
            if free_ns[other] < free_ns[lane] or (free_ns[other] == free_ns[lane] and order[other] < order[lane]):
                lane = other
        start_ns = free_ns[lane]
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
        if f.last == NONE:
            f.first = entry
            f.next_start_ns = start_ns
            f.next_change_ns = min(f.next_change_ns, start_ns)
        else:
            table[f.last].next = entry
        f.last = entry
        words(w.waiting_parts_at)[device] += 1
        words(w.waiting_work_ns_at)[device] += expected
    free_ns[lane] = start_ns + service
    w.serial += 1
    order[lane] = w.serial
    return lane, start_ns


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
    node_group = words(w.node_group_at)
    node_device = words(w.node_device_at)
    group_path = words(w.group_path_at)
    slots = words(w.path_slot_at)
    units = words(w.path_unit_at)
    done = served_rows(w)
    pending = pending_rows(w)
    in_system, waited = 0, 0
    for i in range(w.chunk):
        now_ns = arrival[i]
        size = sizes[i]
        model = class_model[classes[i]]
        node = _route(w, i, size, model, now_ns)
        cell = node_group[node] * w.models + model
        first = group_path[cell]
        pick = _pick(w, first, group_path[cell + 1] - first, node, size, classes[i])
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
        lane, start_ns = _join(w, node_device[node] + slots[path], node, service, expected, now_ns)
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
