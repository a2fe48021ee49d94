"""Power of d choices: the least backlog among d nodes drawn at random (Vvedenskaya 1996, Mitzenmacher 2001)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sim.serving.compiled import jit_inline
from sim.serving.routers.backlog import backlog_of, lighter
from sim.serving.routers.base import Route, Router
from sim.serving.state import State
from sim.serving.system import System
from sim.spec.experiment import PowerOfDRouterSpec

__all__ = ["POWER_OF_D", "draw_distinct", "least_backlogged_of", "least_backlogged_of_drawn"]


@jit_inline
def draw_distinct(draws: NDArray[np.float64], count: int, picks: NDArray[np.int64]) -> int:
    """Write as many distinct numbers below `count` to `picks` as there are draws; return how many there are.

    Draw j picks among the numbers that are left, so that every one is equally likely to be drawn first: among equal
    nodes the load then spreads evenly.
    """
    d = min(len(draws), count)
    for j in range(d):
        left = count - j
        pick = min(int(draws[j] * left), left - 1)
        # The pick counts what is left. Each number drawn before that is at or below it moves it one up, the least
        # one first.
        if j == 1:
            pick += picks[0] <= pick
        elif j > 1:
            last = -1
            while True:
                least = count
                for k in range(j):
                    if last < picks[k] < least:
                        least = picks[k]
                if least > pick:
                    break
                pick += 1
                last = least
        picks[j] = pick
    return d


@jit_inline
def least_backlogged_of(
    now_ns: int,
    by_work: bool,
    picks: NDArray[np.int64],
    nodes: NDArray[np.int64],
    node_device: NDArray[np.int64],
    device_lane: NDArray[np.int64],
    waiting_work_ns: NDArray[np.int64],
    lane_until_ns: NDArray[np.int64],
    unfinished_parts: NDArray[np.int64],
) -> int:
    """Return the least backlogged of the nodes at some places in `nodes`; the first among equals."""
    best = -1
    best_lanes = 1
    best_backlog = 0
    for j in range(len(picks)):
        node = nodes[picks[j]]
        lanes = device_lane[node_device[node + 1]] - device_lane[node_device[node]]
        backlog = backlog_of(
            node, by_work, now_ns, node_device, device_lane, waiting_work_ns, lane_until_ns, unfinished_parts
        )
        if best < 0 or lighter(backlog, lanes, best_backlog, best_lanes):
            best, best_lanes, best_backlog = node, lanes, backlog
    return int(best)


@jit_inline
def least_backlogged_of_drawn(
    now_ns: int,
    by_work: bool,
    draws: NDArray[np.float64],
    picks: NDArray[np.int64],
    nodes: NDArray[np.int64],
    node_device: NDArray[np.int64],
    device_lane: NDArray[np.int64],
    waiting_work_ns: NDArray[np.int64],
    lane_until_ns: NDArray[np.int64],
    unfinished_parts: NDArray[np.int64],
) -> int:
    """Return the least backlogged of ``len(draws)`` distinct nodes; the first drawn among equals.

    `picks` is as long as `draws` and gets the places of the drawn nodes in `nodes`, in the order of drawing.
    """
    drawn = picks[: draw_distinct(draws, len(nodes), picks)]
    return least_backlogged_of(
        now_ns,
        by_work,
        drawn,
        nodes,
        node_device,
        device_lane,
        waiting_work_ns,
        lane_until_ns,
        unfinished_parts,
    )


def _bind(spec: PowerOfDRouterSpec, system: System, state: State, _model: int) -> Route:
    by_work = spec.measure == "work"
    picks = np.empty(spec.d, dtype=np.int64)
    arrays = (
        system.node_device,
        system.device_lane,
        state.waiting_work_ns,
        state.lane_until_ns,
        state.unfinished_parts,
    )

    def route(_query: int, _size: int, now_ns: int, draws: NDArray[np.float64], nodes: NDArray[np.int64]) -> int:
        return least_backlogged_of_drawn(now_ns, by_work, draws, picks, nodes, *arrays)

    return route


def _choices(spec: PowerOfDRouterSpec) -> int:
    return spec.d


POWER_OF_D = Router("power-of-d", _bind, _choices)
