"""The policy's choice and the router's, called from compiled code.

The functions are those of `sim.serving`, written once. A policy that ships is called directly; any other function that
numba can compile is called by its address.
"""

from __future__ import annotations

import functools
from typing import Any

import numba
import numpy as np
from numba import types
from numpy.typing import NDArray

from sim.engine.compiled.memory import call_choice, floats, ints, pairs, service_rows, truths
from sim.engine.compiled.tables import NO_SUCH_PATH, POLICY_RAISED, World
from sim.serving.compiled import jit_inline
from sim.serving.policies.base import DROP, Choose
from sim.serving.policies.fastest import choose_fastest
from sim.serving.policies.mp_rec import choose_most_accurate_in_time
from sim.serving.policies.size_threshold import choose_by_size
from sim.serving.policies.static import choose_first
from sim.serving.routers.least_backlog import least_backlogged_node
from sim.serving.routers.least_expected_completion import first_completing_node
from sim.serving.routers.power_of_d import least_backlogged_of_drawn
from sim.serving.routers.random import random_node
from sim.serving.routers.round_robin import node_in_turn

__all__ = [
    "CHOICES",
    "MOST_ACCURATE",
    "POWER_OF_D",
    "RANDOM",
    "ROUND_ROBIN",
    "ROUTES",
    "NotCompilable",
    "choose",
    "entry_point",
    "route",
]

CHOICES: tuple[Choose, ...] = (choose_first, choose_fastest, choose_by_size, choose_most_accurate_in_time)
"""Choices that are called directly, by their numbers."""

ROUTES = ("random", "round-robin", "least-backlog", "power-of-d", "least-expected-completion")
"""Routers by their numbers."""

FIRST, FASTEST, BY_SIZE, MOST_ACCURATE = range(4)
RANDOM, ROUND_ROBIN, LEAST_BACKLOG, POWER_OF_D = range(4)
_first, _fastest, _by_size, _most_accurate = (jit_inline(function) for function in CHOICES)

ENTRY = types.int64(*(types.int64,) * 8)


RAISED = DROP - 8
"""Returned for a policy that has raised: compiled code that is called by its address cannot raise."""


class NotCompilable(ValueError):
    """A policy function that numba cannot compile; the message says why."""


@functools.cache
def entry_point(function: Choose) -> Any:
    """Return a compiled function that can be called by its address with eight numbers, for a policy of the user's.

    Raises
    ------
    NotCompilable
    """
    compiled = numba.njit(fastmath=False, boundscheck=True)(function)

    def entry(
        size: int,
        time_left_ns: int,
        paths: int,
        accuracy: int,
        service_ns: int,
        wait_ns: int,
        numbers: int,
        parameters: int,
    ) -> int:
        pick = RAISED
        try:
            pick = int(
                compiled(
                    size,
                    time_left_ns,
                    floats(accuracy, paths),
                    ints(service_ns, paths),
                    ints(wait_ns, paths),
                    floats(parameters, numbers),
                )
            )
        except Exception:
            pick = RAISED
        return pick

    try:
        called: Any = numba.cfunc(ENTRY)(entry)
    except numba.core.errors.NumbaError as error:
        reason = next((line.strip() for line in str(error).splitlines()[1:] if line.strip()), "it cannot be typed")
        raise NotCompilable(reason) from error
    (signature,) = compiled.nopython_signatures
    if not isinstance(signature.return_type, types.Integer | types.Boolean):
        # Made an integer it would be one that the function has not returned.
        raise NotCompilable(f"it returns {signature.return_type}, not the index of a path")
    return called


@jit_inline
def choose(
    w: World,
    query_class: int,
    size: int,
    time_left_ns: int,
    accuracy: NDArray[np.float64],
    service_ns: NDArray[np.int64],
    wait_ns: NDArray[np.int64],
) -> int:
    """Return the policy's pick; the error is set if it is no path."""
    numbers = w.policy_parameters
    parameters = floats(w.policy_numbers_at + 8 * query_class * numbers, numbers)
    if w.policy == MOST_ACCURATE:
        pick = _most_accurate(size, time_left_ns, accuracy, service_ns, wait_ns, parameters)
    elif w.policy == FIRST:
        pick = _first(size, time_left_ns, accuracy, service_ns, wait_ns, parameters)
    elif w.policy == FASTEST:
        pick = _fastest(size, time_left_ns, accuracy, service_ns, wait_ns, parameters)
    elif w.policy == BY_SIZE:
        pick = _by_size(size, time_left_ns, accuracy, service_ns, wait_ns, parameters)
    else:
        pick = call_choice(
            w.choice_at,
            size,
            time_left_ns,
            len(accuracy),
            accuracy.ctypes.data,
            service_ns.ctypes.data,
            wait_ns.ctypes.data,
            len(parameters),
            parameters.ctypes.data,
        )
    if pick < DROP or pick >= len(accuracy):
        w.error = POLICY_RAISED if pick == RAISED else NO_SUCH_PATH
        return DROP
    return pick


@jit_inline
def route(
    w: World,
    router: int,
    turn: int,
    size: int,
    model: int,
    draws: NDArray[np.float64],
    among: NDArray[np.int64],
) -> int:
    """Return the router's pick among some nodes."""
    if w.router == RANDOM:
        return random_node(draws[0], among)
    if w.router == ROUND_ROBIN:
        return node_in_turn(turn, among)
    node_device = ints(w.node_device_at, w.nodes + 1)
    device_lane = ints(w.device_lane_at, w.devices + 1)
    waiting_work_ns = ints(w.seen_waiting_work_ns_at, w.devices)
    lane_until_ns = ints(w.seen_lane_until_ns_at, w.lanes)
    if w.router == LEAST_BACKLOG:
        seen = ints(w.seen_unfinished_parts_at + 8 * router * w.nodes, w.nodes)
        return least_backlogged_node(
            w.now, w.by_work > 0, among, node_device, device_lane, waiting_work_ns, lane_until_ns, seen
        )
    if w.router == POWER_OF_D:
        seen = ints(w.seen_unfinished_parts_at + 8 * router * w.nodes, w.nodes)
        return least_backlogged_of_drawn(
            w.now,
            w.by_work > 0,
            draws,
            ints(w.picks_at, w.choices),
            among,
            node_device,
            device_lane,
            waiting_work_ns,
            lane_until_ns,
            seen,
        )
    return first_completing_node(
        size,
        w.now,
        among,
        w.models,
        model,
        ints(w.node_group_at, w.nodes),
        ints(w.group_path_at, w.groups * w.models + 1),
        ints(w.node_path_at, w.nodes + 1),
        truths(w.usable_paths_at, w.node_paths),
        pairs(w.path_slot_service_at, w.paths),
        node_device,
        device_lane,
        ints(w.seen_idle_lanes_at, w.devices),
        ints(w.seen_waiting_parts_at, w.devices),
        waiting_work_ns,
        lane_until_ns,
        service_rows(w.service_index_at, w.paths),
        floats(w.service_grid_at, w.grid),
    )
