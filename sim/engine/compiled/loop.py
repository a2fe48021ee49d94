"""The loop: what happens next, until the queries at hand have arrived or the clock stops.

Queries come in order from the chunk at hand, faults from their schedule, all else from the calendar; a lane that was
woken goes before all of them.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sim.engine.compiled import remapping, scaling
from sim.engine.compiled.availability import carry_out_fault
from sim.engine.compiled.calendar import ARRIVAL, FAULT, STOP, TIMER, Kind, next_order, next_woken, pop_event
from sim.engine.compiled.calendar import schedule as schedule_event
from sim.engine.compiled.clients import answer_arrives, expire
from sim.engine.compiled.dispatch import reach
from sim.engine.compiled.lanes import complete_lane, go_on, take
from sim.engine.compiled.ledger import UNSTARTED, add_span, bring_to_now, integrate
from sim.engine.compiled.lines import wake_if_ready
from sim.engine.compiled.memory import ints, words
from sim.engine.compiled.sending import arrive, hedge, retry
from sim.engine.compiled.slots import hand_on
from sim.engine.compiled.tables import NONE, World, attempts, events, lines, nodes, parts, queries, world_at
from sim.engine.record import Span
from sim.engine.scaling import Phase
from sim.serving.compiled import jit, jit_inner, jit_once

__all__ = ["CHUNK_IS_OVER", "FAILED", "NEEDS_ROOM", "STOPPED", "begin", "run", "settle"]

CHUNK_IS_OVER, NEEDS_ROOM, STOPPED, FAILED = range(4)

COMPLETION, ANSWER, REACH, OVERDUE, TIMEOUT, HEDGE, RETRY, SCALE, READY, TICK, DECIDE, LOADED = (
    int(kind) for kind in Kind
)
OFF = int(Phase.OFF)
WAS_OFF = int(Span.OFF)


@jit
def begin(address: int, initial: NDArray[np.int64], order: NDArray[np.int64]) -> None:
    """Set everything out as it is at the start: `initial` nodes of each scaler are up, lanes rest in this order."""
    w: World = world_at(address)
    for scaler in range(len(initial)):
        scaling.begin(w, scaler, initial[scaler])
    if w.remaps > 0:
        remapping.begin(w)
    for i in range(len(order)):
        take(w, order[i])
    w.arrival_order = next_order(w, ARRIVAL)


@jit_inner
def _has_room(w: World, mass: bool) -> bool:
    """Whether there is room for whatever the next step may bring; `mass` is one that may end everything."""
    over = w.row_margin
    if mass:
        over += w.queries_used
    elif w.sheds > 0:
        over += w.waiting
    return bool(
        (w.free_query != NONE or w.queries_used < w.query_room)
        and w.attempts_used < w.attempt_room
        and w.parts_used + w.attempt_parts <= w.part_room
        and w.event_count + w.event_margin + over + (w.busy_lanes_margin if mass else 0) <= w.event_room
        and w.query_row_count + over <= w.query_row_room
        and w.attempt_row_count + over * w.attempts <= w.attempt_row_room
        and w.part_row_count + over * w.draws <= w.part_row_room
        and w.span_row_count + 4 * w.devices <= w.span_row_room
        and (
            w.knowledge_delay_ns == 0
            or w.change_count + w.change_margin + 8 * (over * w.draws + (w.lanes if mass else 0)) <= w.change_room
        )
    )


@jit
def run(address: int) -> int:
    """Let things happen until the chunk is over, the clock stops, or a table is too small for what may come next."""
    w: World = world_at(address)
    fault_times = words(w.fault_ns_at)
    while True:
        if w.error > 0:
            return FAILED
        if not _has_room(w, False):
            return NEEDS_ROOM
        if w.wake_count > 0:
            go_on(w, next_woken(w))
            continue
        heap = events(w)
        # 0: the calendar, 1: an arrival, 2: a fault, 3: the stop.
        what = 0
        time_ns, order = 0, 0
        if w.chunk_next < w.chunk:
            what = 1
            time_ns = words(w.arrival_ns_at)[w.chunk_next]
            order = w.arrival_order
        elif w.final > 0:
            what = 3
            time_ns = w.stop_ns
            order = STOP
        else:
            return CHUNK_IS_OVER
        if w.event_count > 0 and (heap[0].time_ns < time_ns or (heap[0].time_ns == time_ns and heap[0].order < order)):
            what = 0
            time_ns = heap[0].time_ns
            order = heap[0].order
        if w.fault_next < w.fault_rows:
            fault_ns = fault_times[w.fault_next]
            if fault_ns < time_ns or (fault_ns == time_ns and order > FAULT):
                what = 2
                time_ns = fault_ns
        if (what == 2 or (what == 0 and heap[0].kind >= SCALE)) and not _has_room(w, True):
            return NEEDS_ROOM
        w.now = time_ns
        if what == 1:
            arrive(w)
            w.arrival_order = next_order(w, ARRIVAL)
        elif what == 0:
            _happen(w)
        elif what == 2:
            carry_out_fault(w)
            if w.remap_on_fault > 0:
                schedule_event(w, 0, TIMER, DECIDE, 0, 0)
        else:
            return STOPPED


@jit_once
def _happen(w: World) -> None:
    """Let the first event of the calendar happen."""
    event = events(w)[0]
    kind = event.kind
    first = event.first
    second = event.second
    order = event.order
    pop_event(w)
    if kind == COMPLETION:
        complete_lane(w, first, order)
    elif kind == ANSWER:
        if attempts(w)[first].generation == second:
            answer_arrives(w, first)
    elif kind == REACH:
        reach(w, first)
    elif kind == OVERDUE:
        wake_if_ready(w, first)
    elif kind == TIMEOUT:
        if attempts(w)[first].generation == second:
            expire(w, first)
    elif kind == HEDGE:
        if queries(w)[first].generation == second:
            hedge(w, first)
    elif kind == RETRY:
        if queries(w)[first].generation == second:
            retry(w, first)
    elif kind == SCALE:
        scaling.decide(w, first)
    elif kind == READY:
        scaling.ready(w, first, order)
    elif kind == TICK:
        remapping.tick(w)
    elif kind == DECIDE:
        remapping.decide(w)
    else:
        remapping.loaded(w, second)


@jit
def settle(address: int) -> None:
    """Settle the accounts when the clock stops, and hand on everything that is not over."""
    w: World = world_at(address)
    bring_to_now(w)
    table = parts(w)
    for line in range(w.line_room):
        part = lines(w)[line].first
        while part != NONE:
            integrate(w, UNSTARTED, 1, w.now - table[part].enqueue_ns)
            part = table[part].after
    for query in range(w.queries_used):
        if queries(w)[query].active > 0:
            hand_on(w, query)
    _end_spans(w)


@jit_once
def _end_spans(w: World) -> None:
    """Write down what is still down, closed or off, in the order in which it began."""
    since_ns = words(w.since_ns_at)
    since_order = ints(w.since_order_at, 2 * w.devices)
    for entry in np.argsort(since_order):
        if since_order[entry] != NONE:
            add_span(w, entry // 2, entry % 2, since_ns[entry], w.now)
    for scaler in range(w.scalers):
        group = _off_nodes(w, scaler)
        for node in group:
            n = nodes(w)[node]
            for device in range(n.first_device, n.end_device):
                add_span(w, device, WAS_OFF, n.off_since_ns, w.now)


@jit_inner
def _off_nodes(w: World, scaler: int) -> Any:
    """Return the nodes of a group that are off, in the order in which they were switched off."""
    orders = np.empty(w.nodes, dtype=np.int64)
    found = np.empty(w.nodes, dtype=np.int64)
    count = 0
    for node in range(w.nodes):
        n = nodes(w)[node]
        if n.scaler == scaler and n.phase == OFF:
            orders[count] = n.off_order
            found[count] = node
            count += 1
    return found[:count][np.argsort(orders[:count])]
