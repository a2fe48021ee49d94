"""Power of d choices: the least backlog among d nodes drawn at random (Vvedenskaya 1996, Mitzenmacher 2001)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sim.serving.compiled import jit
from sim.serving.routers.backlog import backlog_of, lighter
from sim.serving.routers.base import Route, Router
from sim.serving.state import State
from sim.serving.system import System
from sim.spec.experiment import PowerOfDRouterSpec

__all__ = ["POWER_OF_D", "least_backlogged_of_drawn"]


@jit
def least_backlogged_of_drawn(
    now_ns: int,
    by_work: bool,
    draws: NDArray[np.float64],
    nodes: NDArray[np.int64],
    node_device: NDArray[np.int64],
    device_lane: NDArray[np.int64],
    waiting_work_ns: NDArray[np.int64],
    lane_until_ns: NDArray[np.int64],
    unfinished_parts: NDArray[np.int64],
) -> int:
    """Return the least backlogged of ``len(draws)`` distinct nodes; the first drawn among equals.

    Draw j picks among the nodes that are left, so that every node is equally likely to be drawn first: among equal
    nodes the load then spreads evenly.
    """
    d = min(len(draws), len(nodes))
    drawn = np.empty(d, dtype=np.int64)
    best = -1
    best_lanes = 1
    best_backlog = 0
    for j in range(d):
        left = len(nodes) - j
        pick = min(int(draws[j] * left), left - 1)
        # `drawn` is kept in order: every drawn node at or below the pick moves it one up.
        place = 0
        while place < j and drawn[place] <= pick:
            pick += 1
            place += 1
        for k in range(j, place, -1):
            drawn[k] = drawn[k - 1]
        drawn[place] = pick
        node = nodes[pick]
        lanes = device_lane[node_device[node + 1]] - device_lane[node_device[node]]
        backlog = backlog_of(
            node, by_work, now_ns, node_device, device_lane, waiting_work_ns, lane_until_ns, unfinished_parts
        )
        if best < 0 or lighter(backlog, lanes, best_backlog, best_lanes):
            best, best_lanes, best_backlog = node, lanes, backlog
    return best


def _bind(spec: PowerOfDRouterSpec, system: System, state: State, _model: int) -> Route:
    by_work = spec.measure == "work"
    arrays = (
        system.node_device,
        system.device_lane,
        state.waiting_work_ns,
        state.lane_until_ns,
        state.unfinished_parts,
    )

    def route(_query: int, _size: int, now_ns: int, draws: NDArray[np.float64], nodes: NDArray[np.int64]) -> int:
        return least_backlogged_of_drawn(now_ns, by_work, draws, nodes, *arrays)

    return route


def _choices(spec: PowerOfDRouterSpec) -> int:
    return spec.d


POWER_OF_D = Router("power-of-d", _bind, _choices)
