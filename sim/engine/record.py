"""What one replication leaves behind: per-query and per-part records in integer nanoseconds."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["NEVER", "NO_ATTEMPT", "NO_PATH", "AttemptEnd", "Cause", "Outcome", "RunRecord", "Span"]

NEVER = -1
"""Time stamp of something that did not happen before the clock stopped."""

NO_PATH = -1
"""Path or node index of a query that was never bound to one."""

NO_ATTEMPT = -1
"""Attempt that served a query which was not served."""


class Outcome(IntEnum):
    """How an offered query ended. Every query has exactly one."""

    SERVED_IN_TIME = 0
    SERVED_LATE = 1
    DROPPED = 2
    IN_FLIGHT = 3


class Cause(IntEnum):
    """Why an attempt was sent."""

    FIRST = 0
    HEDGE = 1
    RETRY = 2


class AttemptEnd(IntEnum):
    """How an attempt ended; a failed one has `FAILED` plus the index of its drop reason."""

    UNFINISHED = 0
    ANSWERED = 1
    BEATEN = 2
    FAILED = 3


class Span(IntEnum):
    """Why a device took no new attempts for a while; one that is off is closed as well."""

    DOWN = 0
    CLOSED = 1
    OFF = 2


@dataclass(frozen=True, slots=True)
class RunRecord:
    """The outcome of one replication, as arrays; every engine returns exactly these.

    Attributes
    ----------
    arrival_ns, size, start_ns, finish_ns : int64, shape (queries,)
        Scheduled arrival, number of candidates, start of the first part and finish of the last part.
        `start_ns` and `finish_ns` are `NEVER` where that did not happen before `stop_ns`.
    query_class : int32, shape (queries,)
        Index into the system's classes of queries; 0 for all where there are none.
    node, path : int32, shape (queries,)
        Node that served the query and path (index into the system's path kinds) of the part that finished
        last; `NO_PATH` where the query was not bound.
    correct : float64, shape (queries,)
        Expected correct predictions of a served query, the sum over its parts of part size x accuracy; 0 for
        queries that were not served.
    outcome : int8, shape (queries,)
        An `Outcome` value.
    drop_reason : int8, shape (queries,)
        Index into the engine's drop reasons for dropped queries, otherwise -1.
    drop_ns : int64, shape (queries,)
        When a dropped query was dropped, otherwise `NEVER`.
    answered_by : int32, shape (queries,)
        Number of the attempt that served the query, 0 for its first; `NO_ATTEMPT` if none did.
    part_query, part_attempt, part_path, part_lane, part_size : shape (parts,)
    part_enqueue_ns, part_start_ns, part_finish_ns, part_batch : shape (parts,)
        One entry per part that started service before `stop_ns`, in the order of starts. A query that is not
        split has one part. `part_lane` numbers the lanes of the whole fleet; `part_finish_ns` is the scheduled
        finish and may lie beyond `stop_ns`. Parts that a lane serves together have the same number in `part_batch`.
    part_cut : bool, shape (parts,)
        Whether service was cut off unfinished, at `part_finish_ns`.
    attempt_query, attempt_cause, attempt_sent_ns, attempt_end_ns, attempt_end : shape (attempts,)
        Every attempt in the order of sending, with a `Cause`, an `AttemptEnd`, and `NEVER` where it did not end;
        empty where queries have one attempt only, because nothing is configured that sends another.
    span_device, span_kind, span_from_ns, span_to_ns : shape (spans,)
        When devices were down, closed or off, with a `Span`; those that never ended end at `stop_ns`.
    end_ns : int
        End of the arrival period; throughput and utilisation are taken over windows that end here.
    stop_ns : int
        When the clock stopped: `end_ns` plus the drain.
    in_system_integral : int
        Integral of the number of admitted, unfinished queries over [0, stop_ns], in query nanoseconds, counted
        event by event and not from the stamps above.
    waiting_integral : int
        Integral of the number of waiting parts over [0, stop_ns], in part nanoseconds, counted likewise.
    unstarted_wait_ns : int
        Total wait of the parts that never started: those still in a queue at `stop_ns`, and those whose query was
        dropped while they waited.
    """

    arrival_ns: NDArray[np.int64]
    size: NDArray[np.int64]
    query_class: NDArray[np.int32]
    start_ns: NDArray[np.int64]
    finish_ns: NDArray[np.int64]
    node: NDArray[np.int32]
    path: NDArray[np.int32]
    correct: NDArray[np.float64]
    outcome: NDArray[np.int8]
    drop_reason: NDArray[np.int8]
    drop_ns: NDArray[np.int64]
    answered_by: NDArray[np.int32]
    part_query: NDArray[np.int64]
    part_attempt: NDArray[np.int32]
    part_path: NDArray[np.int32]
    part_lane: NDArray[np.int32]
    part_size: NDArray[np.int64]
    part_enqueue_ns: NDArray[np.int64]
    part_start_ns: NDArray[np.int64]
    part_finish_ns: NDArray[np.int64]
    part_batch: NDArray[np.int64]
    part_cut: NDArray[np.bool_]
    attempt_query: NDArray[np.int64]
    attempt_cause: NDArray[np.int8]
    attempt_sent_ns: NDArray[np.int64]
    attempt_end_ns: NDArray[np.int64]
    attempt_end: NDArray[np.int8]
    span_device: NDArray[np.int64]
    span_kind: NDArray[np.int8]
    span_from_ns: NDArray[np.int64]
    span_to_ns: NDArray[np.int64]
    end_ns: int
    stop_ns: int
    in_system_integral: int
    waiting_integral: int
    unstarted_wait_ns: int

    def of_class(self, query_class: int) -> RunRecord:
        """Return the queries of one class with their parts and attempts; integrals and spans stay the whole run's."""
        mine = self.query_class == query_class
        number = np.cumsum(mine) - 1
        kept = {"part_": mine[self.part_query], "attempt_": mine[self.attempt_query], "span_": slice(None)}
        columns: dict[str, Any] = {}
        for field in fields(self):
            column = getattr(self, field.name)
            if isinstance(column, np.ndarray):
                of = next((chosen for prefix, chosen in kept.items() if field.name.startswith(prefix)), mine)
                columns[field.name] = column[of]
        for name in ("part_query", "attempt_query"):
            columns[name] = number[columns[name]]
        return replace(self, **columns)

    @property
    def leads_batch(self) -> NDArray[np.bool_]:
        """Whether each part is the first of its batch, shape (parts,); a part that is served alone is a batch."""
        leads = np.ones(len(self.part_batch), dtype=np.bool_)
        leads[1:] = self.part_batch[1:] != self.part_batch[:-1]
        return leads

    @property
    def part_batch_samples(self) -> NDArray[np.int64]:
        """Samples of all parts of each part's batch, shape (parts,)."""
        first = np.flatnonzero(self.leads_batch)
        if not len(first):
            return np.zeros(0, dtype=np.int64)
        count = np.diff(np.append(first, len(self.part_batch)))
        return np.repeat(np.add.reduceat(self.part_size, first), count)

    @property
    def part_wasted(self) -> NDArray[np.bool_]:
        """Whether no answer came of each part: it was cut off, or its query has ended otherwise; shape (parts,)."""
        query = self.part_query
        ended = (self.finish_ns[query] != NEVER) | (self.drop_ns[query] != NEVER)
        answers = self.part_attempt == self.answered_by[query]
        return np.asarray(self.part_cut | (ended & ~answers), dtype=np.bool_)
