"""What a policy consists of: the paths that it may use, and the choice among them for one query."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["DROP", "Choose", "PathView", "Policy", "all_paths", "no_parameters"]

DROP = -1
"""Returned by a choice that would rather drop the query."""

Choose = Callable[
    [int, int, NDArray[np.float64], NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]],
    int,
]
"""``choose(size, time_left_ns, accuracy, service_ns, wait_ns, parameters) -> index or DROP``.

size : int
    Candidates to rank, in samples (those of the part where queries are split over devices).
time_left_ns : int
    SLA less the time already waited.
accuracy : float64[paths]
    Fraction of correct predictions of each eligible path of the node, in the order of the fleet and, on one
    device, from most to least accurate.
service_ns, wait_ns : int64[paths]
    Expected service time and expected wait of each path.
parameters : float64[k]
    The policy's own numbers.

A choice is a plain function that numba can compile: scalars, loops and these arrays, no Python objects.
"""


@dataclass(frozen=True, slots=True)
class PathView:
    """What a policy may ask about a path when it says which paths it uses."""

    index: int
    group: str
    device: str
    representation: str
    accuracy: float

    def is_on(self, device: str) -> bool:
        """Whether the path lives on `device`, named as ``device`` or ``group/device``."""
        return device in (self.device, f"{self.group}/{self.device}")


def all_paths(_spec: Any, paths: Sequence[PathView]) -> list[PathView]:
    """Use every path."""
    return list(paths)


def no_parameters(_spec: Any, _sla_ns: int) -> list[float]:
    """Hand no numbers to the choice."""
    return []


@dataclass(frozen=True, slots=True)
class Policy:
    """A policy of the experiment file.

    Attributes
    ----------
    kind : str
        Its name in the file.
    choose : Choose
        The choice for one query; None where the spec names a function of the user's.
    eligible : callable
        ``eligible(spec, paths of one node) -> paths the policy may use there``, in the order that `choose` sees.
    parameters : callable
        ``parameters(spec, sla_ns) -> numbers`` handed to `choose`.
    uses_estimates : bool
        Whether `choose` reads `service_ns` and `wait_ns`; where it does not they are not computed.
    binds_late : bool
        Whether the policy makes sense when the device is already known (late binding).
    """

    kind: str
    choose: Choose | None
    eligible: Callable[[Any, Sequence[PathView]], list[PathView]] = all_paths
    parameters: Callable[[Any, int], list[float]] = no_parameters
    uses_estimates: bool = True
    binds_late: bool = True
