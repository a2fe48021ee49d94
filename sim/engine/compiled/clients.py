"""What ends an attempt: an answer, a failure, a timeout or another attempt that was faster.

The compiled counterpart of the second half of `sim.engine.client`; sending is in `sim.engine.compiled.sending`.
"""

from __future__ import annotations

from typing import Any

from sim.engine.compiled.calendar import TIMER, Kind, schedule
from sim.engine.compiled.ledger import answer, bring_to_now, drop, leave, lose
from sim.engine.compiled.lines import remove
from sim.engine.compiled.memory import flags, words
from sim.engine.compiled.pace import cut
from sim.engine.compiled.slots import release
from sim.engine.compiled.tables import NONE, World, attempts, lanes, parts, queries
from sim.engine.record import AttemptEnd
from sim.serving.clients import TOKEN, Cancel, DropReason
from sim.serving.compiled import jit_inner, jit_once

__all__ = ["answer_arrives", "answer_attempt", "end_attempt", "expire", "fail", "fail_live", "withdraw"]

RETRY = int(Kind.RETRY)
ANSWERED, BEATEN, FAILED = int(AttemptEnd.ANSWERED), int(AttemptEnd.BEATEN), int(AttemptEnd.FAILED)
TIMEOUT = int(DropReason.TIMEOUT)
REASONS = len(DropReason)
NOTHING, RUNNING = int(Cancel.NONE), int(Cancel.RUNNING)
A_RETRY = int(TOKEN)


@jit_inner
def fail(w: World, attempt: int, reason: int) -> None:
    """Let an attempt fail that had joined its queues; parts of it that wait are left out when their turn comes."""
    a = attempts(w)[attempt]
    a.dead = True
    if a.wanted:
        a.wanted = False
        if w.has_clients > 0:
            fail_live(w, attempt, reason)
        else:
            drop(w, a.query, reason)


@jit_inner
def fail_live(w: World, attempt: int, reason: int) -> None:
    """An attempt failed that was waited for: another may be on its way, or is sent later, or the query ends."""
    query = attempts(w)[attempt].query
    q = queries(w)[query]
    q.live -= 1
    end_attempt(w, attempt, FAILED + reason)
    if q.live > 0:
        return
    if _may_retry(w, query, reason):
        backoff_ns = words(w.backoff_ns_at)[q.retries]
        q.retries += 1
        schedule(w, backoff_ns, TIMER, RETRY, query, q.generation)
    else:
        drop(w, query, reason)


@jit_inner
def end_attempt(w: World, attempt: int, end: int) -> None:
    """Write down that nobody waits for an attempt any more, and why."""
    a = attempts(w)[attempt]
    a.end = end
    a.end_ns = w.now


@jit_once
def _may_retry(w: World, query: int, reason: int) -> bool:
    """Whether the query is sent again after this failure; takes the retry from the budget."""
    q = queries(w)[query]
    if q.retries == w.retries or not flags(w.retried_at)[reason]:
        return False
    again_ns = w.now + words(w.backoff_ns_at)[q.retries]
    if w.past_deadline == 0 and again_ns > q.deadline_ns:
        return False
    if w.budget_tokens >= 0:
        if w.tokens < A_RETRY:
            return False
        w.tokens -= A_RETRY
    return True


@jit_inner
def withdraw(w: World, attempt: int) -> None:
    """Take the parts of an attempt that still wait out of their queues."""
    table = parts(w)
    part = attempts(w)[attempt].first_part
    while part != NONE:
        following = table[part].sibling
        if table[part].queued:
            remove(w, part)
            leave(w, part)
            lose(w, part)
        part = following


@jit_once
def _is_all_dead(w: World, lane: int) -> bool:
    """Whether nobody waits for anything that a lane serves."""
    table = parts(w)
    part = lanes(w)[lane].first_part
    while part != NONE:
        if not attempts(w)[table[part].attempt].dead:
            return False
        part = table[part].companion
    return True


@jit_inner
def _cancel(w: World, attempt: int, how: int) -> None:
    """Stop, of an attempt that nobody waits for, what is to be stopped. Its query has to be held."""
    if how == NOTHING:
        return
    attempts(w)[attempt].dead = True
    withdraw(w, attempt)
    if how == RUNNING:
        table = parts(w)
        part = attempts(w)[attempt].first_part
        while part != NONE:
            following = table[part].sibling
            if table[part].serving and _is_all_dead(w, table[part].lane):
                cut(w, table[part].lane)
            part = following


@jit_once
def expire(w: World, attempt: int) -> None:
    """The client has waited long enough for this attempt."""
    a = attempts(w)[attempt]
    if not a.wanted:
        return
    bring_to_now(w)
    query = a.query
    queries(w)[query].active += 1
    a.wanted = False
    _cancel(w, attempt, w.timeout_cancel)
    fail_live(w, attempt, TIMEOUT)
    release(w, query)


@jit_once
def answer_arrives(w: World, attempt: int) -> None:
    """Hand an answer that was under way to the client, if it still waits."""
    if attempts(w)[attempt].wanted:
        bring_to_now(w)
        answer_attempt(w, attempt)


@jit_inner
def answer_attempt(w: World, attempt: int) -> None:
    """Hand an answer to the client, which waits: the query ends, and nobody waits for its other attempts any more."""
    table = attempts(w)
    a = table[attempt]
    query = a.query
    q = queries(w)[query]
    answer(w, attempt, a.path)
    if w.has_clients > 0:
        a.wanted = False
        q.node = a.node
        end_attempt(w, attempt, ANSWERED)
        other = q.first_attempt
        while other != NONE:
            if table[other].wanted:
                table[other].wanted = False
                end_attempt(w, other, BEATEN)
                _cancel(w, other, w.hedge_cancel)
            other = table[other].next
        q.live = 0
        if w.hedge_rank > 0:
            _remember(w, w.now - q.arrival_ns)
    release(w, query)


@jit_inner
def _rank(ordered: Any, count: int, value: int) -> int:
    """Return how many of the first `count` numbers, which ascend, are less than a value."""
    low, high = 0, count
    while low < high:
        middle = (low + high) // 2
        if ordered[middle] < value:
            low = middle + 1
        else:
            high = middle
    return low


@jit_once
def _remember(w: World, latency_ns: int) -> None:
    """Count a latency among the last ones, instead of the oldest of them."""
    ring = words(w.latency_ring_at)
    ordered = words(w.latency_sorted_at)
    count = w.latencies
    gap = count
    if count < w.hedge_window:
        ring[count] = latency_ns
        w.latencies = count + 1
    else:
        gap = _rank(ordered, count, ring[w.latency_first])
        ring[w.latency_first] = latency_ns
        w.latency_first = (w.latency_first + 1) % w.hedge_window
    # What lies between the gap and the new place moves by one.
    place = _rank(ordered, count, latency_ns)
    if place > gap:
        for k in range(gap, place - 1):
            ordered[k] = ordered[k + 1]
        ordered[place - 1] = latency_ns
    else:
        for k in range(gap, place, -1):
            ordered[k] = ordered[k - 1]
        ordered[place] = latency_ns
