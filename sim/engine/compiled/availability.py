"""Availability: which devices are up and open, and what becomes of the work on a device that goes down.

The compiled counterpart of `sim.engine.availability`.
"""

from __future__ import annotations

from sim.engine.compiled.calendar import wake
from sim.engine.compiled.clients import fail, withdraw
from sim.engine.compiled.ledger import add_span, bring_to_now, leave, lose
from sim.engine.compiled.lines import next_of, remove, retire
from sim.engine.compiled.memory import flags, reals, words
from sim.engine.compiled.pace import cut, slow
from sim.engine.compiled.slots import release
from sim.engine.compiled.tables import NONE, World, devices, lanes, lines, nodes, parts, queries
from sim.engine.record import Span
from sim.serving.clients import DropReason
from sim.serving.compiled import jit_inner, jit_once
from sim.serving.faults import Change

__all__ = ["carry_out_fault", "change_node", "is_open", "refresh_node", "refresh_taking"]

BY_FAULT = int(DropReason.FAULT)
DOWN, UP, CLOSE, OPEN = int(Change.DOWN), int(Change.UP), int(Change.CLOSE), int(Change.OPEN)
WAS_DOWN, WAS_CLOSED = int(Span.DOWN), int(Span.CLOSED)


@jit_inner
def is_open(w: World, device: int) -> bool:
    """Whether a device takes new attempts."""
    d = devices(w)[device]
    return bool(d.downs == 0 and d.closes == 0)


@jit_once
def carry_out_fault(w: World) -> None:
    """Carry out the rows of the schedule that are for this instant."""
    bring_to_now(w)
    times = words(w.fault_ns_at)
    first = w.fault_next
    end = first
    touched = 0
    while end < w.fault_rows and times[end] == w.now:
        touched = _mark(
            w,
            touched,
            words(w.fault_device_at)[end],
            words(w.fault_change_at)[end],
            reals(w.fault_slowdown_at)[end],
        )
        end += 1
    w.fault_next = end
    _settle_touched(w, touched)


@jit_inner
def change_node(w: World, node: int, what: int) -> None:
    """Close or open every device of a node."""
    n = nodes(w)[node]
    touched = 0
    for device in range(n.first_device, n.end_device):
        touched = _mark(w, touched, device, what, 1.0)
    _settle_touched(w, touched)


@jit_once
def _mark(w: World, touched: int, device: int, what: int, slowdown: float) -> int:
    """Carry out a change as far as it concerns its device alone; return how many devices are touched."""
    d = devices(w)[device]
    if d.touched == 0:
        d.touched = 1
        d.was_up = d.downs == 0
        d.was_open = d.closes == 0
        words(w.touched_at)[touched] = device
        touched += 1
    if what == DOWN:
        d.downs += 1
    elif what == UP:
        d.downs -= 1
    elif what == CLOSE:
        d.closes += 1
    elif what == OPEN:
        d.closes -= 1
    else:
        slow(w, device, slowdown)
    return touched


@jit_inner
def _settle_touched(w: World, touched: int) -> None:
    """Carry out what follows from the changes of this instant, device by device."""
    order = words(w.touched_at)
    table = devices(w)
    for i in range(touched):
        d = table[order[i]]
        _note(w, order[i], WAS_DOWN, d.was_up, d.downs == 0)
        _note(w, order[i], WAS_CLOSED, d.was_open, d.closes == 0)
        d.touched = 0
    changed = False
    for i in range(touched):
        if refresh_node(w, table[order[i]].node):
            changed = True
    if changed:
        refresh_taking(w)
    for i in range(touched):
        if table[order[i]].was_up and table[order[i]].downs > 0:
            _evict(w, order[i])
    for i in range(touched):
        _set_lanes(w, order[i])


@jit_inner
def _note(w: World, device: int, kind: int, was: bool, now: bool) -> None:
    """Write down how long a device was down or closed, once that is over."""
    since_ns = words(w.since_ns_at)
    since_order = words(w.since_order_at)
    if was and not now:
        since_ns[2 * device + kind] = w.now
        since_order[2 * device + kind] = w.span_order
        w.span_order += 1
    elif now and not was:
        add_span(w, device, kind, since_ns[2 * device + kind], w.now)
        since_order[2 * device + kind] = NONE


@jit_inner
def refresh_node(w: World, node: int) -> bool:
    """Say which paths of a node are in use; whether it takes new attempts for other models than before."""
    n = nodes(w)[node]
    group_path = words(w.group_path_at)
    first = group_path[n.group * w.models]
    usable = flags(w.usable_paths_at)
    held = flags(w.held_paths_at)
    routable = flags(w.routable_at)
    slots = words(w.path_slot_at)
    restricted = False
    changed = False
    for model in range(w.models):
        some = False
        for path in range(group_path[n.group * w.models + model], group_path[n.group * w.models + model + 1]):
            place = n.first_place + path - first
            opened = held[place] and is_open(w, n.first_device + slots[path])
            usable[place] = opened
            if opened:
                some = True
            else:
                restricted = True
        if routable[model * w.nodes + node] != some:
            routable[model * w.nodes + node] = some
            changed = True
    n.restricted = restricted
    return changed


@jit_inner
def refresh_taking(w: World) -> None:
    """Write the nodes that take new attempts anew, model by model."""
    routable = flags(w.routable_at)
    for model in range(w.models):
        taking = words(w.nodes_taking_at + 8 * model * (w.nodes + 1))
        count = 0
        for node in range(w.nodes):
            if routable[model * w.nodes + node]:
                count += 1
                taking[count] = node
        taking[0] = count


@jit_inner
def _fail_whole(w: World, part: int) -> None:
    """Let the attempt of a part fail, and what waits of it elsewhere leave its queues; what is in service runs on."""
    p = parts(w)[part]
    withdraw(w, p.attempt)
    fail(w, p.attempt, BY_FAULT)


@jit_once
def _evict(w: World, device: int) -> None:
    """Let everything fail that is on a device which went down."""
    d = devices(w)[device]
    table = parts(w)
    for lane in range(d.first_lane, d.end_lane):
        part = lanes(w)[lane].first_part
        if part == NONE:
            continue
        held = part
        while held != NONE:
            queries(w)[table[held].query].active += 1
            held = table[held].companion
        cut(w, lane)
        while part != NONE:
            following = table[part].companion
            query = table[part].query
            _fail_whole(w, part)
            release(w, query)
            part = following
    if w.late > 0:
        return
    while d.waiting > 0:
        part = next_of(w, _first_line(w, device))
        query = table[part].query
        queries(w)[query].active += 1
        remove(w, part)
        leave(w, part)
        lose(w, part)
        _fail_whole(w, part)
        release(w, query)


@jit_once
def _first_line(w: World, device: int) -> int:
    """Return the line of a device, among those that are not empty, that something first joined."""
    d = devices(w)[device]
    table = lines(w)
    found = NONE
    for line in range(d.first_line, d.first_line + d.lines):
        if table[line].parts > 0 and (found == NONE or table[line].born < table[found].born):
            found = line
    return found


@jit_once
def _set_lanes(w: World, device: int) -> None:
    """Let the lanes of a device stop taking parts, or take them again."""
    d = devices(w)[device]
    # Under early binding a closed device still serves what waits in its own queue.
    takes = is_open(w, device) if w.late > 0 else d.downs == 0
    table = lanes(w)
    for lane in range(d.first_lane, d.end_lane):
        if table[lane].takes != takes:
            table[lane].takes = takes
            if table[lane].resting:
                retire(w, lane)
                table[lane].resting = False
                wake(w, lane)
