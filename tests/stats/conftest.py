"""Records whose every number is known: written by hand, or from the Lindley recursion of a single server."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from sim.engine.record import NEVER, Outcome, RunRecord
from sim.stats.measure import SystemView

MS = 1_000_000
Record = Callable[..., RunRecord]


def record_of(
    arrival_ns: Any,
    start_ns: Any,
    finish_ns: Any,
    *,
    end_ns: int,
    stop_ns: int | None = None,
    sla_ns: int = 10 * MS,
    size: Any = 1,
    accuracy: float = 0.5,
    dropped: Sequence[int] = (),
    lane: Any = 0,
    path: Any = 0,
) -> RunRecord:
    """Unsplit queries; start and finish are what would happen if the clock did not stop."""
    arrival, start, finish = (np.array(x, dtype=np.int64) for x in (arrival_ns, start_ns, finish_ns))
    n = len(arrival)
    stop = int(max(end_ns, finish.max(initial=0)) if stop_ns is None else stop_ns)
    size, lane, path = (np.broadcast_to(x, n).astype(np.int64) for x in (size, lane, path))
    admitted = np.ones(n, bool)
    admitted[list(dropped)] = False
    started = admitted & (start <= stop)
    served = admitted & (finish <= stop)
    outcome = np.full(n, Outcome.IN_FLIGHT, np.int8)
    outcome[served] = np.where(finish - arrival <= sla_ns, Outcome.SERVED_IN_TIME, Outcome.SERVED_LATE)[served]
    outcome[~admitted] = Outcome.DROPPED
    begun = np.flatnonzero(started)
    begun = begun[np.argsort(start[begun], kind="stable")]
    return RunRecord(
        arrival_ns=arrival,
        size=size,
        query_class=np.zeros(n, np.int32),
        start_ns=np.where(started, start, NEVER),
        finish_ns=np.where(served, finish, NEVER),
        node=np.zeros(n, np.int32),
        path=path.astype(np.int32),
        correct=np.where(served, size * accuracy, 0.0),
        outcome=outcome,
        drop_reason=np.where(admitted, -1, 0).astype(np.int8),
        drop_ns=np.where(admitted, -1, arrival),
        answered_by=np.where(served, 0, -1).astype(np.int32),
        part_query=begun,
        part_attempt=np.zeros(len(begun), np.int32),
        part_path=path[begun].astype(np.int32),
        part_lane=lane[begun].astype(np.int32),
        part_size=size[begun],
        part_enqueue_ns=arrival[begun],
        part_start_ns=start[begun],
        part_finish_ns=finish[begun],
        part_batch=np.arange(len(begun)),
        part_cut=np.zeros(len(begun), np.bool_),
        attempt_query=np.zeros(0, np.int64),
        attempt_cause=np.zeros(0, np.int8),
        attempt_sent_ns=np.zeros(0, np.int64),
        attempt_end_ns=np.zeros(0, np.int64),
        attempt_end=np.zeros(0, np.int8),
        span_device=np.zeros(0, np.int64),
        span_kind=np.zeros(0, np.int8),
        span_from_ns=np.zeros(0, np.int64),
        span_to_ns=np.zeros(0, np.int64),
        end_ns=end_ns,
        stop_ns=stop,
        in_system_integral=int((np.minimum(finish, stop) - arrival)[admitted].sum()),
        waiting_integral=int((np.minimum(start, stop) - arrival)[admitted].sum()),
        unstarted_wait_ns=int((stop - arrival)[admitted & (start > stop)].sum()),
    )


def single_server(
    load: float,
    queries: int,
    seed: int,
    *,
    replication: int = 0,
    drain_ns: int | None = None,
    burst: float = 1,
) -> RunRecord:
    """M/M/1 with mean service 1 ms (gamma gaps of squared CV `burst`); drained fully by default."""
    generator = np.random.Generator(np.random.Philox(np.random.SeedSequence(seed, spawn_key=(replication,))))
    gap_ns = generator.gamma(1 / burst, burst * MS / load, queries)
    service = np.rint(generator.exponential(MS, queries)).astype(np.int64)
    arrival = np.rint(np.cumsum(gap_ns)).astype(np.int64)
    # Lindley: finish[i] = service[i] + max(arrival[i], finish[i-1]), unrolled to a running maximum.
    total = np.cumsum(service)
    finish = total + np.maximum.accumulate(arrival - (total - service))
    end = int(arrival[-1])
    stop = None if drain_ns is None else end + drain_ns
    return record_of(arrival, finish - service, finish, end_ns=end, stop_ns=stop)


def one_device(**changes: Any) -> SystemView:
    fields: dict[str, Any] = {
        "lane_device": np.array([0]),
        "device_kind": np.array([0]),
        "device_kind_name": ["hw1/gpu"],
        "device_idle_w": np.array([50.0]),
        "device_busy_w": np.array([250.0]),
        "device_price_usd_per_h": np.array([3.6]),
        "path_names": ["table@gpu"],
        "path_accuracy": np.array([0.5]),
        "sla_ns": 10 * MS,
        "drop_reasons": ("queue full",),
    }
    return SystemView(**(fields | changes))


@pytest.fixture(scope="session", name="record_of")
def _record_of() -> Record:
    return record_of


@pytest.fixture(scope="session", name="single_server")
def _single_server() -> Record:
    return single_server


@pytest.fixture(scope="session", name="one_device")
def _one_device() -> Callable[..., SystemView]:
    return one_device
