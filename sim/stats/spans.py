"""Times cut by equal intervals: in which one an instant lies, how much of each one spans fill, what spans cover."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

__all__ = ["SpanLog", "SpanTable", "Spans", "covered", "interval_of", "time_within", "weighted_time_within"]


class SpanLog(Protocol):
    """What says when devices were down, closed or off: a `RunRecord` or a `SpanTable`."""

    @property
    def span_device(self) -> NDArray[np.int64]:
        """Device of each span."""

    @property
    def span_kind(self) -> NDArray[np.int8]:
        """What it was, a `sim.engine.record.Span`."""

    @property
    def span_from_ns(self) -> NDArray[np.int64]:
        """Begin of each span."""

    @property
    def span_to_ns(self) -> NDArray[np.int64]:
        """End of each span."""


@dataclass(frozen=True, slots=True)
class SpanTable:
    """The spans of a run alone."""

    span_device: NDArray[np.int64]
    span_kind: NDArray[np.int8]
    span_from_ns: NDArray[np.int64]
    span_to_ns: NDArray[np.int64]


class Spans(NamedTuple):
    """Stretches of time, each of some component of the fleet; every array of shape (spans,)."""

    owner: NDArray[np.int64]
    from_ns: NDArray[np.int64]
    to_ns: NDArray[np.int64]


def interval_of(times_ns: NDArray[np.int64], edges: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the number of the interval that each time lies in; what is beyond the last edge is in the last."""
    return np.minimum(np.searchsorted(edges, times_ns, side="right") - 1, len(edges) - 2).astype(np.int64)


def time_within(from_ns: NDArray[np.int64], to_ns: NDArray[np.int64], edges: NDArray[np.int64]) -> NDArray[np.float64]:
    """Add up, for each interval, the time of the spans [from_ns, to_ns] that lies within it."""
    return np.diff(_sum_of_minima(to_ns, edges) - _sum_of_minima(from_ns, edges))


def _sum_of_minima(times_ns: NDArray[np.int64], edges: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the sum over all times of min(time, edge), for each edge."""
    ordered = np.sort(times_ns)
    below = np.searchsorted(ordered, edges)
    sums = np.append(0.0, np.cumsum(ordered, dtype=np.float64))
    result: NDArray[np.float64] = sums[below] + (len(ordered) - below) * edges.astype(np.float64)
    return result


def weighted_time_within(
    from_ns: NDArray[np.int64], to_ns: NDArray[np.int64], weight: NDArray[np.float64], edges: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Add up the time of spans in each interval, each span's multiplied by its weight.

    Each span is cut at the edges and its pieces are added to their intervals alone, so that an interval without spans
    gets exactly 0. The pieces are as many as the spans and the edges that they cross.
    """
    first, last = interval_of(from_ns, edges), interval_of(to_ns, edges)
    pieces = last - first + 1
    span = np.repeat(np.arange(len(pieces)), pieces)
    interval = first[span] + np.arange(len(span)) - np.repeat(np.cumsum(pieces) - pieces, pieces)
    clipped = np.minimum(to_ns[span], edges[interval + 1]) - np.maximum(from_ns[span], edges[interval])
    total = np.bincount(interval, weights=np.maximum(clipped, 0) * weight[span], minlength=len(edges) - 1)
    return total.astype(np.float64, copy=False)


def covered(spans: Spans, needed: NDArray[np.integer[Any]]) -> Spans:
    """Return when at least ``needed[owner]`` spans of an owner hold at once; where they meet it goes on."""
    owner = np.concatenate([spans.owner, spans.owner])
    time_ns = np.concatenate([spans.from_ns, spans.to_ns])
    change = np.repeat(np.array([1, -1]), len(spans.owner))
    # What begins at an instant comes before what ends then.
    order = np.lexsort((-change, time_ns, owner))
    # The spans of each owner are as many begun as ended, so the running sum is back at 0 where the next owner begins.
    level = np.cumsum(change[order])
    owner, time_ns, change = owner[order], time_ns[order], change[order]
    enough = needed[owner]
    begins = (change > 0) & (level == enough)
    ends = (change < 0) & (level == enough - 1)
    return Spans(owner[begins], time_ns[begins], time_ns[ends])
