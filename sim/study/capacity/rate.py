"""Sets the load of a scenario: all its sources together, each with its share, whatever the kind of arrivals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sim.spec.experiment import Experiment
from sim.spec.source import KeyPath
from sim.spec.workload import ArrivalsSpec, PiecewiseRateSpec, TraceArrivalsSpec
from sim.study.prepare import PreparedScenario
from sim.workload.arrivals import arrival_process
from sim.workload.sources import Source, sources_of

__all__ = ["RATE_AXES", "LoadScale", "with_length"]

RATE_AXES = ("workload.arrivals.rate",)
"""Axes of a sweep that the search for a rate takes the place of."""


@dataclass(frozen=True, slots=True)
class LoadScale:
    """The load of a scenario, to be multiplied.

    Attributes
    ----------
    experiment : Experiment
    sources : tuple of (Source, float)
        Each with its mean rate, in queries a second, of all cells together.
    rate_per_s : float
        Of all sources.
    steady : bool
        Whether the run may be as long as is needed.
    """

    experiment: Experiment
    sources: tuple[tuple[Source, float], ...]
    rate_per_s: float
    steady: bool

    @classmethod
    def of(cls, prepared: PreparedScenario, *, steady: bool) -> LoadScale:
        """Return the load of a scenario as it is written."""
        experiment = prepared.experiment
        sources = sources_of(experiment.workload, experiment.classes)
        rates = [arrival_process(source.workload, prepared.base_dir, 1).mean_rate_per_s for source in sources]
        return cls(experiment, tuple(zip(sources, rates, strict=True)), sum(rates), steady)

    def changes(self, rate_per_s: float, queries: float | None) -> tuple[str, ...]:
        """Return what sets the load to `rate_per_s`, and the run to `queries` if it may be as long as is needed."""
        factor = rate_per_s / self.rate_per_s
        changes: list[str] = []
        for source, rate in self.sources:
            changes += _scaled(source.workload.arrivals, (*source.path, "arrivals"), rate, factor)
        if self.steady:
            return (*changes, *with_length(self.experiment, rate_per_s, queries))
        return (*changes, *self._trace_length(factor))

    def _trace_length(self, factor: float) -> Sequence[str]:
        """Return the time in which a trace that is squeezed is over: it would end before the run does."""
        duration_ns = self.experiment.workload.duration
        ends = [
            source
            for source, _ in self.sources
            if isinstance(source.workload.arrivals, TraceArrivalsSpec) and not source.workload.arrivals.repeat
        ]
        if duration_ns is None or not ends:
            return ()
        return (f"workload.duration={max(round(duration_ns / factor), 1)}ns",)


def with_length(experiment: Experiment, rate_per_s: float, queries: float | None) -> Sequence[str]:
    """Return what makes a replication `queries` long, and no shorter than it is written."""
    if queries is None:
        return ()
    written_ns = experiment.workload.duration
    if written_ns is None:
        return (f"workload.queries={round(queries)}",)
    return (f"workload.duration={max(written_ns, round(queries / rate_per_s * 1e9))}ns",)


def _scaled(arrivals: ArrivalsSpec, path: KeyPath, rate_per_s: float, factor: float) -> list[str]:
    where = ".".join(str(part) for part in path)
    if isinstance(arrivals, PiecewiseRateSpec) and arrivals.steps is not None:
        return [f"{where}.steps.{i}.rate={step.rate * factor!r}/s" for i, step in enumerate(arrivals.steps)]
    return [f"{where}.rate={rate_per_s * factor!r}/s"]
