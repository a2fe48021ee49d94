"""Least expected completion: the node on which some eligible path would complete this query first."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sim.serving.compiled import jit
from sim.serving.estimate import expected_wait_ns
from sim.serving.lookup import expected_ns
from sim.serving.routers.base import Route, Router
from sim.serving.state import State
from sim.serving.system import System
from sim.spec.experiment import LeastExpectedCompletionRouterSpec

__all__ = ["LEAST_EXPECTED_COMPLETION", "first_completing_node"]


@jit
def first_completing_node(
    size: int,
    now_ns: int,
    nodes: NDArray[np.int64],
    models: int,
    model: int,
    node_group: NDArray[np.int64],
    group_path: NDArray[np.int64],
    node_path: NDArray[np.int64],
    usable_paths: NDArray[np.bool_],
    paths: NDArray[np.int64],
    node_device: NDArray[np.int64],
    device_lane: NDArray[np.int64],
    idle_lanes: NDArray[np.int64],
    waiting_parts: NDArray[np.int64],
    waiting_work_ns: NDArray[np.int64],
    lane_until_ns: NDArray[np.int64],
    index: NDArray[np.int64],
    grid: NDArray[np.float64],
) -> int:
    """Return the node with the least expected wait + service over its usable paths; the first among equals."""
    best = -1
    best_ns = 0
    for node in nodes:
        first = group_path[node_group[node] * models]
        cell = node_group[node] * models + model
        for path in range(group_path[cell], group_path[cell + 1]):
            if not usable_paths[node_path[node] + path - first]:
                continue
            completion_ns = expected_ns(index, grid, paths[path, 1], size) + expected_wait_ns(
                node_device[node] + paths[path, 0],
                now_ns,
                device_lane,
                idle_lanes,
                waiting_parts,
                waiting_work_ns,
                lane_until_ns,
            )
            if best < 0 or completion_ns < best_ns:
                best, best_ns = node, completion_ns
    return best


def _bind(_spec: LeastExpectedCompletionRouterSpec, system: System, state: State, model: int) -> Route:
    arrays = (
        system.models,
        model,
        system.node_group,
        system.group_path,
        system.node_path,
        state.usable_paths,
        system.paths,
        system.node_device,
        system.device_lane,
        state.idle_lanes,
        state.waiting_parts,
        state.waiting_work_ns,
        state.lane_until_ns,
        system.services.index,
        system.services.grid,
    )

    def route(_query: int, size: int, now_ns: int, _draws: NDArray[np.float64], nodes: NDArray[np.int64]) -> int:
        return first_completing_node(size, now_ns, nodes, *arrays)

    return route


LEAST_EXPECTED_COMPLETION = Router("least-expected-completion", _bind)
