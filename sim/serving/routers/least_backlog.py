"""Least backlog: the node with the fewest unfinished parts, or the least expected work, per lane."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sim.serving.compiled import jit
from sim.serving.routers.backlog import backlog_of, lighter
from sim.serving.routers.base import Route, Router
from sim.serving.state import State
from sim.serving.system import System
from sim.spec.experiment import LeastBacklogRouterSpec

__all__ = ["LEAST_BACKLOG", "least_backlogged_node"]


@jit
def least_backlogged_node(
    now_ns: int,
    by_work: bool,
    nodes: NDArray[np.int64],
    node_device: NDArray[np.int64],
    device_lane: NDArray[np.int64],
    waiting_work_ns: NDArray[np.int64],
    lane_until_ns: NDArray[np.int64],
    unfinished_parts: NDArray[np.int64],
) -> int:
    """Return the node with the least backlog per lane; the first in order among equals."""
    best = nodes[0]
    best_lanes = device_lane[node_device[best + 1]] - device_lane[node_device[best]]
    best_backlog = backlog_of(
        best, by_work, now_ns, node_device, device_lane, waiting_work_ns, lane_until_ns, unfinished_parts
    )
    for i in range(1, len(nodes)):
        if best_backlog == 0:
            break
        node = nodes[i]
        lanes = device_lane[node_device[node + 1]] - device_lane[node_device[node]]
        backlog = backlog_of(
            node, by_work, now_ns, node_device, device_lane, waiting_work_ns, lane_until_ns, unfinished_parts
        )
        if lighter(backlog, lanes, best_backlog, best_lanes):
            best, best_lanes, best_backlog = node, lanes, backlog
    return int(best)


def _bind(spec: LeastBacklogRouterSpec, system: System, state: State, _model: int) -> Route:
    by_work = spec.measure == "work"
    arrays = (
        system.node_device,
        system.device_lane,
        state.waiting_work_ns,
        state.lane_until_ns,
        state.unfinished_parts,
    )

    def route(_query: int, _size: int, now_ns: int, _draws: NDArray[np.float64], nodes: NDArray[np.int64]) -> int:
        return least_backlogged_node(now_ns, by_work, nodes, *arrays)

    return route


LEAST_BACKLOG = Router("least-backlog", _bind)
