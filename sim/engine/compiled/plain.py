"""Plain systems, in which nothing comes between a query's arrival and its end: which they are, and their tables."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sim.engine.compiled.choice import CHOICES, MOST_ACCURATE
from sim.engine.compiled.memory import Memory
from sim.engine.compiled.side_by_side import EIGHT
from sim.engine.compiled.tables import FLOW, KEPT, LATER, NONE, PLAIN_NODE, empty
from sim.engine.rows import SERVED_ROW
from sim.serving.queueing import Order, Shed
from sim.serving.system import System

__all__ = ["LEVEL_SHIFT", "LINE_BYTES", "PATH_BITS", "is_plain", "lay_out_flows", "make_room_for", "set_levels"]

FIRST_ROOM = 1024

LINE_BYTES = 64

ENDED_NS = -1
"""When parts ended that there never were."""

PATH_BITS = 8
"""By how many bits a path's completion stands above its number."""

LEVEL_SHIFT = 56
"""By how many bits a path's place among the levels of accuracy stands above both."""

MOST_PATHS = 64
"""Paths of a node up to which their levels are laid out."""


def is_plain(system: System) -> bool:
    """Whether nothing comes between a query's arrival and its end, so that both are known at once."""
    return bool(
        system.late_lanes is None
        and system.part_size == 0
        and system.order == Order.FIFO
        and system.shed == Shed.NEVER
        and not system.batches
        and not system.idle_costs
        and not system.size_costs
        and not system.spells
        and np.all(system.device_limit < 0)
        and system.clients is None
        and not system.controls_lanes
        and not system.has_faults
        and not system.scaling
        and system.remapping is None
        and not system.has_network
        and system.routers == 1
        and system.knowledge_delay_ns == 0
    )


def set_levels(world: Memory, system: System) -> None:
    """Lay out what the most accurate path in time can be told by at a glance, where it can (`direct`)."""
    numbers = np.asarray(system.policy_parameters, dtype=np.float64)
    bounds = list(pairwise(system.group_path.tolist()))
    level = np.zeros(len(system.paths) + EIGHT, dtype=np.int64)
    alike = system.choose is CHOICES[MOST_ACCURATE] and bool(np.all(numbers[:, 1:] == numbers[:1, 1:]))
    for first, end in bounds if alike else ():
        accuracy = np.asarray(system.path_accuracy[first:end], dtype=np.float64)
        if numbers[0, 1] > 0:
            level[first:end] = np.searchsorted(np.unique(-accuracy), -accuracy)
        else:
            level[first:end][np.argsort(-accuracy, kind="stable")] = np.arange(end - first)
    world.put("path_level", level << LEVEL_SHIFT)
    few = max((end - first for first, end in bounds), default=0) <= MOST_PATHS
    world.set("has_levels", int(alike and few))
    world.set("drops_late", int(alike and numbers[0, 2] > 0))
    margin_ns = numbers[:, 0].astype(np.int64) if alike else 0
    # Completions that are looked at by a glance are within these bounds, so that only which side a limit is on counts.
    limit_ns = np.clip(system.class_sla_ns - margin_ns, -1, (1 << LEVEL_SHIFT - PATH_BITS) - 1)
    world.put("class_limit_ns", np.ascontiguousarray(limit_ns, dtype=np.int64))


def lay_out_flows(world: Memory, system: System) -> None:
    """Lay out what a plain system has instead of a calendar; all its lanes are idle."""
    devices, lanes = len(system.device_lane) - 1, int(system.device_lane[-1])
    table = _in_lines(empty(FLOW, devices))
    for k in range(KEPT):
        table[f"end_{k}_ns"] = ENDED_NS
    nodes = _in_lines(np.zeros(len(system.node_group), dtype=PLAIN_NODE))
    nodes["next_ns"] = np.iinfo(np.int64).max
    nodes["first_cell"] = np.asarray(system.node_group) * system.models
    nodes["first_device"], nodes["end_device"] = system.node_device[:-1], system.node_device[1:]
    nodes["lanes"] = np.diff(system.device_lane[system.node_device])
    world.put("plain_node", nodes)
    # Power of d choices by queries reads the table of nodes; other routers read the state, if they read anything.
    by_queries = system.router.kind == "power-of-d" and system.router.measure == "queries"
    world.set("keeps_state", not by_queries and system.router.kind not in ("random", "round-robin"))
    world.put("flow", table)
    one_lane = bool(np.all(np.diff(system.device_lane) == 1))
    world.set("one_lane", int(one_lane))
    node_devices = np.unique(np.diff(system.node_device))
    world.set("node_devices", int(node_devices[0]) if one_lane and len(node_devices) == 1 else 0)
    world.set("later_used", 1)
    world["idle_lanes"][:] = np.diff(system.device_lane)
    for name in ("busy_until_ns", "free_ns", "lane_order"):
        world.put(name, np.zeros(lanes, dtype=np.int64))
    for name in ("joined", "older_parts", "last_older"):
        world.put(name, np.zeros(devices, dtype=np.int64))
    for name, nothing in {"first_waiting": NONE, "last_waiting": 0, "changes_ns": np.iinfo(np.int64).max}.items():
        world.put(name, np.full(devices, nothing, dtype=np.int64))
    world.put("drawn", np.zeros(0, dtype=np.int64))
    world.set("free_later", NONE)
    world.put("later", empty(LATER, FIRST_ROOM))
    for name in ("served_row", "pending_row"):
        world.put(name, np.zeros(FIRST_ROOM, dtype=SERVED_ROW))


def _in_lines(table: NDArray[Any]) -> NDArray[Any]:
    """Return a table whose rows, of whole lines of the processor's cache, begin where these do."""
    room = np.zeros(table.nbytes + LINE_BYTES, dtype=np.uint8)
    before = -room.ctypes.data % LINE_BYTES
    aligned = room[before : before + table.nbytes].view(table.dtype).reshape(table.shape)
    aligned[:] = table
    return aligned


def make_room_for(world: Memory, queries: int) -> None:
    """Make room for the next queries of a plain system. Its rows have been handed on."""
    pending = world.get("pending_row_count")
    if world["drawn"].size < queries * world.get("choices"):
        world.put("drawn", np.zeros(queries * world.get("choices"), dtype=np.int64))
    for name, used in {"later": world.get("later_used"), "pending_row": pending}.items():
        if used + queries > world.get(f"{name}_room"):
            world.grow(name, 2 * (used + queries), used)
    # These are empty, so that nothing has to be kept.
    for name, room in {"served_row": pending + queries, "query_row": queries}.items():
        if room > world.get(f"{name}_room"):
            world.put(name, np.zeros(2 * room, dtype=world[name].dtype))
