"""Runs a replication on compiled loops, chunk by chunk, and hands on what is over."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from sim.engine.compiled import loop
from sim.engine.compiled.assemble import assemble
from sim.engine.compiled.choice import ROUTES
from sim.engine.compiled.memory import Memory
from sim.engine.compiled.world import Draws, grow, lay_out, tabulate_means
from sim.engine.record import RunRecord
from sim.engine.reference import Chunk, Stream
from sim.engine.rows import SERVED_ROW, RunEnd, Rows
from sim.serving.faults import FaultSchedule
from sim.serving.system import System

__all__ = ["ServiceTooLong", "Streamed", "simulate"]

NO_NUMBERS = np.zeros(0, dtype=np.int64)
MISTAKES = {1: "the calendar is full", 2: "a table is full", 3: "there is no room for rows"}
TOO_LONG, NO_SUCH_PATH = 4, 5


class ServiceTooLong(ValueError):
    """A service time that may change its pace is longer than an hour; the reference engine takes it."""


class Streamed:
    """One replication, as rows that are handed on while it runs.

    Parameters
    ----------
    system : System
        The fleet, its paths, policy and router.
    stream : Stream
        The drawn queries.
    drain_ns : int
        How long the clock runs on after the arrival period, without new queries.
    faults : FaultSchedule, optional
        What happens to devices, drawn before the run.

    Attributes
    ----------
    end : RunEnd or None
        Known when all rows were taken.
    """

    def __init__(
        self, system: System, stream: Stream, *, drain_ns: int, faults: FaultSchedule | None = None
    ) -> None:
        self.system = system
        self.stream = stream
        self.drain_ns = drain_ns
        self.faults = faults
        self.end: RunEnd | None = None

    def rows(self) -> Iterator[Rows]:
        """Run, and yield what is over.

        Raises
        ------
        NotCompilable
            If the policy is a function that numba cannot compile.
        ServiceTooLong
        IndexError
            If the policy picks a path that there is not.
        """
        world: Memory | None = None
        alive: tuple[object, ...] = ()
        offered = 0
        for chunk in self.stream.chunks():
            if world is None:
                world, alive = self._lay_out(_draws(chunk, self.system))
            _load(world, chunk, self.system)
            yield from self._run(world, offered, chunk.arrival_ns, chunk.query_class)
            offered += len(chunk.arrival_ns)
        if world is None:
            world, alive = self._lay_out(Draws(1, 0))
        stop_ns = self.stream.end_ns + self.drain_ns
        world.set("final", 1)
        world.set("stop_ns", stop_ns)
        yield from self._run(world, offered, NO_NUMBERS, NO_NUMBERS)
        grow(world)
        loop.settle(world.address)
        _refuse_mistakes(world, self.system)
        yield _taken(world, offered, NO_NUMBERS, NO_NUMBERS)
        del alive
        totals = [int(word) for word in world["totals"]]
        in_system, waiting, unstarted = (low + (high << 20) for low, high in zip(totals[::2], totals[1::2], strict=True))
        self.end = RunEnd(offered, self.stream.end_ns, stop_ns, in_system, waiting, unstarted)

    def _lay_out(self, draws: Draws) -> tuple[Memory, tuple[object, ...]]:
        system = self.system
        world, alive = lay_out(system, draws, self.faults)
        lanes = np.arange(world.get("lanes")) if system.late_lanes is None else system.late_lanes
        grow(world)
        initial = np.array([rule.initial for rule in system.scaling], dtype=np.int64)
        loop.begin(world.address, initial, np.ascontiguousarray(lanes, dtype=np.int64))
        return world, alive

    def _run(
        self, world: Memory, first: int, arrival_ns: NDArray[np.int64], query_class: NDArray[np.int64]
    ) -> Iterator[Rows]:
        """Run until the chunk is over or the clock stops, and yield rows whenever a table is full of them."""
        while True:
            status = loop.run(world.address)
            _refuse_mistakes(world, self.system)
            if status != loop.NEEDS_ROOM:
                yield _taken(world, first, arrival_ns, query_class)
                return
            if any(world.get(f"{name}_row_count") for name in ("query", "part", "attempt", "span")):
                yield _taken(world, first, arrival_ns, query_class)
                first += len(arrival_ns)
                arrival_ns = query_class = NO_NUMBERS
            grow(world)


def _draws(chunk: Chunk, system: System) -> Draws:
    attempts = 1 if system.clients is None else system.clients.most_attempts
    return Draws(chunk.service_u.shape[1] // attempts, chunk.router_u.shape[1] // attempts)


def _load(world: Memory, chunk: Chunk, system: System) -> None:
    """Put a chunk of queries where the loop takes them from."""
    for name in ("arrival_ns", "size", "query_class", "network_ns"):
        world.put(name, np.ascontiguousarray(getattr(chunk, name), dtype=np.int64))
    world.put("router_of", np.ascontiguousarray(chunk.router, dtype=np.int64))
    world.put("service_u", np.ascontiguousarray(chunk.service_u))
    world.put("router_u", np.ascontiguousarray(chunk.router_u))
    units = system.services.units
    multipliers = [unit.unit_quantile(chunk.service_u) for unit in units]
    world.put("multiplier", np.stack(multipliers, axis=-1) if units else np.zeros(0))
    world.set("chunk", len(chunk.arrival_ns))
    world.set("chunk_next", 0)
    tabulate_means(world, int(np.max(chunk.size, initial=0)))


def _taken(world: Memory, first: int, arrival_ns: NDArray[np.int64], query_class: NDArray[np.int64]) -> Rows:
    """Take the rows that are there; their tables are empty then."""
    rows = {}
    for name in ("query", "part", "attempt", "span"):
        rows[name] = world[f"{name}_row"][: world.get(f"{name}_row_count")]
        world.set(f"{name}_row_count", 0)
    return Rows(
        first,
        arrival_ns,
        query_class,
        np.zeros(0, dtype=SERVED_ROW),
        rows["query"],
        rows["part"],
        rows["attempt"],
        rows["span"],
    )


def _refuse_mistakes(world: Memory, system: System) -> None:
    error = world.get("error")
    if error == TOO_LONG:
        raise ServiceTooLong("a service time that may change its pace is longer than an hour")
    if error == NO_SUCH_PATH:
        raise IndexError("the policy chose a path that its node does not have")
    if error:
        raise RuntimeError(MISTAKES[error])


def simulate(system: System, stream: Stream, *, drain_ns: int, faults: FaultSchedule | None = None) -> RunRecord:
    """Run one replication on compiled loops; arguments and result are those of the reference engine.

    Raises
    ------
    NotCompilable, ServiceTooLong, IndexError
        See `Streamed.rows`.
    """
    run = Streamed(system, stream, drain_ns=drain_ns, faults=faults)
    return assemble(run.rows(), lambda: run.end, system)


def supports(system: System) -> Iterable[str]:
    """Yield why a system cannot run on compiled loops, if it cannot."""
    if system.router.kind not in ROUTES:
        yield f"the router {system.router.kind} is not compiled"
