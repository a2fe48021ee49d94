"""How many independent latencies a replication is worth, and which of its metrics that is too few for.

Queries that wait behind each other are late together. A long queue at a high load may last for thousands of them, so
that a replication with many queries can hold few of the events that its tail consists of. Its percentile is then too
low on average, and an interval over replications, all of which are too short alike, does not show it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sim.stats.measurement import PERCENTILES_PER_MILLE
from sim.stats.merge import Metric
from sim.stats.warmup import BatchSeries, aligned_series

__all__ = ["LEAST_BEYOND", "LEAST_FOR_MEAN", "ShortRun", "independent_latencies", "short_runs"]

STRETCHES = 8
"""Stretches of a replication whose means are compared."""

LEAST_FOR_MEAN = 50
"""Independent latencies that a replication has to be worth for the interval of a mean or a percentile."""

LEAST_BEYOND = 3
"""Independent latencies beyond a percentile that it has to be worth as well."""

ENOUGH = 5 / 3
"""What is advised is so many times the least, since the number of independent latencies is an estimate itself."""


@dataclass(frozen=True, slots=True)
class ShortRun:
    """A metric for whose interval the replications are too short.

    Attributes
    ----------
    metric : str
        Of a class of queries, ``CLASS: METRIC``.
    independent_latencies : float
        What a replication is worth.
    needed : float
        What it should at least be worth for this metric.
    times : int
        How many times as long it should be, at least.
    """

    metric: str
    independent_latencies: float
    needed: float
    times: int

    def to_json_dict(self) -> dict[str, Any]:
        """Return an entry of `warnings` in `summary.json`."""
        return {
            "kind": "short-run",
            "metric": self.metric,
            "independent_latencies": self.independent_latencies,
            "needed": self.needed,
            "times": self.times,
        }


def independent_latencies(series: Sequence[BatchSeries], fractions: Sequence[float], cells: int = 1) -> float | None:
    """Return how many independent latencies would show the mean as well as one replication does, on average.

    With batch means of variance v, n of them in a replication after the cut, and the means of its `STRETCHES` stretches
    of m batches each with variance w, it is ``n v / (m w)``: n if batches are independent, fewer as they are alike
    over longer stretches. Both variances are about the mean of all replications. A batch of queries counts as
    one latency at most, which only very short runs notice. Where stretches are not much longer than what
    correlates, the number is too high: for a queue in heavy traffic by a third at 30.

    Parameters
    ----------
    series : sequence of BatchSeries
        One a replication.
    fractions : sequence of float
        The share of each that the warm-up cut removes.
    cells : int
        Independent cells that every batch is pooled from.

    Returns
    -------
    float or None
        None where there are too few batches to tell.

    References
    ----------
    G. S. Fishman, "Grouping observations in digital simulation", Management Science 24(5), 1978 (batch means).
    W. Whitt, "Planning queueing simulations", Management Science 35(11), 1989 (the run lengths that queues need).
    """
    _, aligned = aligned_series(series)
    kept = [one[math.ceil(share * len(one)) :] for one, share in zip(aligned, fractions, strict=True)]
    length = min(len(one) for one in kept) // STRETCHES
    if length < 2:
        return None
    values = np.stack([one[len(one) - length * STRETCHES :] for one in kept])
    known = ~np.isnan(values)
    if known.sum() < values.size / 2:
        return None
    about_mean = np.where(known, values - values[known].mean(), 0.0)
    of_batches = float((about_mean**2).sum()) / (int(known.sum()) - 1)
    stretch = (len(kept), STRETCHES, length)
    counts = known.reshape(stretch).sum(axis=2)
    means = about_mean.reshape(stretch).sum(axis=2)[counts > 0] / counts[counts > 0]
    of_stretches = float((means**2).sum()) / (len(means) - 1)
    batches = float(known.sum()) / len(kept)
    if of_batches == 0:
        return batches * cells
    return batches * cells * min(1.0, of_batches / (of_stretches * length)) if of_stretches > 0 else batches * cells


def short_runs(
    independent: float | None,
    metrics: Mapping[str, Metric],
    classes: Mapping[str, tuple[Mapping[str, Metric], float]],
) -> tuple[ShortRun, ...]:
    """Return a warning about the latencies whose intervals are not to be relied on; none where all are.

    Parameters
    ----------
    independent : float or None
        As from `independent_latencies`; None warns of nothing.
    metrics : mapping of str to Metric
        Of all queries. What has no interval needs no warning.
    classes : mapping
        For each class of queries its metrics, and the measured queries of a replication, more than which it cannot be
        worth.
    """
    if independent is None:
        return ()
    worth = {"": independent} | {name: min(independent, queries) for name, (_, queries) in classes.items()}
    every = {"": metrics} | {name: one for name, (one, _) in classes.items()}
    return tuple(
        ShortRun(f"{label}: {name}" if label else name, worth[label], least, math.ceil(ENOUGH * least / worth[label]))
        for label, one in every.items()
        for name, least in LEAST.items()
        if one[name].low is not None and worth[label] < least
    )


LEAST = {"latency_ms_mean": float(LEAST_FOR_MEAN)} | {
    name: max(1000 * LEAST_BEYOND / (1000 - per_mille), float(LEAST_FOR_MEAN))
    for name, per_mille in PERCENTILES_PER_MILLE.items()
}
"""Independent latencies that each metric needs."""
