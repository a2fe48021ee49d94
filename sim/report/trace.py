"""A stretch of a run as a trace that Perfetto and chrome://tracing open: queries, lanes, queues, faults.

The format is the Trace Event Format of Chrome's tracing, https://docs.google.com/document/d/1CvAClvFfyA5R-PhYUmn5OOQtYMH4h6I0nSsKchNAySU.
Its times are microseconds; written with three decimals they are exact nanoseconds.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sim.engine.record import NEVER, NO_PATH, AttemptEnd, Cause, Outcome, RunRecord, Span
from sim.engine.waiting import CENTRAL, WaitingChanges
from sim.serving.clients import DROP_REASONS
from sim.serving.faults import Change, FaultSchedule
from sim.serving.system import System
from sim.stats.devices import SystemView

__all__ = ["Event", "Observed", "trace_events", "trace_text"]

Event = dict[str, Any]

QUERIES = 1
"""Process of the queries and of what is counted over all nodes; node n is process `QUERIES` + 1 + n."""

OUTCOMES = {
    Outcome.SERVED_IN_TIME: "served in time",
    Outcome.SERVED_LATE: "served late",
    Outcome.DROPPED: "dropped",
    Outcome.IN_FLIGHT: "not over when the window ends",
}
SPANS = {Span.DOWN: ("down", "up"), Span.CLOSED: ("closed", "open"), Span.OFF: ("off", "on")}


@dataclass(frozen=True)
class Observed:
    """What happened in a cell up to the end of a window, and the names of what it happened to.

    Attributes
    ----------
    record : RunRecord
        It stops where the window ends.
    waiting : WaitingChanges
    faults : FaultSchedule or None
    system : System
    view : SystemView
    groups : sequence of str
        Names of the groups of nodes.
    from_ns, to_ns : int
        The window.
    """

    record: RunRecord
    waiting: WaitingChanges
    faults: FaultSchedule | None
    system: System
    view: SystemView
    groups: Sequence[str]
    from_ns: int
    to_ns: int

    @cached_property
    def device_node(self) -> NDArray[np.int64]:
        """The node of each device."""
        nodes = len(self.system.node_group)
        return np.repeat(np.arange(nodes), np.diff(self.system.node_device))

    @cached_property
    def lane_device(self) -> NDArray[np.int64]:
        """The device of each lane."""
        return np.repeat(np.arange(len(self.device_node)), np.diff(self.system.device_lane))

    def device_name(self, device: int) -> str:
        """Return the name of a device on its node."""
        return self.view.device_kind_name[int(self.view.device_kind[device])].rpartition("/")[2]


def trace_text(events: Sequence[Event], about: Mapping[str, Any]) -> str:
    """Return the trace file, a line an event; `about` says what it is of."""
    head = json.dumps({"displayTimeUnit": "ns", "otherData": dict(about)}, ensure_ascii=False)
    lines = ",\n".join(json.dumps(event, ensure_ascii=False) for event in events)
    return f'{head[:-1]}, "traceEvents": [\n{lines}\n]}}\n'


def trace_events(seen: Observed) -> Iterator[Event]:
    """Yield the events of the window; what reaches beyond it is cut at its ends, with its own times beside.

    Names of processes and threads come last, of those only to which something happened.

    - A query is an async pair ``b``, ``e`` from its arrival to its end; each attempt likewise where there are several.
    - A part, or the batch that is served with it, is an ``X`` on the thread of its lane in the process of its node.
    - ``C`` counts the queries in the system, and the parts that wait at each device.
    - ``i`` says that a device goes down, closes, is slowed, and the end of that.
    """
    threads: dict[tuple[int, int], str] = {}
    for event in (*_queries(seen), *_attempts(seen), *_parts(seen, threads), *_counters(seen), *_faults(seen)):
        threads.setdefault((event["pid"], 0), "")
        yield event
    yield from _names(seen, threads)


def _us(time_ns: int) -> float:
    return time_ns / 1e3


def _ms(time_ns: int) -> float:
    return time_ns / 1e6


def _overlap(seen: Observed, start_ns: NDArray[np.int64], end_ns: NDArray[np.int64]) -> list[int]:
    """Return what goes on in the window; an `end_ns` of `NEVER` is after it."""
    ended = np.where(end_ns == NEVER, seen.to_ns, end_ns)
    within = (start_ns < seen.to_ns) & ((ended > seen.from_ns) | (start_ns >= seen.from_ns))
    found: list[int] = np.flatnonzero(within).tolist()
    return found


def _ends_ns(record: RunRecord) -> NDArray[np.int64]:
    """Return when each query was over; `NEVER` if it was not."""
    return np.where(record.drop_ns == NEVER, record.finish_ns, record.drop_ns)


def _pair(seen: Observed, name: str, kind: str, key: str, start_ns: int, end_ns: int) -> tuple[Event, Event]:
    """Return both ends of something that goes on in the window."""
    if end_ns == NEVER or end_ns > seen.to_ns:
        end_ns = seen.to_ns
    shared = {"name": name, "cat": kind, "id": key, "pid": QUERIES, "tid": QUERIES}
    start: Event = {"ph": "b", "ts": _us(max(start_ns, seen.from_ns)), **shared}
    return start, {"ph": "e", "ts": _us(end_ns), **shared}


def _queries(seen: Observed) -> Iterator[Event]:
    record = seen.record
    ends_ns = _ends_ns(record)
    for query in _overlap(seen, record.arrival_ns, ends_ns):
        arrival_ns, end_ns = int(record.arrival_ns[query]), int(ends_ns[query])
        start, end = _pair(seen, f"query {query}", "query", str(query), arrival_ns, end_ns)
        start["args"] = {"size": int(record.size[query]), "arrival_ms": _ms(arrival_ns)}
        if seen.view.classes:
            start["args"]["class"] = seen.view.classes[int(record.query_class[query])].name
        outcome = Outcome(int(record.outcome[query]))
        end["args"] = {"outcome": OUTCOMES[outcome]}
        if outcome is Outcome.DROPPED:
            end["args"]["reason"] = DROP_REASONS[int(record.drop_reason[query])]
        if end_ns != NEVER:
            end["args"]["latency_ms"] = _ms(end_ns - arrival_ns)
        if record.path[query] != NO_PATH:
            end["args"]["path"] = seen.view.path_names[int(record.path[query])]
        if record.node[query] != NO_PATH:
            end["args"]["node"] = int(record.node[query])
        yield start
        yield end


def _attempts(seen: Observed) -> Iterator[Event]:
    record = seen.record
    numbers = _numbers_within(record.attempt_query)
    for row in _overlap(seen, record.attempt_sent_ns, record.attempt_end_ns):
        query, number = int(record.attempt_query[row]), int(numbers[row])
        name = f"query {query} {Cause(int(record.attempt_cause[row])).name.lower()}"
        sent_ns, end_ns = int(record.attempt_sent_ns[row]), int(record.attempt_end_ns[row])
        start, end = _pair(seen, name, "attempt", f"{query}.{number}", sent_ns, end_ns)
        how = int(record.attempt_end[row])
        end["args"] = {"end": AttemptEnd(min(how, AttemptEnd.FAILED)).name.lower()}
        if how >= AttemptEnd.FAILED:
            end["args"]["reason"] = DROP_REASONS[how - AttemptEnd.FAILED]
        yield start
        yield end


def _numbers_within(query: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return how many attempts of the same query came before each."""
    order = np.argsort(query, kind="stable")
    starts = np.flatnonzero(np.diff(query[order], prepend=-1))
    number = np.zeros(len(query), dtype=np.int64)
    number[order] = np.arange(len(query)) - np.repeat(starts, np.diff([*starts, len(query)]))
    return number


def _parts(seen: Observed, threads: dict[tuple[int, int], str]) -> Iterator[Event]:
    record = seen.record
    rows = _overlap(seen, record.part_start_ns, record.part_finish_ns)
    wasted = record.part_wasted
    first = 0
    while first < len(rows):
        last = first + 1
        # The parts of a batch are next to each other, and all of them are in the window or none.
        while last < len(rows) and record.part_batch[rows[last]] == record.part_batch[rows[first]]:
            last += 1
        batch = rows[first:last]
        first = last
        row = batch[0]
        lane = int(record.part_lane[row])
        device = int(seen.lane_device[lane])
        pid, tid = QUERIES + 1 + int(seen.device_node[device]), lane + 1
        threads[pid, tid] = f"{seen.device_name(device)} lane {lane - int(seen.system.device_lane[device])}"
        start_ns, finish_ns = int(record.part_start_ns[row]), int(record.part_finish_ns[row])
        queries = record.part_query[batch].tolist()
        sizes = record.part_size[batch].tolist()
        args: dict[str, Any] = {"query": queries[0], "size": sizes[0]}
        if len(batch) > 1:
            args = {"queries": queries, "sizes": sizes}
        args["path"] = seen.view.path_names[int(record.part_path[row])]
        args["waited_ms"] = _ms(start_ns - int(record.part_enqueue_ns[row]))
        if start_ns < seen.from_ns or finish_ns > seen.to_ns:
            args |= {"start_ms": _ms(start_ns), "finish_ms": _ms(finish_ns)}
        if record.part_cut[row]:
            args["cut_off"] = True
        if any(wasted[batch]):
            args["wasted"] = [int(record.part_query[one]) for one in batch if wasted[one]]
        begin_ns, end_ns = max(start_ns, seen.from_ns), min(finish_ns, seen.to_ns)
        yield {
            "name": f"query {queries[0]}" if len(batch) == 1 else f"batch of {len(batch)}",
            "cat": "part",
            "ph": "X",
            "ts": _us(begin_ns),
            "dur": _us(end_ns - begin_ns),
            "pid": pid,
            "tid": tid,
            "args": args,
        }


def _counters(seen: Observed) -> Iterator[Event]:
    record = seen.record
    ends_ns = _ends_ns(record)
    ends_ns = ends_ns[ends_ns != NEVER]
    times = np.concatenate([record.arrival_ns, ends_ns])
    changes = np.repeat([1, -1], [len(record.arrival_ns), len(ends_ns)])
    yield from _counter(seen, QUERIES, "queries in the system", "queries", times, changes)
    waiting = seen.waiting
    for device in np.unique(waiting.device).tolist():
        mine = waiting.device == device
        if device == CENTRAL:
            pid, name = QUERIES, "waiting centrally"
        else:
            pid, name = QUERIES + 1 + int(seen.device_node[device]), f"waiting at {seen.device_name(device)}"
        yield from _counter(seen, pid, name, "parts", waiting.time_ns[mine], waiting.change[mine])


def _counter(
    seen: Observed, pid: int, name: str, what: str, time_ns: NDArray[np.int64], change: NDArray[np.int64]
) -> Iterator[Event]:
    """Yield the count at the beginning of the window and after every instant at which it changes."""
    order = np.argsort(time_ns, kind="stable")
    time_ns, count = time_ns[order], np.cumsum(change[order])
    # What counts is how many there are when everything of an instant has happened.
    settled = np.flatnonzero(np.diff(time_ns, append=np.iinfo(np.int64).max))
    time_ns, count = time_ns[settled], count[settled]
    before = int(np.searchsorted(time_ns, seen.from_ns, side="right"))
    within = int(np.searchsorted(time_ns, seen.to_ns, side="left"))
    shown = int(count[before - 1]) if before else 0
    if before >= within and not shown:
        return
    points = [(seen.from_ns, shown)]
    for at_ns, now in zip(time_ns[before:within].tolist(), count[before:within].tolist(), strict=True):
        if now != points[-1][1]:
            points.append((at_ns, now))
    for at_ns, now in points:
        yield {"name": name, "cat": "count", "ph": "C", "ts": _us(at_ns), "pid": pid, "tid": 0, "args": {what: now}}


def _faults(seen: Observed) -> Iterator[Event]:
    record = seen.record
    told: list[tuple[int, int, str, dict[str, Any]]] = []
    for row in _overlap(seen, record.span_from_ns, record.span_to_ns):
        device = int(record.span_device[row])
        begun, over = SPANS[Span(int(record.span_kind[row]))]
        from_ns, to_ns = int(record.span_from_ns[row]), int(record.span_to_ns[row])
        told.append((max(from_ns, seen.from_ns), device, begun, {"since_ms": _ms(from_ns)}))
        if to_ns < seen.to_ns:
            told.append((to_ns, device, over, {begun + "_for_ms": _ms(to_ns - from_ns)}))
    faults = seen.faults
    if faults is not None:
        inside = (faults.time_ns >= seen.from_ns) & (faults.time_ns < seen.to_ns)
        for row in np.flatnonzero(inside & np.isin(faults.change, [Change.SLOW, Change.NORMAL])).tolist():
            slowed = faults.change[row] == Change.SLOW
            factor = {"factor": float(faults.factor[row])}
            told.append(
                (int(faults.time_ns[row]), int(faults.device[row]), "slowed" if slowed else "not slowed", factor)
            )
    for at_ns, device, what, args in sorted(told, key=lambda one: one[0]):
        pid = QUERIES + 1 + int(seen.device_node[device])
        name = f"{seen.device_name(device)} {what}"
        yield {"name": name, "cat": "fault", "ph": "i", "s": "p", "ts": _us(at_ns), "pid": pid, "tid": 0, "args": args}


def _names(seen: Observed, threads: Mapping[tuple[int, int], str]) -> Iterator[Event]:
    for pid, tid in sorted(threads):
        if not tid:
            node = pid - QUERIES - 1
            name = "queries" if pid == QUERIES else f"node {node}, {seen.groups[int(seen.system.node_group[node])]}"
            yield {"name": "process_name", "ph": "M", "pid": pid, "tid": 0, "args": {"name": name}}
            yield {"name": "process_sort_index", "ph": "M", "pid": pid, "tid": 0, "args": {"sort_index": pid}}
        else:
            yield {"name": "thread_name", "ph": "M", "pid": pid, "tid": tid, "args": {"name": threads[pid, tid]}}
            yield {"name": "thread_sort_index", "ph": "M", "pid": pid, "tid": tid, "args": {"sort_index": tid}}
