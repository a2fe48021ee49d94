"""Reduces a replication to what its process returns, and merges the replications of a scenario."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from sim.engine.record import RunRecord
from sim.stats.classes import ClassResult, ClassSummary, measure_classes, summarise_classes
from sim.stats.independence import ShortRun, independent_latencies, short_runs
from sim.stats.measure import Measurement, SystemView, count_dropped_by_reason, count_outcomes, measure
from sim.stats.merge import CurvePoint, Metric, added_up, mean_by_name, merge_curve, merge_metric, metric_json, total
from sim.stats.precision import PrecisionGoal, PrecisionOutcome, judge_precision
from sim.stats.saturation import Backlog, SaturationVerdict, backlog, saturation_verdict
from sim.stats.timeline import Timeline, TimelineSummary, measure_over_time, merge_timelines
from sim.stats.warmup import BatchSeries, batch_series, candidate_cuts, choose_cut, warmup_cut
from sim.stats.welch import WelchSeries, welch_series

__all__ = ["CurvePoint", "Metric", "ReplicationResult", "ScenarioSummary", "Warmup", "reduce_record", "summarise"]


MSER = "mser-5"


@dataclass(frozen=True, slots=True)
class ReplicationResult:
    """What a replication's process returns: a hundred kilobytes at most, however long the run.

    Attributes
    ----------
    replication : int
    counts : dict
        Outcomes over the whole run, as from `count_outcomes`.
    dropped_by_reason : dict
    measurements : tuple of Measurement
        One per candidate warm-up cut; a single one where the cut is given.
    series : BatchSeries or None
        For choosing the cut and for telling how much of it is independent; None where nothing is cut.
    backlog : Backlog
    timeline : Timeline or None
        Metrics over time, where asked for.
    classes : dict
        The same of each class of queries, by its name; empty where there are none.
    """

    replication: int
    counts: dict[str, int]
    dropped_by_reason: dict[str, int]
    measurements: tuple[Measurement, ...]
    series: BatchSeries | None
    backlog: Backlog
    timeline: Timeline | None = None
    classes: dict[str, ClassResult] = field(default_factory=dict)

    def to_json_dict(self) -> dict[str, Any]:
        """Return plain values for JSON; every number comes back exactly."""
        return {
            "replication": self.replication,
            "counts": self.counts,
            "dropped_by_reason": self.dropped_by_reason,
            "measurements": [m.to_json_dict() for m in self.measurements],
            "series": None if self.series is None else self.series.to_json_dict(),
            "backlog": self.backlog.to_json_dict(),
            "timeline": None if self.timeline is None else self.timeline.to_json_dict(),
            "classes": {name: result.to_json_dict() for name, result in self.classes.items()},
        }

    @classmethod
    def from_json_dict(cls, data: dict[str, Any]) -> ReplicationResult:
        """Rebuild a result from `to_json_dict`."""
        return cls(
            replication=data["replication"],
            counts=data["counts"],
            dropped_by_reason=data["dropped_by_reason"],
            measurements=tuple(Measurement.from_json_dict(m) for m in data["measurements"]),
            series=None if data["series"] is None else BatchSeries.from_json_dict(data["series"]),
            backlog=Backlog.from_json_dict(data["backlog"]),
            timeline=None if data.get("timeline") is None else Timeline.from_json_dict(data["timeline"]),
            classes={name: ClassResult.from_json_dict(one) for name, one in data.get("classes", {}).items()},
        )


@dataclass(frozen=True, slots=True)
class Warmup:
    """The warm-up that was cut.

    Attributes
    ----------
    method : str
        ``"mser-5"``, ``"given"``, or ``"none"`` for a load that varies with time.
    fraction : float
        Mean over replications of the share of queries that was cut.
    established : bool
        Whether MSER-5 found the series settled; True where the cut was not its choice.
    """

    method: str
    fraction: float
    established: bool


@dataclass(frozen=True, slots=True)
class ScenarioSummary:
    """The merged replications of one scenario.

    Attributes
    ----------
    parameters : dict
        What distinguishes the scenario in its experiment.
    evidence : str
        Weakest kind of evidence that it stands on.
    saturation : SaturationVerdict
    warmup : Warmup
    replications : int
    confidence : float
        Of the intervals.
    counts, dropped_by_reason : dict
        Over whole runs, added up over replications.
    measured : dict
        Outcomes of the queries after the warm-up cut, added up over replications.
    metrics : dict of Metric
    path_mix, utilisation : dict of float
        Means over replications.
    waiting_parts : dict of float or None
        Means over replications; None where a replication lacks it or the scenario is saturated.
    sla_ms : float
        The latency limit.
    percentile_curve : tuple of CurvePoint
        Latency over its percentiles, as far into the tail as every replication allows; empty if saturated.
    timeline : TimelineSummary or None
        Metrics over time, where asked for; not part of `summary.json`.
    classes : dict of ClassSummary
        The same for each class of queries; empty where there are none.
    precision : PrecisionOutcome or None
        Whether intervals are as narrow as was asked; None where nothing was.
    independent_latencies : float or None
        What a replication is worth, as from `sim.stats.independence`; None where there is no steady state.
    warnings : tuple of ShortRun
        Intervals that are not to be relied on.
    welch : WelchSeries or None
        What the choice of the warm-up is looked at by, where it was chosen; not part of `summary.json`.
    numbers : tuple of int
        The numbers of the replications, in the order of `Metric.values`.
    chosen : tuple of Measurement
        What each of them measured after the cut; not part of `summary.json`.
    """

    parameters: dict[str, Any]
    evidence: str
    saturation: SaturationVerdict
    warmup: Warmup
    replications: int
    confidence: float
    counts: dict[str, int]
    dropped_by_reason: dict[str, int]
    measured: dict[str, int]
    metrics: dict[str, Metric]
    path_mix: dict[str, float]
    utilisation: dict[str, float]
    waiting_parts: dict[str, float | None]
    sla_ms: float
    percentile_curve: tuple[CurvePoint, ...]
    timeline: TimelineSummary | None = None
    classes: dict[str, ClassSummary] = field(default_factory=dict)
    precision: PrecisionOutcome | None = None
    independent_latencies: float | None = None
    warnings: tuple[ShortRun, ...] = ()
    welch: WelchSeries | None = None
    numbers: tuple[int, ...] = ()
    chosen: tuple[Measurement, ...] = ()

    @property
    def saturated(self) -> bool:
        """Whether the scenario has no steady state."""
        return self.saturation.saturated

    def to_json_dict(self) -> dict[str, Any]:
        """Return the scenario's entry of `summary.json`: plain, in a fixed order, without NaN."""
        entry: dict[str, Any] = {
            "parameters": self.parameters,
            "saturated": self.saturated,
            "evidence": self.evidence,
            "sla_ms": self.sla_ms,
            "counts": self.counts,
            "metrics": {name: metric_json(metric) for name, metric in self.metrics.items()},
            "path_mix": self.path_mix,
            "utilisation": self.utilisation,
            "waiting_parts": self.waiting_parts,
            "percentile_curve": [asdict(point) for point in self.percentile_curve],
            "dropped_by_reason": self.dropped_by_reason,
            "measured": self.measured,
            "replications": self.replications,
            "confidence": self.confidence,
            "warmup": {
                "method": self.warmup.method,
                "fraction": self.warmup.fraction,
                "established": self.warmup.established,
            },
            "saturation": {
                "growth_fraction": self.saturation.growth_fraction,
                "growth_low": self.saturation.growth_low,
                "offered_load": self.saturation.offered_load,
                "reason": self.saturation.reason,
            },
        }
        if self.classes:
            entry["classes"] = {name: one.to_json_dict() for name, one in self.classes.items()}
        entry["independent_latencies"] = self.independent_latencies
        entry["warnings"] = [warning.to_json_dict() for warning in self.warnings]
        if self.precision is not None:
            entry["precision"] = self.precision.to_json_dict()
        _refuse_nan(entry, "scenario")
        return entry


def reduce_record(
    record: RunRecord,
    view: SystemView,
    *,
    replication: int,
    warmup_ns: int | None = None,
    time_varying: bool = False,
    timeline_ns: int | None = None,
) -> ReplicationResult:
    """Reduce the record of one replication to what summarising its scenario needs.

    Parameters
    ----------
    record : RunRecord
        What the replication left behind.
    view : SystemView
        The system that it ran on.
    replication : int
        Its number.
    warmup_ns : int, optional
        Given warm-up time; by default the warm-up is left to be chosen when all replications are there.
    time_varying : bool
        Whether load, fleet or mapping vary with time. Then there is no steady state to wait for, and nothing is cut
        unless `warmup_ns` is given.
    timeline_ns : int, optional
        Length of the intervals in which it is measured over time; not measured by default.

    Raises
    ------
    ValueError
        If the record contradicts itself; see `measure`.
    """
    chosen_later = warmup_ns is None and not time_varying
    if chosen_later:
        cuts = candidate_cuts(len(record.arrival_ns)).tolist()
    else:
        cuts = [0 if warmup_ns is None else warmup_cut(record, warmup_ns)]
    return ReplicationResult(
        replication=replication,
        counts=count_outcomes(record),
        dropped_by_reason=count_dropped_by_reason(record, view),
        measurements=tuple(measure(record, view, cuts)),
        series=batch_series(record) if chosen_later or warmup_ns is not None else None,
        backlog=backlog(record),
        timeline=None if timeline_ns is None else measure_over_time(record, view, timeline_ns),
        classes=measure_classes(record, view, cuts),
    )


def summarise(
    parameters: Mapping[str, Any],
    evidence: str,
    results: Sequence[ReplicationResult],
    *,
    confidence: float = 0.95,
    sla_ns: int,
    offered_load: float | None = None,
    time_varying: bool = False,
    goal: PrecisionGoal | None = None,
    cells: int = 1,
) -> ScenarioSummary:
    """Merge the replications of a scenario.

    A metric that any replication lacks is None for the scenario, and so is the latency of a saturated one:
    it would measure how long the run was.

    Parameters
    ----------
    parameters : mapping
        What distinguishes the scenario; copied to the summary.
    evidence : str
        Weakest kind of evidence that it stands on.
    results : sequence of ReplicationResult
        In any order; they are merged in the order of their numbers.
    confidence : float
        Of the intervals, within (0, 1).
    sla_ns : int
        The latency limit.
    offered_load : float, optional
        As in `saturation_verdict`.
    time_varying : bool
        As given to `reduce_record`.
    goal : PrecisionGoal, optional
        How narrow which intervals have to be.
    cells : int
        Cells of the fleet.

    Raises
    ------
    ValueError
        If there is no replication, two have one number, they were measured at different candidate cuts, or
        their counts do not add up.
    """
    ordered = sorted(results, key=lambda r: r.replication)
    if len({r.replication for r in ordered}) != len(ordered):
        raise ValueError("two results carry the same replication number")
    if len({(len(r.measurements), r.series is None) for r in ordered}) != 1:
        raise ValueError("there is no replication, or they were measured at different candidate cuts")

    warmup, index = _cut(ordered, time_varying)
    chosen = [r.measurements[index] for r in ordered]
    verdict = saturation_verdict([r.backlog for r in ordered], offered_load)
    waiting = mean_by_name([m.waiting_parts for m in chosen])
    timelines = [r.timeline for r in ordered if r.timeline is not None]
    metrics = {name: merge_metric(name, chosen, verdict.saturated, confidence) for name in chosen[0].metrics}
    classes = summarise_classes([r.classes for r in ordered], index, confidence)
    precision = None
    if goal is not None:
        of_classes = {name: one.metrics for name, one in classes.items()}
        precision = judge_precision(goal, metrics, of_classes, confidence)
    independent = None if verdict.saturated or time_varying else _independent(ordered, chosen, cells)
    queries = {name: one.measured["offered"] / len(ordered) for name, one in classes.items()}
    return ScenarioSummary(
        parameters=dict(parameters),
        evidence=evidence,
        saturation=verdict,
        warmup=warmup,
        replications=len(ordered),
        confidence=confidence,
        counts=added_up([r.counts for r in ordered]),
        dropped_by_reason=total([r.dropped_by_reason for r in ordered]),
        measured=added_up([m.measured for m in chosen]),
        metrics=metrics,
        path_mix={k: v for k, v in mean_by_name([m.path_mix for m in chosen]).items() if v is not None},
        utilisation={k: v for k, v in mean_by_name([m.utilisation for m in chosen]).items() if v is not None},
        waiting_parts=dict.fromkeys(waiting) if verdict.saturated else waiting,
        sla_ms=sla_ns / 1e6,
        percentile_curve=() if verdict.saturated else merge_curve(chosen, confidence),
        timeline=merge_timelines(timelines, confidence) if timelines else None,
        classes=classes,
        precision=precision,
        independent_latencies=independent,
        welch=_welch(ordered, chosen) if warmup.method == MSER else None,
        warnings=short_runs(
            independent, metrics, {name: (one.metrics, queries[name]) for name, one in classes.items()}
        ),
        numbers=tuple(r.replication for r in ordered),
        chosen=tuple(chosen),
    )


def _cut(ordered: Sequence[ReplicationResult], time_varying: bool) -> tuple[Warmup, int]:
    """Return the warm-up and the index of its candidate cut."""
    series = [r.series for r in ordered if r.series is not None]
    if series and len(ordered[0].measurements) > 1:
        cut = choose_cut(series, [[m.cut for m in r.measurements] for r in ordered])
        return Warmup(MSER, cut.fraction, cut.established), cut.index
    chosen = [r.measurements[0] for r in ordered]
    removed = [r.counts["offered"] - m.measured["offered"] for r, m in zip(ordered, chosen, strict=True)]
    shares = [cut / max(r.counts["offered"], 1) for r, cut in zip(ordered, removed, strict=True)]
    nothing_cut = time_varying and not any(shares)
    return Warmup("none" if nothing_cut else "given", math.fsum(shares) / len(shares), True), 0


def _welch(ordered: Sequence[ReplicationResult], chosen: Sequence[Measurement]) -> WelchSeries:
    series = [r.series for r in ordered if r.series is not None]
    return welch_series(series, min(m.cut for m in chosen))


def _independent(ordered: Sequence[ReplicationResult], chosen: Sequence[Measurement], cells: int) -> float | None:
    series = [r.series for r in ordered if r.series is not None]
    if not series:
        return None
    removed = [1 - m.measured["offered"] / max(r.counts["offered"], 1) for r, m in zip(ordered, chosen, strict=True)]
    return independent_latencies(series, removed, cells)


def _refuse_nan(value: Any, where: str) -> None:
    if isinstance(value, Mapping):
        for key, item in value.items():
            _refuse_nan(item, f"{where}.{key}")
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            _refuse_nan(item, f"{where}[{index}]")
    elif isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{where} is {value}, which JSON cannot hold")
