"""Static: the same path for every query."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sim.serving.policies.base import PathView, Policy
from sim.spec.experiment import StaticPolicySpec

__all__ = ["STATIC", "choose_first"]


def choose_first(
    size: int,
    time_left_ns: int,
    accuracy: NDArray[np.float64],
    service_ns: NDArray[np.int64],
    wait_ns: NDArray[np.int64],
    parameters: NDArray[np.float64],
) -> int:
    """Take the first eligible path."""
    return 0


def _eligible(spec: StaticPolicySpec, paths: Sequence[PathView]) -> list[PathView]:
    return [
        path
        for path in paths
        if path.representation == spec.representation and (spec.device is None or path.is_on(spec.device))
    ]


STATIC = Policy("static", choose_first, eligible=_eligible, uses_estimates=False)
