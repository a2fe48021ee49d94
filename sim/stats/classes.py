"""Classes of queries: one replication measured class by class, and the replications of a scenario merged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from sim.engine.record import RunRecord
from sim.stats.devices import SystemView
from sim.stats.measure import (
    CLASS_METRICS,
    Measurement,
    count_dropped_by_reason,
    count_outcomes,
    measure_class,
)
from sim.stats.merge import CurvePoint, Metric, added_up, mean_by_name, merge_curve, merge_metric, metric_json, total
from sim.stats.saturation import Backlog, SaturationVerdict, backlog, saturation_verdict

__all__ = ["ClassResult", "ClassSummary", "measure_classes", "summarise_classes"]


@dataclass(frozen=True, slots=True)
class ClassResult:
    """What a replication says of one class of queries.

    Attributes
    ----------
    sla_ns : int
        Latency limit of the class.
    counts, dropped_by_reason : dict
        Over the whole run.
    measurements : tuple of Measurement
        At the same candidate cuts as the whole; without what the classes of a fleet share.
    backlog : Backlog
    """

    sla_ns: int
    counts: dict[str, int]
    dropped_by_reason: dict[str, int]
    measurements: tuple[Measurement, ...]
    backlog: Backlog

    def to_json_dict(self) -> dict[str, Any]:
        """Return plain values for JSON; every number comes back exactly."""
        return {
            "sla_ns": self.sla_ns,
            "counts": self.counts,
            "dropped_by_reason": self.dropped_by_reason,
            "measurements": [m.to_json_dict() for m in self.measurements],
            "backlog": self.backlog.to_json_dict(),
        }

    @classmethod
    def from_json_dict(cls, data: dict[str, Any]) -> ClassResult:
        """Rebuild a result from `to_json_dict`."""
        return cls(
            sla_ns=data["sla_ns"],
            counts=data["counts"],
            dropped_by_reason=data["dropped_by_reason"],
            measurements=tuple(Measurement.from_json_dict(m) for m in data["measurements"]),
            backlog=Backlog.from_json_dict(data["backlog"]),
        )


@dataclass(frozen=True, slots=True)
class ClassSummary:
    """The merged replications of one class of queries; attributes are as in `ScenarioSummary`.

    A class is saturated if its own backlog grows: under priorities the others need not be.
    """

    sla_ms: float
    saturation: SaturationVerdict
    counts: dict[str, int]
    dropped_by_reason: dict[str, int]
    measured: dict[str, int]
    metrics: dict[str, Metric]
    path_mix: dict[str, float]
    waiting_parts: dict[str, float | None]
    percentile_curve: tuple[CurvePoint, ...]
    chosen: tuple[Measurement, ...] = ()

    @property
    def saturated(self) -> bool:
        """Whether the class has no steady state."""
        return self.saturation.saturated

    def to_json_dict(self) -> dict[str, Any]:
        """Return the class's entry of `summary.json`."""
        return {
            "sla_ms": self.sla_ms,
            "saturated": self.saturated,
            "counts": self.counts,
            "metrics": {name: metric_json(metric) for name, metric in self.metrics.items()},
            "path_mix": self.path_mix,
            "waiting_parts": self.waiting_parts,
            "percentile_curve": [asdict(point) for point in self.percentile_curve],
            "dropped_by_reason": self.dropped_by_reason,
            "measured": self.measured,
            "saturation": {
                "growth_fraction": self.saturation.growth_fraction,
                "growth_low": self.saturation.growth_low,
                "reason": self.saturation.reason,
            },
        }


def measure_classes(record: RunRecord, view: SystemView, cuts: Sequence[int]) -> dict[str, ClassResult]:
    """Measure every class of queries, after the same warm-up cuts as the whole; nothing where there are none.

    Parameters
    ----------
    record : RunRecord
    view : SystemView
    cuts : sequence of int
        Index of the first query to keep, among all queries.
    """
    results = {}
    for number, described in enumerate(view.classes):
        mine = record.of_class(number)
        results[described.name] = ClassResult(
            sla_ns=described.sla_ns,
            counts=count_outcomes(mine),
            dropped_by_reason=count_dropped_by_reason(mine, view),
            measurements=tuple(measure_class(record, view, cuts, number)),
            backlog=backlog(mine),
        )
    return results


def summarise_classes(
    results: Sequence[Mapping[str, ClassResult]], cut: int, confidence: float
) -> dict[str, ClassSummary]:
    """Merge the replications of each class.

    Parameters
    ----------
    results : sequence of mapping
        One a replication, as from `measure_classes`.
    cut : int
        Index of the candidate cut that was chosen for the scenario.
    confidence : float
        Of the intervals.
    """
    return {name: _summarised([result[name] for result in results], cut, confidence) for name in results[0]}


def _summarised(results: Sequence[ClassResult], cut: int, confidence: float) -> ClassSummary:
    chosen = [result.measurements[cut] for result in results]
    verdict = saturation_verdict([result.backlog for result in results])
    waiting = mean_by_name([m.waiting_parts for m in chosen])
    return ClassSummary(
        sla_ms=results[0].sla_ns / 1e6,
        saturation=verdict,
        counts=added_up([result.counts for result in results]),
        dropped_by_reason=total([result.dropped_by_reason for result in results]),
        measured=added_up([m.measured for m in chosen]),
        metrics={name: merge_metric(name, chosen, verdict.saturated, confidence) for name in CLASS_METRICS},
        path_mix={k: v for k, v in mean_by_name([m.path_mix for m in chosen]).items() if v is not None},
        waiting_parts=dict.fromkeys(waiting) if verdict.saturated else waiting,
        percentile_curve=() if verdict.saturated else merge_curve(chosen, confidence),
        chosen=tuple(chosen),
    )
