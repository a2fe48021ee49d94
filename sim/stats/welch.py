"""The averaged latencies over the length of a run, as Welch's procedure looks at them: few points of many queries."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sim.stats.warmup import BatchSeries, average_series

__all__ = ["WelchSeries", "welch_series"]

MOST_POINTS = 200


@dataclass(frozen=True, slots=True)
class WelchSeries:
    """Mean latency, over replications, of consecutive stretches of queries.

    Attributes
    ----------
    queries_per_point : int
        Queries of a replication (of a fleet of cells, of each cell) that a point is the mean of.
    mean_ms : tuple of float or None
        None where none of them was served.
    cut_query : int
        The first query that the warm-up cut keeps.
    """

    queries_per_point: int
    mean_ms: tuple[float | None, ...]
    cut_query: int


def welch_series(series: Sequence[BatchSeries], cut_query: int) -> WelchSeries:
    """Average the replications batch by batch, and neighbouring batches to at most `MOST_POINTS` points.

    References
    ----------
    P. D. Welch, "The statistical analysis of simulation results", in: Computer Performance Modeling Handbook, ed.
    S. S. Lavenberg, 1983.
    """
    per_batch, mean = average_series(series)
    factor = max(1, math.ceil(len(mean) / MOST_POINTS))
    points = len(mean) // factor
    parts = mean[: points * factor].reshape(points, factor)
    known = ~np.isnan(parts)
    count = known.sum(axis=1)
    total = np.where(known, parts, 0.0).sum(axis=1)
    values = [float(t / n) if n else None for t, n in zip(total, count, strict=True)]
    return WelchSeries(per_batch * factor, tuple(values), cut_query)
