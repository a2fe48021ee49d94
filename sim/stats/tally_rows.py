"""The loops of a tally: each adds a table of rows to the sums, one pass, compiled.

A *segment* of queries holds those that the same cuts keep: segment g is kept by the first g cuts. A segment of time
lies in as many windows: the first s have begun, and segment `cuts + 1` is after the arrival period. So what a cut keeps
is the sum over the segments from its own on, and a row is added to one segment only, whatever the number of cuts.

A row whose latest stamp is not before the horizon is put back: where the windows that it falls into begin, or where the
arrival period ends, may not be known yet.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sim.engine.record import NEVER, AttemptEnd, Outcome
from sim.serving.compiled import jit
from sim.stats.histogram import BUCKETS, bucket_of
from sim.stats.tally_sums import (
    CORRECT,
    FAR_NS,
    FRACTION,
    FRACTION_BITS,
    FRACTION_UNIT,
    IN_TIME,
    LATE,
    QUERIES,
    SAMPLES,
    Bounds,
    Faults,
    Sums,
    add_split,
)
from sim.stats.warmup import QUERIES_PER_BATCH

__all__ = ["add_attempts", "add_offered", "add_parts", "add_queries", "add_served"]

SERVED_IN_TIME, DROPPED, IN_FLIGHT = int(Outcome.SERVED_IN_TIME), int(Outcome.DROPPED), int(Outcome.IN_FLIGHT)
SERVED_LATE = int(Outcome.SERVED_LATE)
ANSWERED, UNFINISHED = int(AttemptEnd.ANSWERED), int(AttemptEnd.UNFINISHED)


@jit
def _segment(value: int, begin: NDArray[np.int64], near: int) -> int:
    """Return how many of `begin` are at most `value`; quick if that is about `near`."""
    while near < len(begin) and value >= begin[near]:
        near += 1
    while near > 0 and value < begin[near - 1]:
        near -= 1
    return near


@jit
def _instant(value: int, instant_ns: NDArray[np.int64], near: int) -> int:
    """Return how many of `instant_ns` are before `value`; quick if that is about `near`."""
    while near < len(instant_ns) and value > instant_ns[near]:
        near += 1
    while near > 0 and value <= instant_ns[near - 1]:
        near -= 1
    return near


@jit
def _bin(time_ns: int, instant_ns: NDArray[np.int64], shift: int, bins: int, near: int) -> int:
    """Return the instant or bin of the backlog that a time belongs to."""
    return min(time_ns >> shift, bins - 1) if shift >= 0 else _instant(time_ns, instant_ns, near)


@jit
def _spread(sums: NDArray[np.int64], from_ns: int, to_ns: int, edge_ns: NDArray[np.int64], near: int) -> None:
    """Add the time from `from_ns` to `to_ns` to the segments that it lies in."""
    segment = _segment(from_ns, edge_ns, near)
    while segment < len(edge_ns) and edge_ns[segment] < to_ns:
        sums[segment] += edge_ns[segment] - from_ns
        from_ns = edge_ns[segment]
        segment += 1
    sums[segment] += to_ns - from_ns


@jit
def _spread_weighted(
    sums: NDArray[np.int64], weight: float, from_ns: int, to_ns: int, edge_ns: NDArray[np.int64], near: int
) -> None:
    """Add the time from `from_ns` to `to_ns`, times `weight`, to the segments that it lies in."""
    segment = _segment(from_ns, edge_ns, near)
    while segment < len(edge_ns) and edge_ns[segment] < to_ns:
        add_split(sums[segment], weight * (edge_ns[segment] - from_ns))
        from_ns = edge_ns[segment]
        segment += 1
    add_split(sums[segment], weight * (to_ns - from_ns))


@jit
def add_offered(
    arrival_ns: NDArray[np.int64],
    query_class: NDArray[np.int64],
    first: int,
    last_ns: int,
    bounds: Bounds,
    sums: Sums,
    faults: Faults,
) -> None:
    """Count queries that were offered; `last_ns` is the latest arrival before them."""
    offered, arrived, cut, instant_ns = sums.offered, sums.arrived, bounds.cut, bounds.instant_ns
    classes, shift, bins = len(bounds.limit_ns), bounds.bin_shift, arrived.shape[1]
    count = len(arrival_ns)
    group = instant = 0
    if _is_sound(arrival_ns, query_class, last_ns, classes):
        # In order and of one class: counted a stretch at a time.
        of, i = query_class[0], 0
        while i < count:
            group = _segment(first + i, cut, group)
            instant = _bin(arrival_ns[i], instant_ns, shift, bins, instant)
            until = count if group == len(cut) else min(count, cut[group] - first)
            low, high = i, until
            while high - low > 1:
                middle = (low + high) // 2
                if _bin(arrival_ns[middle], instant_ns, shift, bins, instant) == instant:
                    low = middle
                else:
                    high = middle
            offered[of, group] += high - i
            arrived[of, instant] += high - i
            i = high
        return
    for i in range(count):
        now = arrival_ns[i]
        if not (0 <= query_class[i] < classes and now >= 0):
            faults.unknown[0] += 1
            continue
        if now < last_ns:
            faults.disordered[0] += 1
        last_ns = now
        of = query_class[i]
        group = _segment(first + i, cut, group)
        offered[of, group] += 1
        instant = _bin(now, instant_ns, shift, bins, instant)
        arrived[of, instant] += 1


@jit
def _is_sound(arrival_ns: NDArray[np.int64], query_class: NDArray[np.int64], last_ns: int, classes: int) -> bool:
    """Whether queries are in order, none before `last_ns` or 0, and of one class that there is."""
    one = query_class[0]
    before = max(last_ns, 0)
    others = earlier = 0
    for i in range(len(arrival_ns)):
        others += query_class[i] != one
        earlier += arrival_ns[i] < before
        before = arrival_ns[i]
    return 0 <= one < classes and others == 0 and earlier == 0


@jit
def add_served(
    rows: Any,
    held: NDArray[np.int64],
    horizon_ns: int,
    offered: int,
    batch_shift: int,
    bounds: Bounds,
    sums: Sums,
    faults: Faults,
) -> int:
    """Add rows of queries that were served whole; return how many are put back, whose indices are in `held`."""
    # Local names and unsigned indices: numba then neither counts references nor looks for negative indices, which
    # together is a fifth of the time.
    outcomes, latency_sum_ns = sums.outcomes.reshape(-1, sums.outcomes.shape[2]), sums.latency_ns.reshape(-1)
    latency_count, finished = sums.latency_count.reshape(-1, BUCKETS), sums.finished.reshape(-1, 4)
    started, left, busy_ns, waited_ns = sums.started, sums.left, sums.busy_ns, sums.waited_ns
    batch_ns, batch_count = sums.batch_ns, sums.batch_count
    cut, begin_ns, edge_ns, instant_ns = bounds.cut, bounds.begin_ns, bounds.edge_ns, bounds.instant_ns
    limit_ns, lane_kind, path_accuracy = bounds.limit_ns, bounds.lane_kind, bounds.path_accuracy
    paths, bin_shift = len(path_accuracy), bounds.bin_shift
    classes, lanes, cuts, bins = len(limit_ns), len(lane_kind), len(cut), left.shape[1]
    has_batches = len(batch_count) > 0
    numbers = put_back = group = segment = instant = 0
    here_ns = until_ns = 0
    latest_ns = faults.latest_ns[0]
    for i in range(len(rows)):
        row = rows[i]
        finish_ns = row.finish_ns
        if finish_ns >= horizon_ns:
            held[put_back] = i
            put_back += 1
            continue
        # Unsigned, what is negative is too large; and one branch instead of ten.
        query, of, path = row.query, np.uintp(row.query_class), np.uintp(row.path)
        known = (np.uintp(query) < np.uintp(offered)) & (of < np.uintp(classes)) & (path < np.uintp(paths))
        if not (known & (np.uintp(row.lane) < np.uintp(lanes)) & (row.size >= 0)):
            faults.unknown[0] += 1
            continue
        arrival_ns, start_ns, size = row.arrival_ns, row.start_ns, row.size
        if not ((arrival_ns >= 0) & (arrival_ns <= start_ns) & (start_ns <= finish_ns)):
            faults.untimely[0] += 1
            continue
        kind = np.uintp(lane_kind[np.uintp(row.lane)])
        latest_ns = max(latest_ns, finish_ns)
        numbers += query

        # By arrival.
        latency_ns = finish_ns - arrival_ns
        late = np.uintp(latency_ns > limit_ns[of])
        group = _segment(query, cut, group)
        place = of * np.uintp(cuts + 1) + np.uintp(group)
        outcomes[place, late] += 1
        latency_sum_ns[place] += latency_ns
        latency_count[place, np.uintp(bucket_of(latency_ns))] += 1
        if has_batches:
            batch = np.uintp((query >> batch_shift) // QUERIES_PER_BATCH)
            batch_ns[batch] += latency_ns
            batch_count[batch] += 1
        instant = _bin(finish_ns, instant_ns, bin_shift, bins, instant)
        left[of, np.uintp(instant)] += 1

        # By time: most rows lie in one segment, and that in the one of the row before.
        if not (here_ns <= arrival_ns and finish_ns < until_ns):
            segment = _segment(finish_ns, begin_ns, segment)
            here_ns = begin_ns[segment - 1] if segment > 0 else 0
            until_ns = begin_ns[segment] if segment <= cuts else FAR_NS
        at = np.uintp(segment)
        place = (of * np.uintp(cuts + 2) + at) * np.uintp(2) + late
        # What `add_split` makes of it: a size has 32 bits, so the units of a query's correct predictions have 64.
        units = int(np.rint(size * path_accuracy[path] * (1.0 / FRACTION_UNIT)))
        finished[place, QUERIES] += 1
        finished[place, SAMPLES] += size
        finished[place, CORRECT] += units >> FRACTION_BITS
        finished[place, FRACTION] += units & ((1 << FRACTION_BITS) - 1)
        if here_ns <= arrival_ns:
            started[of, path, at] += size
            busy_ns[kind, at] += finish_ns - start_ns
            waited_ns[of, kind, at] += start_ns - arrival_ns
        else:
            started[of, path, _segment(start_ns, begin_ns, segment)] += size
            _spread(busy_ns[kind], start_ns, finish_ns, edge_ns, segment)
            _spread(waited_ns[of, kind], arrival_ns, start_ns, edge_ns, segment)
    sums.numbers[0] += numbers
    faults.latest_ns[0] = latest_ns
    return put_back


@jit
def add_queries(
    rows: Any,
    held: NDArray[np.int64],
    horizon_ns: int,
    stop_ns: int,
    offered: int,
    batch_shift: int,
    bounds: Bounds,
    sums: Sums,
    faults: Faults,
) -> int:
    """Add query rows; return how many are put back, as are those in flight until `stop_ns` is known (not -1)."""
    outcomes, undecided, dropped_by = sums.outcomes, sums.undecided, sums.dropped
    latency_sum_ns, latency_count = sums.latency_ns, sums.latency_count
    finished, left, turned_away = sums.finished, sums.left, sums.turned_away
    batch_ns, batch_count = sums.batch_ns, sums.batch_count
    cut, begin_ns, limit_ns = bounds.cut, bounds.begin_ns, bounds.limit_ns
    instant_ns, bin_shift = bounds.instant_ns, bounds.bin_shift
    classes, bins, has_batches = len(limit_ns), left.shape[1], len(batch_count) > 0
    numbers = other_ns = put_back = group = segment = instant = 0
    latest_ns = faults.latest_ns[0]
    for i in range(len(rows)):
        row = rows[i]
        outcome, of, query = row.outcome, row.query_class, row.query
        arrival_ns, start_ns, finish_ns, drop_ns = row.arrival_ns, row.start_ns, row.finish_ns, row.drop_ns
        if max(finish_ns, drop_ns) >= horizon_ns or (outcome == IN_FLIGHT and stop_ns < 0):
            held[put_back] = i
            put_back += 1
            continue
        if not (0 <= query < offered and 0 <= of < classes and row.size >= 0 and arrival_ns >= 0):
            faults.unknown[0] += 1
            continue
        served = finish_ns != NEVER
        dropped = drop_ns != NEVER
        late = served and finish_ns - arrival_ns > limit_ns[of]
        if (
            (served and outcome != (SERVED_LATE if late else SERVED_IN_TIME))
            or (dropped and outcome != DROPPED)
            or (not served and not dropped and outcome != IN_FLIGHT)
            or dropped != (row.drop_reason >= 0)
            or served != (row.answered_by >= 0)
        ):
            faults.unsettled[0] += 1
            continue
        if (
            (start_ns != NEVER and start_ns < arrival_ns)
            or (served and finish_ns < max(start_ns, arrival_ns))
            or (dropped and drop_ns < arrival_ns)
        ):
            faults.untimely[0] += 1
            continue
        latest_ns = max(latest_ns, finish_ns, drop_ns)
        numbers += query
        group = _segment(query, cut, group)
        outcomes[of, group, outcome] += 1
        if not served:
            if dropped:
                dropped_by[of, row.drop_reason] += 1
                other_ns += drop_ns - arrival_ns
                turned_away[of, _bin(arrival_ns, instant_ns, bin_shift, bins, instant)] += 1
            else:
                other_ns += stop_ns - arrival_ns
                undecided[of, group] += stop_ns - arrival_ns < limit_ns[of]
            continue
        latency_ns = finish_ns - arrival_ns
        latency_sum_ns[of, group] += latency_ns
        latency_count[of, group, bucket_of(latency_ns)] += 1
        if has_batches:
            batch = (query >> batch_shift) // QUERIES_PER_BATCH
            batch_ns[batch] += latency_ns
            batch_count[batch] += 1
        instant = _bin(finish_ns, instant_ns, bin_shift, bins, instant)
        left[of, instant] += 1
        segment = _segment(finish_ns, begin_ns, segment)
        column = LATE if late else IN_TIME
        finished[of, segment, column, QUERIES] += 1
        finished[of, segment, column, SAMPLES] += row.size
        add_split(finished[of, segment, column], row.correct)
    sums.numbers[0] += numbers
    sums.other_system_ns[0] += other_ns
    faults.latest_ns[0] = latest_ns
    return put_back


@jit
def add_parts(rows: Any, held: NDArray[np.int64], horizon_ns: int, bounds: Bounds, sums: Sums, faults: Faults) -> int:
    """Add part rows; return how many are put back."""
    put_back = 0
    near = 0
    for i in range(len(rows)):
        row = rows[i]
        finish_ns = row.finish_ns
        if finish_ns >= horizon_ns:
            held[put_back] = i
            put_back += 1
            continue
        of, path, lane = row.query_class, row.path, row.lane
        if not (
            0 <= of < len(bounds.limit_ns)
            and 0 <= path < len(bounds.path_accuracy)
            and 0 <= lane < len(bounds.lane_kind)
            and 0 <= row.size <= row.batch_samples
            and row.batch_samples > 0
        ):
            faults.unknown[0] += 1
            continue
        if not 0 <= row.enqueue_ns <= row.start_ns <= finish_ns:
            faults.untimely[0] += 1
            continue
        kind = bounds.lane_kind[lane]
        near = _segment(row.start_ns, bounds.begin_ns, near)
        sums.started[of, path, near] += row.size
        _spread(sums.waited_ns[of, kind], row.enqueue_ns, row.start_ns, bounds.edge_ns, near)
        if row.leads:
            _spread(sums.busy_ns[kind], row.start_ns, finish_ns, bounds.edge_ns, near)
        if row.wasted:
            share = row.size / row.batch_samples
            _spread_weighted(sums.wasted_ns, share, row.start_ns, finish_ns, bounds.edge_ns, near)
    return put_back


@jit
def add_attempts(rows: Any, offered: int, bounds: Bounds, sums: Sums, faults: Faults) -> None:
    """Add rows of attempts."""
    group = 0
    for i in range(len(rows)):
        row = rows[i]
        if not (0 <= row.query < offered and 0 <= row.cause < sums.attempts.shape[0]):
            faults.unknown[0] += 1
            continue
        unfinished = row.end == UNFINISHED
        if unfinished != (row.end_ns == NEVER) or (not unfinished and row.end_ns < row.sent_ns):
            faults.untimely_attempts[0] += 1
        group = _segment(row.query, bounds.cut, group)
        sums.attempts[row.cause, group] += 1
        if row.end == ANSWERED:
            sums.answered[0] += 1
