"""What is left of a cell when its rows have been added up: sums that measure it, and that add up over cells."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sim.stats.classes import ClassResult
from sim.stats.devices import SystemView
from sim.stats.histogram import Histogram
from sim.stats.measurement import FleetSums, Measurement, QuerySums, Weighted, measurement_of, named_counts, named_drops
from sim.stats.saturation import Backlog
from sim.stats.summary import ReplicationResult
from sim.stats.tally_timeline import added_over_time, over_time_from_json, over_time_json
from sim.stats.timeline import SumsOverTime, timeline_of
from sim.stats.warmup import BatchSums

__all__ = ["ScopeTotals", "Totals"]

ADDED = frozenset({"nodes_on"})
"""Metrics of a fleet that are the sum over its cells; the others are means, weighted by what they are shares of."""


@dataclass(frozen=True, slots=True)
class ScopeTotals:
    """All queries, or those of one class.

    Attributes
    ----------
    offered : int
        Over the whole run, as are the next two.
    outcomes : int64, shape (outcomes,)
    dropped : int64, shape (reasons,)
    sums : tuple of QuerySums
        One per candidate cut; their rankings are histograms.
    backlog : Backlog
    """

    offered: int
    outcomes: NDArray[np.int64]
    dropped: NDArray[np.int64]
    sums: tuple[QuerySums, ...]
    backlog: Backlog

    def __add__(self, other: ScopeTotals) -> ScopeTotals:
        return ScopeTotals(
            offered=self.offered + other.offered,
            outcomes=self.outcomes + other.outcomes,
            dropped=self.dropped + other.dropped,
            sums=tuple(_added_queries(a, b) for a, b in zip(self.sums, other.sums, strict=True)),
            backlog=_added_backlog(self.backlog, other.backlog),
        )

    def to_json_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {
            "offered": self.offered,
            "outcomes": self.outcomes.tolist(),
            "dropped": self.dropped.tolist(),
            "sums": [_queries_json(one) for one in self.sums],
            "backlog": self.backlog.to_json_dict(),
        }

    @classmethod
    def from_json_dict(cls, data: dict[str, Any]) -> ScopeTotals:
        """Rebuild totals from `to_json_dict`."""
        return cls(
            offered=data["offered"],
            outcomes=np.array(data["outcomes"], dtype=np.int64),
            dropped=np.array(data["dropped"], dtype=np.int64),
            sums=tuple(_queries_of(one) for one in data["sums"]),
            backlog=Backlog.from_json_dict(data["backlog"]),
        )


@dataclass(frozen=True, slots=True)
class Totals:
    """One cell of a replication, or several of its cells together.

    Attributes
    ----------
    window_start_ns : tuple of int
        Begin of the window of each candidate cut, the earliest of the cells'.
    window_end_ns : int
    whole : ScopeTotals
    classes : tuple of ScopeTotals
        In the order of the view's; empty where there are none.
    fleet : tuple of FleetSums
        One per candidate cut.
    series : BatchSums or None
        Latencies of batches; None where they are not kept.
    timeline : SumsOverTime or None
        Where it is asked for.
    violations : tuple of str
        The laws that a cell broke; its numbers are not to be used.
    """

    window_start_ns: tuple[int, ...]
    window_end_ns: int
    whole: ScopeTotals
    classes: tuple[ScopeTotals, ...]
    fleet: tuple[FleetSums, ...]
    series: BatchSums | None
    timeline: SumsOverTime | None
    violations: tuple[str, ...] = ()

    def __add__(self, other: Totals) -> Totals:
        """Merge cells: counts, rates and histograms add up, shares are weighted by what they are shares of.

        Raises
        ------
        ValueError
            If the cells were not measured alike: their arrival periods or their candidate cuts differ.
        """
        if _measured_how(self) != _measured_how(other):
            raise ValueError("cells add up only if they have one arrival period and were measured alike")
        series = timeline = None
        if self.series is not None and other.series is not None:
            series = self.series + other.series
        if self.timeline is not None and other.timeline is not None:
            timeline = added_over_time(self.timeline, other.timeline)
        return Totals(
            window_start_ns=tuple(map(min, self.window_start_ns, other.window_start_ns)),
            window_end_ns=self.window_end_ns,
            whole=self.whole + other.whole,
            classes=tuple(a + b for a, b in zip(self.classes, other.classes, strict=True)),
            fleet=tuple(_added_fleet(a, b) for a, b in zip(self.fleet, other.fleet, strict=True)),
            series=series,
            timeline=timeline,
            violations=self.violations + other.violations,
        )

    def result(self, view: SystemView, replication: int) -> ReplicationResult:
        """Return what these totals say of a replication.

        Parameters
        ----------
        view : SystemView
            The system of any of the cells: only names and latency limits are read.
        replication : int
            Its number.

        Raises
        ------
        ValueError
            If outcomes do not add up.
        """
        measured = [
            self._measurements(view, self.whole, self.fleet),
            *(self._measurements(view, one, [None] * len(self.fleet)) for one in self.classes),
        ]
        classes = {
            described.name: ClassResult(
                sla_ns=described.sla_ns,
                counts=named_counts(one.offered, one.outcomes),
                dropped_by_reason=named_drops(one.dropped, view),
                measurements=of_class,
                backlog=one.backlog,
            )
            for described, one, of_class in zip(view.classes, self.classes, measured[1:], strict=True)
        }
        return ReplicationResult(
            replication=replication,
            counts=named_counts(self.whole.offered, self.whole.outcomes),
            dropped_by_reason=named_drops(self.whole.dropped, view),
            measurements=measured[0],
            series=None if self.series is None else self.series.series(),
            backlog=self.whole.backlog,
            timeline=None if self.timeline is None else timeline_of(view, self.timeline),
            classes=classes,
        )

    def _measurements(
        self, view: SystemView, scope: ScopeTotals, fleet: Sequence[FleetSums | None]
    ) -> tuple[Measurement, ...]:
        return tuple(
            measurement_of(view, start_ns, self.window_end_ns, sums, used)
            for start_ns, sums, used in zip(self.window_start_ns, scope.sums, fleet, strict=True)
        )

    def to_json_dict(self) -> dict[str, Any]:
        """Return plain values for JSON; every number comes back exactly."""
        return {
            "window_start_ns": list(self.window_start_ns),
            "window_end_ns": self.window_end_ns,
            "whole": self.whole.to_json_dict(),
            "classes": [one.to_json_dict() for one in self.classes],
            "fleet": [_fleet_json(one) for one in self.fleet],
            "series": None if self.series is None else self.series.to_json_dict(),
            "timeline": None if self.timeline is None else over_time_json(self.timeline),
            "violations": list(self.violations),
        }

    @classmethod
    def from_json_dict(cls, data: dict[str, Any]) -> Totals:
        """Rebuild totals from `to_json_dict`."""
        return cls(
            window_start_ns=tuple(data["window_start_ns"]),
            window_end_ns=data["window_end_ns"],
            whole=ScopeTotals.from_json_dict(data["whole"]),
            classes=tuple(ScopeTotals.from_json_dict(one) for one in data["classes"]),
            fleet=tuple(_fleet_of(one) for one in data["fleet"]),
            series=None if data["series"] is None else BatchSums.from_json_dict(data["series"]),
            timeline=None if data["timeline"] is None else over_time_from_json(data["timeline"]),
            violations=tuple(data["violations"]),
        )


def _measured_how(totals: Totals) -> tuple[object, ...]:
    return (
        totals.window_end_ns,
        len(totals.classes),
        len(totals.fleet),
        totals.series is None,
        None if totals.timeline is None else totals.timeline.edges_ns.tolist(),
    )


def _histogram(sums: QuerySums) -> Histogram:
    assert isinstance(sums.ranking, Histogram)
    return sums.ranking


def _added_queries(one: QuerySums, other: QuerySums) -> QuerySums:
    per_s = waiting = None
    if one.per_s is not None and other.per_s is not None:
        per_s = tuple(a + b for a, b in zip(one.per_s, other.per_s, strict=True))
    if one.waiting is not None and other.waiting is not None:
        waiting = one.waiting + other.waiting
    return QuerySums(
        cut=min(one.cut, other.cut),
        offered=one.offered + other.offered,
        outcomes=one.outcomes + other.outcomes,
        undecided=one.undecided + other.undecided,
        latency_sum_ns=one.latency_sum_ns + other.latency_sum_ns,
        ranking=_histogram(one) + _histogram(other),
        per_s=per_s,
        samples=one.samples + other.samples,
        correct=one.correct + other.correct,
        started=one.started + other.started,
        waiting=waiting,
    )


def _added_fleet(one: FleetSums, other: FleetSums) -> FleetSums:
    return FleetSums(
        busy_ns=one.busy_ns + other.busy_ns,
        available_ns=one.available_ns + other.available_ns,
        energy_j=one.energy_j + other.energy_j,
        price_usd=one.price_usd + other.price_usd,
        more={name: _added_more(name, value, other.more[name]) for name, value in one.more.items()},
    )


def _added_more(name: str, one: Weighted, other: Weighted) -> Weighted:
    if one.value is None or other.value is None:
        # A sum that lacks a part is not known; a mean is that of the rest.
        known = [] if name in ADDED else [weighted for weighted in (one, other) if weighted.value is not None]
        return known[0] if known else Weighted(None, 0.0)
    weight = one.weight + other.weight
    if name in ADDED:
        return Weighted(one.value + other.value, weight)
    return Weighted((one.value * one.weight + other.value * other.weight) / weight, weight)


def _added_backlog(one: Backlog, other: Backlog) -> Backlog:
    if not np.array_equal(one.time_ns, other.time_ns):
        raise ValueError("the backlogs of cells add up only where they were taken at the same times")
    return Backlog(one.time_ns, one.in_system + other.in_system, one.offered + other.offered)


def _queries_json(sums: QuerySums) -> dict[str, Any]:
    return {
        "cut": sums.cut,
        "offered": sums.offered,
        "outcomes": sums.outcomes.tolist(),
        "undecided": sums.undecided,
        "latency_sum_ns": sums.latency_sum_ns,
        "ranking": _histogram(sums).to_json_dict(),
        "per_s": None if sums.per_s is None else list(sums.per_s),
        "samples": sums.samples,
        "correct": sums.correct,
        "started": sums.started.tolist(),
        "waiting": None if sums.waiting is None else sums.waiting.tolist(),
    }


def _queries_of(data: dict[str, Any]) -> QuerySums:
    return QuerySums(
        **{
            **data,
            "outcomes": np.array(data["outcomes"], dtype=np.int64),
            "ranking": Histogram.from_json_dict(data["ranking"]),
            "per_s": None if data["per_s"] is None else tuple(data["per_s"]),
            "started": np.array(data["started"], dtype=np.int64),
            "waiting": None if data["waiting"] is None else np.array(data["waiting"], dtype=np.float64),
        }
    )


def _fleet_json(sums: FleetSums) -> dict[str, Any]:
    return {
        "busy_ns": sums.busy_ns.tolist(),
        "available_ns": sums.available_ns.tolist(),
        # JSON has no NaN.
        "energy_j": None if np.isnan(sums.energy_j) else sums.energy_j,
        "price_usd": None if np.isnan(sums.price_usd) else sums.price_usd,
        "more": {name: list(one) for name, one in sums.more.items()},
    }


def _fleet_of(data: dict[str, Any]) -> FleetSums:
    return FleetSums(
        busy_ns=np.array(data["busy_ns"], dtype=np.float64),
        available_ns=np.array(data["available_ns"], dtype=np.float64),
        energy_j=float("nan") if data["energy_j"] is None else data["energy_j"],
        price_usd=float("nan") if data["price_usd"] is None else data["price_usd"],
        more={name: Weighted(*one) for name, one in data["more"].items()},
    )
