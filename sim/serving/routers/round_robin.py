"""Round robin: the nodes in turn."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sim.serving.compiled import jit_inline
from sim.serving.routers.base import Route, Router
from sim.serving.state import State
from sim.serving.system import System
from sim.spec.experiment import RoundRobinRouterSpec

__all__ = ["ROUND_ROBIN", "node_in_turn"]


@jit_inline
def node_in_turn(query: int, nodes: NDArray[np.int64]) -> int:
    """Return the node whose turn query number `query` is."""
    return int(nodes[query % len(nodes)])


def _bind(_spec: RoundRobinRouterSpec, system: System, _state: State, _model: int) -> Route:

    def route(query: int, _size: int, _now_ns: int, _draws: NDArray[np.float64], nodes: NDArray[np.int64]) -> int:
        return node_in_turn(query, nodes)

    return route


ROUND_ROBIN = Router("round-robin", _bind)
