"""Slots: rows of the tables of queries, attempts and parts, taken when a query comes and given back when it is over.

A query is over when it has ended and nothing of it waits, is served or is under way. Then its rows are handed on.
"""

from __future__ import annotations

from sim.engine.compiled.tables import (
    NO_ROOM_FOR_ROWS,
    NONE,
    TABLE_FULL,
    World,
    attempt_rows,
    attempts,
    part_rows,
    parts,
    queries,
    query_rows,
)
from sim.engine.record import NEVER, NO_ATTEMPT, NO_PATH, AttemptEnd, Outcome
from sim.serving.compiled import jit_inner, jit_once

__all__ = ["hand_on", "new_attempt", "new_part", "new_query", "release"]

NEVER_NS, PATHLESS, UNANSWERED = NEVER, NO_PATH, NO_ATTEMPT
IN_TIME, LATE, DROPPED, IN_FLIGHT = (
    int(outcome) for outcome in (Outcome.SERVED_IN_TIME, Outcome.SERVED_LATE, Outcome.DROPPED, Outcome.IN_FLIGHT)
)
UNFINISHED = int(AttemptEnd.UNFINISHED)


@jit_once
def new_query(w: World) -> int:
    """Return the number of a row for a query that has just arrived."""
    table = queries(w)
    slot = w.free_query
    if slot != NONE:
        w.free_query = table[slot].next
    else:
        slot = w.queries_used
        if slot >= w.query_room:
            w.error = TABLE_FULL
            return 0
        w.queries_used = slot + 1
    q = table[slot]
    q.start_ns = NEVER_NS
    q.finish_ns = NEVER_NS
    q.drop_ns = NEVER_NS
    q.correct = 0.0
    q.node = PATHLESS
    q.path = PATHLESS
    q.answered_by = UNANSWERED
    q.sent = 0
    q.retries = 0
    q.live = 0
    q.active = 1
    q.first_attempt = NONE
    q.last_attempt = NONE
    q.drop_reason = -1
    q.ended = False
    return int(slot)


@jit_inner
def new_attempt(w: World, query: int) -> int:
    """Return the number of a row for another attempt at a query."""
    table = attempts(w)
    slot = w.free_attempt
    if slot != NONE:
        w.free_attempt = table[slot].next
    else:
        slot = w.attempts_used
        if slot >= w.attempt_room:
            w.error = TABLE_FULL
            return 0
        w.attempts_used = slot + 1
    a = table[slot]
    q = queries(w)[query]
    a.query = query
    a.number = q.sent
    a.size = q.size
    a.node = PATHLESS
    a.path = PATHLESS
    a.left = 0
    a.correct = 0.0
    a.wanted = True
    a.dead = False
    a.back_ns = 0
    a.end = UNFINISHED
    a.end_ns = NEVER_NS
    a.first_part = NONE
    a.last_part = NONE
    a.next = NONE
    if q.first_attempt == NONE:
        q.first_attempt = slot
    else:
        table[q.last_attempt].next = slot
    q.last_attempt = slot
    q.sent += 1
    return int(slot)


@jit_once
def new_part(w: World, attempt: int, size: int) -> int:
    """Return the number of a row for another part of an attempt."""
    table = parts(w)
    slot = w.free_part
    if slot != NONE:
        w.free_part = table[slot].sibling
    else:
        slot = w.parts_used
        if slot >= w.part_room:
            w.error = TABLE_FULL
            return 0
        w.parts_used = slot + 1
    p = table[slot]
    a = attempts(w)[attempt]
    p.attempt = attempt
    p.query = a.query
    p.size = size
    p.enqueue_ns = w.now
    p.key = 0
    p.path = PATHLESS
    p.device = NONE
    p.line = NONE
    p.lane = NONE
    p.sibling = NONE
    p.companion = NONE
    p.queued = False
    p.started = False
    p.serving = False
    p.cut = False
    if a.first_part == NONE:
        a.first_part = slot
    else:
        table[a.last_part].sibling = slot
    a.last_part = slot
    return int(slot)


@jit_once
def free_parts(w: World, attempt: int) -> None:
    """Give back the rows of all parts of an attempt."""
    a = attempts(w)[attempt]
    if a.first_part != NONE:
        parts(w)[a.last_part].sibling = w.free_part
        w.free_part = a.first_part
        a.first_part = NONE
        a.last_part = NONE


@jit_inner
def release(w: World, query: int) -> None:
    """Take one reason away why a query is not over; hand it on if it was the last."""
    q = queries(w)[query]
    q.active -= 1
    if q.active == 0:
        hand_on(w, query)
        table = attempts(w)
        attempt = q.first_attempt
        while attempt != NONE:
            free_parts(w, attempt)
            table[attempt].generation += 1
            attempt = table[attempt].next
        if q.first_attempt != NONE:
            table[q.last_attempt].next = w.free_attempt
            w.free_attempt = q.first_attempt
        q.generation += 1
        q.next = w.free_query
        w.free_query = query


@jit_inner
def hand_on(w: World, query: int) -> None:
    """Write the rows of a query, of its attempts, and of those of its parts that were served."""
    q = queries(w)[query]
    if w.query_row_count >= w.query_row_room:
        w.error = NO_ROOM_FOR_ROWS
        return
    row = query_rows(w)[w.query_row_count]
    w.query_row_count += 1
    row.query = q.query
    row.arrival_ns = q.arrival_ns
    row.start_ns = q.start_ns
    row.finish_ns = q.finish_ns
    row.drop_ns = q.drop_ns
    row.correct = q.correct
    row.size = q.size
    row.query_class = q.query_class
    row.node = q.node
    row.path = q.path
    row.answered_by = q.answered_by
    row.drop_reason = q.drop_reason
    if q.drop_reason >= 0:
        row.outcome = DROPPED
    elif q.finish_ns == NEVER_NS:
        row.outcome = IN_FLIGHT
    else:
        row.outcome = IN_TIME if q.finish_ns <= q.deadline_ns else LATE
    table = attempts(w)
    attempt = q.first_attempt
    while attempt != NONE:
        if w.has_clients > 0:
            _hand_on_attempt(w, query, attempt)
        _hand_on_parts(w, query, attempt)
        attempt = table[attempt].next


@jit_once
def _hand_on_attempt(w: World, query: int, attempt: int) -> None:
    if w.attempt_row_count >= w.attempt_row_room:
        w.error = NO_ROOM_FOR_ROWS
        return
    q = queries(w)[query]
    a = attempts(w)[attempt]
    row = attempt_rows(w)[w.attempt_row_count]
    w.attempt_row_count += 1
    row.serial = a.serial
    row.query = q.query
    row.sent_ns = a.sent_ns
    row.end_ns = a.end_ns
    row.query_class = q.query_class
    row.cause = a.cause
    row.end = a.end


@jit_once
def _hand_on_parts(w: World, query: int, attempt: int) -> None:
    q = queries(w)[query]
    a = attempts(w)[attempt]
    table = parts(w)
    part = a.first_part
    while part != NONE:
        p = table[part]
        if p.started:
            if w.part_row_count >= w.part_row_room:
                w.error = NO_ROOM_FOR_ROWS
                return
            row = part_rows(w)[w.part_row_count]
            w.part_row_count += 1
            row.serial = p.record
            row.query = q.query
            row.enqueue_ns = p.enqueue_ns
            row.start_ns = p.start_ns
            row.finish_ns = p.finish_ns
            row.batch = p.batch
            row.batch_samples = p.batch_samples
            row.size = p.size
            row.query_class = q.query_class
            row.path = p.path
            row.lane = p.lane
            row.attempt = a.number
            row.leads = p.leads
            row.cut = p.cut
            row.wasted = p.cut or (q.ended and a.number != q.answered_by)
        part = p.sibling
