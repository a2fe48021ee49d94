"""Adds the rows of a cell up while it runs: metrics and laws, without a record, in memory that does not grow."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from sim.engine.record import NEVER, Cause, Outcome
from sim.engine.rows import PART_ROW, QUERY_ROW, SERVED_ROW, SPAN_ROW, Rows, RunEnd
from sim.stats.devices import SystemView
from sim.stats.exact_sums import ExactSums
from sim.stats.histogram import BUCKETS
from sim.stats.saturation import INSTANTS, instants_of
from sim.stats.spans import SpanTable
from sim.stats.tally_laws import broken_laws
from sim.stats.tally_rows import add_attempts, add_offered, add_parts, add_queries, add_served
from sim.stats.tally_sums import FAR_NS, Bounds, Faults, Sums
from sim.stats.tally_timeline import TimelineTally
from sim.stats.tally_totals import Counted, fleet_sums, scope_totals
from sim.stats.totals import Totals
from sim.stats.warmup import MAX_BATCHES, QUERIES_PER_BATCH, BatchSums

__all__ = ["Tally"]

BINS = 4096
"""Bins in which the backlog is followed while the end of the arrival period is not known."""

REASONS = 128
NO_STOP = -1


class Tally:
    """Adds up the rows of one cell; `finish` gives what they amount to.

    A row is added when its windows are known: at once, but for those that end when the last query offered so far (or
    the end of the arrival period, where that is known) has not yet passed. These wait, and there are no more of them
    than queries in the system.

    Parameters
    ----------
    view : SystemView
        The system. Devices of one kind must be alike.
    candidates : sequence of int, optional
        Candidate cuts to choose the warm-up from, as first queries to keep, in order. Those beyond the last query
        keep nothing.
    warmup_ns : int, optional
        Given warm-up time instead. With neither, nothing is cut.
    end_ns : int, optional
        End of the arrival period, where it is known beforehand.
    timeline_ns : int, optional
        Length of the intervals in which the cell is measured over time; needs `end_ns`.
    max_batches : int
        As in `batch_series`.

    Raises
    ------
    ValueError
        If these contradict each other.
    """

    def __init__(
        self,
        view: SystemView,
        *,
        candidates: Sequence[int] | NDArray[np.int64] | None = None,
        warmup_ns: int | None = None,
        end_ns: int | None = None,
        timeline_ns: int | None = None,
        max_batches: int = MAX_BATCHES,
    ) -> None:
        if candidates is not None and warmup_ns is not None:
            raise ValueError("the warm-up is either given or chosen among candidates")
        if timeline_ns is not None and end_ns is None:
            raise ValueError("a timeline needs to know the end of the arrival period")
        self.view = view
        self.warmup_ns = warmup_ns
        self.end_ns = end_ns
        self.max_batches = max_batches
        # Without a warm-up there is no steady state of which the batches could tell.
        self.keeps_series = candidates is not None or warmup_ns is not None
        cut = np.array([0 if warmup_ns is None else FAR_NS] if candidates is None else candidates, dtype=np.int64)
        if len(cut) == 0 or cut[0] < 0 or np.any(np.diff(cut) < 0):
            raise ValueError("candidate cuts must be non-decreasing, from 0")
        begin_ns = np.append(np.where(cut == 0, 0, FAR_NS), FAR_NS).astype(np.int64)
        # Two bytes a lane: the kinds of a whole fleet's lanes stay in the cache.
        lane_kind = np.asarray(view.device_kind, dtype=np.int16)[np.asarray(view.lane_device)]
        _check_alike(view)
        self.bounds = Bounds(
            cut=cut,
            begin_ns=begin_ns,
            edge_ns=begin_ns.copy(),
            instant_ns=np.zeros(0, dtype=np.int64) if end_ns is None else instants_of(end_ns),
            bin_shift=0 if end_ns is None else NO_STOP,
            limit_ns=np.array([one.sla_ns for one in view.classes] or [view.sla_ns], dtype=np.int64),
            lane_kind=lane_kind,
            path_accuracy=np.asarray(view.path_accuracy, dtype=np.float64),
        )
        self.exact, self.sums = self._empty_sums()
        self.faults = Faults(*(np.zeros(1, dtype=np.int64) for _ in Faults._fields))
        self.faults.latest_ns[0] = NEVER
        self.batch_shift = 0
        self.offered = 0
        self.last_arrival_ns = 0
        self.held: dict[str, NDArray[np.void]] = {
            "served": np.zeros(0, SERVED_ROW),
            "queries": np.zeros(0, QUERY_ROW),
            "parts": np.zeros(0, PART_ROW),
        }
        self.spans: list[NDArray[np.void]] = []
        self.timeline: TimelineTally | None = None
        if timeline_ns is not None and end_ns is not None:
            self.timeline = TimelineTally(view, end_ns, timeline_ns)

    def _empty_sums(self) -> tuple[ExactSums, Sums]:
        classes, paths, kinds = (
            len(self.bounds.limit_ns),
            len(self.bounds.path_accuracy),
            len(self.view.device_kind_name),
        )
        groups = len(self.bounds.cut) + 1
        segments = groups + 1
        bins = (BINS if self.end_ns is None else INSTANTS) + 1
        batches = self.max_batches + 1 if self.keeps_series else 0
        exact = ExactSums(
            {
                "offered": (classes, groups),
                "outcomes": (classes, groups, len(Outcome)),
                "undecided": (classes, groups),
                "latency_ns": (classes, groups),
                "finished": (classes, segments, 2, 4),
                "started": (classes, paths, segments),
                "waited_ns": (classes, kinds, segments),
                "busy_ns": (kinds, segments),
                "wasted_ns": (segments, 2),
                "dropped": (classes, REASONS),
                "attempts": (len(Cause), groups),
                "answered": (1,),
                "other_system_ns": (1,),
                "numbers": (1,),
            }
        )

        def counts(*shape: int) -> NDArray[np.int64]:
            return np.zeros(shape, dtype=np.int64)

        sums = Sums(
            **exact.low,
            latency_count=counts(classes, groups, BUCKETS),
            arrived=counts(classes, bins),
            turned_away=counts(classes, bins),
            left=counts(classes, bins),
            batch_ns=np.zeros(batches),
            batch_count=counts(batches),
        )
        return exact, sums

    # -- while the cell runs ------------------------------------------------------------------------------------

    def add(self, rows: Rows) -> None:
        """Add rows; they may be overwritten afterwards."""
        if self.timeline is not None:
            self.timeline.add(rows)
        self._offer(rows)
        if len(rows.spans):
            self.spans.append(rows.spans.copy())
        horizon_ns = self.last_arrival_ns if self.end_ns is None else self.end_ns
        self._add_tables(rows.served, rows.queries, rows.parts, horizon_ns=horizon_ns, stop_ns=NO_STOP)
        if len(rows.attempts):
            add_attempts(rows.attempts, self.offered, self.bounds, self.sums, self.faults)

    def _offer(self, rows: Rows) -> None:
        arrival_ns = rows.arrival_ns
        self.faults.disordered[0] += rows.first != self.offered
        if not len(arrival_ns):
            return
        # Nothing that is over may be from after a query that is only now offered.
        self.faults.early[0] += arrival_ns[0] <= self.faults.latest_ns[0]
        first, bounds = self.offered, self.bounds
        if self.warmup_ns is not None and bounds.cut[0] == FAR_NS:
            kept = int(np.searchsorted(arrival_ns, self.warmup_ns))
            if kept < len(arrival_ns):
                bounds.cut[0] = first + kept
        for c in np.flatnonzero((first <= bounds.cut) & (bounds.cut < first + len(arrival_ns))).tolist():
            begin_ns = arrival_ns[bounds.cut[c] - first] if bounds.cut[c] > 0 else 0
            bounds.begin_ns[c] = bounds.edge_ns[c] = begin_ns
        self._cover(int(arrival_ns[-1]))
        add_offered(arrival_ns, rows.query_class, first, self.last_arrival_ns, self.bounds, self.sums, self.faults)
        self.offered = first + len(arrival_ns)
        self.last_arrival_ns = int(arrival_ns[-1])
        if self.keeps_series:
            self._widen_batches()

    def _cover(self, time_ns: int) -> None:
        """Double the width of the backlog's bins until a time lies in them."""
        while self.bounds.bin_shift >= 0 and time_ns >> self.bounds.bin_shift >= BINS:
            for counts in (self.sums.arrived, self.sums.turned_away, self.sums.left):
                counts[:, : BINS // 2] = counts[:, 0:BINS:2] + counts[:, 1:BINS:2]
                counts[:, BINS // 2 : BINS] = 0
            self.bounds = self.bounds._replace(bin_shift=self.bounds.bin_shift + 1)

    def _widen_batches(self) -> None:
        """Merge neighbouring batches while there are too many."""
        while self.offered // (QUERIES_PER_BATCH << self.batch_shift) > self.max_batches:
            for values in (self.sums.batch_ns, self.sums.batch_count):
                pairs = np.add.reduceat(values, np.arange(0, len(values), 2))
                values[:] = 0
                values[: len(pairs)] = pairs
            self.batch_shift += 1

    def _add_tables(
        self,
        served: NDArray[np.void],
        queries: NDArray[np.void],
        parts: NDArray[np.void],
        *,
        horizon_ns: int,
        stop_ns: int,
    ) -> None:
        bounds, sums, faults, offered, shift = self.bounds, self.sums, self.faults, self.offered, self.batch_shift

        def pass_served(rows: NDArray[np.void], held: NDArray[np.int64]) -> int:
            return add_served(rows, held, horizon_ns, offered, shift, bounds, sums, faults)

        def pass_queries(rows: NDArray[np.void], held: NDArray[np.int64]) -> int:
            return add_queries(rows, held, horizon_ns, stop_ns, offered, shift, bounds, sums, faults)

        def pass_parts(rows: NDArray[np.void], held: NDArray[np.int64]) -> int:
            return add_parts(rows, held, horizon_ns, bounds, sums, faults)

        latest_ns = max(horizon_ns, self.last_arrival_ns) if horizon_ns < FAR_NS else max(stop_ns, 1)
        self._pass("served", pass_served, served, latest_ns)
        self._pass("queries", pass_queries, queries, latest_ns)
        self._pass("parts", pass_parts, parts, latest_ns)

    def _pass(
        self,
        name: str,
        add: Callable[[NDArray[np.void], NDArray[np.int64]], int],
        rows: NDArray[np.void],
        latest_ns: int,
    ) -> None:
        """Add rows and those that were put back before; keep what is put back now."""
        kept = []
        for table in (self.held[name], rows):
            step = self.exact.rows_at_once(latest_ns)
            for first in range(0, len(table), step):
                stretch = table[first : first + step]
                self.exact.make_room(len(stretch), latest_ns)
                held = np.empty(len(stretch), dtype=np.int64)
                put_back = add(stretch, held)
                if put_back:
                    kept.append(stretch[held[:put_back]])
        if kept or len(self.held[name]):
            self.held[name] = np.concatenate(kept) if kept else self.held[name][:0]

    # -- when it is over ----------------------------------------------------------------------------------------

    def finish(self, end: RunEnd) -> Totals:
        """Return what all rows amount to, with the laws that they break in `Totals.violations`."""
        if self.end_ns is not None and self.end_ns != end.end_ns:
            raise ValueError(f"the arrival period was to end at {self.end_ns} ns and ended at {end.end_ns} ns")
        self._cover(end.end_ns)
        self.faults.disordered[0] += self.last_arrival_ns > end.end_ns
        bounds = self.bounds
        # What a cut beyond the last query keeps begins where the arrival period ends.
        beyond = bounds.cut >= self.offered
        np.minimum(bounds.cut, self.offered, out=bounds.cut)
        window_ns = np.where(bounds.cut == 0, 0, end.end_ns)
        bounds.begin_ns[:-1][beyond] = bounds.edge_ns[:-1][beyond] = window_ns[beyond]
        bounds.begin_ns[-1], bounds.edge_ns[-1] = end.end_ns + 1, end.end_ns
        none = (np.zeros(0, one.dtype) for one in self.held.values())
        self._add_tables(*none, horizon_ns=FAR_NS, stop_ns=end.stop_ns)
        counted = Counted(self.view, bounds, self.exact, self.sums, end.end_ns, self.offered)
        spans = self._span_table()
        classes = range(len(bounds.limit_ns))
        return Totals(
            window_start_ns=tuple(bounds.begin_ns[:-1].tolist()),
            window_end_ns=end.end_ns,
            whole=scope_totals(counted, classes),
            classes=tuple(scope_totals(counted, [one]) for one in classes) if self.view.classes else (),
            fleet=tuple(fleet_sums(counted, spans, cut) for cut in range(len(bounds.cut))),
            series=self._series() if self.keeps_series else None,
            timeline=None if self.timeline is None else self.timeline.finish(spans),
            violations=tuple(broken_laws(counted, self.faults, end)),
        )

    def _span_table(self) -> SpanTable:
        rows = np.concatenate(self.spans) if self.spans else np.zeros(0, SPAN_ROW)
        return SpanTable(*(np.ascontiguousarray(rows[name]) for name in ("device", "kind", "from_ns", "to_ns")))

    def _series(self) -> BatchSums:
        per_batch = QUERIES_PER_BATCH << self.batch_shift
        complete = self.offered // per_batch
        return BatchSums(per_batch, self.sums.batch_ns[:complete].copy(), self.sums.batch_count[:complete].copy())


def _check_alike(view: SystemView) -> None:
    """Raise ValueError unless the devices of each kind have the same lanes and power."""
    lanes = np.bincount(np.asarray(view.lane_device), minlength=len(view.device_kind))
    kind = np.asarray(view.device_kind)
    for name, values in (("lanes", lanes), ("idle power", view.device_idle_w), ("busy power", view.device_busy_w)):
        for k, label in enumerate(view.device_kind_name):
            if len(np.unique(np.asarray(values)[kind == k])) > 1:
                raise ValueError(f"the devices of {label} differ in {name}, so they cannot be added up as one kind")
