"""Calibration blocks: service times of each path at chosen sizes, back to back and after pauses, on the real server."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from itertools import chain
from math import ceil, log

import numpy as np
from numpy.typing import NDArray

from sim.calibrate.observe.arrivals import WITH_IT, Queries, back_to_back, with_pauses
from sim.calibrate.observe.layout import EMPTY, RealDevice
from sim.calibrate.observe.practice import Practice
from sim.calibrate.observe.server import Observed, Server
from sim.calibrate.observe.worker import Worker
from sim.serving.queueing import Order, Shed
from sim.serving.system import System
from sim.workload.sizes import SizeDistribution

__all__ = ["CalibrationBlock", "Calibrator", "Cell", "Grid", "LaneRun", "grid_of", "overhead_ns", "pauses_ns"]

Cell = tuple[int, int, bool]
"""Path, size, and whether the query found the server idle."""

BODY_SIZES = 24
"""Sizes that stand for as many equally likely parts of the distribution. Between them service times are interpolated:
with half as many, a curve that bends cost 0.2% of the mean, which is over 1% of latency at a load of 0.85."""

TAIL_LEVELS = (0.99, 0.995, 0.999)
"""Further sizes, because large queries make the tail of latency. They are asked as often as the workload has what they
stand for: large ones take from those after them what these would find in the CPU's caches. Measured on an EPYC, one of
932 samples makes the next one take half as long again."""

BACK_TO_BACK, PAUSED = 3, 2
"""Of as many passes so many are back to back, and so many with pauses, which take most of the time."""

PAUSED_SHARES = ((0.1, 0.7), (0.5, 0.3))
"""Queries of a pass with pauses that come after one, in the first and second half of the passes of a block, block by
block; the others are there when the one before ends. So what pauses leave for later queries is seen, where they have
been rare for long and where they have been common. Blocks have the same mean, as they are compared with each other."""

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
    tail : mapping of int to int
        Of the tail: one of how many passes over the body has each.
    bounds : tuple of int
        The smallest and the largest, so that nothing needs to be extrapolated; none that are in the body.
    """

    body: tuple[int, ...]
    tail: Mapping[int, int]
    bounds: tuple[int, ...]

    def of_pass(self, number: int) -> tuple[int, ...]:
        """Return the sizes of a pass over the body.

        The largest of the body stands for what the tail leaves of its part, and is not in every pass.
        """
        share = max(0.0, 1.0 - sum(1.0 / every for every in self.tail.values()))
        body = self.body if ceil((number + 1) * share) > ceil(number * share) else self.body[:-1]
        return (*body, *(size for size, every in self.tail.items() if number % every == every - 1))

    def missing(self, sizes: Set[int]) -> list[int]:
        """Return the sizes that are not among some, the largest last."""
        return sorted({*self.body, *self.tail, *self.bounds} - sizes)


def grid_of(sizes: SizeDistribution) -> Grid:
    """Return sizes that stand for a distribution."""
    levels = np.array([*((np.arange(BODY_SIZES) + 0.5) / BODY_SIZES), *TAIL_LEVELS])
    cumulative = np.cumsum(sizes.probabilities)
    rows = np.minimum(np.searchsorted(cumulative, levels * cumulative[-1]), len(cumulative) - 1)
    found = sizes.values[rows].tolist()
    body = tuple(found[:BODY_SIZES])
    # A level of the tail stands for the queries up to half way to its neighbours.
    tail = levels[BODY_SIZES - 1 :]
    shares = np.diff([*((tail[1:] + tail[:-1]) / 2), 1.0])
    # Levels of the same size stand for what they stand for together.
    of_size: dict[int, float] = {}
    for size, share in zip(found[BODY_SIZES:], shares.tolist(), strict=True):
        of_size[size] = of_size.get(size, 0.0) + share
    return Grid(
        body,
        {size: max(1, round(1 / (BODY_SIZES * share))) for size, share in of_size.items() if size not in body},
        tuple(size for size in sizes.bounds if size not in body),
    )


@dataclass(frozen=True, eq=False, slots=True)
class LaneRun:
    """Queries that a lane served one after the other.

    Attributes
    ----------
    path, size, idle_ns, took_ns : int64, shape (queries,)
        How long the lane had been idle before each, which is not known of the first, and what it cost on its lane.
    """

    path: NDArray[np.int64]
    size: NDArray[np.int64]
    idle_ns: NDArray[np.int64]
    took_ns: NDArray[np.int64]


@dataclass(frozen=True, eq=False, slots=True)
class CalibrationBlock:
    """What one block of calibration gave.

    Attributes
    ----------
    times_ns : mapping of `Cell` to int64 array
        What each query cost on its lane, the cost of dispatch included. Of passes with pauses only those that found the
        lane idle.
    paused : tuple of LaneRun
        The passes with pauses, by lane.
    busy : tuple of LaneRun
        The passes back to back, by lane; in the order of serving.
    longest_gap_ns : int
        Longest time that the dispatcher stood still.
    """

    times_ns: Mapping[Cell, NDArray[np.int64]]
    paused: tuple[LaneRun, ...] = ()
    longest_gap_ns: int = 0
    busy: tuple[LaneRun, ...] = ()

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
    glance : callable, optional
        As of `Practice`.
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
        glance: Callable[[], bool] = lambda: False,
    ) -> None:
        self.system = without_limits(system)
        self.devices = [device for device in devices if device.paths]
        self.workers = workers
        self.subjects = list(subjects)
        self.grid = grid
        self.budget_ns = budget_ns
        self.random = random
        self.glance = glance
        self.blocks = 0
        self.passes: dict[int, int] = {}
        self.mean_ns: dict[int, float] = {}
        self.asked: dict[tuple[int, bool], int] = {}

    def prepare(self) -> None:
        """Warm everything up, and find out how many passes over the grid fit a block."""
        lanes = sum(len(device.lanes) for device in self.devices)
        for device in self.devices:
            for lane in device.lanes:
                for _ in range(2):
                    asked = self._with_missing(device, self._body(device))
                    took = _part_times(self._serve_back_to_back(lane, asked))
                body = len(device.paths) * len(self.grid.body)
                served_ns = float(took[:body].sum())
                self.mean_ns[lane] = served_ns / body
                # A query with a pause costs the pause besides.
                pause_ns = self.mean_ns[lane] * (LONGEST_PAUSE - SHORTEST_PAUSE) / log(LONGEST_PAUSE / SHORTEST_PAUSE)
                pass_ns = (BACK_TO_BACK + PAUSED) * served_ns
                pass_ns += PAUSED * float(np.mean(PAUSED_SHARES)) * pause_ns * body
                # What is served first is not kept.
                kept_ns = self.budget_ns / lanes - served_ns
                self.passes[lane] = int(np.clip(kept_ns / pass_ns, 1, MOST_PASSES))

    def block(self) -> CalibrationBlock:
        """Ask the whole grid of every path, back to back and with pauses, in an order drawn anew.

        Sizes that are so rare that no pass back to back had them come at the end, where none comes after them. A pass
        over the body that comes first is not kept: the lane was idle before it.
        """
        times: dict[Cell, list[NDArray[np.int64]]] = {}
        runs: list[LaneRun] = []
        busy: list[LaneRun] = []
        longest_gap_ns = 0
        for device in self.devices:
            for lane in device.lanes:
                passes = self._passes(device, lane, False, BACK_TO_BACK * self.passes[lane])
                asked = self._with_missing(device, [*chain.from_iterable(passes)])
                first = self._body(device)
                seen = self._serve_back_to_back(lane, [*first, *asked])
                took_ns = _part_times(seen)[len(first) :]
                _sort_in(times, asked, False, took_ns, range(len(asked)))
                paths, sizes = np.array(asked, dtype=np.int64).T
                busy.append(LaneRun(paths, sizes, np.zeros_like(took_ns), took_ns))
                longest_gap_ns = max(longest_gap_ns, seen.longest_gap_ns)
                passes = self._passes(device, lane, True, PAUSED * self.passes[lane])
                asked = [*chain.from_iterable(passes)]
                pauses = pauses_ns([len(one) for one in passes], self.blocks, self.mean_ns[lane], self.random)
                seen = self._serve_with_pauses(lane, asked, pauses)
                idle_ns, took_ns = _idle_times(seen), _part_times(seen)
                _sort_in(times, asked, True, took_ns, np.flatnonzero(idle_ns[1:]) + 1)
                paths, sizes = np.array(asked, dtype=np.int64).T
                runs.append(LaneRun(paths, sizes, idle_ns, took_ns))
                longest_gap_ns = max(longest_gap_ns, seen.longest_gap_ns)
        self.blocks += 1
        return CalibrationBlock(
            {cell: np.concatenate(parts) for cell, parts in times.items()}, tuple(runs), longest_gap_ns, tuple(busy)
        )

    def _passes(self, device: RealDevice, lane: int, paused: bool, passes: int) -> list[list[tuple[int, int]]]:
        """Return paths and sizes of the next passes of a lane, back to back or with pauses."""
        first = self.asked.get((lane, paused), 0)
        self.asked[lane, paused] = first + passes
        return [self._pass(device, number) for number in range(first, first + passes)]

    def _with_missing(self, device: RealDevice, asked: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
        """Return paths and sizes with those at the end that are not among them."""
        missing = self.grid.missing({size for _, size in asked})
        return [*asked, *((path, size) for size in missing for path in device.paths)]

    def _pass(self, device: RealDevice, number: int) -> list[tuple[int, int]]:
        """Return paths and sizes of a pass, in an order of its own."""
        return self._shuffled(device, self.grid.of_pass(number))

    def _body(self, device: RealDevice) -> list[tuple[int, int]]:
        """Return paths and sizes of the body, in an order of its own."""
        return self._shuffled(device, self.grid.body)

    def _shuffled(self, device: RealDevice, sizes: Sequence[int]) -> list[tuple[int, int]]:
        once = [(path, size) for path in device.paths for size in sizes]
        return [once[i] for i in self.random.permutation(len(once)).tolist()]

    def _serve_back_to_back(self, lane: int, asked: Sequence[tuple[int, int]]) -> Observed:
        return self._serve(lane, back_to_back([path for path, _ in asked], [size for _, size in asked]))

    def _serve_with_pauses(self, lane: int, asked: Sequence[tuple[int, int]], pause_ns: list[int]) -> Observed:
        return self._serve(lane, with_pauses([path for path, _ in asked], [size for _, size in asked], pause_ns))

    def _serve(self, lane: int, queries: Queries) -> Observed:
        practice = Practice(self.system, self.subjects, queries, only_lane=lane, glance=self.glance)
        return Server(self.system, self.workers, self.subjects, only_lane=lane).replay(queries, 0, practice.step)


def pauses_ns(passes: Sequence[int], block: int, mean_ns: float, random: np.random.Generator) -> list[int]:
    """Draw the pauses before the queries of the passes of a block.

    Parameters
    ----------
    passes : sequence of int
        Queries of each pass.
    block : int
        Number of the block.
    mean_ns : float
        Mean service time.
    random : numpy.random.Generator

    Returns
    -------
    list of int
        In ns, in any order, and together from all parts of their range alike; `WITH_IT` where there is none.
    """
    shares = PAUSED_SHARES[block % len(PAUSED_SHARES)]
    after_one = [
        random.permutation(count) < max(1, round(shares[2 * i // len(passes)] * count))
        for i, count in enumerate(passes)
    ]
    rows = np.flatnonzero(np.concatenate(after_one))
    levels = random.permutation((np.arange(len(rows)) + random.random(len(rows))) / len(rows))
    found = np.full(sum(passes), WITH_IT, dtype=np.int64)
    found[rows] = SHORTEST_PAUSE * mean_ns * (LONGEST_PAUSE / SHORTEST_PAUSE) ** levels
    pauses: list[int] = found.tolist()
    return pauses


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
    which: Iterable[int],
) -> None:
    """Sort a number of these queries into cells."""
    rows: dict[Cell, list[int]] = {}
    for row in which:
        rows.setdefault((*asked[row], idle), []).append(row)
    for cell, mine in rows.items():
        found.setdefault(cell, []).append(numbers[mine])
