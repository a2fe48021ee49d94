"""Fastest: the path with the least expected completion, whatever its accuracy."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sim.serving.policies.base import Policy

__all__ = ["FASTEST", "choose_fastest"]


def choose_fastest(
    size: int,
    time_left_ns: int,
    accuracy: NDArray[np.float64],
    service_ns: NDArray[np.int64],
    wait_ns: NDArray[np.int64],
    parameters: NDArray[np.float64],
) -> int:
    """Take the least wait + service; the first in order among equals."""
    best = 0
    for path in range(1, len(service_ns)):
        if wait_ns[path] + service_ns[path] < wait_ns[best] + service_ns[best]:
            best = path
    return best


FASTEST = Policy("fastest", choose_fastest)
