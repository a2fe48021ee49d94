"""Calibration blocks: service times of every path at chosen sizes, back to back and at low load, on the real server."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import log

import numpy as np
from numpy.typing import NDArray

from sim.calibrate.observe.arrivals import back_to_back, with_pauses
from sim.calibrate.observe.layout import EMPTY, RealDevice
from sim.calibrate.observe.server import Observed, Server
from sim.calibrate.observe.worker import Worker
from sim.serving.queueing import Order, Shed
from sim.serving.system import System
from sim.workload.sizes import SizeDistribution

__all__ = ["CalibrationBlock", "Calibrator", "Cell", "Grid", "grid_of", "overhead_ns"]

Cell = tuple[int, int, bool]
"""Path, size, and whether the query found the server idle."""

BODY_SIZES = 24
"""Sizes that stand for as many equally likely parts of the distribution. Between them service times are interpolated:
with half as many, a curve that bends cost 0.2% of the mean, which is over 1% of latency at a load of 0.85."""

TAIL_LEVELS = (0.99, 0.995, 0.999)
"""Further sizes, because large queries make the tail of latency."""

COMMON = 8
"""The tail and the bounds are asked in one of so many passes over the body: large queries must not come much more often
than in the workload, because they take from the ones after them what these would find in the CPU's caches."""

BACK_TO_BACK = 3
"""Passes back to back for one with pauses, which take most of the time."""

SHORTEST_PAUSE, LONGEST_PAUSE = 1 / 8, 16.0
"""Pauses as parts of the mean service time, evenly spread over the logarithm: at a load of 0.3 a lane with exponential
service is idle for more than 16 services once in a hundred times."""

OVERHEAD_QUERIES = 200

MOST_PASSES = 200


@dataclass(frozen=True, slots=True)
class Grid:
    """Sizes that stand for a distribution.

    Attributes
    ----------
    body : tuple of int
        Sizes of equally likely parts; several times where parts have the same.
    rare : tuple of int
        Of the tail, and the bounds, so that nothing needs to be extrapolated.
    """

    body: tuple[int, ...]
    rare: tuple[int, ...]


def grid_of(sizes: SizeDistribution) -> Grid:
    """Return sizes that stand for a distribution."""
    levels = np.array([*((np.arange(BODY_SIZES) + 0.5) / BODY_SIZES), *TAIL_LEVELS])
    cumulative = np.cumsum(sizes.probabilities)
    rows = np.minimum(np.searchsorted(cumulative, levels * cumulative[-1]), len(cumulative) - 1)
    found = sizes.values[rows].tolist()
    body = tuple(found[:BODY_SIZES])
    return Grid(body, tuple(sorted({*found[BODY_SIZES:], *sizes.bounds} - set(body))))


@dataclass(frozen=True, eq=False, slots=True)
class CalibrationBlock:
    """What one block of calibration gave.

    Attributes
    ----------
    times_ns : mapping of `Cell` to int64 array
        What each query cost on its lane, the cost of dispatch included.
    idle_ns : mapping of (path, size) to int64 array
        How long the lane had been idle before each query that found it idle.
    longest_gap_ns : int
        Longest time that the dispatcher stood still.
    """

    times_ns: Mapping[Cell, NDArray[np.int64]]
    idle_ns: Mapping[tuple[int, int], NDArray[np.int64]] = field(default_factory=dict)
    longest_gap_ns: int = 0

    def mean_ns(self, path: int) -> float:
        """Mean over the cells of a path, of the mean of each."""
        return float(np.mean([times.mean() for (p, _, _), times in self.times_ns.items() if p == path]))


class Calibrator:
    """Runs calibration blocks, lane after lane, each lane alone.

    Parameters
    ----------
    system : System
        Any that the same fleet has: what it knows of service times does not matter.
    devices : sequence of RealDevice
    workers : sequence of Worker
        By lane.
    subjects : sequence of int
        By path.
    grid : Grid
        Sizes to ask.
    budget_ns : int
        How long a block is to take, about.
    random : numpy.random.Generator
        Of orders and pauses.
    """

    def __init__(
        self,
        system: System,
        devices: Sequence[RealDevice],
        workers: Sequence[Worker],
        subjects: Sequence[int],
        grid: Grid,
        budget_ns: int,
        random: np.random.Generator,
    ) -> None:
        self.system = without_limits(system)
        self.devices = [device for device in devices if device.paths]
        self.workers = workers
        self.subjects = list(subjects)
        self.grid = grid
        self.budget_ns = budget_ns
        self.random = random
        self.passes: dict[int, int] = {}
        self.mean_ns: dict[int, float] = {}

    def prepare(self) -> None:
        """Warm everything up, and find out how many passes over the grid fit a block."""
        lanes = sum(len(device.lanes) for device in self.devices)
        for device in self.devices:
            for lane in device.lanes:
                for _ in range(2):
                    asked = self._passes(device, 1)
                    took = _part_times(self._serve_back_to_back(lane, asked))
                rare = np.isin([size for _, size in asked], self.grid.rare)
                weight = np.where(rare, 1.0 / COMMON, 1.0)
                served_ns = float(took @ weight)
                self.mean_ns[lane] = served_ns / float(weight.sum())
                # A query with a pause costs the pause besides.
                pause_ns = self.mean_ns[lane] * (LONGEST_PAUSE - SHORTEST_PAUSE) / log(LONGEST_PAUSE / SHORTEST_PAUSE)
                pass_ns = (BACK_TO_BACK + 1) * served_ns + pause_ns * float(weight.sum())
                self.passes[lane] = int(np.clip(self.budget_ns / lanes / pass_ns, 1, MOST_PASSES))

    def block(self) -> CalibrationBlock:
        """Ask the whole grid of every path, back to back and after pauses, in an order drawn anew.

        Sizes of the body come up to `COMMON` times as often as the others.
        """
        times: dict[Cell, list[NDArray[np.int64]]] = {}
        idled: dict[Cell, list[NDArray[np.int64]]] = {}
        longest_gap_ns = 0
        for device in self.devices:
            for lane in device.lanes:
                asked = self._passes(device, BACK_TO_BACK * self.passes[lane])
                seen = self._serve_back_to_back(lane, asked)
                _sort_in(times, asked, False, _part_times(seen))
                longest_gap_ns = max(longest_gap_ns, seen.longest_gap_ns)
                asked = self._passes(device, self.passes[lane])
                seen = self._serve_with_pauses(lane, asked, self._pauses(lane, len(asked)))
                _sort_in(times, asked, True, _part_times(seen), first=1)
                _sort_in(idled, asked, True, _idle_times(seen), first=1)
                longest_gap_ns = max(longest_gap_ns, seen.longest_gap_ns)
        return CalibrationBlock(
            {cell: np.concatenate(parts) for cell, parts in times.items()},
            {(path, size): np.concatenate(parts) for (path, size, _), parts in idled.items()},
            longest_gap_ns,
        )

    def _passes(self, device: RealDevice, passes: int) -> list[tuple[int, int]]:
        """Return paths and sizes to ask, each pass in an order of its own."""
        asked = []
        for number in range(passes):
            sizes = self.grid.body if number % COMMON else (*self.grid.body, *self.grid.rare)
            once = [(path, size) for path in device.paths for size in sizes]
            asked += [once[i] for i in self.random.permutation(len(once)).tolist()]
        return asked

    def _pauses(self, lane: int, count: int) -> list[int]:
        """Return pauses in ns, from all parts of their range alike, in an order drawn anew."""
        levels = (self.random.permutation(count) + self.random.random(count)) / count
        shortest_ns = SHORTEST_PAUSE * self.mean_ns[lane]
        pauses_ns = shortest_ns * (LONGEST_PAUSE / SHORTEST_PAUSE) ** levels
        found: list[int] = pauses_ns.astype(np.int64).tolist()
        return found

    def _serve_back_to_back(self, lane: int, asked: Sequence[tuple[int, int]]) -> Observed:
        queries = back_to_back([path for path, _ in asked], [size for _, size in asked])
        return self._server(lane).replay(queries, 0)

    def _serve_with_pauses(self, lane: int, asked: Sequence[tuple[int, int]], pause_ns: list[int]) -> Observed:
        queries = with_pauses([path for path, _ in asked], [size for _, size in asked], pause_ns)
        return self._server(lane).replay(queries, 0)

    def _server(self, lane: int) -> Server:
        return Server(self.system, self.workers, self.subjects, only_lane=lane)


def without_limits(system: System) -> System:
    """Return the system with queues that take and keep everything."""
    return replace(
        system, device_limit=np.full_like(system.device_limit, -1), late_limit=-1, shed=Shed.NEVER, order=Order.FIFO
    )


def overhead_ns(
    system: System, device: RealDevice, workers: Sequence[Worker], size: int
) -> dict[str, NDArray[np.int64]]:
    """Return what a query costs that asks nothing, on the first lane of a device.

    Parameters
    ----------
    system, device, workers
        As of a `Calibrator`.
    size : int
        Any that the system's profile knows.

    Returns
    -------
    dict
        Times in ns by ``back to back`` and ``idle``: where queries wait for the lane, and where the lane waits for
        them. The latter holds the decision of router and policy, which the former makes while the lane is busy.
    """
    lane, path = device.lanes[0], device.paths[0]
    paths, sizes = [path] * OVERHEAD_QUERIES, [size] * OVERHEAD_QUERIES
    nothing = [EMPTY] * (path + 1)
    found = {}
    for name, queries in (
        ("back to back", back_to_back(paths, sizes)),
        ("idle", with_pauses(paths, sizes, [200_000] * OVERHEAD_QUERIES)),
    ):
        server = Server(without_limits(system), workers, nothing, only_lane=lane)
        found[name] = _part_times(server.replay(queries, 0))
    return found


def _part_times(observed: Observed) -> NDArray[np.int64]:
    """What each query cost on its lane, in the order of the queries."""
    record = observed.record
    times = np.zeros(len(record.size), dtype=np.int64)
    times[record.part_query] = record.part_finish_ns - record.part_start_ns
    return times


def _idle_times(observed: Observed) -> NDArray[np.int64]:
    """How long the lane had been idle before each query, which a single lane served one after the other."""
    record = observed.record
    idle = np.zeros(len(record.size), dtype=np.int64)
    order = np.argsort(record.part_start_ns, kind="stable")
    ended_ns = np.concatenate([[0], record.part_finish_ns[order][:-1]])
    idle[record.part_query[order]] = record.part_start_ns[order] - ended_ns
    return idle


def _sort_in(
    found: dict[Cell, list[NDArray[np.int64]]],
    asked: Sequence[tuple[int, int]],
    idle: bool,
    numbers: NDArray[np.int64],
    first: int = 0,
) -> None:
    """Sort a number of each query into cells, from the `first` on; how long a lane idled before it is not known."""
    rows: dict[Cell, list[int]] = {}
    for row, (path, size) in enumerate(asked[first:], first):
        rows.setdefault((path, size, idle), []).append(row)
    for cell, mine in rows.items():
        found.setdefault(cell, []).append(numbers[mine])
