"""The laws that every replication has to obey; a run that breaks one fails.

The checks read the records alone and share no code with the engines. Where an engine counts something event by event
(the number in the system, the number waiting) it must agree with the records to the nanosecond.
"""

from __future__ import annotations

from collections import deque
from heapq import heappop, heappush
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from sim.engine.record import NEVER, NO_ATTEMPT, AttemptEnd, Cause, Outcome, RunRecord, Span
from sim.serving.queueing import Order, Shed
from sim.serving.system import System

__all__ = ["InvariantError", "audit"]


class InvariantError(RuntimeError):
    """A replication broke a law of queueing: the simulator is wrong, and its numbers are not to be used."""


def audit(record: RunRecord, system: System) -> list[str]:
    """Return what `record` violates, in plain words; nothing when it is sound.

    1. Conservation: every offered query has exactly one outcome, and its stamps agree with it; so has every attempt.
    2. Causality: arrival <= start <= finish; a query starts with its first part and finishes with its last.
    3. Little's law, exactly: the integral of the number in the system is the sum of the times spent there, and
       likewise for the number waiting.
    4. Lanes: no lane serves two parts at once, but for those of a batch, so none is over 100% busy.
    5. Work conservation: a part that waited started at the very instant its lane was freed, or its batch was ready.
    6. Batches: within their limits, on one lane and path, from the same start to the same finish.
    7. Order: the parts of a queue start in the queue's order.
    8. Availability: nothing is served on a device that is down or off.
    9. Classes: parts are served on paths of the model that their query's class asks.
    """
    return [
        *_conservation(record),
        *_attempts(record, system),
        *_causality(record, system),
        *_littles_law(record),
        *_lanes(record, system),
        *_batches(record, system),
        *_order(record, system),
        *_availability(record, system),
        *_classes(record, system),
    ]


def _conservation(record: RunRecord) -> list[str]:
    offered = len(record.arrival_ns)
    counts = np.bincount(record.outcome.astype(np.int64), minlength=len(Outcome))
    violations = []
    if len(counts) != len(Outcome) or int(counts.sum()) != offered:
        violations.append(f"conservation: outcomes {counts.tolist()} do not add up to {offered} offered queries")
    served = record.outcome <= Outcome.SERVED_LATE
    if not np.array_equal(served, record.finish_ns != NEVER):
        violations.append("conservation: a query is served exactly if it has a finish, but some are not")
    dropped = record.outcome == Outcome.DROPPED
    if not np.array_equal(dropped, record.drop_reason >= 0) or not np.array_equal(dropped, record.drop_ns != NEVER):
        violations.append("conservation: a query is dropped exactly if it has a reason and a time, but some are not")
    if np.any(np.diff(record.arrival_ns) < 0) or np.any(record.arrival_ns > record.end_ns):
        violations.append("conservation: arrivals are out of order or after the end of the arrival period")
    return violations


def _attempts(record: RunRecord, system: System) -> list[str]:
    served = record.outcome <= Outcome.SERVED_LATE
    violations = []
    if not np.array_equal(served, record.answered_by != NO_ATTEMPT):
        violations.append("attempts: a query is served exactly if one of its attempts is answered, but some are not")
    if system.clients is None:
        return violations
    queries = len(record.arrival_ns)
    first = record.attempt_cause == Cause.FIRST
    answered = record.attempt_end == AttemptEnd.ANSWERED
    unfinished = record.attempt_end == AttemptEnd.UNFINISHED
    if not np.array_equal(np.sort(record.attempt_query[first]), np.arange(queries)):
        violations.append("attempts: a query does not have exactly one first attempt")
    if not np.array_equal(np.sort(record.attempt_query[answered]), np.flatnonzero(served)):
        violations.append("attempts: a query that is served does not have exactly one answered attempt")
    if np.any(record.outcome[record.attempt_query[unfinished]] != Outcome.IN_FLIGHT):
        violations.append("attempts: somebody still waits for an attempt at a query that has ended")
    if np.any((record.attempt_end_ns == NEVER) != unfinished) or np.any(
        (record.attempt_end_ns < record.attempt_sent_ns) & ~unfinished
    ):
        violations.append("attempts: an attempt ended before it was sent, or without a time")
    return violations


def _causality(record: RunRecord, system: System) -> list[str]:
    violations = []
    started = record.start_ns != NEVER
    served = record.finish_ns != NEVER
    if np.any(record.start_ns[started] < record.arrival_ns[started]):
        violations.append("causality: a query started before it arrived")
    if np.any(record.finish_ns[served] < record.start_ns[served]) or np.any(record.finish_ns > record.stop_ns):
        violations.append("causality: a query finished before it started or after the clock stopped")
    if np.any(record.part_start_ns < record.part_enqueue_ns) or np.any(record.part_finish_ns < record.part_start_ns):
        violations.append("causality: a part started before it joined its queue or finished before it started")
    # What counts of a query is the attempt that served it, to the end.
    counts = (record.part_attempt == record.answered_by[record.part_query]) & ~record.part_cut
    query = record.part_query[counts]
    last = np.full(len(record.arrival_ns), NEVER, dtype=np.int64)
    np.maximum.at(last, query, record.part_finish_ns[counts])
    samples = np.bincount(query, weights=record.part_size[counts], minlength=len(record.size))
    # An answer may still be under way to the client.
    late = last > record.finish_ns if system.has_network else last != record.finish_ns
    if np.any(late[served]) or np.any(samples[served] != record.size[served]):
        violations.append("causality: a served query does not finish with its last part, or its parts miss samples")
    correct = np.bincount(
        query,
        weights=(record.part_size * system.path_accuracy[record.part_path])[counts],
        minlength=len(record.size),
    )
    if not np.allclose(correct[served], record.correct[served], rtol=1e-12, atol=0.0):
        violations.append("causality: correct predictions of a query are not those of its parts")
    return violations


def _littles_law(record: RunRecord) -> list[str]:
    left = np.where(record.finish_ns != NEVER, record.finish_ns, record.stop_ns)
    left = np.where(record.drop_ns != NEVER, record.drop_ns, left)
    time_in_system = _exact_sum(left - record.arrival_ns)
    violations = []
    if time_in_system != record.in_system_integral:
        violations.append(
            f"Little's law: the number in the system adds up to {record.in_system_integral} query ns, the times in "
            f"the system to {time_in_system}"
        )
    waited = _exact_sum(record.part_start_ns - record.part_enqueue_ns) + record.unstarted_wait_ns
    if waited != record.waiting_integral:
        violations.append(
            f"Little's law: the number waiting adds up to {record.waiting_integral} part ns, the waits to {waited}"
        )
    return violations


def _lanes(record: RunRecord, system: System) -> list[str]:
    first = np.flatnonzero(record.leads_batch)
    order = np.lexsort((record.part_finish_ns[first], record.part_start_ns[first], record.part_lane[first]))
    order = first[order]
    lane, start, finish = record.part_lane[order], record.part_start_ns[order], record.part_finish_ns[order]
    same = lane[1:] == lane[:-1]
    violations = []
    overlaps = same & (start[1:] < finish[:-1])
    if np.any(overlaps):
        violations.append(f"lanes: lane {lane[1:][overlaps][0]} serves two parts at once")
    freed = np.zeros(len(lane), dtype=np.bool_)
    freed[1:] = same & (start[1:] == finish[:-1])
    waited = start > record.part_enqueue_ns[order]
    # A batch may also start when a part joins (and fills it, though it may not be in it) or is overdue.
    device = _device_of_lane(system, lane)
    batches = system.batch_queries[device] > 0
    if np.any(batches):
        joined = np.unique(record.part_enqueue_ns)
        overdue = np.isin(start - system.batch_timeout_ns[device], joined)
        freed |= batches & (np.isin(start, joined) | overdue)
        if system.shed != Shed.NEVER or system.clients is not None or system.has_faults:
            # What was shed, cancelled or lost while it waited is not in the records, and may have been what filled a
            # batch.
            freed |= batches
    if len(record.span_to_ns):
        # A lane may also be free to start because its device came back.
        freed |= np.isin(start, record.span_to_ns)
    if np.any(waited & ~freed):
        violations.append("work conservation: a part waited although its lane was free")
    return violations


def _batches(record: RunRecord, system: System) -> list[str]:
    first = np.flatnonzero(record.leads_batch)
    count = np.diff(np.append(first, len(record.part_batch)))
    device = _device_of_lane(system, record.part_lane[first])
    violations = []
    # They mostly are in order, and then sorting costs next to nothing.
    if np.any(np.diff(np.sort(record.part_batch[first])) == 0):
        violations.append("batches: the parts of a batch did not start one after the other")
    for name in ("part_lane", "part_path", "part_start_ns", "part_finish_ns"):
        column = getattr(record, name)
        if np.any(column != np.repeat(column[first], count)):
            violations.append(f"batches: parts served together differ in {name}")
    if np.any(count > np.maximum(system.batch_queries[device], 1)):
        violations.append("batches: a batch has more parts than its device takes")
    limit = system.batch_samples[device]
    if len(first) and np.any((limit > 0) & (np.add.reduceat(record.part_size, first) > limit)):
        violations.append("batches: a batch has more samples than its device takes")
    return violations


def _availability(record: RunRecord, system: System) -> list[str]:
    away = np.flatnonzero(record.span_kind != Span.CLOSED)
    away = away[np.argsort(record.span_device[away], kind="stable")]
    span_device = record.span_device[away]
    part_device = _device_of_lane(system, record.part_lane)
    parts = np.lexsort((record.part_start_ns, part_device))
    part_device = part_device[parts]
    for device in np.unique(span_device).tolist():
        spans = away[slice(*np.searchsorted(span_device, (device, device + 1)))]
        here = parts[slice(*np.searchsorted(part_device, (device, device + 1)))]
        # A part may be cut off at the instant the device goes down, and may start at the instant it comes back. So a
        # span is free of parts if those that began before its end, on whichever lane, had all finished by its begin.
        begun = np.searchsorted(record.part_start_ns[here], record.span_to_ns[spans])
        latest = np.append(NEVER, np.maximum.accumulate(record.part_finish_ns[here]))
        if np.any(latest[begun] > record.span_from_ns[spans]):
            return [f"availability: device {device} serves a part while it is down or off"]
    return []


def _order(record: RunRecord, system: System) -> list[str]:
    """Check that no part started while one with a lower key waited in the same line; ties by the order of joining."""
    if system.late_lanes is not None:
        line = np.zeros(len(record.part_lane), dtype=np.int64)
    else:
        line = _device_of_lane(system, record.part_lane)
        # Where a device batches, each path has a line of its own.
        paths = len(system.paths)
        line = line * paths + np.where(system.batch_queries[line] > 0, record.part_path, 0)
    order = np.argsort(line, kind="stable")
    if system.order == Order.FIFO:
        # Queries join in their order; copies and retries of them join later.
        joined = (record.part_query if _joins_in_order(system) else record.part_enqueue_ns)[order]
        line = line[order]
        if np.any((line[1:] == line[:-1]) & (joined[1:] < joined[:-1])):
            return ["order: a part overtook one that joined the same queue before it"]
        return []
    changes = np.flatnonzero(np.diff(line[order])) + 1
    for begin, end in pairwise([0, *changes.tolist(), len(order)]):
        if _overtakes(record, system, order[begin:end]):
            return ["order: a part started while one that goes before it waited in the same queue"]
    return []


def _joins_in_order(system: System) -> bool:
    """Whether parts join queues in the order of their queries: not if copies, retries or a network come between."""
    return system.clients is None and not system.has_network


def _overtakes(record: RunRecord, system: System, started: NDArray[np.int64]) -> bool:
    """Whether one of these parts of a line, in the order of their starts, went before one with a lower key."""
    query = record.part_query[started]
    # Among equals the first that joined goes first: the order of queries, but for copies and retries.
    joined = query if _joins_in_order(system) else record.part_enqueue_ns[started]
    query_class = record.query_class[query]
    key = {
        Order.SMALLEST_FIRST: record.part_size[started],
        Order.EARLIEST_DEADLINE: record.arrival_ns[query] + system.class_sla_ns[query_class],
        Order.PRIORITY: system.class_priority[query_class],
    }[Order(system.order)].tolist()
    start, enqueue = record.part_start_ns[started].tolist(), record.part_enqueue_ns[started].tolist()
    joining = deque(np.argsort(enqueue, kind="stable").tolist())
    waiting: list[tuple[int, int, int]] = []
    gone = set()
    for i, now in enumerate(start):
        # A part that joined at this very instant may have come after the start.
        while joining and enqueue[joining[0]] < now:
            j = joining.popleft()
            heappush(waiting, (key[j], int(joined[j]), j))
        while waiting and waiting[0][2] in gone:
            heappop(waiting)
        if waiting and waiting[0][:2] < (key[i], int(joined[i])):
            return True
        gone.add(i)
    return False


def _classes(record: RunRecord, system: System) -> list[str]:
    asked = system.class_model[record.query_class[record.part_query]]
    if np.any(system.path_model[record.part_path] != asked):
        return ["classes: a part was served on a path of a model that its query does not ask"]
    return []


def _device_of_lane(system: System, lane: NDArray[np.int32]) -> NDArray[np.int64]:
    return (np.searchsorted(system.device_lane, lane, side="right") - 1).astype(np.int64)


def _exact_sum(values: NDArray[np.int64]) -> int:
    """Sum nanoseconds without overflow, in two halves of 32 bits."""
    return (int((values >> 32).sum()) << 32) + int((values & 0xFFFFFFFF).sum())
