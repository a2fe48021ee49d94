"""Runs a replication on compiled loops, chunk by chunk, and hands on what is over."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

import numba
import numpy as np
from numpy.typing import NDArray

from sim.engine.compiled import direct, loop
from sim.engine.compiled.assemble import assemble, unfinished_rows
from sim.engine.compiled.memory import Memory
from sim.engine.compiled.plain import is_plain, make_room_for
from sim.engine.compiled.service_times import tabulate
from sim.engine.compiled.tables import (
    CALENDAR_FULL,
    NO_ROOM_FOR_ROWS,
    NO_SUCH_PATH,
    POLICY_RAISED,
    SERVICE_TOO_LONG,
    TABLE_FULL,
)
from sim.engine.compiled.world import Draws, grow, lay_out
from sim.engine.record import RunRecord
from sim.engine.reference import Chunk, Stream
from sim.engine.rows import ATTEMPT_ROW, PART_ROW, QUERY_ROW, SERVED_ROW, SPAN_ROW, Rows, RunEnd
from sim.serving.compiled import compile_now
from sim.serving.faults import FaultSchedule
from sim.serving.spells import past_at_start
from sim.serving.system import System

__all__ = ["NeedsReference", "PolicyFailed", "ServiceTooLong", "Streamed", "compile_for", "simulate"]

NO_NUMBERS = np.zeros(0, dtype=np.int64)
NO_ROWS = {
    name: np.zeros(0, dtype=dtype)
    for name, dtype in (
        ("query", QUERY_ROW),
        ("part", PART_ROW),
        ("attempt", ATTEMPT_ROW),
        ("span", SPAN_ROW),
        ("served", SERVED_ROW),
    )
}
MISTAKES = {
    CALENDAR_FULL: "the calendar is full",
    TABLE_FULL: "a table is full",
    NO_ROOM_FOR_ROWS: "there is no room for what is to be handed on",
}


class NeedsReference(ValueError):
    """What only the reference engine can run, or say what is wrong with."""


class PolicyFailed(NeedsReference):
    """A policy of the user's raised an exception, or picked a path that there is not."""


class ServiceTooLong(NeedsReference):
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

    def __init__(self, system: System, stream: Stream, *, drain_ns: int, faults: FaultSchedule | None = None) -> None:
        self.system = system
        self.stream = stream
        self.drain_ns = drain_ns
        self.faults = faults
        self.end: RunEnd | None = None
        self.released = 0
        self.in_system = 0
        self.waited = 0

    def rows(self) -> Iterator[Rows]:
        """Run, and yield what is over.

        Raises
        ------
        NotCompilable
            If the policy is a function that numba cannot compile.
        ServiceTooLong
        PolicyFailed
        """
        run = self._run_directly if is_plain(self.system) else self._run_events
        world: Memory | None = None
        alive: tuple[object, ...] = ()
        offered = 0
        # Queries are offered a chunk before they arrive: others may arrive at the very instant of a chunk's last one.
        for chunk, following in _with_next(self.stream.chunks()):
            if world is None:
                world, alive = self._lay_out(_draws(chunk, self.system))
                yield _taken(world, 0, chunk.arrival_ns, chunk.query_class)
                offered = len(chunk.arrival_ns)
            _load(world, chunk, self.system)
            arrival_ns, query_class = NO_NUMBERS, NO_NUMBERS
            if following is not None:
                arrival_ns, query_class = following.arrival_ns, following.query_class
            yield from run(world, offered, arrival_ns, query_class)
            offered += len(arrival_ns)
        if world is None:
            world, alive = self._lay_out(Draws(1, 0))
        stop_ns = self.stream.end_ns + self.drain_ns
        world.set("final", 1)
        world.set("stop_ns", stop_ns)
        if is_plain(self.system):
            rows, end = self._settle_directly(world, offered, stop_ns)
        else:
            yield from run(world, offered, NO_NUMBERS, NO_NUMBERS)
            rows, end = _settle_events(world, self.system, offered, self.stream.end_ns, stop_ns)
        yield rows
        del alive
        self.end = end

    def _lay_out(self, draws: Draws) -> tuple[Memory, tuple[object, ...]]:
        system = self.system
        world, alive = lay_out(system, draws, self.faults)
        world.put("spell_past", past_at_start(system.spells, system.device_lane, self.stream.lane_scores).ravel())
        lanes = np.arange(world.get("lanes")) if system.late_lanes is None else system.late_lanes
        if is_plain(system):
            return world, alive
        grow(world)
        initial = np.array([rule.initial for rule in system.scaling], dtype=np.int64)
        loop.begin(world.address, initial, np.ascontiguousarray(lanes, dtype=np.int64))
        return world, alive

    def _run_directly(
        self, world: Memory, first: int, arrival_ns: NDArray[np.int64], query_class: NDArray[np.int64]
    ) -> Iterator[Rows]:
        """Let the queries of the chunk arrive, and yield those that have ended with it."""
        make_room_for(world, world.get("chunk"))
        known_ns = int(world["arrival_ns"][-1])
        # What is pending is looked through as often as as many queries have come, so the cost a query stays the same.
        if world.get("pending_row_count") <= world.get("query") - self.released:
            direct.release_pending(world.address, known_ns)
            self.released = world.get("query")
        direct.run_directly(world.address, known_ns)
        self._count(world)
        _refuse_mistakes(world)
        yield _taken(world, first, arrival_ns, query_class)

    def _settle_directly(self, world: Memory, offered: int, stop_ns: int) -> tuple[Rows, RunEnd]:
        """Return what has ended when the clock stops, and what has not."""
        make_room_for(world, 0)
        direct.release_pending(world.address, stop_ns)
        rows = _taken(world, offered, NO_NUMBERS, NO_NUMBERS)
        left = world["pending_row"][: world.get("pending_row_count")]
        queries, parts = unfinished_rows(left, self.system, stop_ns)
        started = left["start_ns"] <= stop_ns
        self._count(world)
        until_ns = np.where(started, left["start_ns"], stop_ns)
        waited = self.waited + int(np.sum(until_ns - left["arrival_ns"]))
        unstarted = int(np.sum(stop_ns - left["arrival_ns"][~started]))
        in_system = self.in_system + int(np.sum(stop_ns - left["arrival_ns"]))
        end = RunEnd(offered, self.stream.end_ns, stop_ns, in_system, waited, unstarted)
        return replace(rows, queries=queries, parts=parts), end

    def _count(self, world: Memory) -> None:
        """Add up the times in the system and in queues of what was handed on."""
        self.in_system += world.get("sum_in_system")
        self.waited += world.get("sum_waited")
        world.set("sum_in_system", 0)
        world.set("sum_waited", 0)

    def _run_events(
        self, world: Memory, first: int, arrival_ns: NDArray[np.int64], query_class: NDArray[np.int64]
    ) -> Iterator[Rows]:
        """Run until the chunk is over or the clock stops, and yield rows whenever a table is full of them."""
        while True:
            status = loop.run(world.address)
            _refuse_mistakes(world)
            if status != loop.NEEDS_ROOM:
                yield _taken(world, first, arrival_ns, query_class)
                return
            if any(world.get(f"{name}_row_count") for name in ("query", "part", "attempt", "span")):
                yield _taken(world, first, arrival_ns, query_class)
                first += len(arrival_ns)
                arrival_ns = query_class = NO_NUMBERS
            grow(world)


def _with_next(chunks: Iterable[Chunk]) -> Iterator[tuple[Chunk, Chunk | None]]:
    """Yield every chunk with the one after it."""
    held: Chunk | None = None
    for chunk in chunks:
        if held is not None:
            yield held, chunk
        held = chunk
    if held is not None:
        yield held, None


def _draws(chunk: Chunk, system: System) -> Draws:
    attempts = 1 if system.clients is None else system.clients.most_attempts
    return Draws(chunk.service_u.shape[1] // attempts, chunk.router_u.shape[1] // attempts)


def _load(world: Memory, chunk: Chunk, system: System) -> None:
    """Put a chunk of queries where the loop takes them from."""
    for name in ("arrival_ns", "size", "query_class", "network_ns"):
        world.put(name, np.ascontiguousarray(getattr(chunk, name), dtype=np.int64))
    world.put("router_of", np.ascontiguousarray(chunk.router, dtype=np.int64))
    # Column by column, as they are drawn.
    world.put("service_u", np.ascontiguousarray(chunk.service_u.T))
    world.put("router_u", np.ascontiguousarray(chunk.router_u.T))
    units = system.services.units
    multipliers = [unit.unit_quantile(chunk.service_u) for unit in units]
    world.put("multiplier", np.ascontiguousarray(np.stack(multipliers, axis=-1)) if units else np.zeros(0))
    world.set("chunk", len(chunk.arrival_ns))
    world.set("chunk_next", 0)
    tabulate(world, int(np.max(chunk.size, initial=0)))


def _taken(world: Memory, first: int, arrival_ns: NDArray[np.int64], query_class: NDArray[np.int64]) -> Rows:
    """Take the rows that are there; their tables are empty then."""
    rows = {}
    for name in ("query", "part", "attempt", "span", "served"):
        count = world.get(f"{name}_row_count")
        rows[name] = world[f"{name}_row"][:count] if count else NO_ROWS[name]
        world.set(f"{name}_row_count", 0)
    return Rows(
        first,
        arrival_ns,
        query_class,
        rows["served"],
        rows["query"],
        rows["part"],
        rows["attempt"],
        rows["span"],
    )


def _settle_events(world: Memory, system: System, offered: int, end_ns: int, stop_ns: int) -> tuple[Rows, RunEnd]:
    """Settle the accounts when the clock has stopped, and return what is not over."""
    grow(world)
    loop.settle(world.address)
    _refuse_mistakes(world)
    totals = [int(word) for word in world["totals"]]
    in_system, waiting, unstarted = (low + (high << 20) for low, high in zip(totals[::2], totals[1::2], strict=True))
    return _taken(world, offered, NO_NUMBERS, NO_NUMBERS), RunEnd(
        offered, end_ns, stop_ns, in_system, waiting, unstarted
    )


def _refuse_mistakes(world: Memory) -> None:
    error = world.get("error")
    if error == SERVICE_TOO_LONG:
        raise ServiceTooLong("a service time that may change its pace is longer than an hour")
    if error == NO_SUCH_PATH:
        raise PolicyFailed("the policy chose a path that its node does not have")
    if error == POLICY_RAISED:
        raise PolicyFailed("the policy raised an exception")
    if error:
        raise RuntimeError(MISTAKES[error])


def simulate(system: System, stream: Stream, *, drain_ns: int, faults: FaultSchedule | None = None) -> RunRecord:
    """Run one replication on compiled loops; arguments and result are those of the reference engine.

    Raises
    ------
    NotCompilable, ServiceTooLong, PolicyFailed
        See `Streamed.rows`.
    """
    run = Streamed(system, stream, drain_ns=drain_ns, faults=faults)
    return assemble(run.rows(), lambda: run.end, system)


def compile_for(system: System) -> None:
    """Compile the loops that a system needs, without running anything."""
    address, numbers = numba.int64, numba.int64[::1]
    if is_plain(system):
        compile_now(direct.run_directly, address, address)
        compile_now(direct.release_pending, address, address)
    else:
        compile_now(loop.begin, address, numbers, numbers)
        compile_now(loop.run, address)
        compile_now(loop.settle, address)
