"""How backlogged a node is: unfinished parts or expected work, per lane."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sim.serving.compiled import jit_inline

__all__ = ["backlog_of", "lighter"]


@jit_inline
def backlog_of(
    node: int,
    by_work: bool,
    now_ns: int,
    node_device: NDArray[np.int64],
    device_lane: NDArray[np.int64],
    waiting_work_ns: NDArray[np.int64],
    lane_until_ns: NDArray[np.int64],
    unfinished_parts: NDArray[np.int64],
) -> int:
    """Return the unfinished parts of `node`, or its outstanding work in ns."""
    if not by_work:
        return int(unfinished_parts[node])
    work = 0
    for device in range(node_device[node], node_device[node + 1]):
        work += waiting_work_ns[device]
    for lane in range(device_lane[node_device[node]], device_lane[node_device[node + 1]]):
        work += max(lane_until_ns[lane] - now_ns, 0)
    return work


@jit_inline
def lighter(backlog_a: int, lanes_a: int, backlog_b: int, lanes_b: int) -> bool:
    """Whether a's backlog per lane is strictly less than b's, without rounding."""
    return backlog_a * lanes_b < backlog_b * lanes_a
