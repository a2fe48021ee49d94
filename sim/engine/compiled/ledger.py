"""The accounts of a replication: what is where at this instant, and the integrals of it over time.

The compiled counterpart of `sim.engine.ledger`; what happens to a query, an attempt or a part is counted here.
"""

from __future__ import annotations

from sim.engine.compiled.knowledge import UNFINISHED, WAITING, WORK, busy_until, change
from sim.engine.compiled.memory import words
from sim.engine.compiled.slots import release
from sim.engine.compiled.tables import (
    NO_ROOM_FOR_ROWS,
    NONE,
    World,
    attempts,
    lanes,
    nodes,
    parts,
    queries,
    scalers,
    span_rows,
)
from sim.engine.scaling import Phase
from sim.serving.compiled import jit_inner, jit_once

__all__ = [
    "add_span",
    "answer",
    "bring_to_now",
    "drop",
    "end_part",
    "integrate",
    "join",
    "leave",
    "load",
    "lose",
    "start_part",
    "switch_off",
]

LOW = 20
"""Products of time and number are added up in two words, of which the second counts in 2^20."""

IN_SYSTEM, IN_QUEUES, UNSTARTED = range(3)
"""The totals."""

DRAINING, OFF = int(Phase.DRAINING), int(Phase.OFF)


@jit_inner
def integrate(w: World, total: int, number: int, time_ns: int) -> None:
    """Add number x time to a total."""
    sums = words(w.totals_at)
    sums[2 * total] += (time_ns & ((1 << LOW) - 1)) * number
    sums[2 * total + 1] += (time_ns >> LOW) * number + (sums[2 * total] >> LOW)
    sums[2 * total] &= (1 << LOW) - 1


@jit_inner
def bring_to_now(w: World) -> None:
    """Bring the integrals up to now; to be called before anything of this instant changes."""
    elapsed_ns = w.now - w.counted_ns
    if elapsed_ns > 0:
        integrate(w, IN_SYSTEM, w.in_system, elapsed_ns)
        integrate(w, IN_QUEUES, w.waiting, elapsed_ns)
        w.counted_ns = w.now


# -- queries ----------------------------------------------------------------------------------------------------


@jit_inner
def drop(w: World, query: int, reason: int) -> None:
    """End a query that is not served."""
    q = queries(w)[query]
    q.drop_reason = reason
    q.drop_ns = w.now
    q.ended = True
    w.in_system -= 1
    w.ended += 1
    release(w, query)


@jit_once
def answer(w: World, attempt: int, path: int) -> None:
    """End the query of an attempt that is served, by a last part on `path`; it is still to be released."""
    a = attempts(w)[attempt]
    q = queries(w)[a.query]
    w.in_system -= 1
    w.ended += 1
    if w.now <= q.deadline_ns:
        w.in_time += 1
    q.finish_ns = w.now
    q.path = path
    q.correct = a.correct
    q.answered_by = a.number
    q.ended = True


# -- parts ------------------------------------------------------------------------------------------------------


@jit_inner
def load(w: World, query: int, node: int, by: int) -> None:
    """Count what was sent to a node and has not finished, as it is and as the query's router sees it."""
    change(w, UNFINISHED, node, by)
    if w.has_scalers > 0 and nodes(w)[node].scaler != NONE:
        _loaded(w, node, by)
    if w.routers > 1:
        words(w.seen_unfinished_parts_at)[queries(w)[query].router * w.nodes + node] += by


@jit_once
def _loaded(w: World, node: int, by: int) -> None:
    """Count what is unfinished in a scaled group; a node that drains and has nothing left is switched off."""
    s = scalers(w)[nodes(w)[node].scaler]
    s.unfinished_integral += (w.now - s.unfinished_at_ns) * s.unfinished
    s.unfinished_at_ns = w.now
    s.unfinished += by
    if nodes(w)[node].phase == DRAINING and words(w.unfinished_parts_at)[node] == 0:
        switch_off(w, node)


@jit_inner
def switch_off(w: World, node: int) -> None:
    """Stop paying for a node, which is closed and empty."""
    n = nodes(w)[node]
    n.phase = OFF
    n.off_since_ns = w.now
    n.off_order = w.off_order
    w.off_order += 1


@jit_once
def join(w: World, part: int, node: int) -> None:
    """Count a part into the queue of its device on a node, or into the central one."""
    p = parts(w)[part]
    p.queued = True
    w.waiting += 1
    queries(w)[p.query].active += 1
    if w.late == 0:
        change(w, WAITING, p.device, 1)
        change(w, WORK, p.device, p.expected_ns)
        load(w, p.query, node, 1)


@jit_inner
def leave(w: World, part: int) -> None:
    """Count a part out of its queue."""
    p = parts(w)[part]
    p.queued = False
    w.waiting -= 1
    if w.late == 0:
        change(w, WAITING, p.device, -1)
        change(w, WORK, p.device, -p.expected_ns)


@jit_inner
def lose(w: World, part: int) -> None:
    """Count out a part that has left its queue and will never start; its query may be over with it."""
    p = parts(w)[part]
    integrate(w, UNSTARTED, 1, w.now - p.enqueue_ns)
    if w.late == 0:
        load(w, p.query, attempts(w)[p.attempt].node, -1)
    release(w, p.query)


@jit_once
def start_part(w: World, part: int, lane: int, service_ns: int) -> None:
    """Count a part into a lane, which will serve it so long if nothing comes between."""
    p = parts(w)[part]
    p.started = True
    p.serving = True
    p.lane = lane
    p.start_ns = w.now
    p.finish_ns = w.now + service_ns
    p.batch = w.starts
    p.record = w.part_records
    w.part_records += 1
    q = queries(w)[p.query]
    if q.start_ns < 0:
        q.start_ns = w.now


@jit_once
def end_part(w: World, part: int) -> None:
    """Count a part out of the lane that served it, or that was cut off while it did; it is still to be released."""
    p = parts(w)[part]
    p.serving = False
    busy_until(w, p.lane, w.now)
    load(w, p.query, lanes(w)[p.lane].node, -1)


# -- devices ----------------------------------------------------------------------------------------------------


@jit_inner
def add_span(w: World, device: int, kind: int, from_ns: int, to_ns: int) -> None:
    """Write down how long a device was down, closed or off."""
    if w.span_row_count >= w.span_row_room:
        w.error = NO_ROOM_FOR_ROWS
        return
    row = span_rows(w)[w.span_row_count]
    w.span_row_count += 1
    row.device = device
    row.kind = kind
    row.from_ns = from_ns
    row.to_ns = to_ns
