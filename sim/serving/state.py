"""The state of the queues and lanes that routers and policies may read while a replication runs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sim.serving.system import System

__all__ = ["State"]


@dataclass(frozen=True, slots=True)
class State:
    """Arrays that an engine keeps up to date and that look-ups, routers and policies read.

    Attributes
    ----------
    idle_lanes, waiting_parts : int64[devices]
        Free lanes and parts in the queue. A part that was put in the queue at this instant and is about to take
        a free lane still counts in both.
    waiting_work_ns : int64[devices]
        Service time of the parts that wait: expected, or true where the policy is told the true backlog.
    lane_until_ns : int64[lanes]
        When the part in service is expected to finish, or truly finishes; in the past on a free lane.
    unfinished_parts : int64[nodes]
        Parts that were sent to the node and have not finished.
    usable_paths : bool[node paths]
        Whether a path of a node may be used; those of node n from ``system.node_path[n]`` on.
    """

    idle_lanes: NDArray[np.int64]
    waiting_parts: NDArray[np.int64]
    waiting_work_ns: NDArray[np.int64]
    lane_until_ns: NDArray[np.int64]
    unfinished_parts: NDArray[np.int64]
    usable_paths: NDArray[np.bool_]

    @classmethod
    def empty(cls, system: System) -> State:
        """Return the state of `system` with nothing in it."""
        devices = len(system.device_lane) - 1
        return cls(
            idle_lanes=np.diff(system.device_lane),
            waiting_parts=np.zeros(devices, dtype=np.int64),
            waiting_work_ns=np.zeros(devices, dtype=np.int64),
            lane_until_ns=np.zeros(int(system.device_lane[-1]), dtype=np.int64),
            unfinished_parts=np.zeros(len(system.node_group), dtype=np.int64),
            usable_paths=np.ones(int(system.node_path[-1]), dtype=np.bool_),
        )
