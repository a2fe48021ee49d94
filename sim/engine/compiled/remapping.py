"""Re-mapping while the fleet serves: what is decided, and how nodes change from one mapping to another.

The compiled counterpart of `sim.engine.remapping`.
"""

from __future__ import annotations

from sim.engine.compiled.availability import is_open, refresh_node, refresh_taking
from sim.engine.compiled.calendar import TIMER, Kind, schedule
from sim.engine.compiled.ledger import bring_to_now
from sim.engine.compiled.memory import flags, floats, ints, truths, words
from sim.engine.compiled.tables import World, nodes
from sim.serving.compiled import jit, jit_inner, jit_once
from sim.serving.remapping import capacity_per_s, first_that_carries

__all__ = ["begin", "decide", "loaded", "tick"]

TICK, LOADED = int(Kind.REMAP_TICK), int(Kind.REMAP_LOADED)

_capacity_per_s, _first_that_carries = jit(capacity_per_s), jit(first_that_carries)


@jit_once
def begin(w: World) -> None:
    """Put the experiment's own mapping in force, and decide from then on."""
    for node in range(w.nodes):
        _hold(w, node)
    refresh_taking(w)
    if w.remap_every_ns > 0:
        schedule(w, w.remap_every_ns, TIMER, TICK, 0, 0)


@jit_inner
def _paths(w: World, node: int) -> tuple[int, int]:
    """Return the first and the end of the paths of a node's group."""
    group_path = words(w.group_path_at)
    group = nodes(w)[node].group
    return group_path[group], group_path[group + 1]


@jit_inner
def _hold(w: World, node: int) -> None:
    """Let a node hold what it is asked to."""
    first, end = _paths(w, node)
    held = flags(w.held_paths_at)
    asked = truths(w.in_force_at, w.mappings * w.paths)
    place = nodes(w)[node].first_place
    for path in range(first, end):
        held[place + path - first] = asked[w.mapping * w.paths + path]
    refresh_node(w, node)


@jit_once
def tick(w: World) -> None:
    """Look at the load of the last interval, decide, and wait for the next."""
    offered = w.in_system + w.ended
    w.remap_rate_per_s = (offered - w.remap_offered) * 1e9 / w.remap_every_ns
    w.remap_known = 1
    w.remap_offered = offered
    decide(w)
    schedule(w, w.remap_every_ns, TIMER, TICK, 0, 0)


@jit_inner
def decide(w: World) -> None:
    """Begin to change to another mapping if the load asks for it."""
    mapping = _choose(w)
    if mapping == w.mapping:
        return
    bring_to_now(w)
    w.mapping = mapping
    w.remap_round += 1
    held = flags(w.held_paths_at)
    asked = flags(w.in_force_at)
    changing = words(w.remap_nodes_at)
    count = 0
    for node in range(w.nodes):
        first, end = _paths(w, node)
        place = nodes(w)[node].first_place
        for path in range(first, end):
            if held[place + path - first] != asked[w.mapping * w.paths + path]:
                changing[count] = node
                count += 1
                break
    w.remap_count = count
    w.remap_next = 0
    _change(w)


@jit_once
def _choose(w: World) -> int:
    """Return the first mapping that the load leaves room in; the one of the greatest capacity if none does."""
    rate_per_s = w.remap_rate_per_s
    if w.remap_known == 0:
        rate_per_s = (w.in_system + w.ended) * 1e9 / w.now if w.now > 0 else 0.0
    opened = truths(w.best_at, w.devices)
    for device in range(w.devices):
        opened[device] = is_open(w, device)
    capacities = floats(w.picks_at, w.mappings)
    for mapping in range(w.mappings):
        capacities[mapping] = _capacity_per_s(
            truths(w.in_force_at + mapping * w.paths, w.paths),
            floats(w.lane_rate_per_s_at, w.paths),
            ints(w.path_slot_at, w.paths),
            ints(w.node_group_at, w.nodes),
            ints(w.group_path_at, w.groups + 1),
            ints(w.node_device_at, w.nodes + 1),
            ints(w.device_lane_at, w.devices + 1),
            opened,
        )
    return _first_that_carries(rate_per_s, w.remap_target, capacities)


@jit_inner
def _change(w: World) -> None:
    """Let the next nodes drop what they are not to hold, and load what they are; the others follow."""
    end = min(w.remap_next + w.remap_at_once, w.remap_count)
    if w.remap_next == end:
        return
    changing = words(w.remap_nodes_at)
    held = flags(w.held_paths_at)
    asked = flags(w.in_force_at)
    load_ns = words(w.load_ns_at)
    slots = words(w.path_slot_at)
    longest_ns = 0
    changed = False
    for i in range(w.remap_next, end):
        node = changing[i]
        first, last = _paths(w, node)
        n = nodes(w)[node]
        for slot in range(n.end_device - n.first_device):
            of_device_ns = 0
            for path in range(first, last):
                place = n.first_place + path - first
                if slots[path] == slot and asked[w.mapping * w.paths + path] and not held[place]:
                    of_device_ns += load_ns[path]
            longest_ns = max(longest_ns, of_device_ns)
        for path in range(first, last):
            if not asked[w.mapping * w.paths + path]:
                held[n.first_place + path - first] = False
        if refresh_node(w, node):
            changed = True
    if changed:
        refresh_taking(w)
    schedule(w, longest_ns, TIMER, LOADED, 0, w.remap_round)


@jit_once
def loaded(w: World, round_: int) -> None:
    """The nodes that were loading hold the new mapping, and the next ones begin; unless a later decision came."""
    if round_ != w.remap_round:
        return
    end = min(w.remap_next + w.remap_at_once, w.remap_count)
    changing = words(w.remap_nodes_at)
    for i in range(w.remap_next, end):
        _hold(w, changing[i])
    refresh_taking(w)
    w.remap_next = end
    _change(w)
