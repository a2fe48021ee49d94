"""Log-linear histogram of latencies: 512 equal buckets an octave, so a quantile is right to 0.1%.

A latency below 1024 ns has a bucket of its own. Above, an octave [2**e, 2**(e + 1)) has 512 buckets of 2**(e - 9) ns,
and a quantile is answered by the middle of the bucket that its order statistic lies in: less than half a bucket away,
which is at most 1/1024 of the value. Histograms of the same thing add up, bucket by bucket.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sim.serving.compiled import jit

__all__ = ["BUCKETS", "RELATIVE_ERROR", "Histogram", "bucket_middle_ns", "bucket_of"]

MANTISSA_BITS = 9
OCTAVE = 1 << MANTISSA_BITS
"""Buckets in an octave."""

SHIFT = 52 - MANTISSA_BITS
FIRST_PATTERN = (1023 + MANTISSA_BITS - 1) << MANTISSA_BITS
"""Leading bits of a float64 below those of 512 by the 512 buckets of the smaller numbers."""

BUCKETS = (63 - MANTISSA_BITS + 2) * OCTAVE
"""Buckets for every latency below 2**63 ns, and for those that as floats round up to it."""

RELATIVE_ERROR = 1 / 1024
"""What a quantile is off its order statistic, at most, as a share of it."""


@jit
def bucket_of(latency_ns: int) -> int:
    """Return the bucket of a latency, which is not negative: exponent and first 9 binary places of its float64."""
    if latency_ns < OCTAVE:
        return latency_ns
    return int(np.float64(latency_ns).view(np.int64) >> SHIFT) - FIRST_PATTERN


def bucket_middle_ns(bucket: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the middle of the whole nanoseconds that lie in each bucket."""
    exponent = np.maximum(bucket // OCTAVE - 1, 0)
    first = np.ldexp((bucket - exponent * OCTAVE).astype(np.float64), exponent)
    return np.asarray(first + (np.ldexp(1.0, exponent) - 1.0) / 2)


@dataclass(frozen=True, slots=True)
class Histogram:
    """How many latencies lie in each bucket; only buckets that hold any are kept.

    Attributes
    ----------
    bucket, count : int64, shape (buckets in use,)
        In the order of buckets; no count is 0.
    unfinished : int
        Queries that are infinitely late.
    """

    bucket: NDArray[np.int64]
    count: NDArray[np.int64]
    unfinished: int = 0

    @classmethod
    def of_counts(cls, counts: NDArray[np.integer[Any]], unfinished: int = 0) -> Histogram:
        """Return the histogram of `counts`, one for each bucket, shape (`BUCKETS`,)."""
        bucket = np.flatnonzero(counts).astype(np.int64)
        return cls(bucket, counts[bucket].astype(np.int64), int(unfinished))

    def __len__(self) -> int:
        return int(self.count.sum()) + self.unfinished

    def __add__(self, other: Histogram) -> Histogram:
        bucket = np.union1d(self.bucket, other.bucket)
        count = np.zeros(len(bucket), dtype=np.int64)
        for one in (self, other):
            count[np.searchsorted(bucket, one.bucket)] += one.count
        return Histogram(bucket, count, self.unfinished + other.unfinished)

    def at_rank(self, rank: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return the latency in ns of each rank, from 1 for the least; infinity where it is not finished."""
        found = np.searchsorted(np.cumsum(self.count), rank)
        finished = found < len(self.bucket)
        latency_ns = np.full(len(rank), np.inf)
        latency_ns[finished] = bucket_middle_ns(self.bucket[found[finished]])
        return latency_ns

    def to_json_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {"bucket": self.bucket.tolist(), "count": self.count.tolist(), "unfinished": self.unfinished}

    @classmethod
    def from_json_dict(cls, data: dict[str, Any]) -> Histogram:
        """Rebuild a histogram from `to_json_dict`."""
        return cls(np.array(data["bucket"], np.int64), np.array(data["count"], np.int64), data["unfinished"])
