"""Plain systems, query by query: when each part starts and ends is known as soon as it joins its queue.

Where queries are bound when they arrive, queues are first in, first out and unbounded, and nothing comes between, there
is no calendar: a device is brought up to the present when a router or a policy looks at it (`flows`).
"""

from __future__ import annotations

from sim.engine.compiled.choice import POWER_OF_D, RANDOM, ROUND_ROBIN, choose, route
from sim.engine.compiled.flows import (
    end_device_of,
    expected_wait_of_ns,
    first_device_of,
    join,
    lanes_of,
    look_at,
    unfinished_of,
)
from sim.engine.compiled.memory import floats, ints, prefetch, reals, words
from sim.engine.compiled.plain import LEVEL_SHIFT, LINE_BYTES, PATH_BITS
from sim.engine.compiled.service_times import mean_ns, true_ns
from sim.engine.compiled.side_by_side import EIGHT, eight_alike, eight_at, eight_sum, eight_with, least_of_eight
from sim.engine.compiled.single import FOR_EVER_NS
from sim.engine.compiled.tables import (
    FLOW,
    PLAIN_NODE,
    World,
    pending_rows,
    plain_nodes,
    query_rows,
    served_rows,
    world_at,
)
from sim.engine.record import NEVER, NO_ATTEMPT, NO_PATH, Outcome
from sim.serving.clients import DropReason
from sim.serving.compiled import jit, jit_inline, jit_inner
from sim.serving.policies.base import DROP
from sim.serving.routers.backlog import lighter
from sim.serving.routers.power_of_d import draw_distinct, least_backlogged_of

__all__ = ["release_pending", "run_directly"]

AHEAD = 6
"""How many queries before it is looked at something is fetched."""

MANY = 256
"""Nodes from which on these are fetched; fewer stay in the cache."""

LAST_PATH = (1 << PATH_BITS) - 1
NOT_IN_TIME = 127 << LEVEL_SHIFT
"""Above every level of accuracy."""

LONGEST_NS = 1 << (LEVEL_SHIFT - PATH_BITS - 1)
"""Waits and service times from here on do not fit below a level."""

_least = least_of_eight(PATH_BITS, NOT_IN_TIME)

PLAIN_NODE_BYTES, FLOW_BYTES = PLAIN_NODE.itemsize, FLOW.itemsize
DROPPED, BY_POLICY = int(Outcome.DROPPED), int(DropReason.POLICY)
NEVER_NS, PATHLESS, UNANSWERED = NEVER, NO_PATH, NO_ATTEMPT


@jit_inline
def _draw_pair(w: World, i: int, count: int) -> None:
    """Do for query i of the chunk what `draw_distinct` does with two draws."""
    u, picks = reals(w.router_u_at), words(w.drawn_at)
    one = min(int(u[i] * count), count - 1)
    other = min(int(u[w.chunk + i] * (count - 1)), count - 2)
    picks[2 * i] = one
    picks[2 * i + 1] = other + int(one <= other)


@jit_inner
def _draw_pairs(w: World) -> None:
    """Do what `_draw_nodes` does where two of all nodes are drawn, which numbers them as they are."""
    for i in range(w.chunk):
        _draw_pair(w, i, w.nodes)


@jit_inner
def _draw_nodes(w: World, by_count: bool) -> None:
    """Draw the nodes among which power of d choices picks, for all queries of the chunk: they are always the same.

    Nodes are noted where their parts are counted; else their places among the nodes that take the query's model.
    """
    classes = words(w.query_class_at)
    class_model = words(w.class_model_at)
    u, picks = reals(w.router_u_at), words(w.drawn_at)
    for i in range(w.chunk):
        taking = w.nodes_taking_at + 8 * class_model[classes[i]] * (w.nodes + 1)
        count, among = words(taking)[0], words(taking + 8)
        if w.choices == 2 and count > 1:
            _draw_pair(w, i, count)
        else:
            draws = floats(w.draws_out_at, w.choices)
            for k in range(w.choices):
                draws[k] = u[k * w.chunk + i]
            draw_distinct(draws, count, ints(w.drawn_at + 8 * i * w.choices, w.choices))
        if by_count:
            for k in range(i * w.choices, i * w.choices + min(w.choices, count)):
                picks[k] = among[picks[k]]


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
            look_at(w, among[drawn[j]], now_ns)
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
            look_at(w, among[j], now_ns)
    turns = words(w.turns_at)
    turn = turns[0]
    turns[0] += 1
    node = route(w, 0, turn, size, model, floats(w.router_u_at + 8 * i, 1), among)
    look_at(w, node, now_ns)
    return node


@jit_inline
def _drawn_nodes(w: World, model: int) -> int:
    """Return how many nodes are drawn for a query."""
    return min(w.choices, words(w.nodes_taking_at + 8 * model * (w.nodes + 1))[0])  # type: ignore[no-any-return]


@jit_inline
def _lighter_of_two(w: World, i: int, now_ns: int) -> int:
    """Return what `_lightest_drawn` does where two are drawn that have as many lanes."""
    drawn = words(w.drawn_at + 16 * i)
    one, other = drawn[0], drawn[1]
    return other if unfinished_of(w, other, now_ns) < unfinished_of(w, one, now_ns) else one  # type: ignore[no-any-return]


@jit_inline
def _lightest_drawn(w: World, i: int, model: int, now_ns: int) -> int:
    """Return the node with the fewest parts a lane of those drawn for query i, up to date; the first among equals."""
    drawn = words(w.drawn_at + 8 * i * w.choices)
    best = drawn[0]
    least = unfinished_of(w, best, now_ns)
    lanes = lanes_of(w, best)
    for j in range(1, _drawn_nodes(w, model)):
        node = drawn[j]
        unfinished = unfinished_of(w, node, now_ns)
        lighter_one = lighter(unfinished, lanes_of(w, node), least, lanes)
        best = node if lighter_one else best
        least = unfinished if lighter_one else least
        lanes = lanes_of(w, node) if lighter_one else lanes
    return best  # type: ignore[no-any-return]


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
                wait_ns = expected_wait_of_ns(w, first_device + slot, w.now)
            wait_out[k] = wait_ns
    accuracy = floats(w.path_accuracy_at + 8 * first, count)
    return choose(w, query_class, size, words(w.class_sla_ns_at)[query_class], accuracy, service_out, wait_out)


@jit_inline
def _pick_most_accurate(w: World, node: int, first: int, count: int, size: int, query_class: int, now_ns: int) -> int:
    """Return the choice of `choose_most_accurate_in_time`, without a branch that depends on what is chosen.

    The path's level of accuracy, its completion and its number make one number, the least of which is the choice;
    those that are not in time come after all levels.
    """
    mean_at = w.mean_ns_at + 8 * (size * w.paths + first)
    # Shifted like a completion, and above the number of every path: what is not greater is in time.
    limit = (words(w.class_limit_ns_at)[query_class] << PATH_BITS) + LAST_PATH
    first_device = first_device_of(w, node)
    devices = end_device_of(w, node) - first_device if w.sees_queue > 0 else 0
    longest_ns = 0
    least = FOR_EVER_NS
    for k in range(0, count, EIGHT):
        slots = eight_at(w.path_slot_at + 8 * (first + k))
        completions = eight_at(mean_at + 8 * k)
        waits = eight_alike(0)
        for slot in range(devices):
            wait_ns = expected_wait_of_ns(w, first_device + slot, now_ns)
            longest_ns |= wait_ns
            waits = eight_with(waits, slots, slot, wait_ns)
        levels = eight_at(w.path_level_at + 8 * (first + k))
        least = min(least, _least(eight_sum(completions, waits), levels, limit, k, count - k))
    if longest_ns >= LONGEST_NS:
        w.now = now_ns
        return _pick(w, first, count, first_device, size, query_class)
    if w.drops_late > 0 and least >= NOT_IN_TIME:
        return DROP
    return least & LAST_PATH


@jit_inline
def _fetch(w: World, i: int, size: int, model: int, by_count: bool, common: bool) -> None:
    """Let the processor fetch what query i of the chunk is going to look at."""
    prefetch(w.mean_ns_at + 8 * w.paths * min(size, w.tabulated_sizes))
    if by_count and w.nodes >= MANY:
        drawn = words(w.drawn_at + 8 * i * w.choices)
        for j in range(2 if common else min(_drawn_nodes(w, model), 2)):
            node = drawn[j]
            device = node * w.node_devices
            if w.node_devices == 0:
                prefetch(w.plain_node_at + PLAIN_NODE_BYTES * node)
                device = words(w.node_device_at)[node]
            prefetch(w.joined_at + 8 * device)
            for line in range(0, 2 * FLOW_BYTES, LINE_BYTES):
                prefetch(w.flow_at + FLOW_BYTES * device + line)


@jit_inline
def _serve(w: World, known_ns: int, by_count: bool, common: bool) -> None:
    """Let the queries of the chunk arrive, on nodes that were drawn, if they are; `common`: see `_is_common`."""
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
    for i in range(w.chunk):
        now_ns = arrival[i]
        size = sizes[i]
        model = 0 if common else class_model[classes[i]]
        if i + AHEAD < w.chunk:
            _fetch(w, i + AHEAD, sizes[i + AHEAD], 0 if common else class_model[classes[i + AHEAD]], by_count, common)
        if common:
            node = _lighter_of_two(w, i, now_ns)
        else:
            node = _lightest_drawn(w, i, model, now_ns) if by_count else _route(w, i, size, model, now_ns)
        cell = nodes[node].first_cell + model if w.groups > 1 else model
        first = group_path[cell]
        first_device = first_device_of(w, node)
        paths = group_path[cell + 1] - first
        if w.has_levels > 0 and size < w.tabulated_sizes and w.largest_mean_ns < LONGEST_NS:
            pick = _pick_most_accurate(w, node, first, paths, size, classes[i], now_ns)
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
        if not common and units[path] >= 0:
            m = multiplier[i * w.units + units[path]]
        service = true_ns(w, path, size, u[i], m)
        expected = service if w.knows_service > 0 else mean_ns(w, path, size)
        device = first_device + slots[path]
        lane, start_ns = join(w, device, node, service, expected, now_ns)
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


@jit_inline
def _is_common(w: World) -> bool:
    """Whether a system is of the kind that most are: one model, MP-Rec, two choices, nodes alike, of two devices."""
    return (  # type: ignore[no-any-return]
        w.groups == 1
        and w.models == 1
        and w.nodes > 1
        and w.node_devices == 2
        and w.one_lane > 0
        and w.units == 0
        and w.choices == 2
        and w.keeps_state == 0
        and w.sees_queue > 0
        and w.has_levels > 0
        and w.largest_mean_ns < LONGEST_NS
    )


@jit
def run_directly(address: int, known_ns: int) -> None:
    """Let the queries of the chunk arrive; what has ended by `known_ns` is handed on, the rest is pending."""
    w: World = world_at(address)
    by_count = w.router == POWER_OF_D and w.by_work == 0
    if by_count and _is_common(w):
        # The same loop, compiled without the questions that are answered here.
        _draw_pairs(w)
        _serve(w, known_ns, True, True)
    else:
        if w.router == POWER_OF_D:
            _draw_nodes(w, by_count)
        _serve(w, known_ns, by_count, False)


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
