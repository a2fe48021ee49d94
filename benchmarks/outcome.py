"""What a run of a contender comes to: the metrics, and for those that keep records the finish of every query."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sim.engine.record import RunRecord
from sim.stats.measure import PERCENTILES_PER_MILLE, QUERIES_BEYOND_PERCENTILE
from sim.stats.summary import ReplicationResult

__all__ = ["COMPARED", "NotAvailableError", "Outcome", "outcome_of_records", "outcome_of_result"]

COMPARED = ("latency_ms_mean", *PERCENTILES_PER_MILLE, "sla_attainment", "correct_predictions_per_s")
"""The metrics that every contender computes, besides the shares of the paths."""


class NotAvailableError(Exception):
    """A contender cannot run here; says why."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How many queries were offered, and what was measured of them."""

    queries: int
    metrics: dict[str, float | None] = field(default_factory=dict)
    path_mix: dict[str, float] = field(default_factory=dict)
    finish_ns: NDArray[np.int64] | None = None

    def to_json_dict(self) -> dict[str, Any]:
        """Return plain values; of the finish times their hash."""
        finishes = None if self.finish_ns is None else hashlib.sha256(self.finish_ns.tobytes()).hexdigest()[:16]
        return {"queries": self.queries, "metrics": self.metrics, "path_mix": self.path_mix, "finishes": finishes}


def outcome_of_result(result: ReplicationResult, record: RunRecord | None = None) -> Outcome:
    """Return the outcome of a replication of one of the engines."""
    (measured,) = result.measurements
    return Outcome(
        queries=result.counts["offered"],
        metrics={name: measured.metrics[name] for name in COMPARED},
        path_mix=measured.path_mix,
        finish_ns=None if record is None else record.finish_ns,
    )


def outcome_of_records(
    records: Sequence[tuple[int, float, int, float, float, int]],
    accuracy: Sequence[float],
    path_names: Sequence[str],
    sla_ns: int,
) -> Outcome:
    """Measure a hand-written model's run to its end, as `sim.stats.measure` does.

    Parameters
    ----------
    records : sequence of (query, arrival, size, start, finish, path)
        One for each query, in any order; times in ns.
    accuracy, path_names : sequence
        By path.
    sla_ns : int
    """
    columns = np.array(records, dtype=np.int64)
    query, arrival, size, start, finish, path = columns[np.argsort(columns[:, 0])].T
    assert np.array_equal(query, np.arange(len(query))), "not every query was served once"
    queries, end_ns = len(query), int(arrival[-1])
    latency = finish - arrival
    ranked = np.sort(latency)
    metrics: dict[str, float | None] = {"latency_ms_mean": float(latency.mean()) / 1e6}
    for name, per_mille in PERCENTILES_PER_MILLE.items():
        rank = -(-per_mille * queries // 1000)
        enough = queries - rank >= QUERIES_BEYOND_PERCENTILE
        metrics[name] = float(ranked[rank - 1]) / 1e6 if enough else None
    metrics["sla_attainment"] = float(np.mean(latency <= sla_ns))
    correct = size * np.asarray(accuracy)[path]
    metrics["correct_predictions_per_s"] = float(correct[finish <= end_ns].sum()) / (end_ns / 1e9)
    begun = start <= end_ns
    samples = np.bincount(path[begun], weights=size[begun], minlength=len(path_names))
    mix = dict(zip(path_names, (samples / samples.sum()).tolist(), strict=True))
    return Outcome(queries, metrics, mix, finish)
