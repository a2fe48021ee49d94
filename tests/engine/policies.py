"""Policies of a user's: three that numba can compile, one that it cannot, others that pick none."""

from __future__ import annotations

import sys

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Reals = NDArray[np.float64]


def by_size(size: int, time_left_ns: int, accuracy: Reals, service_ns: Ints, wait_ns: Ints, parameters: Reals) -> int:
    """Any path, but the same one for the same size."""
    return size % len(accuracy)


def best_score(
    size: int, time_left_ns: int, accuracy: Reals, service_ns: Ints, wait_ns: Ints, parameters: Reals
) -> int:
    """The path of the best weighted sum; none for queries that are late already, or larger than the last number."""
    if time_left_ns < 0 or size > parameters[-1]:
        return -1
    best, score = 0, -np.inf
    for path in range(len(accuracy)):
        latency = service_ns[path] + parameters[1] * wait_ns[path]
        found = accuracy[path] * parameters[0] - latency / max(time_left_ns, 1)
        if found > score:
            best, score = path, found
    return best


def slowest(size: int, time_left_ns: int, accuracy: Reals, service_ns: Ints, wait_ns: Ints, parameters: Reals) -> int:
    """The path that is expected to be done last."""
    return int(np.argmax(service_ns + wait_ns))


CHOICES = {"by size": by_size, "slowest": slowest}


def of_python_objects(
    size: int, time_left_ns: int, accuracy: Reals, service_ns: Ints, wait_ns: Ints, parameters: Reals
) -> int:
    """What `by_size` picks, but looked up in a way that numba cannot compile."""
    return CHOICES["by size"](size, time_left_ns, accuracy, service_ns, wait_ns, parameters)


def beyond_the_last(
    size: int, time_left_ns: int, accuracy: Reals, service_ns: Ints, wait_ns: Ints, parameters: Reals
) -> int:
    """No path."""
    return len(accuracy)


def nothing(size: int, time_left_ns: int, accuracy: Reals, service_ns: Ints, wait_ns: Ints, parameters: Reals) -> None:
    """Forgets to return what it found."""


def half_a_path(
    size: int, time_left_ns: int, accuracy: Reals, service_ns: Ints, wait_ns: Ints, parameters: Reals
) -> float:
    """Counts with fractions; the compiled engine took such a number for the whole one below."""
    return 0.5 * len(accuracy)


def giving_up(size: int, time_left_ns: int, accuracy: Reals, service_ns: Ints, wait_ns: Ints, parameters: Reals) -> int:
    """Ends the interpreter at the first large query, as if all were well."""
    if size > 150:
        sys.exit(0)
    return 0
