"""What one replication leaves behind: per-query and per-part records in integer nanoseconds."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

__all__ = ["NEVER", "NO_PATH", "Outcome", "RunRecord"]

NEVER = -1
"""Time stamp of something that did not happen before the clock stopped."""

NO_PATH = -1
"""Path or node index of a query that was never bound to one."""


class Outcome(IntEnum):
    """How an offered query ended. Every query has exactly one."""

    SERVED_IN_TIME = 0
    SERVED_LATE = 1
    DROPPED = 2
    IN_FLIGHT = 3


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
    part_query, part_path, part_lane, part_size, part_enqueue_ns, part_start_ns, part_finish_ns, part_batch : (parts,)
        One entry per part that started service before `stop_ns`, in the order of starts. A query that is not
        split has one part. `part_lane` numbers the lanes of the whole fleet; `part_finish_ns` is the scheduled
        finish and may lie beyond `stop_ns`. Parts that a lane serves together have the same number in `part_batch`.
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
    part_query: NDArray[np.int64]
    part_path: NDArray[np.int32]
    part_lane: NDArray[np.int32]
    part_size: NDArray[np.int64]
    part_enqueue_ns: NDArray[np.int64]
    part_start_ns: NDArray[np.int64]
    part_finish_ns: NDArray[np.int64]
    part_batch: NDArray[np.int64]
    end_ns: int
    stop_ns: int
    in_system_integral: int
    waiting_integral: int
    unstarted_wait_ns: int

    @property
    def leads_batch(self) -> NDArray[np.bool_]:
        """Whether each part is the first of its batch, shape (parts,); a part that is served alone is a batch."""
        leads = np.ones(len(self.part_batch), dtype=np.bool_)
        leads[1:] = self.part_batch[1:] != self.part_batch[:-1]
        return leads
