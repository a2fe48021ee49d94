"""Operational time: a rate that changes with time, undone by exact time change.

Arrivals are drawn in a time in which the rate is 1; the cumulative rate maps it to the clock. For Poisson gaps the
result is the Poisson process with that rate (Cinlar 1975).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

__all__ = ["ConstantRate", "PiecewiseRate", "RateClock"]

Floats = NDArray[np.float64]


class RateClock(Protocol):
    """The cumulative rate and its inverse."""

    @property
    def mean_rate_per_ns(self) -> float:
        """Long-run mean rate."""

    def time_ns(self, operational: Floats) -> Floats:
        """Return the time at which the cumulative rate reaches `operational`."""

    def operational(self, time_ns: Floats) -> Floats:
        """Return the cumulative rate at `time_ns`: the number of arrivals to expect by then."""


@dataclass(frozen=True, slots=True)
class ConstantRate:
    """The same rate throughout."""

    mean_rate_per_ns: float

    def time_ns(self, operational: Floats) -> Floats:  # noqa: D102
        return operational / self.mean_rate_per_ns

    def operational(self, time_ns: Floats) -> Floats:  # noqa: D102
        return time_ns * self.mean_rate_per_ns


@dataclass(frozen=True, slots=True)
class PiecewiseRate:
    """Constant rates between `edges_ns`, repeated with the period that the last edge ends.

    Attributes
    ----------
    edges_ns : float64[windows + 1]
        Increasing, from 0.
    rates_per_ns : float64[windows]
    """

    edges_ns: Floats
    rates_per_ns: Floats

    @property
    def _cumulative(self) -> Floats:
        return np.concatenate([[0.0], np.cumsum(np.diff(self.edges_ns) * self.rates_per_ns)])

    @property
    def mean_rate_per_ns(self) -> float:  # noqa: D102
        return float(self._cumulative[-1] / self.edges_ns[-1])

    def time_ns(self, operational: Floats) -> Floats:  # noqa: D102
        cumulative = self._cumulative
        periods, rest = np.divmod(operational, cumulative[-1])
        # The first window in which the cumulative rate passes `rest`: windows of rate 0 are stepped over.
        window = np.searchsorted(cumulative, rest, side="right") - 1
        window = np.minimum(window, len(self.rates_per_ns) - 1)
        inside = (rest - cumulative[window]) / self.rates_per_ns[window]
        return np.asarray(periods * self.edges_ns[-1] + self.edges_ns[window] + inside, dtype=np.float64)

    def operational(self, time_ns: Floats) -> Floats:  # noqa: D102
        cumulative = self._cumulative
        periods, rest = np.divmod(time_ns, self.edges_ns[-1])
        return np.asarray(periods * cumulative[-1] + np.interp(rest, self.edges_ns, cumulative), dtype=np.float64)
