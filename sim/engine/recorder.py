"""Collects what happens to queries and parts while a replication runs, and turns it into a `RunRecord`."""

from __future__ import annotations

from array import array
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from sim.engine.record import NEVER, NO_ATTEMPT, NO_PATH, AttemptEnd, Outcome, RunRecord
from sim.engine.station import Attempt, Part

__all__ = ["NOT_DROPPED", "Recorder"]

NOT_DROPPED = -1


def _integers(values: array[int]) -> NDArray[np.int64]:
    return np.frombuffer(values, dtype=np.int64) if len(values) else np.zeros(0, dtype=np.int64)


class Recorder:
    """Growing columns, one entry a query or a part.

    The columns are `array.array`: an element costs eight bytes and is written at a fraction of numpy's price.
    """

    def __init__(self) -> None:
        self.arrival_ns: array[int] = array("q")
        self.size: array[int] = array("q")
        self.query_class: array[int] = array("q")
        self.start_ns: array[int] = array("q")
        self.finish_ns: array[int] = array("q")
        self.node: array[int] = array("q")
        self.path: array[int] = array("q")
        self.drop_reason: array[int] = array("q")
        self.drop_ns: array[int] = array("q")
        self.correct: array[float] = array("d")
        self.answered_by: array[int] = array("q")
        self.part_query: array[int] = array("q")
        self.part_attempt: array[int] = array("q")
        self.part_path: array[int] = array("q")
        self.part_lane: array[int] = array("q")
        self.part_size: array[int] = array("q")
        self.part_enqueue_ns: array[int] = array("q")
        self.part_start_ns: array[int] = array("q")
        self.part_finish_ns: array[int] = array("q")
        self.part_batch: array[int] = array("q")
        self.cut_parts: array[int] = array("q")
        self.attempt_query: array[int] = array("q")
        self.attempt_cause: array[int] = array("q")
        self.attempt_sent_ns: array[int] = array("q")
        self.attempt_end_ns: array[int] = array("q")
        self.attempt_end: array[int] = array("q")
        self.span_device: array[int] = array("q")
        self.span_kind: array[int] = array("q")
        self.span_from_ns: array[int] = array("q")
        self.span_to_ns: array[int] = array("q")

    def offer(self, arrival_ns: NDArray[np.int64], size: NDArray[np.int64], query_class: NDArray[np.int64]) -> None:
        """Add the queries of one chunk, none of which has arrived yet."""
        count = len(arrival_ns)
        self.arrival_ns.frombytes(np.ascontiguousarray(arrival_ns, dtype=np.int64).tobytes())
        self.size.frombytes(np.ascontiguousarray(size, dtype=np.int64).tobytes())
        self.query_class.frombytes(np.ascontiguousarray(query_class, dtype=np.int64).tobytes())
        for column, value in (
            (self.start_ns, NEVER),
            (self.finish_ns, NEVER),
            (self.node, NO_PATH),
            (self.path, NO_PATH),
            (self.drop_reason, NOT_DROPPED),
            (self.drop_ns, NEVER),
            (self.answered_by, NO_ATTEMPT),
        ):
            column.frombytes(np.full(count, value, dtype=np.int64).tobytes())
        self.correct.frombytes(bytes(8 * count))

    def drop(self, query: int, reason: int, now_ns: int) -> None:
        """Record that a query is dropped, and why."""
        self.drop_reason[query] = reason
        self.drop_ns[query] = now_ns

    def start_part(self, part: Part, lane: int, start_ns: int, finish_ns: int, batch: int) -> None:
        """Record that a part starts service on a lane, in which batch, and when it will finish."""
        query = part.attempt.query
        self.part_query.append(query)
        self.part_attempt.append(part.attempt.number)
        self.part_path.append(part.path)
        self.part_lane.append(lane)
        self.part_size.append(part.size)
        self.part_enqueue_ns.append(part.enqueue_ns)
        self.part_start_ns.append(start_ns)
        self.part_finish_ns.append(finish_ns)
        self.part_batch.append(batch)
        if self.start_ns[query] == NEVER:
            self.start_ns[query] = start_ns

    def cut_part(self, record: int, now_ns: int) -> None:
        """Record that a part that was in service is cut off unfinished."""
        self.part_finish_ns[record] = now_ns
        self.cut_parts.append(record)

    def add_span(self, device: int, kind: int, from_ns: int, to_ns: int) -> None:
        """Record how long a device was down or closed."""
        self.span_device.append(device)
        self.span_kind.append(kind)
        self.span_from_ns.append(from_ns)
        self.span_to_ns.append(to_ns)

    def add_spans(self, devices: Iterable[int], kind: int, from_ns: int, to_ns: int) -> None:
        """Record the same of several devices."""
        for device in devices:
            self.add_span(device, kind, from_ns, to_ns)

    def send_attempt(self, attempt: Attempt, cause: int, now_ns: int) -> None:
        """Record that an attempt is sent, and why."""
        attempt.record = len(self.attempt_query)
        self.attempt_query.append(attempt.query)
        self.attempt_cause.append(cause)
        self.attempt_sent_ns.append(now_ns)
        self.attempt_end_ns.append(NEVER)
        self.attempt_end.append(AttemptEnd.UNFINISHED)

    def end_attempt(self, attempt: Attempt, end: int, now_ns: int) -> None:
        """Record that nobody waits for an attempt any more, and why."""
        self.attempt_end_ns[attempt.record] = now_ns
        self.attempt_end[attempt.record] = end

    def record(
        self,
        *,
        class_sla_ns: NDArray[np.int64],
        end_ns: int,
        stop_ns: int,
        in_system_integral: int,
        waiting_integral: int,
        unstarted_wait_ns: int,
    ) -> RunRecord:
        """Return the arrays, with the outcome of every query settled as of `stop_ns`."""
        arrival_ns = _integers(self.arrival_ns)
        finish_ns = _integers(self.finish_ns)
        drop_reason = _integers(self.drop_reason)
        query_class = _integers(self.query_class)
        sla_ns = class_sla_ns[query_class]
        finished = finish_ns != NEVER
        outcome = np.full(len(arrival_ns), Outcome.IN_FLIGHT, dtype=np.int8)
        outcome[finished & (finish_ns - arrival_ns <= sla_ns)] = Outcome.SERVED_IN_TIME
        outcome[finished & (finish_ns - arrival_ns > sla_ns)] = Outcome.SERVED_LATE
        outcome[drop_reason != NOT_DROPPED] = Outcome.DROPPED
        part_cut = np.zeros(len(self.part_query), dtype=np.bool_)
        part_cut[_integers(self.cut_parts)] = True
        correct = np.frombuffer(self.correct, dtype=np.float64) if len(self.correct) else np.zeros(0)
        return RunRecord(
            arrival_ns=arrival_ns,
            size=_integers(self.size),
            query_class=query_class.astype(np.int32),
            start_ns=_integers(self.start_ns),
            finish_ns=finish_ns,
            node=_integers(self.node).astype(np.int32),
            path=_integers(self.path).astype(np.int32),
            correct=correct,
            outcome=outcome,
            drop_reason=drop_reason.astype(np.int8),
            drop_ns=_integers(self.drop_ns),
            answered_by=_integers(self.answered_by).astype(np.int32),
            part_query=_integers(self.part_query),
            part_attempt=_integers(self.part_attempt).astype(np.int32),
            part_path=_integers(self.part_path).astype(np.int32),
            part_lane=_integers(self.part_lane).astype(np.int32),
            part_size=_integers(self.part_size),
            part_enqueue_ns=_integers(self.part_enqueue_ns),
            part_start_ns=_integers(self.part_start_ns),
            part_finish_ns=_integers(self.part_finish_ns),
            part_batch=_integers(self.part_batch),
            part_cut=part_cut,
            attempt_query=_integers(self.attempt_query),
            attempt_cause=_integers(self.attempt_cause).astype(np.int8),
            attempt_sent_ns=_integers(self.attempt_sent_ns),
            attempt_end_ns=_integers(self.attempt_end_ns),
            attempt_end=_integers(self.attempt_end).astype(np.int8),
            span_device=_integers(self.span_device),
            span_kind=_integers(self.span_kind).astype(np.int8),
            span_from_ns=_integers(self.span_from_ns),
            span_to_ns=_integers(self.span_to_ns),
            end_ns=end_ns,
            stop_ns=stop_ns,
            in_system_integral=in_system_integral,
            waiting_integral=waiting_integral,
            unstarted_wait_ns=unstarted_wait_ns,
        )
