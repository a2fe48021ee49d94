"""What a router or policy expects of a path: its wait from the backlog, its service from the profile's mean."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sim.serving.compiled import jit, jit_inline
from sim.serving.lookup import expected_ns

__all__ = ["estimate_paths", "expected_wait_ns", "wait_behind"]


@jit_inline
def wait_behind(soonest_ns: int, work_ns: int, lanes: int) -> int:
    """Return the wait behind so much work if the first of so many busy lanes is free in `soonest_ns`."""
    return soonest_ns + (work_ns if lanes == 1 else work_ns // lanes)


@jit_inline
def expected_wait_ns(
    device: int,
    now_ns: int,
    device_lane: NDArray[np.int64],
    idle_lanes: NDArray[np.int64],
    waiting_parts: NDArray[np.int64],
    waiting_work_ns: NDArray[np.int64],
    lane_until_ns: NDArray[np.int64],
) -> int:
    """Return the wait that a part joining `device` now would expect, in ns.

    Zero where a lane is free for it; otherwise the time until the first lane is expected to be free plus the
    work that waits, spread over the lanes. On a device of one lane this is exact given the work's true values.
    A part that overruns its expectation is taken to finish at once.
    """
    if idle_lanes[device] > waiting_parts[device]:
        return 0
    first = device_lane[device]
    end = device_lane[device + 1]
    soonest = max(lane_until_ns[first] - now_ns, 0)
    for lane in range(first + 1, end):
        soonest = min(soonest, max(lane_until_ns[lane] - now_ns, 0))
    return wait_behind(soonest, waiting_work_ns[device], end - first)


@jit
def estimate_paths(
    size: int,
    now_ns: int,
    sees_queue: bool,
    first_device: int,
    first_path: int,
    paths: NDArray[np.int64],
    device_lane: NDArray[np.int64],
    idle_lanes: NDArray[np.int64],
    waiting_parts: NDArray[np.int64],
    waiting_work_ns: NDArray[np.int64],
    lane_until_ns: NDArray[np.int64],
    index: NDArray[np.int64],
    grid: NDArray[np.float64],
    service_out: NDArray[np.int64],
    wait_out: NDArray[np.int64],
) -> None:
    """Fill `service_out` and `wait_out` for the paths of one node, in ns.

    `paths` holds a row (slot of the device on its node, service) for each path; the rows from `first_path` on,
    as many as `service_out` is long, are those of this node, whose devices are numbered from `first_device`.
    """
    for i in range(len(service_out)):
        slot = paths[first_path + i, 0]
        service_out[i] = expected_ns(index, grid, paths[first_path + i, 1], size)
        wait_out[i] = 0
        if sees_queue:
            wait_out[i] = expected_wait_ns(
                first_device + slot,
                now_ns,
                device_lane,
                idle_lanes,
                waiting_parts,
                waiting_work_ns,
                lane_until_ns,
            )
