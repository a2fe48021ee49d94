"""Hands a finished record out as rows, in the order that an engine that streams would.

The reference engine keeps everything and streams nothing; this is how what reads rows can be used with it, and tested.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from sim.engine.record import Outcome, RunRecord
from sim.engine.rows import ATTEMPT_ROW, PART_ROW, QUERY_ROW, SERVED_ROW, SPAN_ROW, Rows, RunEnd
from sim.serving.system import System

__all__ = ["end_of", "rows_of"]

UNKNOWN_NS = np.iinfo(np.int64).max


def end_of(record: RunRecord) -> RunEnd:
    """Return what is known of a run when its clock has stopped."""
    return RunEnd(
        offered=len(record.arrival_ns),
        end_ns=record.end_ns,
        stop_ns=record.stop_ns,
        in_system_integral=record.in_system_integral,
        waiting_integral=record.waiting_integral,
        unstarted_wait_ns=record.unstarted_wait_ns,
    )


def rows_of(record: RunRecord, system: System, chunk: int) -> Iterator[Rows]:
    """Yield the rows of a record, `chunk` offered queries at a time.

    A row comes with the first queries after which nothing that is still to be offered arrived at or before its latest
    time stamp. A query is a served row where it is all that there is to say of it: no client or network stands between,
    and its only part joined a queue at its arrival and was served alone. `RunEnd` is `end_of` the record.

    Parameters
    ----------
    record : RunRecord
    system : System
        What it ran on.
    chunk : int
        At least 1.
    """
    queries = len(record.arrival_ns)
    last = max(-(-queries // chunk) - 1, 0)
    turn = _turn(record.arrival_ns, _latest_ns(record), chunk, last)
    whole = _served_whole(record, system)
    part_of = np.full(queries, -1, dtype=np.int64)
    part_of[record.part_query] = np.arange(len(record.part_query))
    tables = (
        (_served(record, part_of, np.flatnonzero(whole)), turn[whole]),
        (_queries(record, np.flatnonzero(~whole)), turn[~whole]),
        (_parts(record, ~whole[record.part_query]), turn[record.part_query][~whole[record.part_query]]),
        (_attempts(record), turn[record.attempt_query]),
        (_spans(record), _turn(record.arrival_ns, record.span_to_ns, chunk, last)),
    )
    ordered = []
    for table, when in tables:
        order = np.argsort(when, kind="stable")
        ordered.append((table[order], np.searchsorted(when[order], np.arange(last + 2))))
    for number in range(last + 1):
        served, others, parts, attempts, spans = (table[at[number] : at[number + 1]] for table, at in ordered)
        offered = slice(number * chunk, (number + 1) * chunk)
        yield Rows(
            first=number * chunk,
            arrival_ns=record.arrival_ns[offered],
            query_class=record.query_class[offered].astype(np.int64),
            served=served,
            queries=others,
            parts=parts,
            attempts=attempts,
            spans=spans,
        )


def _latest_ns(record: RunRecord) -> NDArray[np.int64]:
    """Return the latest stamp of each query and of its parts and attempts, shape (queries,)."""
    latest = np.maximum(np.maximum(record.arrival_ns, record.finish_ns), record.drop_ns)
    np.maximum.at(latest, record.part_query, record.part_finish_ns)
    np.maximum.at(latest, record.attempt_query, record.attempt_end_ns)
    latest[record.outcome == Outcome.IN_FLIGHT] = UNKNOWN_NS
    return latest


def _turn(arrival_ns: NDArray[np.int64], latest_ns: NDArray[np.int64], chunk: int, last: int) -> NDArray[np.int64]:
    """Return with which chunk of offered queries rows with these latest stamps may come."""
    needed = np.searchsorted(arrival_ns, latest_ns, side="right")
    return np.asarray(np.minimum(np.maximum(needed - 1, 0) // chunk, last), dtype=np.int64)


def _served_whole(record: RunRecord, system: System) -> NDArray[np.bool_]:
    """Return which queries a served row says everything of, shape (queries,)."""
    queries = len(record.arrival_ns)
    if system.clients is not None or system.has_network:
        return np.zeros(queries, dtype=np.bool_)
    query = record.part_query
    in_batch = np.bincount(record.part_batch, minlength=1)[record.part_batch]
    plain = (
        (in_batch == 1)
        & ~record.part_cut
        & (record.part_enqueue_ns == record.arrival_ns[query])
        & (record.part_finish_ns == record.finish_ns[query])
    )
    only = np.bincount(query, minlength=queries) == 1
    return np.asarray(only & (np.bincount(query, weights=plain, minlength=queries) == 1), dtype=np.bool_)


def _served(record: RunRecord, part_of: NDArray[np.int64], query: NDArray[np.int64]) -> NDArray[np.void]:
    rows = np.zeros(len(query), dtype=SERVED_ROW)
    rows["query"] = query
    for name in ("arrival_ns", "start_ns", "finish_ns", "size", "query_class", "path"):
        rows[name] = getattr(record, name)[query]
    rows["lane"] = record.part_lane[part_of[query]]
    return rows


def _queries(record: RunRecord, query: NDArray[np.int64]) -> NDArray[np.void]:
    rows = np.zeros(len(query), dtype=QUERY_ROW)
    rows["query"] = query
    for name in QUERY_ROW.names or ():
        if name != "query":
            rows[name] = getattr(record, name)[query]
    return rows


def _parts(record: RunRecord, kept: NDArray[np.bool_]) -> NDArray[np.void]:
    rows = np.zeros(int(kept.sum()), dtype=PART_ROW)
    rows["serial"] = np.flatnonzero(kept)
    rows["query_class"] = record.query_class[record.part_query[kept]]
    rows["leads"] = record.leads_batch[kept]
    for name in ("query", "enqueue_ns", "start_ns", "finish_ns", "batch", "size", "path", "lane", "attempt", "cut"):
        rows[name] = getattr(record, f"part_{name}")[kept]
    rows["batch_samples"] = record.part_batch_samples[kept]
    rows["wasted"] = record.part_wasted[kept]
    return rows


def _attempts(record: RunRecord) -> NDArray[np.void]:
    rows = np.zeros(len(record.attempt_query), dtype=ATTEMPT_ROW)
    rows["serial"] = np.arange(len(rows))
    rows["query_class"] = record.query_class[record.attempt_query]
    for name in ("query", "sent_ns", "end_ns", "cause", "end"):
        rows[name] = getattr(record, f"attempt_{name}")
    return rows


def _spans(record: RunRecord) -> NDArray[np.void]:
    rows = np.zeros(len(record.span_device), dtype=SPAN_ROW)
    for name in SPAN_ROW.names or ():
        rows[name] = getattr(record, f"span_{name}")
    return rows
