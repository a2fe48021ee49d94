"""Sending: what a client does when its query arrives, when a retry is due and when a hedge is.

The compiled counterpart of the first half of `sim.engine.client`.
"""

from __future__ import annotations

from sim.engine.compiled.calendar import TIMER, Kind, schedule
from sim.engine.compiled.clients import fail_live
from sim.engine.compiled.dispatch import PLACED, has_other_node, place
from sim.engine.compiled.ledger import bring_to_now, drop
from sim.engine.compiled.memory import reals, words
from sim.engine.compiled.slots import new_attempt, new_query
from sim.engine.compiled.tables import World, attempts, queries
from sim.engine.record import Cause
from sim.serving.compiled import jit_inner, jit_once

__all__ = ["arrive", "hedge", "retry"]

TIMEOUT, HEDGE = int(Kind.TIMEOUT), int(Kind.HEDGE)
BY_ARRIVAL, BY_HEDGE, BY_RETRY = int(Cause.FIRST), int(Cause.HEDGE), int(Cause.RETRY)


@jit_once
def arrive(w: World) -> None:
    """Let the next query of the chunk arrive."""
    bring_to_now(w)
    w.in_system += 1
    query = _new_query(w)
    if w.has_clients == 0:
        _send_once(w, query)
        return
    q = queries(w)[query]
    generation = q.generation
    if w.budget_tokens >= 0:
        w.tokens = min(w.tokens + w.budget_tokens, w.burst_tokens)
    _send(w, query, BY_ARRIVAL)
    if w.hedges > 0 and q.generation == generation and not q.ended:
        delay_ns = _hedge_delay_ns(w)
        if delay_ns >= 0:
            schedule(w, delay_ns, TIMER, HEDGE, query, generation)


@jit_once
def _new_query(w: World) -> int:
    """Take the next query of the chunk, with its draws, which its attempts may need long after the chunk is over."""
    i = w.chunk_next
    w.chunk_next = i + 1
    query = new_query(w)
    q = queries(w)[query]
    q.query = w.query
    w.query += 1
    q.arrival_ns = w.now
    q.size = words(w.size_at)[i]
    q.query_class = words(w.query_class_at)[i]
    q.model = words(w.class_model_at)[q.query_class]
    q.deadline_ns = w.now + words(w.class_sla_ns_at)[q.query_class]
    q.router = words(w.router_of_at)[i] if w.routers > 1 else 0
    for k in range(w.draws):
        reals(w.query_u_at)[query * w.draws + k] = reals(w.service_u_at)[k * w.chunk + i]
    multipliers = w.draws * w.units
    for k in range(multipliers):
        reals(w.query_multiplier_at)[query * multipliers + k] = reals(w.multiplier_at)[i * multipliers + k]
    choices = w.attempts * w.choices
    for k in range(choices):
        reals(w.query_router_u_at)[query * choices + k] = reals(w.router_u_at)[k * w.chunk + i]
    if w.has_network > 0:
        ways = w.attempts * 2
        for k in range(ways):
            words(w.query_network_ns_at)[query * ways + k] = words(w.network_ns_at)[i * ways + k]
    return query


@jit_once
def _send_once(w: World, query: int) -> None:
    """Send a query whose client does nothing but wait."""
    attempt = new_attempt(w, query)
    if w.has_network > 0:
        attempts(w)[attempt].back_ns = words(w.query_network_ns_at)[query * 2 + 1]
    reason = place(w, attempt, False)
    if reason != PLACED:
        drop(w, query, reason)


@jit_inner
def _send(w: World, query: int, cause: int) -> None:
    """Send an attempt; it has its own draws."""
    q = queries(w)[query]
    attempt = new_attempt(w, query)
    a = attempts(w)[attempt]
    if w.has_network > 0:
        way = (query * w.attempts + a.number) * 2 + 1
        a.back_ns = words(w.query_network_ns_at)[way]
    q.live += 1
    a.cause = cause
    a.sent_ns = w.now
    a.serial = w.attempt_records
    w.attempt_records += 1
    generation = a.generation
    reason = place(w, attempt, cause == BY_HEDGE)
    if reason != PLACED:
        a.dead = True
        a.wanted = False
        fail_live(w, attempt, reason)
    elif w.timeout_ns > 0:
        schedule(w, w.timeout_ns, TIMER, TIMEOUT, attempt, generation)


@jit_once
def retry(w: World, query: int) -> None:
    """The wait before a retry is over."""
    bring_to_now(w)
    _send(w, query, BY_RETRY)


@jit_once
def _hedge_delay_ns(w: World) -> int:
    """Return how long after its arrival a query is hedged; -1 while too few were served to tell."""
    if w.hedge_rank == 0:
        return w.hedge_after_ns  # type: ignore[no-any-return]
    if w.latencies < w.hedge_window:
        return -1
    return int(words(w.latency_sorted_at)[w.hedge_rank - 1])


@jit_once
def hedge(w: World, query: int) -> None:
    """Send a copy if an attempt is still waited for, and there is another node to send it to."""
    q = queries(w)[query]
    if q.live == 0 or q.ended:
        return
    if w.late == 0 and not has_other_node(w, query):
        return
    bring_to_now(w)
    _send(w, query, BY_HEDGE)
