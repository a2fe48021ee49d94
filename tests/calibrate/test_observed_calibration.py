"""What a calibration block keeps of what was served, with a server whose times are known."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from sim.calibrate.observe import calibration
from sim.calibrate.observe.arrivals import WITH_IT, Queries
from sim.calibrate.observe.calibration import Calibrator, grid_of
from sim.calibrate.observe.layout import RealDevice
from sim.workload.sizes import DiscreteSizes

COLD_NS = 10**9
BODY = 24


class Served(Calibrator):
    """Calibrates what takes 1 us a sample and 1 ms more on path 1; the first pass back to back finds the lane cold."""

    served: list[tuple[bool, int]]

    def _serve(self, lane: int, queries: Queries) -> Any:
        assert queries.path is not None
        path, size = np.array(queries.path), np.array(queries.size)
        paused = bool(queries.most_left == 0)
        self.served.append((paused, len(size)))
        took_ns = 10**6 * path + 1000 * size
        if not paused:
            took_ns[: 2 * BODY] += COLD_NS
        idle_ns = np.maximum(queries.pause_ns, 0)
        idle_ns[0] = 0
        start_ns = np.cumsum(took_ns + idle_ns) - took_ns
        record = SimpleNamespace(
            size=size, part_query=np.arange(len(size)), part_start_ns=start_ns, part_finish_ns=start_ns + took_ns
        )
        return SimpleNamespace(record=record, longest_gap_ns=lane)


def test_the_first_pass_is_served_and_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calibration, "without_limits", lambda system: system)
    values = np.arange(1, 1201)
    grid = grid_of(DiscreteSizes(values, np.full(1200, 1 / 1200)))
    device = RealDevice(0, 0, "d", "cpu", (3,), (0, 1))
    nothing: Any = None
    calibrator = Served(nothing, [device], [], [], grid, 10**9, np.random.default_rng(5))
    calibrator.served = []
    calibrator.passes, calibrator.mean_ns = {3: 2}, {3: 10**6}
    block = calibrator.block()
    (_, busy_count), (_, paused_count) = calibrator.served
    (busy,), (paused,) = block.busy, block.paused
    assert len(busy.size) == busy_count - 2 * BODY and len(paused.size) == paused_count
    assert block.longest_gap_ns == 3
    # Every size of both paths back to back, and each time is that of its own query.
    assert {(path, size) for path, size, idle in block.times_ns if not idle} == {
        (path, size) for path in (0, 1) for size in (*grid.body, *grid.tail, *grid.bounds)
    }
    for (path, size, _), times_ns in block.times_ns.items():
        assert set(times_ns.tolist()) == {10**6 * path + 1000 * size}
    for run in (busy, paused):
        assert run.took_ns.tolist() == (10**6 * run.path + 1000 * run.size).tolist()
    # Only what came after a pause counts as having found the lane idle.
    found_idle = sum(len(times_ns) for (_, _, idle), times_ns in block.times_ns.items() if idle)
    assert found_idle == np.count_nonzero(paused.idle_ns[1:]) > 0
    assert WITH_IT not in paused.idle_ns
