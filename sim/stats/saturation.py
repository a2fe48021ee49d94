"""Decides whether a scenario is saturated, from the growth of its backlog and the offered load if known."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sim.engine.record import Outcome, RunRecord
from sim.stats.interval import student_t_quantile, t_interval

__all__ = [
    "Backlog",
    "SaturationVerdict",
    "backlog",
    "backlog_at",
    "growth_fraction",
    "instants_of",
    "saturation_verdict",
]

INSTANTS = 50
GROWTH_LIMIT = 0.01
"""Growth that matters, as a share of the offered queries; needs the t test to tell it from chance."""

LARGE_GROWTH = 0.02
"""Growth that is believed without a t test, provided that the run is long enough for `_chance_growth`."""

TEST_CONFIDENCE = 0.99


@dataclass(frozen=True, slots=True)
class Backlog:
    """Queries in the system at equally spaced instants over the second half of the arrival period.

    Attributes
    ----------
    time_ns : int64, shape (instants,)
    in_system : int64, shape (instants,)
        Admitted queries that have arrived and not finished.
    offered : int64, shape (instants,)
        Queries that have arrived, dropped ones included.
    """

    time_ns: NDArray[np.int64]
    in_system: NDArray[np.int64]
    offered: NDArray[np.int64]

    def to_json_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {name: getattr(self, name).tolist() for name in ("time_ns", "in_system", "offered")}

    @classmethod
    def from_json_dict(cls, data: dict[str, Any]) -> Backlog:
        """Rebuild a backlog from `to_json_dict`."""
        return cls(**{name: np.array(values, dtype=np.int64) for name, values in data.items()})


@dataclass(frozen=True, slots=True)
class SaturationVerdict:
    """Whether a scenario is saturated, and what that stands on.

    Attributes
    ----------
    saturated : bool
    growth_fraction : float
        Mean over replications of the share of offered queries by which the backlog grew.
    growth_low : float or None
        Its one-sided 99% lower bound; None with a single replication.
    offered_load : float or None
        Offered work over capacity, where the caller knows it exactly.
    reason : str
    """

    saturated: bool
    growth_fraction: float
    growth_low: float | None
    offered_load: float | None
    reason: str


def backlog(record: RunRecord, instants: int = INSTANTS) -> Backlog:
    """Count the queries in the system at `instants` times from `end_ns` / 2 to `end_ns`.

    The second half is what every candidate warm-up cut leaves. Dropped queries are never in the system; a
    query that is in flight when the clock stops never leaves it.
    """
    return backlog_at(record, instants_of(record.end_ns, instants))


def backlog_at(record: RunRecord, time_ns: NDArray[np.int64]) -> Backlog:
    """Count the queries in the system at these times, which are in order."""
    instants = len(time_ns)
    admitted = record.outcome != Outcome.DROPPED
    done = admitted & (record.outcome != Outcome.IN_FLIGHT)

    offered = np.searchsorted(record.arrival_ns, time_ns, side="right")
    dropped = np.searchsorted(record.arrival_ns[~admitted], time_ns, side="right")
    # Finish times are not in order: count those up to each instant by the first instant that they precede.
    first_instant = np.searchsorted(time_ns, record.finish_ns[done], side="left")
    left = np.bincount(first_instant, minlength=instants + 1)[:instants].cumsum()
    return Backlog(time_ns, (offered - dropped - left).astype(np.int64), offered.astype(np.int64))


def instants_of(end_ns: int, instants: int = INSTANTS) -> NDArray[np.int64]:
    """Return when the backlog of a run is taken whose arrival period ends at `end_ns`."""
    half = end_ns // 2
    return half + np.arange(instants, dtype=np.int64) * (end_ns - half) // max(instants - 1, 1)


def growth_fraction(samples: Backlog) -> float:
    """Return the least-squares growth of the backlog as a share of the queries offered in that time.

    In a saturated system with unbounded queues it tends to 1 - 1/load, the share of queries that are never
    served; in a stable one to 0. Bounded queues drop what they cannot hold and do not grow.
    """
    offered = int(samples.offered[-1] - samples.offered[0])
    time = (samples.time_ns - samples.time_ns.mean()).astype(np.float64)
    squares = float(time @ time)
    if offered <= 0 or squares <= 0:
        return 0.0
    slope = float(time @ (samples.in_system - samples.in_system.mean())) / squares
    return slope * float(samples.time_ns[-1] - samples.time_ns[0]) / offered


def saturation_verdict(
    samples: Sequence[Backlog], offered_load: float | None = None, confidence: float = TEST_CONFIDENCE
) -> SaturationVerdict:
    """Give the verdict for one scenario.

    It is saturated if any of these holds:

    1. the offered load is known and at least 1;
    2. the mean growth of the backlog exceeds 1% of the offered queries and one query, and its one-sided 99% lower
       bound over replications (Student t) exceeds 0;
    3. the mean growth exceeds 2% and also one standard deviation of what a queue at load exactly 1 would show
       by chance. This is the only test with a single replication, and with very few it finds an overload that
       a t test on one or two degrees of freedom cannot. A stable queue's backlog wanders much less than a
       critical one's: M/M/1 at load 0.95 by about 0.5% of 5,000 queries, so 2% is beyond its reach, while
       load 1.05 grows by 4.8%. In shorter or burstier runs chance growth is larger, and the limit rises.

    Parameters
    ----------
    samples : sequence of Backlog
        One per replication.
    offered_load : float, optional
        Offered work over capacity where it is known exactly (one static path) *and* queues are unbounded.
    confidence : float
        Of the one-sided bound.

    Raises
    ------
    ValueError
        If there is no replication.
    """
    growth = [growth_fraction(s) for s in samples]
    mean = t_interval(growth).value
    assert mean is not None  # growth is always a number
    low = None
    if len(growth) > 1:
        error = float(np.std(growth, ddof=1)) / math.sqrt(len(growth))
        low = mean - student_t_quantile(confidence, len(growth) - 1) * error
    large = max(LARGE_GROWTH, _chance_growth(samples))

    shrank = round(mean, 3) < 0
    shown = f"the backlog {'shrank' if shrank else 'grew'} by {abs(mean):.1%} of the offered queries"
    if offered_load is not None and offered_load >= 1:
        return SaturationVerdict(True, mean, low, offered_load, f"the offered load is {offered_load:.3g}; {shown}")
    # A run that ends with an arrival has one query in the system at its end, however idle it is.
    offered = sum(int(one.offered[-1] - one.offered[0]) for one in samples) / len(samples)
    by_test = mean > GROWTH_LIMIT and low is not None and low > 0 and mean * offered > 1.0
    saturated = by_test or mean > large
    reason = shown if saturated or shrank else f"{shown}, which is not more than chance or not more than 1%"
    if offered_load is not None:
        reason += f"; the offered load is {offered_load:.3g}"
    return SaturationVerdict(saturated, mean, low, offered_load, reason)


def _chance_growth(samples: Sequence[Backlog]) -> float:
    """Return the standard deviation of the mean growth fraction of a queue at load exactly 1.

    There the backlog is close to a Brownian motion with variance (D + 1) per query, where D is the arrivals'
    index of dispersion (1 for Poisson; taken from the record) and 1 stands for exponential service. The least
    squares slope of a Brownian motion with variance v per unit time over a time T has variance 6 v / (5 T).
    """
    variance = 0.0
    for one in samples:
        arrived = np.diff(one.offered).astype(np.float64)
        total = float(arrived.sum())
        if total <= 0:
            continue
        dispersion = float(np.var(arrived, ddof=1)) / (total / len(arrived))
        variance += 1.2 * (1 + dispersion) / total
    return math.sqrt(variance) / len(samples)
