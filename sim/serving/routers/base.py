"""What a router consists of: how many draws it needs, and the choice of a node for one query."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sim.serving.state import State
from sim.serving.system import System

__all__ = ["Route", "Router", "no_choices"]

Route = Callable[[int, int, int, NDArray[np.float64], NDArray[np.int64]], int]
"""``route(turn, size, now_ns, draws, nodes) -> node`` out of `nodes`, which are never none.

`turn` numbers the queries, `draws` are the query's own uniforms, as many as asked for.
"""


def no_choices(_spec: Any) -> int:
    """Need no draws."""
    return 0


@dataclass(frozen=True, slots=True)
class Router:
    """A router of the experiment file.

    Attributes
    ----------
    kind : str
        Its name in the file.
    bind : callable
        ``bind(spec, system, state, model) -> Route`` for queries that ask this model. The route reads the state as it
        is when it is called.
    choices : callable
        ``choices(spec) -> uniform draws`` that every query needs.
    """

    kind: str
    bind: Callable[[Any, System, State, int], Route]
    choices: Callable[[Any], int] = no_choices
