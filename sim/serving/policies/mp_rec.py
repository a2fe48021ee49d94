"""MP-Rec: the most accurate path that is expected to meet the SLA, else the fastest (ASPLOS 2023)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sim.serving.policies.base import Policy
from sim.spec.experiment import MpRecPolicySpec

__all__ = ["MP_REC", "choose_most_accurate_in_time"]


def choose_most_accurate_in_time(
    size: int,
    time_left_ns: int,
    accuracy: NDArray[np.float64],
    service_ns: NDArray[np.int64],
    wait_ns: NDArray[np.int64],
    parameters: NDArray[np.float64],
) -> int:
    """Take the most accurate path whose expected completion lies within the time left less the margin.

    `parameters` are the margin in ns, whether ties go to the least expected completion (1) or to the first in
    order (0), and whether a query that no path is expected to serve in time is dropped (1) or takes the path
    with the least expected completion (0).
    """
    limit = time_left_ns - int(parameters[0])
    ties_to_fastest = parameters[1] > 0.0
    best = -1
    best_accuracy = -1.0
    best_completion = 0
    fastest = 0
    fastest_completion = wait_ns[0] + service_ns[0]
    for path in range(len(accuracy)):
        completion, accurate = wait_ns[path] + service_ns[path], accuracy[path]
        if completion < fastest_completion:
            fastest, fastest_completion = path, completion
        if completion <= limit and (
            accurate > best_accuracy or (ties_to_fastest and accurate == best_accuracy and completion < best_completion)
        ):
            best, best_accuracy, best_completion = path, accurate, completion
    if best >= 0:
        return best
    return -1 if parameters[2] > 0.0 else fastest


def _parameters(spec: MpRecPolicySpec, sla_ns: int) -> list[float]:
    return [
        float(round(spec.margin * sla_ns)),
        float(spec.tie_break == "fastest"),
        float(spec.when_none_fits == "drop"),
    ]


MP_REC = Policy("mp-rec", choose_most_accurate_in_time, parameters=_parameters)
