"""Router and policy as one would write them by hand in Python, for the plain models."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence

from benchmarks.system import PathTable

__all__ = ["Dispatcher", "Queries", "Record", "interpolate_ns"]

Queries = Iterable[tuple[int, int, list[float]]]
"""Arrival in ns, size and router draws of each query."""

Record = tuple[int, float, int, float, float, int]
"""Query, arrival, size, start, finish and path; whole ns, which the clocks of some libraries hold as floats."""


def interpolate_ns(path: PathTable, size: int) -> int:
    """Return the service time of `size` samples, between the sizes of the path's table."""
    sizes, times_ns = path.sizes, path.times_ns
    i = min(max(bisect_right(sizes, size) - 1, 0), len(sizes) - 2)
    low, high = sizes[i], sizes[i + 1]
    weight = (size - low) / (high - low)
    return round(times_ns[i] + weight * (times_ns[i + 1] - times_ns[i]))


class Dispatcher:
    """Picks a node and a path for each query, from what it is told of starts and ends.

    Parameters
    ----------
    nodes, devices : int
        Nodes, and devices of each.
    paths : sequence of PathTable
        The paths of a node.
    sla_ns : int
    keeps_times : bool
        Whether the service times of a size are looked up once and kept; otherwise for every query anew.
    """

    def __init__(
        self, nodes: int, devices: int, paths: Sequence[PathTable], sla_ns: int, *, keeps_times: bool = False
    ) -> None:
        self.nodes = nodes
        self.devices = devices
        self.paths = paths
        self.sla_ns = sla_ns
        self.choices = [(i, path.device, path.accuracy) for i, path in enumerate(paths)]
        self.kept: dict[int, list[int]] = {}
        self.times_ns: Callable[[int], list[int]] = self.keep_times_ns if keeps_times else self.look_up_ns
        self.backlog_ns = [0] * (nodes * devices)
        self.busy_until_ns = [0.0] * (nodes * devices)
        self.unfinished = [0] * nodes

    def look_up_ns(self, size: int) -> list[int]:
        return [interpolate_ns(path, size) for path in self.paths]

    def keep_times_ns(self, size: int) -> list[int]:
        times_ns = self.kept.get(size)
        if times_ns is None:
            times_ns = self.kept[size] = self.look_up_ns(size)
        return times_ns

    # -- the router -------------------------------------------------------------------------------------------

    def power_of_two(self, draws: Sequence[float]) -> int:
        """Return the node with fewer unfinished queries of two that are drawn; the first one if it is equal."""
        if self.nodes == 1:
            return 0
        first = int(draws[0] * self.nodes)
        second = int(draws[1] * (self.nodes - 1))
        if second >= first:
            second += 1
        return second if self.unfinished[second] < self.unfinished[first] else first

    def least_backlog(self, _draws: Sequence[float]) -> int:
        """Return the first node with the fewest unfinished queries."""
        return min(range(self.nodes), key=self.unfinished.__getitem__)

    # -- the policy -------------------------------------------------------------------------------------------

    def place(self, node: int, size: int, now_ns: float) -> tuple[int, int, int]:
        """Count a query into the device of the path that MP-Rec picks; return device, path and service time."""
        busy_until_ns, backlog_ns, sla_ns = self.busy_until_ns, self.backlog_ns, self.sla_ns
        times_ns = self.times_ns(size)
        first_device = node * self.devices
        best = fastest = -1
        best_ns = fastest_ns = 0.0
        best_accuracy = 0.0
        for i, slot, accuracy in self.choices:
            device = first_device + slot
            wait_ns = busy_until_ns[device] - now_ns
            completion_ns = (wait_ns if wait_ns > 0 else 0) + backlog_ns[device] + times_ns[i]
            if fastest < 0 or completion_ns < fastest_ns:
                fastest, fastest_ns = i, completion_ns
            if completion_ns <= sla_ns and (
                best < 0 or accuracy > best_accuracy or (accuracy == best_accuracy and completion_ns < best_ns)
            ):
                best, best_ns, best_accuracy = i, completion_ns, accuracy
        if best < 0:
            best = fastest
        device = first_device + self.paths[best].device
        self.unfinished[node] += 1
        backlog_ns[device] += times_ns[best]
        return device, best, times_ns[best]

    def starts(self, device: int, now_ns: float, service_ns: int) -> None:
        """Take note that a device starts a query."""
        self.backlog_ns[device] -= service_ns
        self.busy_until_ns[device] = now_ns + service_ns

    def ends(self, device: int) -> None:
        """Take note that a device ends a query."""
        self.unfinished[device // self.devices] -= 1
