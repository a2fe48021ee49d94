"""Arrival processes: when queries arrive, as a law of gaps on a clock, or as a trace.

A further process is a spec class in `sim.spec.workload` and a function here, registered in `PROCESSES`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sim.spec.problems import Problem, SpecError
from sim.spec.workload import (
    GammaSpec,
    IntegerPoissonMsSpec,
    PiecewiseRateSpec,
    PoissonSpec,
    TraceArrivalsSpec,
    WeibullSpec,
    WorkloadSpec,
)
from sim.workload.clock import ConstantRate, PiecewiseRate, RateClock
from sim.workload.gaps import ExponentialGaps, GammaGaps, GapLaw, IntegerPoissonGaps, WeibullGaps
from sim.workload.shapes import find_shape
from sim.workload.traces import find_trace, read_time_stamps

__all__ = ["PROCESSES", "RenewalArrivals", "TraceArrivals", "arrival_process"]


@dataclass(frozen=True, slots=True)
class RenewalArrivals:
    """Independent gaps of one law on a clock."""

    gaps: GapLaw
    clock: RateClock
    time_varying: bool = False

    @property
    def mean_rate_per_s(self) -> float:
        """Long-run mean rate."""
        return self.clock.mean_rate_per_ns * 1e9


@dataclass(frozen=True, slots=True)
class TraceArrivals:
    """Given arrival times.

    Attributes
    ----------
    times_ns : int64, shape (arrivals,)
        From 0 on, in order.
    period_ns : int or None
        The trace starts again after this long; None if it does not.
    """

    times_ns: NDArray[np.int64]
    period_ns: int | None
    time_varying: bool = True

    @property
    def mean_rate_per_s(self) -> float:
        """Arrivals over the time from the first to the last, and one mean gap more."""
        return 1e9 * len(self.times_ns) / _period_ns(self.times_ns)

    def times(self, first: int, count: int) -> NDArray[np.int64]:
        """Return the arrival times of `count` queries from query `first` on, fewer where the trace ends."""
        index = np.arange(first, first + count)
        if self.period_ns is None:
            return self.times_ns[index[index < len(self.times_ns)]]
        rounds, row = np.divmod(index, len(self.times_ns))
        return np.asarray(rounds * self.period_ns + self.times_ns[row], dtype=np.int64)


def _period_ns(times_ns: NDArray[np.int64]) -> int:
    """Return the length of a trace: from its first arrival to its last, and one mean gap."""
    if len(times_ns) == 1:
        return 10**9
    return max(1, round(int(times_ns[-1]) * len(times_ns) / (len(times_ns) - 1)))


Process = RenewalArrivals | TraceArrivals
Builder = Callable[[Any, int | None, Path], Process]


def _poisson(spec: PoissonSpec, _duration_ns: int | None, _base_dir: Path) -> Process:
    return RenewalArrivals(ExponentialGaps(), ConstantRate(spec.rate / 1e9))


def _gamma(spec: GammaSpec, _duration_ns: int | None, _base_dir: Path) -> Process:
    return RenewalArrivals(GammaGaps(spec.cv), ConstantRate(spec.rate / 1e9))


def _weibull(spec: WeibullSpec, _duration_ns: int | None, _base_dir: Path) -> Process:
    return RenewalArrivals(WeibullGaps(spec.cv), ConstantRate(spec.rate / 1e9))


def _integer_poisson_ms(spec: IntegerPoissonMsSpec, _duration_ns: int | None, _base_dir: Path) -> Process:
    return RenewalArrivals(IntegerPoissonGaps(1000.0 / spec.rate), ConstantRate(spec.rate / 1e9))


def _piecewise_rate(spec: PiecewiseRateSpec, duration_ns: int | None, _base_dir: Path) -> Process:
    period_ns = spec.period or duration_ns
    if spec.steps is not None:
        starts = [step.at for step in spec.steps]
        # Without a period the last step goes on: for the rest of the run, or for ever.
        end = period_ns if period_ns is not None and period_ns > starts[-1] else max(2 * starts[-1], 10**9)
        edges = np.array([*starts, end], dtype=np.float64)
        rates = np.array([step.rate for step in spec.steps]) / 1e9
        return RenewalArrivals(ExponentialGaps(), PiecewiseRate(edges, rates), time_varying=True)
    assert spec.shape is not None and spec.rate is not None
    shape = find_shape(spec.shape) if isinstance(spec.shape, str) else np.array(spec.shape, dtype=np.float64)
    if period_ns is None:
        raise SpecError(
            [Problem("a shape needs a period, or a workload with a duration", key_path="workload.arrivals")]
        )
    edges = np.linspace(0.0, float(period_ns), len(shape) + 1)
    rates = shape / shape.mean() * spec.rate / 1e9
    return RenewalArrivals(ExponentialGaps(), PiecewiseRate(edges, rates), time_varying=True)


def _trace(spec: TraceArrivalsSpec, _duration_ns: int | None, base_dir: Path) -> Process:
    times_ns = read_time_stamps(find_trace(spec.file, base_dir), spec.column, spec.unit)
    if spec.rate is not None:
        stretch = len(times_ns) * 1e9 / (spec.rate * _period_ns(times_ns))
        times_ns = np.rint(times_ns * stretch).astype(np.int64)
    return TraceArrivals(times_ns, _period_ns(times_ns) if spec.repeat else None)


PROCESSES: dict[str, Builder] = {
    "poisson": _poisson,
    "gamma": _gamma,
    "weibull": _weibull,
    "integer-poisson-ms": _integer_poisson_ms,
    "piecewise-rate": _piecewise_rate,
    "trace": _trace,
}
"""Every arrival process by the `kind` that an experiment file names."""


def arrival_process(spec: WorkloadSpec, base_dir: Path) -> Process:
    """Return the arrival process of a workload.

    Raises
    ------
    SpecError
        If a trace or shape cannot be had.
    """
    return PROCESSES[spec.arrivals.kind](spec.arrivals, spec.duration, base_dir)
