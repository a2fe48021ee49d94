"""Rows: what has happened for good, handed on while a replication still runs.

An engine that streams does not keep what is over: it hands out tables of rows now and then, each of them final, and
forgets them. Whoever wants a record puts them together (`sim.engine.compiled.assemble`); whoever wants metrics adds
them up (`sim.stats.tally`).

Rows come in no particular order, but for this: when a row is handed out, every query that arrived at or before the
latest time stamp in it has been offered (`Rows.arrival_ns` of this or an earlier table).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["ATTEMPT_ROW", "PART_ROW", "QUERY_ROW", "SERVED_ROW", "SPAN_ROW", "Rows", "RunEnd"]

SERVED_ROW = np.dtype(
    [
        ("query", np.int64),
        ("arrival_ns", np.int64),
        ("start_ns", np.int64),
        ("finish_ns", np.int64),
        ("size", np.int32),
        ("query_class", np.int32),
        ("path", np.int32),
        ("lane", np.int32),
    ],
    align=True,
)
"""A query that was served whole, by one attempt of one part that joined its queue at its arrival.

It stands for a query row and a part row; `finish_ns` is before or at the stop. A part that was served in a batch with
others has a row of its own.
"""

QUERY_ROW = np.dtype(
    [
        ("query", np.int64),
        ("arrival_ns", np.int64),
        ("start_ns", np.int64),
        ("finish_ns", np.int64),
        ("drop_ns", np.int64),
        ("correct", np.float64),
        ("size", np.int32),
        ("query_class", np.int32),
        ("node", np.int32),
        ("path", np.int32),
        ("answered_by", np.int32),
        ("outcome", np.int8),
        ("drop_reason", np.int8),
    ],
    align=True,
)
"""A query as in `sim.engine.record.RunRecord`. It comes when none of its attempts is under way any more."""

PART_ROW = np.dtype(
    [
        ("serial", np.int64),
        ("query", np.int64),
        ("enqueue_ns", np.int64),
        ("start_ns", np.int64),
        ("finish_ns", np.int64),
        ("batch", np.int64),
        ("batch_samples", np.int64),
        ("size", np.int32),
        ("query_class", np.int32),
        ("path", np.int32),
        ("lane", np.int32),
        ("attempt", np.int32),
        ("leads", np.bool_),
        ("cut", np.bool_),
        ("wasted", np.bool_),
    ],
    align=True,
)
"""A part that started service, as in `RunRecord`; its row comes with its query's.

`serial` numbers the starts; `batch_samples` are those of all parts of its batch, `leads` marks the first of them; `cut`
is whether service was cut off at `finish_ns`, and `wasted` whether no answer came of it: it was cut off, or its query
has ended otherwise.
"""

ATTEMPT_ROW = np.dtype(
    [
        ("serial", np.int64),
        ("query", np.int64),
        ("sent_ns", np.int64),
        ("end_ns", np.int64),
        ("query_class", np.int32),
        ("cause", np.int8),
        ("end", np.int8),
    ],
    align=True,
)
"""An attempt as in `RunRecord`; `serial` numbers them in the order of sending. Only where clients may send several."""

SPAN_ROW = np.dtype(
    [
        ("device", np.int64),
        ("from_ns", np.int64),
        ("to_ns", np.int64),
        ("kind", np.int8),
    ],
    align=True,
)
"""When a device was down, closed or off, as in `RunRecord`; in the order in which the spans ended."""


@dataclass(frozen=True, slots=True)
class Rows:
    """What is over, and the queries that were offered, since the last time.

    Attributes
    ----------
    first : int
        Number of the first query that was offered.
    arrival_ns, query_class : int64, shape (offered,)
        Scheduled arrivals and classes of the queries that were offered, in order.
    served, queries, parts, attempts, spans : structured arrays
        Rows of `SERVED_ROW`, `QUERY_ROW`, `PART_ROW`, `ATTEMPT_ROW` and `SPAN_ROW`. Views that are valid until the next
        rows are asked for.
    """

    first: int
    arrival_ns: NDArray[np.int64]
    query_class: NDArray[np.int64]
    served: NDArray[np.void]
    queries: NDArray[np.void]
    parts: NDArray[np.void]
    attempts: NDArray[np.void]
    spans: NDArray[np.void]


@dataclass(frozen=True, slots=True)
class RunEnd:
    """What is known when the clock has stopped; the fields of `RunRecord` that are not arrays, and the count."""

    offered: int
    end_ns: int
    stop_ns: int
    in_system_integral: int
    waiting_integral: int
    unstarted_wait_ns: int
