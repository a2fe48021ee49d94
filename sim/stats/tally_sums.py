"""What rows are added to: the bounds of segments, sums, and how amounts that are no whole numbers are summed up."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sim.serving.compiled import jit_inline

__all__ = [
    "CORRECT",
    "FAR_NS",
    "FRACTION",
    "FRACTION_BITS",
    "FRACTION_UNIT",
    "IN_TIME",
    "LATE",
    "QUERIES",
    "SAMPLES",
    "Bounds",
    "Faults",
    "Sums",
    "add_split",
    "fraction_of",
    "together",
]

FAR_NS = 2**63 - 1
"""Later than anything."""

IN_TIME, LATE = 0, 1
QUERIES, SAMPLES, CORRECT, FRACTION = range(4)

FRACTION_BITS = 32
FRACTION_UNIT = 2.0**-FRACTION_BITS
"""Of amounts that are no whole numbers, whole ones are added up and, apart, what is left of each in multiples of this:
as integers, because the order of rows is each engine's own, and sums must not depend on it.
"""


class Bounds(NamedTuple):
    """Where the segments begin, and what a row's numbers refer to.

    Attributes
    ----------
    cut : int64, shape (cuts,)
        First query that each cut keeps.
    begin_ns : int64, shape (cuts + 1,)
        Begin of each window, and the first instant after the arrival period.
    edge_ns : int64, shape (cuts + 1,)
        The same, but the end of the arrival period last: where stretches of time are cut.
    instant_ns : int64, shape (instants,)
        When the backlog is taken; empty where it is followed in bins of ``2**bin_shift`` ns.
    limit_ns : int64, shape (classes,)
    lane_kind : int16, shape (lanes,)
    path_accuracy : float64, shape (paths,)
    """

    cut: NDArray[np.int64]
    begin_ns: NDArray[np.int64]
    edge_ns: NDArray[np.int64]
    instant_ns: NDArray[np.int64]
    bin_shift: int
    limit_ns: NDArray[np.int64]
    lane_kind: NDArray[np.int16]
    path_accuracy: NDArray[np.float64]


class Sums(NamedTuple):
    """What rows are added to; the integers are carried over before they overflow.

    Attributes
    ----------
    offered : int64, shape (classes, cuts + 1)
    outcomes : int64, shape (classes, cuts + 1, outcomes)
    undecided : int64, shape (classes, cuts + 1)
    latency_ns : int64, shape (classes, cuts + 1)
    finished : int64, shape (classes, cuts + 2, 2, 4)
        Queries, samples, whole correct predictions and what is left of these, in units of `FRACTION_UNIT`, by the
        segment of time of the finish, in time and late.
    started : int64, shape (classes, paths, cuts + 2)
    waited_ns : int64, shape (classes, kinds, cuts + 2)
    busy_ns : int64, shape (kinds, cuts + 2)
    wasted_ns : int64, shape (cuts + 2, 2)
        The share of a part in its batch, times its time: whole ns, and what is left in units of `FRACTION_UNIT`.
    dropped : int64, shape (classes, reasons)
    attempts : int64, shape (causes, cuts + 1)
    answered : int64, shape (1,)
    other_system_ns : int64, shape (1,)
        Time in the system of queries that were dropped or are in flight.
    numbers : int64, shape (1,)
        Sum of the numbers of the queries that came.
    latency_count : int64, shape (classes, cuts + 1, buckets)
    arrived, turned_away, left : int64, shape (classes, bins)
        Arrivals, those of them that were dropped, and finishes by instant or bin.
    batch_ns, batch_count : float64 and int64, shape (batches,)
        Latencies of the batches; empty where they are not kept.
    """

    offered: NDArray[np.int64]
    outcomes: NDArray[np.int64]
    undecided: NDArray[np.int64]
    latency_ns: NDArray[np.int64]
    finished: NDArray[np.int64]
    started: NDArray[np.int64]
    waited_ns: NDArray[np.int64]
    busy_ns: NDArray[np.int64]
    dropped: NDArray[np.int64]
    attempts: NDArray[np.int64]
    answered: NDArray[np.int64]
    other_system_ns: NDArray[np.int64]
    numbers: NDArray[np.int64]
    wasted_ns: NDArray[np.int64]
    latency_count: NDArray[np.int64]
    arrived: NDArray[np.int64]
    turned_away: NDArray[np.int64]
    left: NDArray[np.int64]
    batch_ns: NDArray[np.float64]
    batch_count: NDArray[np.int64]


class Faults(NamedTuple):
    """Counts of rows that break a law, each of shape (1,), and the latest finish of a query."""

    unknown: NDArray[np.int64]
    disordered: NDArray[np.int64]
    unsettled: NDArray[np.int64]
    untimely: NDArray[np.int64]
    untimely_attempts: NDArray[np.int64]
    early: NDArray[np.int64]
    latest_ns: NDArray[np.int64]


@jit_inline
def fraction_of(amount: float) -> int:
    """Return what is left of an amount without the whole ones, in units of `FRACTION_UNIT`."""
    return int(np.rint((amount - int(amount)) * (1.0 / FRACTION_UNIT)))


@jit_inline
def add_split(sums: NDArray[np.int64], amount: float) -> None:
    """Add an amount to the last two of some sums: whole ones, and what is left in units of `FRACTION_UNIT`."""
    sums[-2] += int(amount)
    sums[-1] += fraction_of(amount)


def together(sums: NDArray[Any]) -> NDArray[np.float64]:
    """Return the amounts that `add_split` has added to the last axis."""
    return np.asarray(sums[..., -2] + sums[..., -1] * FRACTION_UNIT, dtype=np.float64)
