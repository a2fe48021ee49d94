"""Puts the rows of a replication together as the record that the reference engine returns."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sim.engine.record import NEVER, NO_ATTEMPT, NO_PATH, Outcome, RunRecord
from sim.engine.rows import PART_ROW, QUERY_ROW, Rows, RunEnd
from sim.serving.system import System

__all__ = ["assemble", "nodes_of_lanes", "parts_of", "unfinished_rows"]

UNNUMBERED = -1


def assemble(rows: Iterable[Rows], end: Callable[[], RunEnd | None], system: System) -> RunRecord:
    """Return the record of a replication.

    Parameters
    ----------
    rows : iterable of Rows
        All of them, in the order in which they were handed on.
    end : callable
        ``end() -> RunEnd`` when the rows are over.
    system : System

    Raises
    ------
    ValueError
        If rows are missing.
    """
    arrival_ns, query_class, served, queries, parts, attempts, spans = [], [], [], [], [], [], []
    for some in rows:
        arrival_ns.append(some.arrival_ns)
        query_class.append(some.query_class)
        # What is handed on is overwritten later.
        served.append(some.served.copy())
        queries.append(some.queries.copy())
        parts.append(some.parts.copy())
        attempts.append(some.attempts.copy())
        spans.append(some.spans.copy())
    known = end()
    if known is None:
        raise ValueError("the replication is not over")
    return _record(
        np.concatenate(arrival_ns),
        np.concatenate(query_class),
        np.concatenate(served),
        np.concatenate(queries),
        np.concatenate(parts),
        np.concatenate(attempts),
        np.concatenate(spans),
        known,
        system,
    )


def _record(
    arrival_ns: NDArray[np.int64],
    query_class: NDArray[np.int64],
    served: NDArray[np.void],
    queries: NDArray[np.void],
    parts: NDArray[np.void],
    attempts: NDArray[np.void],
    spans: NDArray[np.void],
    end: RunEnd,
    system: System,
) -> RunRecord:
    offered = len(arrival_ns)
    if len(served) + len(queries) != offered:
        raise ValueError(f"{len(served) + len(queries)} of {offered} queries were handed on")
    attempts = attempts[np.argsort(attempts["serial"])]
    node_of_lane = nodes_of_lanes(system)

    def of_query(name: str, of_served: NDArray[Any]) -> NDArray[Any]:
        column = np.empty(offered, dtype=queries[name].dtype)
        column[queries["query"]] = queries[name]
        column[served["query"]] = of_served
        return column

    in_time = served["finish_ns"] - served["arrival_ns"] <= system.class_sla_ns[served["query_class"]]
    nothing = np.zeros(len(served), dtype=np.int64)
    columns = _parts(served, parts)
    return RunRecord(
        arrival_ns=arrival_ns,
        size=of_query("size", served["size"]).astype(np.int64),
        query_class=query_class.astype(np.int32),
        start_ns=of_query("start_ns", served["start_ns"]),
        finish_ns=of_query("finish_ns", served["finish_ns"]),
        node=of_query("node", node_of_lane[served["lane"]]),
        path=of_query("path", served["path"]),
        correct=of_query("correct", served["size"] * system.path_accuracy[served["path"]]),
        outcome=of_query("outcome", np.where(in_time, Outcome.SERVED_IN_TIME, Outcome.SERVED_LATE)),
        drop_reason=of_query("drop_reason", nothing - 1),
        drop_ns=of_query("drop_ns", nothing + NEVER),
        answered_by=of_query("answered_by", nothing),
        attempt_query=attempts["query"].copy(),
        attempt_cause=attempts["cause"].copy(),
        attempt_sent_ns=attempts["sent_ns"].copy(),
        attempt_end_ns=attempts["end_ns"].copy(),
        attempt_end=attempts["end"].copy(),
        span_device=spans["device"].copy(),
        span_kind=spans["kind"].copy(),
        span_from_ns=spans["from_ns"].copy(),
        span_to_ns=spans["to_ns"].copy(),
        end_ns=end.end_ns,
        stop_ns=end.stop_ns,
        in_system_integral=end.in_system_integral,
        waiting_integral=end.waiting_integral,
        unstarted_wait_ns=end.unstarted_wait_ns,
        **columns,
    )


def unfinished_rows(left: NDArray[np.void], system: System, stop_ns: int) -> tuple[NDArray[np.void], NDArray[np.void]]:
    """Return rows of queries and parts for queries of a plain system that have not ended when the clock stops."""
    queries = np.zeros(len(left), dtype=QUERY_ROW)
    started = left["start_ns"] <= stop_ns
    for name in ("query", "arrival_ns", "size", "query_class"):
        queries[name] = left[name]
    queries["start_ns"] = np.where(started, left["start_ns"], NEVER)
    queries["finish_ns"] = queries["drop_ns"] = NEVER
    queries["node"] = nodes_of_lanes(system)[left["lane"]]
    queries["path"] = NO_PATH
    queries["answered_by"] = NO_ATTEMPT
    queries["outcome"] = Outcome.IN_FLIGHT
    queries["drop_reason"] = -1
    return queries, parts_of(left[started])


def parts_of(served: NDArray[np.void]) -> NDArray[np.void]:
    """Return the rows of the parts of queries that have one; their starts are not numbered."""
    parts = np.zeros(len(served), dtype=PART_ROW)
    for name in ("query", "start_ns", "finish_ns", "size", "query_class", "path", "lane"):
        parts[name] = served[name]
    parts["enqueue_ns"] = served["arrival_ns"]
    parts["batch_samples"] = served["size"]
    parts["leads"] = True
    parts["serial"] = parts["batch"] = UNNUMBERED
    return parts


def nodes_of_lanes(system: System) -> NDArray[np.int64]:
    """Return the node of each lane, shape (lanes,)."""
    device_node = np.repeat(np.arange(len(system.node_group)), np.diff(system.node_device))
    return np.repeat(device_node, np.diff(system.device_lane))


def _numbered(parts: NDArray[np.void]) -> NDArray[np.void]:
    """Return the parts of a plain system in the order of starts, numbered.

    Of one instant, what starts at a completion goes before what starts at its arrival. Completions go as their parts
    started, and where a part takes no time at all its completion goes after those of this instant; arrivals go in
    their order.
    """
    at_arrival = parts["start_ns"] == parts["enqueue_ns"]
    parts = parts[np.lexsort((parts["query"], at_arrival, parts["start_ns"]))]
    at_arrival = parts["start_ns"] == parts["enqueue_ns"]
    # The part before on the same lane: its completion is what starts the next.
    by_lane = np.lexsort((parts["query"], parts["start_ns"], parts["lane"]))
    before = np.full(len(parts), UNNUMBERED)
    same = parts["lane"][by_lane][1:] == parts["lane"][by_lane][:-1]
    before[by_lane[1:][same]] = by_lane[:-1][same]
    place = np.arange(len(parts))
    waited = np.flatnonzero(~at_arrival)
    begins = np.flatnonzero(np.diff(parts["start_ns"][waited], prepend=-1))
    ends = np.append(begins[1:], len(waited))
    several = ends - begins > 1
    for first, end in zip(begins[several].tolist(), ends[several].tolist(), strict=True):
        group = waited[first:end].tolist()
        inside = set(group)
        following = {int(before[part]): part for part in group if int(before[part]) in inside}
        order = sorted(
            (part for part in group if int(before[part]) not in inside), key=lambda part: place[before[part]]
        )
        for part in order:
            if part in following:
                order.append(following[part])
        place[np.array(order)] = group
    if several.any():
        parts = parts[np.argsort(place)]
    parts["serial"] = parts["batch"] = np.arange(len(parts))
    return parts


def _parts(served: NDArray[np.void], parts: NDArray[np.void]) -> dict[str, NDArray[Any]]:
    """Return the columns of parts, in the order of starts."""
    if len(served) or np.any(parts["serial"] == UNNUMBERED):
        parts = _numbered(np.concatenate([parts_of(served), parts]))
    else:
        parts = parts[np.argsort(parts["serial"])]
    return {
        "part_query": parts["query"].copy(),
        "part_attempt": parts["attempt"].copy(),
        "part_path": parts["path"].copy(),
        "part_lane": parts["lane"].copy(),
        "part_size": parts["size"].astype(np.int64),
        "part_enqueue_ns": parts["enqueue_ns"].copy(),
        "part_start_ns": parts["start_ns"].copy(),
        "part_finish_ns": parts["finish_ns"].copy(),
        "part_batch": parts["batch"].copy(),
        "part_cut": parts["cut"].copy(),
    }
