"""From the sums by segment that rows were added to, to what each cut keeps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sim.engine.record import Cause, Outcome
from sim.stats.attempts import availability, nodes_on
from sim.stats.devices import SystemView, device_energy_j, device_on_ns, device_price_usd, sum_by_kind
from sim.stats.exact_sums import ExactSums
from sim.stats.histogram import Histogram
from sim.stats.measurement import FleetSums, QuerySums, Weighted, rates_per_s
from sim.stats.saturation import Backlog, instants_of
from sim.stats.spans import SpanTable
from sim.stats.tally_sums import IN_TIME, QUERIES, SAMPLES, Bounds, Sums, together
from sim.stats.totals import ScopeTotals

__all__ = ["Counted", "fleet_sums", "scope_totals"]


@dataclass(frozen=True, slots=True)
class Counted:
    """The sums of a cell that is over.

    Attributes
    ----------
    view : SystemView
    bounds : Bounds
        With all segments known.
    exact : ExactSums
        The sums of `Sums` that are carried over.
    sums : Sums
    end_ns : int
        End of the arrival period.
    offered : int
    """

    view: SystemView
    bounds: Bounds
    exact: ExactSums
    sums: Sums
    end_ns: int
    offered: int

    @property
    def lanes(self) -> NDArray[np.int64]:
        """Lanes of each device kind."""
        return np.bincount(self.bounds.lane_kind, minlength=len(self.view.device_kind_name))


def scope_totals(counted: Counted, classes: Sequence[int]) -> ScopeTotals:
    """Return the totals of the queries of these classes together."""
    exact, sums, of = counted.exact, counted.sums, list(classes)

    def counts(name: str) -> NDArray[np.int64]:
        return np.asarray(exact.counts(name)[of].sum(axis=0))

    def floats(name: str) -> NDArray[np.float64]:
        return np.asarray(exact.times_ns(name)[of].sum(axis=0))

    offered = counts("offered")
    outcomes = counts("outcomes")
    finished = counts("finished")
    queries, samples = (_window_sums(finished[..., column].sum(axis=1)) for column in (QUERIES, SAMPLES))
    amounts = floats("finished")
    right = together(amounts)
    correct_in_time, correct = _window_sums(right[:, IN_TIME]), _window_sums(right.sum(axis=1))
    kept_outcomes, undecided = _kept_sums(outcomes), _kept_sums(counts("undecided"))
    kept, latency_ns = _kept_sums(offered), _kept_sums(floats("latency_ns"))
    latency_count = _kept_sums(sums.latency_count[of].sum(axis=0))
    started = _window_sums(counts("started").T)
    waited_ns = _window_sums(floats("waited_ns").T)
    removed = np.cumsum(offered)[:-1]

    rows = []
    for c, begin_ns in enumerate(counted.bounds.begin_ns[:-1].tolist()):
        window_ns = counted.end_ns - begin_ns
        per_s = rates_per_s([queries[c], samples[c], correct[c], correct_in_time[c]], window_ns)
        rows.append(
            QuerySums(
                cut=int(removed[c]),
                offered=int(kept[c]),
                outcomes=kept_outcomes[c],
                undecided=int(undecided[c]),
                latency_sum_ns=float(latency_ns[c]),
                ranking=Histogram.of_counts(latency_count[c], int(kept_outcomes[c, Outcome.IN_FLIGHT])),
                per_s=per_s,
                samples=int(samples[c]),
                correct=float(correct[c]),
                started=started[c],
                waiting=waited_ns[c] / window_ns if window_ns > 0 else None,
            )
        )
    return ScopeTotals(
        offered=int(offered.sum()),
        outcomes=outcomes.sum(axis=0),
        dropped=counts("dropped"),
        sums=tuple(rows),
        backlog=_backlog(counted, of),
    )


def fleet_sums(counted: Counted, spans: SpanTable, cut: int) -> FleetSums:
    """Return what the fleet did in the window of a cut."""
    view, exact, end_ns = counted.view, counted.exact, counted.end_ns
    begin_ns = int(counted.bounds.begin_ns[cut])
    busy_ns = _window_sums(exact.times_ns("busy_ns").T)[cut]
    work_ns = float(busy_ns.sum())
    kept = int(_kept_sums(exact.counts("offered").sum(axis=0))[cut])
    attempts = _kept_sums(exact.counts("attempts").T)[cut]
    on_ns = device_on_ns(spans, view, begin_ns, end_ns)
    # The devices of a kind are alike, so it makes no difference which of its lanes were busy.
    lane_busy_ns = (busy_ns / np.maximum(counted.lanes, 1))[counted.bounds.lane_kind]
    devices = len(view.device_kind)

    def per_query(number: int) -> Weighted:
        return Weighted(int(number) / kept if kept > 0 else None, kept)

    wasted_ns = float(_window_sums(together(exact.times_ns("wasted_ns")))[cut])
    more = {
        "attempts_per_query": lambda: per_query(attempts.sum()),
        "hedges_per_query": lambda: per_query(attempts[Cause.HEDGE]),
        "retries_per_query": lambda: per_query(attempts[Cause.RETRY]),
        "wasted_work": lambda: Weighted(wasted_ns / work_ns if work_ns > 0 else None, work_ns),
        "nodes_on": lambda: Weighted(nodes_on(spans, view.device_node, begin_ns, end_ns), 1.0),
        "availability": lambda: Weighted(availability(spans, devices, begin_ns, end_ns), devices * (end_ns - begin_ns)),
    }
    return FleetSums(
        busy_ns=busy_ns,
        available_ns=sum_by_kind(view, on_ns[np.asarray(view.lane_device)]),
        energy_j=device_energy_j(view, lane_busy_ns, on_ns),
        price_usd=device_price_usd(view, on_ns, end_ns - begin_ns),
        more={name: more[name]() for name in view.more_metrics},
    )


def _kept_sums(by_segment: NDArray[Any]) -> NDArray[Any]:
    """Return what each cut keeps of sums by segment of queries, the first axis."""
    return by_segment[::-1].cumsum(axis=0)[::-1][1:]


def _window_sums(by_segment: NDArray[Any]) -> NDArray[Any]:
    """Return what each window sees of sums by segment of time, the first axis; the last is after all windows."""
    return _kept_sums(by_segment[:-1])


def _backlog(counted: Counted, of: list[int]) -> Backlog:
    sums, bounds = counted.sums, counted.bounds
    arrived, turned_away, left = (
        np.cumsum(counts[of].sum(axis=0)) for counts in (sums.arrived, sums.turned_away, sums.left)
    )
    wanted_ns = instants_of(counted.end_ns)
    if bounds.bin_shift < 0:
        time_ns, last = wanted_ns, np.arange(len(wanted_ns))
    else:
        # The last bin that is over at each instant, and when that is.
        last = ((wanted_ns + 1) >> bounds.bin_shift) - 1
        time_ns = ((last + 1) << bounds.bin_shift) - 1
    in_system = np.where(last >= 0, (arrived - turned_away - left)[last], 0)
    return Backlog(time_ns, in_system.astype(np.int64), np.where(last >= 0, arrived[last], 0).astype(np.int64))
