"""Chooses how much of the start of every replication to cut: MSER-5 over their averaged latencies."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sim.engine.record import Outcome, RunRecord

__all__ = [
    "MAX_BATCHES",
    "QUERIES_PER_BATCH",
    "BatchSeries",
    "BatchSums",
    "MserCut",
    "WarmupCut",
    "aligned_series",
    "average_series",
    "batch_series",
    "candidate_cuts",
    "choose_cut",
    "mser5",
    "warmup_cut",
]

QUERIES_PER_BATCH = 5
MAX_BATCHES = 20_000
GRID_STEPS = 20
"""Candidate cuts are whole multiples of 1/20 of the queries."""

NS_PER_MS = 1e6


@dataclass(frozen=True, slots=True)
class BatchSeries:
    """Mean latency of consecutive batches of queries.

    Attributes
    ----------
    queries_per_batch : int
        Five times a power of two.
    mean_ms : float32, shape (batches,)
        Mean over the served queries of the batch; NaN where none was served. Single precision halves what a
        replication sends, and its rounding is far below the noise of five latencies.
    """

    queries_per_batch: int
    mean_ms: NDArray[np.float32]

    def to_json_dict(self) -> dict[str, Any]:
        """Return plain values for JSON; the means are base64 of little-endian float32, so exact."""
        packed = base64.b64encode(self.mean_ms.astype("<f4").tobytes()).decode("ascii")
        return {"queries_per_batch": self.queries_per_batch, "mean_ms": packed}

    @classmethod
    def from_json_dict(cls, data: dict[str, Any]) -> BatchSeries:
        """Rebuild a series from `to_json_dict`."""
        mean = np.frombuffer(base64.b64decode(data["mean_ms"]), dtype="<f4").astype(np.float32)
        return cls(int(data["queries_per_batch"]), mean)


@dataclass(frozen=True, slots=True)
class BatchSums:
    """What a `BatchSeries` is made of, over one cell or several.

    Attributes
    ----------
    queries_per_batch : int
        Of each cell.
    total_ns : float64, shape (batches,)
        Latencies of the served queries of each batch.
    served : int64, shape (batches,)
    """

    queries_per_batch: int
    total_ns: NDArray[np.float64]
    served: NDArray[np.int64]

    def coarsened(self, factor: int) -> BatchSums:
        """Merge `factor` neighbouring batches each; a last, incomplete one is left out."""
        shape = len(self.served) // factor, factor
        whole = slice(shape[0] * factor)
        total_ns = self.total_ns[whole].reshape(shape).sum(axis=1)
        return BatchSums(self.queries_per_batch * factor, total_ns, self.served[whole].reshape(shape).sum(axis=1))

    def __add__(self, other: BatchSums) -> BatchSums:
        """Pool batch k of other cells with batch k of these, up to the shortest."""
        per_batch = max(self.queries_per_batch, other.queries_per_batch)
        one, two = (sums.coarsened(per_batch // sums.queries_per_batch) for sums in (self, other))
        shortest = min(len(one.served), len(two.served))
        return BatchSums(
            per_batch, one.total_ns[:shortest] + two.total_ns[:shortest], one.served[:shortest] + two.served[:shortest]
        )

    def series(self) -> BatchSeries:
        """Return the mean latencies."""
        mean = np.where(self.served > 0, self.total_ns / NS_PER_MS / np.maximum(self.served, 1), np.nan)
        return BatchSeries(self.queries_per_batch, mean.astype(np.float32))

    def to_json_dict(self) -> dict[str, Any]:
        """Return plain values for JSON, exactly: base64 of little-endian numbers."""
        return {
            "queries_per_batch": self.queries_per_batch,
            "total_ns": base64.b64encode(self.total_ns.astype("<f8").tobytes()).decode("ascii"),
            "served": base64.b64encode(self.served.astype("<i8").tobytes()).decode("ascii"),
        }

    @classmethod
    def from_json_dict(cls, data: dict[str, Any]) -> BatchSums:
        """Rebuild sums from `to_json_dict`."""
        total_ns = np.frombuffer(base64.b64decode(data["total_ns"]), dtype="<f8").astype(np.float64)
        served = np.frombuffer(base64.b64decode(data["served"]), dtype="<i8").astype(np.int64)
        return cls(int(data["queries_per_batch"]), total_ns, served)


@dataclass(frozen=True, slots=True)
class MserCut:
    """Number of batches that MSER cuts, and whether its minimum lies inside the allowed range."""

    batches: int
    established: bool


@dataclass(frozen=True, slots=True)
class WarmupCut:
    """The cut chosen for a scenario.

    Attributes
    ----------
    index : int
        Index into the candidate cuts of every replication.
    fraction : float
        Share of the queries that is cut.
    established : bool
        False where the series is still changing in its second half, so that no cut can be trusted.
    """

    index: int
    fraction: float
    established: bool


def batch_series(record: RunRecord, max_batches: int = MAX_BATCHES) -> BatchSeries:
    """Average the latencies of consecutive batches of offered queries.

    A batch is five queries in the order of arrival. Dropped and unfinished queries have no latency and are
    left out of their batch's mean; they keep their place, so that a batch stands for the same queries in
    every replication. A last, incomplete batch is left out. Where there would be more than `max_batches`,
    neighbouring batches are merged: 10, 20, 40, ... queries each, the fewest that fit.
    """
    queries = len(record.arrival_ns)
    per_batch = QUERIES_PER_BATCH
    while queries // per_batch > max_batches:
        per_batch *= 2
    batches = queries // per_batch
    served = (record.outcome == Outcome.SERVED_IN_TIME) | (record.outcome == Outcome.SERVED_LATE)
    latency_ms = np.where(served, record.finish_ns - record.arrival_ns, 0)[: batches * per_batch] / NS_PER_MS
    total = latency_ms.reshape(batches, per_batch).sum(axis=1)
    count = served[: batches * per_batch].reshape(batches, per_batch).sum(axis=1)
    mean = np.where(count > 0, total / np.maximum(count, 1), np.nan)
    return BatchSeries(per_batch, mean.astype(np.float32))


def average_series(series: Sequence[BatchSeries]) -> tuple[int, NDArray[np.float64]]:
    """Average the replications batch by batch, up to the shortest.

    Finer series are first merged to the coarsest batch size.

    Returns
    -------
    queries_per_batch : int
    mean_ms : float64, shape (batches,)
        NaN where no replication served a query of the batch.

    Raises
    ------
    ValueError
        If there is no series.
    """
    per_batch, aligned = aligned_series(series)
    shortest = min(len(one) for one in aligned)
    return per_batch, _mean_of_known(np.stack([one[:shortest] for one in aligned]), axis=0)


def aligned_series(series: Sequence[BatchSeries]) -> tuple[int, list[NDArray[np.float64]]]:
    """Merge the batches of every replication to the coarsest batch size of all.

    Returns
    -------
    queries_per_batch : int
    mean_ms : list of float64, shape (batches,)
        One a replication; NaN where no query of the batch was served.

    Raises
    ------
    ValueError
        If there is no series.
    """
    if not series:
        raise ValueError("there is no replication to average")
    per_batch = max(s.queries_per_batch for s in series)
    merged = []
    for one in series:
        factor = per_batch // one.queries_per_batch
        batches = len(one.mean_ms) // factor
        parts = one.mean_ms[: batches * factor].astype(np.float64).reshape(batches, factor)
        merged.append(_mean_of_known(parts, axis=1))
    return per_batch, merged


def mser5(mean: NDArray[np.float64]) -> MserCut:
    """Find the number of leading batches to cut by the marginal standard error rule.

    The cut d minimises ``sum((y[d:] - mean(y[d:]))**2) / (n - d)**2`` over 0 <= d <= n/2, the smallest d
    among equals. A minimum at n/2 says that the series had not settled, and the cut is not established; nor
    is it with fewer than ten batches. Batches that are NaN are left out of sums and counts.

    Parameters
    ----------
    mean : float64, shape (n,)
        Batch means, averaged over replications.

    References
    ----------
    K. P. White, "An effective truncation heuristic for bias reduction in simulation output", Simulation
    69(6), 1997. The bound of one half: K. P. White and S. Robinson, "The problem of the initial transient
    (again), or why MSER works", Journal of Simulation 4(4), 2010.
    """
    n = len(mean)
    known = ~np.isnan(mean)
    if int(known.sum()) < 10:
        return MserCut(0, established=False)
    # Deviations from the centre keep the difference of squares below from losing digits; those of a constant
    # series are exactly zero, which a mean would not ensure.
    y = np.where(known, mean - np.median(mean[known]), 0.0)

    def tail_sums(x: NDArray[Any]) -> NDArray[np.float64]:
        sums: NDArray[np.float64] = x[::-1].cumsum()[::-1][: n // 2 + 1].astype(np.float64)
        return sums

    count, first, second = tail_sums(known), tail_sums(y), tail_sums(y * y)
    some = np.maximum(count, 1)
    statistic = np.where(count > 0, np.maximum(second - first * first / some, 0.0) / some**2, np.inf)
    cut = int(np.argmin(statistic))
    return MserCut(cut, established=cut < n // 2)


def candidate_cuts(queries: int) -> NDArray[np.int64]:
    """Return the cuts at 0, 5, ..., 50% of the queries, rounded up; int64, shape (11,)."""
    steps = np.arange(GRID_STEPS // 2 + 1, dtype=np.int64)
    return -(-steps * queries // GRID_STEPS)


def warmup_cut(record: RunRecord, warmup_ns: int) -> int:
    """Return the index of the first query that arrives at or after a given warm-up time."""
    return int(np.searchsorted(record.arrival_ns, warmup_ns, side="left"))


def choose_cut(series: Sequence[BatchSeries], cuts: Sequence[Sequence[int]]) -> WarmupCut:
    """Choose one of the candidate cuts for all replications of a scenario.

    It is the first that removes at least the MSER-5 queries from every replication (of a fleet of cells, from every
    cell): where these differ in length from the shortest one, and the same share from the others.

    Parameters
    ----------
    series : sequence of BatchSeries
        One per replication, in the order of replications.
    cuts : sequence of sequence of int
        What each candidate cut removes from each replication, as from `candidate_cuts`.
    """
    per_batch, mean = average_series(series)
    mser = mser5(mean)
    least = np.min(np.asarray(cuts, dtype=np.int64), axis=0)
    index = int(np.searchsorted(least, mser.batches * per_batch, side="left"))
    index = min(index, GRID_STEPS // 2)
    return WarmupCut(index, index / GRID_STEPS, mser.established)


def _mean_of_known(values: NDArray[np.float64], axis: int) -> NDArray[np.float64]:
    # numpy's nanmean warns where nothing is known; here that is an expected case.
    known = ~np.isnan(values)
    count = known.sum(axis=axis)
    total = np.where(known, values, 0.0).sum(axis=axis)
    mean: NDArray[np.float64] = np.where(count > 0, total / np.maximum(count, 1), np.nan)
    return mean
