"""Dispatch: an attempt finds its node, its path and its queue, and a part its worth when a lane would take it.

The compiled counterpart of `sim.engine.dispatch` and `sim.engine.binding`.
"""

from __future__ import annotations

from sim.engine.compiled.calendar import ARRIVAL, TIMER, Kind, schedule
from sim.engine.compiled.choice import choose, route
from sim.engine.compiled.clients import fail, withdraw
from sim.engine.compiled.knowledge import catch_up
from sim.engine.compiled.ledger import bring_to_now, join, leave, load, lose
from sim.engine.compiled.lines import append, has_room, wake_if_ready, wake_waiting
from sim.engine.compiled.memory import flags, floats, ints, reals, words
from sim.engine.compiled.service_times import mean_ns, true_ns
from sim.engine.compiled.slots import free_parts, new_part, release
from sim.engine.compiled.tables import NONE, World, attempts, devices, lanes, nodes, parts, queries
from sim.serving.clients import DropReason
from sim.serving.compiled import jit, jit_inner, jit_once
from sim.serving.estimate import expected_wait_ns
from sim.serving.policies.base import DROP
from sim.serving.queueing import Order, Shed, order_key, sheds
from sim.serving.splitting import most_parts, nth_part

__all__ = ["PLACED", "has_other_node", "is_served", "look_up", "nodes_but", "place", "reach"]

PLACED, NO_USABLE_PATH = -1, -2
QUEUE_FULL, BY_POLICY, PAST_DEADLINE, UNAVAILABLE = (
    int(reason) for reason in (DropReason.QUEUE_FULL, DropReason.POLICY, DropReason.DEADLINE, DropReason.UNAVAILABLE)
)
FIFO, NEVER_SHED = int(Order.FIFO), int(Shed.NEVER)
REACH, OVERDUE = int(Kind.REACH), int(Kind.OVERDUE)

count_parts, size_of_part = jit(most_parts), jit(nth_part)


# -- the policy's pick ------------------------------------------------------------------------------------------


@jit_inner
def _pick(w: World, first: int, end: int, node: int, size: int, time_left_ns: int, query_class: int) -> int:
    """Return the policy's pick among the paths from `first` to `end` on a node; DROP or NO_USABLE_PATH without one."""
    count = end - first
    service_out = ints(w.service_out_at, count)
    wait_out = ints(w.wait_out_at, count)
    if w.uses_estimates > 0:
        slots = words(w.path_slot_at)
        first_device = nodes(w)[node].first_device
        for i in range(count):
            service_out[i] = mean_ns(w, first + i, size)
            wait_out[i] = 0
            if w.sees_queue > 0:
                wait_out[i] = expected_wait_ns(
                    first_device + slots[first + i],
                    w.now,
                    ints(w.device_lane_at, w.devices + 1),
                    ints(w.idle_lanes_at, w.devices),
                    ints(w.waiting_parts_at, w.devices),
                    ints(w.waiting_work_ns_at, w.devices),
                    ints(w.lane_until_ns_at, w.lanes),
                )
    accuracy = floats(w.path_accuracy_at + 8 * first, count)
    if not nodes(w)[node].restricted:
        return choose(w, query_class, size, time_left_ns, accuracy, service_out, wait_out)
    # The policy is shown only the paths that are in use.
    place = nodes(w)[node].first_place + first - _first_path(w, node)
    usable = flags(w.usable_paths_at)
    accuracy_out = floats(w.accuracy_out_at, count)
    rows_out = words(w.rows_out_at)
    shown = 0
    for i in range(count):
        if usable[place + i]:
            accuracy_out[shown] = accuracy[i]
            service_out[shown] = service_out[i]
            wait_out[shown] = wait_out[i]
            rows_out[shown] = i
            shown += 1
    if shown == 0:
        return NO_USABLE_PATH
    pick = choose(w, query_class, size, time_left_ns, accuracy_out[:shown], service_out[:shown], wait_out[:shown])
    return pick if pick == DROP else int(rows_out[pick])


@jit_once
def _first_path(w: World, node: int) -> int:
    """Return the first path of a node's group, of whichever model."""
    return int(words(w.group_path_at)[nodes(w)[node].group * w.models])


@jit_inner
def look_up(w: World, part: int, samples: int) -> None:
    """Give a part its true and expected service times for so many samples on its path."""
    p = parts(w)[part]
    unit = words(w.path_unit_at)[p.path]
    multiplier = 1.0
    if unit >= 0:
        place = (p.query * w.draws + p.draw) * w.units + unit
        multiplier = reals(w.query_multiplier_at)[place]
    p.service_ns = true_ns(w, p.path, samples, p.u, multiplier)
    p.expected_ns = p.service_ns if w.knows_service > 0 else mean_ns(w, p.path, samples)


# -- placing an attempt -----------------------------------------------------------------------------------------


@jit_inner
def nodes_but(w: World, query: int, avoids: bool) -> int:
    """Write the nodes that take new attempts to the candidates, without those where the query has live ones."""
    q = queries(w)[query]
    taking = words(w.nodes_taking_at + 8 * q.model * (w.nodes + 1))
    candidates = ints(w.candidates_at, w.nodes)
    table = attempts(w)
    count = 0
    for i in range(1, taking[0] + 1):
        taken = False
        if avoids:
            other = q.first_attempt
            while other != NONE:
                if table[other].wanted and table[other].node == taking[i]:
                    taken = True
                other = table[other].next
        if not taken:
            candidates[count] = taking[i]
            count += 1
    return count


@jit_once
def has_other_node(w: World, query: int) -> bool:
    """Whether an attempt could be sent to a node where none is waited for."""
    return nodes_but(w, query, True) > 0


@jit_inner
def place(w: World, attempt: int, avoids: bool) -> int:
    """Send an attempt to a node, or put it in the central queue; return PLACED or why it failed."""
    if w.late > 0:
        return _place_late(w, attempt)
    a = attempts(w)[attempt]
    query = a.query
    q = queries(w)[query]
    if w.knowledge_delay_ns > 0:
        catch_up(w)
    if avoids:
        count = nodes_but(w, query, True)
        among = ints(w.candidates_at, count)
    else:
        taking = w.nodes_taking_at + 8 * q.model * (w.nodes + 1)
        count = words(taking)[0]
        among = ints(taking + 8, count)
    if count == 0:
        return UNAVAILABLE
    turns = ints(w.turns_at, w.routers)
    turn = turns[q.router]
    turns[q.router] += 1
    if w.rotates > 0:
        # Several routers take turns at being first among nodes that look alike to them.
        rolled = ints(w.best_at, count)
        for i in range(count):
            rolled[i] = among[(i + turn) % count]
        among = rolled
    draws = floats(w.query_router_u_at + 8 * (query * w.attempts + a.number) * w.choices, w.choices)
    node = route(w, q.router, turn, q.size, q.model, draws, among)
    a.node = node
    if w.has_network == 0:
        return _bind(w, attempt)
    load(w, query, node, 1)
    q.active += 1
    out_ns = words(w.query_network_ns_at)[(query * w.attempts + a.number) * 2]
    schedule(w, out_ns, ARRIVAL, REACH, attempt, a.generation)
    return PLACED


@jit_once
def reach(w: World, attempt: int) -> None:
    """An attempt arrives at its node, unless it was called back on the way."""
    bring_to_now(w)
    a = attempts(w)[attempt]
    reason = PLACED if a.dead else _bind(w, attempt)
    load(w, a.query, a.node, -1)
    if reason != PLACED:
        fail(w, attempt, reason)
    release(w, a.query)


@jit_inner
def _bind(w: World, attempt: int) -> int:
    """Bind an attempt to one of its node's paths, cut it into parts, and put these in their queues."""
    a = attempts(w)[attempt]
    q = queries(w)[a.query]
    node = a.node
    n = nodes(w)[node]
    cell = n.group * w.models + q.model
    group_path = words(w.group_path_at)
    first, end = group_path[cell], group_path[cell + 1]
    slots = words(w.path_slot_at)
    time_left_ns = q.deadline_ns - w.way_back_ns - w.now
    pick = 0
    count = 1
    if w.split_by_part > 0:
        count = count_parts(q.size, w.part_size)
    else:
        pick = _pick(w, first, end, node, q.size, time_left_ns, q.query_class)
        if pick < 0:
            return BY_POLICY if pick == DROP else UNAVAILABLE
        if w.part_size > 0 and devices(w)[n.first_device + slots[first + pick]].splits:
            count = count_parts(q.size, w.part_size)
    table = parts(w)
    for k in range(count):
        size = size_of_part(q.size, count, k)
        if w.split_by_part > 0:
            pick = _pick(w, first, end, node, size, time_left_ns, q.query_class)
        reason = UNAVAILABLE if pick == NO_USABLE_PATH else BY_POLICY
        if pick >= 0:
            part = _new_part(w, attempt, size, k)
            p = table[part]
            p.path = first + pick
            look_up(w, part, size)
            p.device = n.first_device + slots[p.path]
            d = devices(w)[p.device]
            p.line = d.first_line
            if d.batch_queries > 0:
                p.line += words(w.path_line_at)[p.path]
            if has_room(w, p.device):
                if w.order != FIFO:
                    _sort(w, part)
                append(w, part)
                join(w, part, node)
                continue
            reason = QUEUE_FULL
        _take_back(w, attempt)
        return reason
    a.left = count
    q.node = node
    part = a.first_part
    while part != NONE:
        following = table[part].sibling
        device = table[part].device
        d = devices(w)[device]
        if d.batch_queries == 0:
            wake_waiting(w, device)
        else:
            wake_if_ready(w, device)
            if d.batch_timeout_ns > 0:
                schedule(w, d.batch_timeout_ns, TIMER, OVERDUE, device, 0)
        part = following
    return PLACED


@jit_once
def _new_part(w: World, attempt: int, size: int, k: int) -> int:
    """Return a new part of an attempt, with the draw that is its own."""
    part = new_part(w, attempt, size)
    p = parts(w)[part]
    p.draw = attempts(w)[attempt].number * w.attempt_parts + k
    p.u = reals(w.query_u_at)[p.query * w.draws + p.draw]
    return part


@jit_inner
def _take_back(w: World, attempt: int) -> None:
    """Take the parts of an attempt that have joined out of their queues: they never were there."""
    withdraw(w, attempt)
    free_parts(w, attempt)


@jit_once
def _place_late(w: World, attempt: int) -> int:
    """Put an attempt, or its parts, in the central queue."""
    a = attempts(w)[attempt]
    size = queries(w)[a.query].size
    count = count_parts(size, w.part_size)
    for k in range(count):
        if not has_room(w, 0):
            _take_back(w, attempt)
            return QUEUE_FULL
        part = _new_part(w, attempt, size_of_part(size, count, k), k)
        parts(w)[part].line = 0
        if w.order != FIFO:
            _sort(w, part)
        append(w, part)
        join(w, part, NONE)
    a.left = count
    wake_waiting(w, 0)
    return PLACED


@jit_once
def _sort(w: World, part: int) -> None:
    """Give a part what its queue sorts it by."""
    p = parts(w)[part]
    q = queries(w)[p.query]
    p.key = order_key(w.order, p.size, q.deadline_ns, words(w.class_priority_at)[q.query_class])


# -- a lane would take a part -----------------------------------------------------------------------------------


@jit_inner
def is_served(w: World, part: int, lane: int) -> bool:
    """Count a part out of its queue; False if it is not served, because its attempt has failed or now does."""
    bring_to_now(w)
    leave(w, part)
    late = w.late > 0
    keeps = _bind_late(w, part, lane) if late else w.shed == NEVER_SHED or _is_worth_serving(w, part)
    if not keeps:
        lose(w, part)
    return keeps


@jit_inner
def _is_worth_serving(w: World, part: int) -> bool:
    """Whether the part's attempt has not failed, and is not to be shed now; sheds it otherwise."""
    p = parts(w)[part]
    if attempts(w)[p.attempt].dead:
        return False
    if not sheds(w.shed, w.now, queries(w)[p.query].deadline_ns, p.expected_ns + w.way_back_ns):
        return True
    fail(w, p.attempt, PAST_DEADLINE)
    return False


@jit_once
def _bind_late(w: World, part: int, lane: int) -> bool:
    """Let the policy pick among the paths of the lane's device; False if the part is not served instead."""
    p = parts(w)[part]
    if attempts(w)[p.attempt].dead:
        return False
    of_lane = lanes(w)[lane]
    q = queries(w)[p.query]
    n = nodes(w)[of_lane.node]
    cell = n.group * w.models + q.model
    group_path = words(w.group_path_at)
    slots = words(w.path_slot_at)
    slot = of_lane.device - n.first_device
    first = group_path[cell]
    while slots[first] != slot:
        first += 1
    end = first
    while end < group_path[cell + 1] and slots[end] == slot:
        end += 1
    pick = _pick(w, first, end, of_lane.node, p.size, q.deadline_ns - w.now, q.query_class)
    if pick < 0:
        fail(w, p.attempt, BY_POLICY if pick == DROP else UNAVAILABLE)
        return False
    p.path = first + pick
    look_up(w, part, p.size)
    p.device = of_lane.device
    if w.shed != NEVER_SHED and not _is_worth_serving(w, part):
        return False
    q.node = of_lane.node
    load(w, p.query, of_lane.node, 1)
    return True
