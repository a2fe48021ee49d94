"""Size threshold: large queries to one device, small ones to another (DeepRecSys, ISCA 2020)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sim.serving.policies.base import PathView, Policy
from sim.spec.experiment import SizeThresholdPolicySpec

__all__ = ["SIZE_THRESHOLD", "choose_by_size"]


def choose_by_size(
    size: int,
    time_left_ns: int,
    accuracy: NDArray[np.float64],
    service_ns: NDArray[np.int64],
    wait_ns: NDArray[np.int64],
    parameters: NDArray[np.float64],
) -> int:
    """Take path 0 below the threshold, path 1 at or above it; the only one where a node has but one."""
    if size < parameters[0] or len(accuracy) == 1:
        return 0
    return 1


def _eligible(spec: SizeThresholdPolicySpec, paths: Sequence[PathView]) -> list[PathView]:
    """Return the small device's path and the large device's, in this order; a node needs both."""
    matching = [path for path in paths if path.representation == spec.representation]
    small = [path for path in matching if path.is_on(spec.small)]
    large = [path for path in matching if path.is_on(spec.large)]
    return [small[0], large[0]] if small and large else []


def _parameters(spec: SizeThresholdPolicySpec, _sla_ns: int) -> list[float]:
    return [float(spec.threshold)]


SIZE_THRESHOLD = Policy(
    "size-threshold",
    choose_by_size,
    eligible=_eligible,
    parameters=_parameters,
    uses_estimates=False,
    binds_late=False,
)
