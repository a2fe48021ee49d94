"""Arrival processes: when queries arrive, as a law of gaps on a clock, or as a trace.

A further process is a spec class in `sim.spec.workload` and a function here, registered in `PROCESSES`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sim.spec.problems import Problem, SpecError
from sim.spec.units import format_duration_ns, format_rate_per_s
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

__all__ = ["FOREVER_NS", "PROCESSES", "RenewalArrivals", "TraceArrivals", "arrival_process"]

FOREVER_NS = 2**62
"""146 years."""

YEAR_NS = 365.25 * 8.64e13

SIGMAS = 8.0
"""Many gaps last longer than expected by so many standard deviations at most, and few ones by `LONG_GAPS`."""

LONG_GAPS = 40.0
"""In mean gaps times the square of their coefficient of variation; a law with a CV in the tens may need more."""


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

    def expected_ns(self, count: int) -> float:
        """Return about when arrival number `count` comes."""
        return float(self.clock.time_ns(np.array([float(count)]))[0])


@dataclass(frozen=True, slots=True)
class TraceArrivals:
    """Given arrival times, those of all cells together.

    Attributes
    ----------
    times_ns : int64, shape (arrivals,)
        From 0 on, in order.
    period_ns : int
        Length of the trace: from its first arrival to its last, and one mean gap.
    repeat : bool
        Whether the trace starts again after its length.
    cells : int
        Cells that share the arrivals.
    """

    times_ns: NDArray[np.int64]
    period_ns: int
    repeat: bool
    cells: int = 1
    time_varying: bool = True

    @property
    def mean_rate_per_s(self) -> float:
        """Arrivals over the length of the trace; a cell's share of them."""
        return 1e9 * len(self.times_ns) / self.period_ns / self.cells

    def times(self, first: int, count: int) -> NDArray[np.int64]:
        """Return the arrival times of `count` queries from query `first` on, fewer where the trace ends."""
        index = np.arange(first, first + count)
        if not self.repeat:
            return self.times_ns[index[index < len(self.times_ns)]]
        rounds, row = np.divmod(index, len(self.times_ns))
        # A chunk of a rare source reaches beyond what 64 bits hold; nothing arrives that late.
        held = np.minimum(rounds, FOREVER_NS // self.period_ns)
        times = np.minimum(held * self.period_ns + self.times_ns[row], FOREVER_NS)
        return np.where(held < rounds, FOREVER_NS, times)

    def expected_ns(self, count: int) -> float:
        """Return when arrival number `count` comes, of those of all cells; a trace that ends has so many."""
        rounds, row = divmod(count - 1, len(self.times_ns))
        return float(rounds * self.period_ns + int(self.times_ns[row]))


def _period_ns(times_ns: NDArray[np.int64]) -> int:
    """Return the length of a trace: from its first arrival to its last, and one mean gap."""
    if len(times_ns) == 1:
        return 10**9
    return max(1, round(int(times_ns[-1]) * len(times_ns) / (len(times_ns) - 1)))


Process = RenewalArrivals | TraceArrivals
Builder = Callable[[Any, int | None, Path, int], Process]


def _poisson(spec: PoissonSpec, _duration_ns: int | None, _base_dir: Path, cells: int) -> Process:
    return RenewalArrivals(ExponentialGaps(), ConstantRate(spec.rate / cells / 1e9))


def _gamma(spec: GammaSpec, _duration_ns: int | None, _base_dir: Path, cells: int) -> Process:
    return RenewalArrivals(GammaGaps(spec.cv), ConstantRate(spec.rate / cells / 1e9))


def _weibull(spec: WeibullSpec, _duration_ns: int | None, _base_dir: Path, cells: int) -> Process:
    return RenewalArrivals(WeibullGaps(spec.cv), ConstantRate(spec.rate / cells / 1e9))


def _integer_poisson_ms(spec: IntegerPoissonMsSpec, _duration_ns: int | None, _base_dir: Path, cells: int) -> Process:
    rate_per_s = spec.rate / cells
    return RenewalArrivals(IntegerPoissonGaps(1000.0 / rate_per_s), ConstantRate(rate_per_s / 1e9))


def _piecewise_rate(spec: PiecewiseRateSpec, duration_ns: int | None, _base_dir: Path, cells: int) -> Process:
    period_ns = spec.period or duration_ns
    if spec.steps is not None:
        starts = [step.at for step in spec.steps]
        # Without a period the last step goes on: for the rest of the run, or for ever.
        end = period_ns if period_ns is not None and period_ns > starts[-1] else FOREVER_NS
        if period_ns is None and not spec.steps[-1].rate > 0:
            raise SpecError(
                [
                    Problem(
                        "the last step goes on for ever at rate 0, so the queries never come; give a period",
                        key_path="workload.arrivals.steps",
                    )
                ]
            )
        edges = np.array([*starts, end], dtype=np.float64)
        rates = np.array([step.rate for step in spec.steps]) / cells / 1e9
        return RenewalArrivals(ExponentialGaps(), PiecewiseRate(edges, rates), time_varying=True)
    assert spec.shape is not None and spec.rate is not None
    shape = find_shape(spec.shape) if isinstance(spec.shape, str) else np.array(spec.shape, dtype=np.float64)
    if period_ns is None:
        raise SpecError(
            [Problem("a shape needs a period, or a workload with a duration", key_path="workload.arrivals.shape")]
        )
    edges = np.linspace(0.0, float(period_ns), len(shape) + 1)
    rates = shape / shape.mean() * spec.rate / cells / 1e9
    return RenewalArrivals(ExponentialGaps(), PiecewiseRate(edges, rates), time_varying=True)


def _trace(spec: TraceArrivalsSpec, _duration_ns: int | None, base_dir: Path, cells: int) -> Process:
    times_ns = read_time_stamps(find_trace(spec.file, base_dir, "workload.arrivals.file"), spec.column, spec.unit)
    if times_ns[-1] == 0 and (spec.rate is not None or spec.repeat or spec.gaps != "recorded"):
        raise SpecError(
            [
                Problem(
                    "all arrivals of the trace are at one time, so it has no rate",
                    key_path="workload.arrivals.file",
                    value=spec.file,
                )
            ]
        )
    if spec.gaps == "exponential":
        rate_per_ns = spec.rate / 1e9 if spec.rate is not None else len(times_ns) / _period_ns(times_ns)
        return RenewalArrivals(ExponentialGaps(), ConstantRate(rate_per_ns / cells))
    if spec.rate is not None:
        length_ns = len(times_ns) * 1e9 / spec.rate
        if length_ns > FOREVER_NS:
            message = (
                f"the trace would last {length_ns / YEAR_NS:,.0f} years at this rate, and the clock counts "
                f"{FOREVER_NS / YEAR_NS:.0f}"
            )
            raise SpecError([Problem(message, key_path="workload.arrivals.rate", value=format_rate_per_s(spec.rate))])
        stretch = length_ns / _period_ns(times_ns)
        times_ns = np.rint(times_ns * stretch).astype(np.int64)
    return TraceArrivals(times_ns, _period_ns(times_ns), spec.repeat, cells)


PROCESSES: dict[str, Builder] = {
    "poisson": _poisson,
    "gamma": _gamma,
    "weibull": _weibull,
    "integer-poisson-ms": _integer_poisson_ms,
    "piecewise-rate": _piecewise_rate,
    "trace": _trace,
}
"""Every arrival process by the `kind` that an experiment file names."""


def arrival_process(spec: WorkloadSpec, base_dir: Path, cells: int = 1) -> Process:
    """Return the arrival process of a workload, or that of one of so many equal cells that share it.

    A cell has the same law at a share of the rate: for exponential gaps, whatever the rate over time, that is what
    dealing the queries out by chance makes of the process; for the others it is how a cell is defined. A trace is
    returned whole: whose its queries are is drawn, see `sim.workload.cells`.

    Raises
    ------
    SpecError
        If a trace or shape cannot be had, a trace is over before the run, or so many queries take longer than the clock
        counts.
    """
    process = PROCESSES[spec.arrivals.kind](spec.arrivals, spec.duration, base_dir, cells)
    if isinstance(process, TraceArrivals) and not process.repeat:
        _check_length(spec, process)
    elif spec.queries is not None:
        _check_clock(spec.queries, process)
    return process


def _check_length(spec: WorkloadSpec, trace: TraceArrivals) -> None:
    """Refuse a run that is longer than its trace, before it starts."""
    count = len(trace.times_ns)
    advice = "shorten the run or repeat the trace"
    if spec.queries is not None and spec.queries > count:
        message = f"the trace is over after {count} arrivals; {advice}"
        raise SpecError([Problem(message, key_path="workload.queries", value=spec.queries)])
    if spec.duration is not None and spec.duration > trace.period_ns:
        message = f"the trace is over after {trace.period_ns / 1e9:.6g} s; {advice}"
        raise SpecError([Problem(message, key_path="workload.duration", value=format_duration_ns(spec.duration))])


def _check_clock(queries: int, process: Process) -> None:
    """Refuse queries that may not all have come when the clock is over."""
    room = 0.0
    if isinstance(process, RenewalArrivals):
        room = SIGMAS * process.gaps.cv * math.sqrt(queries) + LONG_GAPS * process.gaps.cv**2
    if process.expected_ns(queries + math.ceil(room)) > FOREVER_NS:
        years = process.expected_ns(queries) / YEAR_NS
        message = (
            f"so many queries take about {years:,.0f} years at this rate, which may be more than the "
            f"{FOREVER_NS / YEAR_NS:.0f} that the clock counts"
        )
        allowed = "fewer queries, a higher rate, or a duration"
        raise SpecError([Problem(message, key_path="workload.queries", value=queries, allowed=allowed)])
