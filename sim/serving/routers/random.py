"""Random: a node uniformly at random."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sim.serving.compiled import jit_inline
from sim.serving.routers.base import Route, Router
from sim.serving.state import State
from sim.serving.system import System
from sim.spec.experiment import RandomRouterSpec

__all__ = ["RANDOM", "random_node"]


@jit_inline
def random_node(draw: float, nodes: NDArray[np.int64]) -> int:
    """Return the node that the uniform `draw` falls on."""
    return int(nodes[min(int(draw * len(nodes)), len(nodes) - 1)])


def _bind(_spec: RandomRouterSpec, system: System, _state: State, _model: int) -> Route:

    def route(_query: int, _size: int, _now_ns: int, draws: NDArray[np.float64], nodes: NDArray[np.int64]) -> int:
        return random_node(draws[0], nodes)

    return route


def _one_choice(_spec: RandomRouterSpec) -> int:
    return 1


RANDOM = Router("random", _bind, _one_choice)
