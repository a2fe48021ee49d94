"""Clients: they give up waiting, send again what failed, and hedge what takes long.

Every query that was offered ends once, by the first answer or by the failure of its last attempt. An attempt ends
when it is answered, beaten by another, or failed; nodes may go on serving one that nobody waits for any more.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import deque
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from sim.engine.dispatch import PLACED, Dispatcher, Draws
from sim.engine.instant import Clock, Rank, after
from sim.engine.ledger import Ledger
from sim.engine.record import AttemptEnd, Cause
from sim.engine.station import Attempt, Lane
from sim.serving.clients import TOKEN, Cancel, Clients, DropReason

__all__ = ["ClientSide"]

TIMEOUT = int(DropReason.TIMEOUT)


class Flight:
    """A query that has not ended, as its client sees it."""

    __slots__ = ("arrival_ns", "draws", "live", "query", "retries", "router", "router_u", "sent", "size", "ways_ns")

    def __init__(
        self,
        query: int,
        arrival_ns: int,
        size: int,
        router: int,
        router_u: NDArray[np.float64],
        draws: Draws,
        ways_ns: Sequence[int],
    ) -> None:
        self.query = query
        self.arrival_ns = arrival_ns
        self.size = size
        self.router_u = router_u
        self.draws = draws
        self.router = router
        self.ways_ns = ways_ns
        self.live: list[Attempt] = []
        self.sent = 0
        self.retries = 0


class ClientSide:
    """What all clients do.

    Parameters
    ----------
    settings : Clients
    env : Clock
    ledger : Ledger
    dispatcher : Dispatcher
    cut : callable
        ``cut(lane)`` stops what the lane serves.
    """

    def __init__(
        self,
        settings: Clients,
        env: Clock,
        ledger: Ledger,
        dispatcher: Dispatcher,
        cut: Callable[[Lane], None],
    ) -> None:
        self.settings = settings
        self.env = env
        self.ledger = ledger
        self.recorder = ledger.recorder
        self.dispatcher = dispatcher
        self.cut = cut
        self.flights: dict[int, Flight] = {}
        self.tokens = settings.burst_tokens
        self.latencies: deque[int] = deque()
        self.sorted_latencies: list[int] = []

    def arrive(
        self,
        query: int,
        size: int,
        router: int,
        router_u: NDArray[np.float64],
        draws: Draws,
        ways_ns: Sequence[int],
    ) -> None:
        """Send the first attempt of a query, and set the time at which it is hedged."""
        settings = self.settings
        if settings.budget_tokens >= 0:
            self.tokens = min(self.tokens + settings.budget_tokens, settings.burst_tokens)
        flight = self.flights[query] = Flight(query, self.env.now, size, router, router_u, draws, ways_ns)
        self.send(flight, Cause.FIRST)
        if settings.hedges and query in self.flights:
            delay_ns = self.hedge_delay_ns()
            if delay_ns is not None:
                after(self.env, delay_ns, Rank.TIMER, lambda: self.hedge(flight))

    def send(self, flight: Flight, cause: Cause) -> None:
        """Send an attempt; it has its own draws."""
        settings = self.settings
        attempt = Attempt(flight.query, flight.size, flight.sent)
        avoid = [other.node for other in flight.live] if cause == Cause.HEDGE else ()
        parts = len(flight.draws) // settings.most_attempts
        choices = len(flight.router_u) // settings.most_attempts
        k = flight.sent
        flight.sent += 1
        out_ns = None
        attempt.router = flight.router
        if flight.ways_ns:
            out_ns, attempt.back_ns = flight.ways_ns[2 * k : 2 * k + 2]
        flight.live.append(attempt)
        self.recorder.send_attempt(attempt, cause, self.env.now)
        reason = self.dispatcher.place(
            attempt,
            flight.router_u[k * choices : (k + 1) * choices],
            flight.draws[k * parts : (k + 1) * parts],
            out_ns,
            avoid,
        )
        if reason != PLACED:
            attempt.dead = True
            attempt.wanted = False
            self.failed(attempt, reason)
        elif settings.timeout_ns:
            after(self.env, settings.timeout_ns, Rank.TIMER, lambda: self.expire(attempt))

    # -- what ends an attempt ---------------------------------------------------------------------------------

    def failed(self, attempt: Attempt, reason: int) -> None:
        """An attempt that was waited for has failed: another may be on its way, or is sent later, or the query ends."""
        flight = self.flights[attempt.query]
        flight.live.remove(attempt)
        self.recorder.end_attempt(attempt, AttemptEnd.FAILED + reason, self.env.now)
        if flight.live:
            return
        if self.may_retry(flight, reason):
            backoff_ns = self.settings.backoff_ns[flight.retries]
            flight.retries += 1
            after(self.env, backoff_ns, Rank.TIMER, lambda: self.retry(flight))
        else:
            del self.flights[attempt.query]
            self.ledger.drop(attempt.query, reason)

    def expire(self, attempt: Attempt) -> None:
        """The client has waited long enough for this attempt."""
        if not attempt.wanted:
            return
        self.ledger.count()
        attempt.wanted = False
        self.cancel(attempt, self.settings.timeout_cancel)
        self.failed(attempt, TIMEOUT)

    def answered(self, attempt: Attempt, node: int) -> None:
        """The query is served by this attempt on `node`: nobody waits for its other attempts any more."""
        flight = self.flights.pop(attempt.query)
        attempt.wanted = False
        self.recorder.node[attempt.query] = node
        self.recorder.end_attempt(attempt, AttemptEnd.ANSWERED, self.env.now)
        for other in flight.live:
            if other is not attempt:
                other.wanted = False
                self.recorder.end_attempt(other, AttemptEnd.BEATEN, self.env.now)
                self.cancel(other, self.settings.hedge_cancel)
        if self.settings.hedge_rank:
            self.remember(self.env.now - flight.arrival_ns)

    def cancel(self, attempt: Attempt, how: int) -> None:
        """Stop, of an attempt that nobody waits for, what is to be stopped."""
        if how == Cancel.NONE:
            return
        attempt.dead = True
        self.dispatcher.withdraw(attempt)
        if how == Cancel.RUNNING:
            for part in attempt.parts:
                lane = part.lane
                if lane is not None and all(other.attempt.dead for other in lane.serving):
                    self.cut(lane)

    # -- retries ----------------------------------------------------------------------------------------------

    def may_retry(self, flight: Flight, reason: int) -> bool:
        """Whether the query is sent again after this failure; takes the retry from the budget."""
        settings = self.settings
        if flight.retries == len(settings.backoff_ns) or not settings.retried[reason]:
            return False
        again_ns = self.env.now + settings.backoff_ns[flight.retries]
        if not settings.past_deadline and again_ns > self.ledger.deadline_ns(flight.query):
            return False
        if settings.budget_tokens >= 0:
            if self.tokens < TOKEN:
                return False
            self.tokens -= TOKEN
        return True

    def retry(self, flight: Flight) -> None:
        """The wait before a retry is over."""
        self.ledger.count()
        self.send(flight, Cause.RETRY)

    # -- hedges -----------------------------------------------------------------------------------------------

    def hedge_delay_ns(self) -> int | None:
        """Return how long after its arrival a query is hedged; None while too few were served to tell."""
        settings = self.settings
        if not settings.hedge_rank:
            return settings.hedge_after_ns
        if len(self.latencies) < settings.hedge_window:
            return None
        return self.sorted_latencies[settings.hedge_rank - 1]

    def hedge(self, flight: Flight) -> None:
        """Send a copy if an attempt is still waited for, and there is another node to send it to."""
        if not flight.live or flight.query not in self.flights:
            return
        dispatcher = self.dispatcher
        if not self.ledger.late and not dispatcher.has_other_node(flight.live):
            return
        self.ledger.count()
        self.send(flight, Cause.HEDGE)

    def remember(self, latency_ns: int) -> None:
        """Count a latency among the last ones."""
        self.latencies.append(latency_ns)
        insort(self.sorted_latencies, latency_ns)
        if len(self.latencies) > self.settings.hedge_window:
            oldest = self.latencies.popleft()
            del self.sorted_latencies[bisect_left(self.sorted_latencies, oldest)]
