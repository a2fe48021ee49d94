"""The reference engine: the readable definition of the model, as SimPy processes and events.

One process plays the query stream; one process a lane serves. A queue stands between: one a device under early
binding, one for the whole cell under late binding. Time is an integer number of nanoseconds; nothing is drawn here.

What happens at each event, in this order:

arrival
    Early binding: the router picks a node and the policy a path; the query is cut into parts if splitting asks for
    it; if a queue has no room for one of them the whole query is dropped, otherwise they join and idle lanes wake.
    Late binding: the query or its parts join the central queue, and idle lanes wake in preference order.
wake or completion
    A completion first ends its part; a query ends with its last part. Then the lane takes the oldest part of its
    queue, or rests. Under late binding the policy now picks among the paths on the lane's device. The part starts
    and its completion is scheduled.
stop
    The drain is over: what is unfinished stays in flight.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import simpy
from numpy.typing import NDArray

from sim.engine.instant import Clock, Instant, Rank
from sim.engine.record import RunRecord
from sim.engine.recorder import NOT_DROPPED, Recorder
from sim.engine.station import Lane, Part, Queue
from sim.serving.compiled import jit
from sim.serving.estimate import estimate_paths
from sim.serving.lookup import expected_ns, service_ns
from sim.serving.policies.base import DROP
from sim.serving.routers import ROUTERS, Route
from sim.serving.splitting import part_sizes
from sim.serving.state import State
from sim.serving.system import System

__all__ = ["DROP_REASONS", "Chunk", "Stream", "simulate"]

DROP_REASONS = ("queue-full", "policy")
"""Why a query was dropped, by `RunRecord.drop_reason`."""

QUEUE_FULL, BY_POLICY = range(2)

Process = Generator[simpy.Event, None, None]

Draws = list[tuple[float, Sequence[float]]]
"""Service draw and unit multipliers of each part of a query."""


class Chunk(Protocol):
    """A stretch of the query stream, see `sim.workload.draw.QueryChunk`."""

    @property
    def arrival_ns(self) -> NDArray[np.int64]:
        """Scheduled arrivals, shape (n,)."""

    @property
    def size(self) -> NDArray[np.int64]:
        """Query sizes, shape (n,)."""

    @property
    def service_u(self) -> NDArray[np.float64]:
        """Service draws, shape (n, parts)."""

    @property
    def router_u(self) -> NDArray[np.float64]:
        """Router draws, shape (n, choices)."""


class Stream(Protocol):
    """A drawn query stream, see `sim.workload.draw.QueryStream`."""

    @property
    def end_ns(self) -> int:
        """End of the arrival period, known at the latest when the last chunk was taken."""

    def chunks(self) -> Iterable[Chunk]:
        """Yield the queries in order of arrival."""


@dataclass(frozen=True, slots=True)
class ChoiceSet:
    """The paths that the policy chooses among at one place, with room for their estimates."""

    first: int
    accuracy: NDArray[np.float64]
    service_ns: NDArray[np.int64]
    wait_ns: NDArray[np.int64]


def _choice_set(system: System, first: int, end: int) -> ChoiceSet:
    count = end - first
    return ChoiceSet(
        first,
        system.path_accuracy[first:end].copy(),
        np.zeros(count, dtype=np.int64),
        np.zeros(count, dtype=np.int64),
    )


def simulate(system: System, stream: Stream, *, drain_ns: int) -> RunRecord:
    """Run one replication on SimPy.

    Parameters
    ----------
    system : System
        The fleet, its paths, policy and router.
    stream : Stream
        The drawn queries.
    drain_ns : int
        How long the clock runs on after the arrival period, without new queries.

    Returns
    -------
    RunRecord
    """
    env = Clock()
    cell = Cell(system, env)
    env.run(until=env.process(cell.play(stream, drain_ns)))
    cell.stop()
    return cell.recorder.record(
        sla_ns=system.sla_ns,
        end_ns=stream.end_ns,
        stop_ns=stream.end_ns + drain_ns,
        in_system_integral=cell.in_system_integral,
        waiting_integral=cell.waiting_integral,
        unstarted_wait_ns=cell.unstarted_wait_ns,
    )


class Cell:
    """One router, its nodes, and the replication that runs on them."""

    def __init__(self, system: System, env: Clock) -> None:
        self.system = system
        self.env = env
        self.recorder = Recorder()
        self.state = state = State.empty(system)
        # Views of the arrays that compiled functions read: an element costs a third of what it costs through numpy.
        self.idle_lanes = memoryview(state.idle_lanes.data)
        self.waiting_parts = memoryview(state.waiting_parts.data)
        self.waiting_work_ns = memoryview(state.waiting_work_ns.data)
        self.lane_until_ns = memoryview(state.lane_until_ns.data)
        self.unfinished_parts = memoryview(state.unfinished_parts.data)
        self.node_group: list[int] = system.node_group.tolist()
        self.node_device: list[int] = system.node_device.tolist()
        self.path_slot: list[int] = system.paths[:, 0].tolist()
        self.accuracy: list[float] = system.path_accuracy.tolist()
        self.unit_of_path: list[int] = system.services.unit_of_service.tolist()
        self.device_splits: list[bool] = system.device_splits.tolist()
        self.choose = jit(system.choose) if system.compiles else system.choose
        self.route: Route = ROUTERS[system.router.kind].bind(system.router, system, state)
        self.parts_left: dict[int, int] = {}
        self.in_system = 0
        self.waiting = 0
        self.in_system_integral = 0
        self.waiting_integral = 0
        self.unstarted_wait_ns = 0
        self.counted_ns = 0
        self.late = system.late_lanes is not None
        self.node_choices = [
            _choice_set(system, int(first), int(end))
            for first, end in zip(system.group_path[:-1], system.group_path[1:], strict=True)
        ]
        self.device_choices = self._device_choices() if self.late else {}
        self.queues = self._start_lanes()

    def _device_choices(self) -> dict[tuple[int, int], ChoiceSet]:
        """Return the paths of each (group, slot): what the policy chooses among when the device is given."""
        system = self.system
        choices = {}
        for group in range(len(system.group_path) - 1):
            rows = range(int(system.group_path[group]), int(system.group_path[group + 1]))
            for slot in sorted({self.path_slot[row] for row in rows}):
                mine = [row for row in rows if self.path_slot[row] == slot]
                choices[group, slot] = _choice_set(system, mine[0], mine[-1] + 1)
        return choices

    def _start_lanes(self) -> list[Queue]:
        """Start a process for every lane that may serve; return the queue of each device."""
        system = self.system
        lane_device: list[int] = np.repeat(np.arange(len(system.device_lane) - 1), np.diff(system.device_lane)).tolist()
        device_node: list[int] = np.repeat(np.arange(len(system.node_group)), np.diff(system.node_device)).tolist()
        # Lanes report themselves idle when their processes start.
        self.state.idle_lanes[:] = 0
        if system.late_lanes is None:
            queues = [Queue(limit) for limit in system.device_limit.tolist()]
            lanes = list(range(len(lane_device)))
        else:
            queues = [Queue(system.late_limit)] * (len(system.device_lane) - 1)
            lanes = system.late_lanes.tolist()
        for rank, number in enumerate(lanes):
            device = lane_device[number]
            lane = Lane(self.env, number, device, device_node[device], queues[device], rank)
            self.env.process(self.serve(lane))
        return queues

    # -- the two kinds of process -------------------------------------------------------------------------

    def play(self, stream: Stream, drain_ns: int) -> Process:
        """Let the queries of `stream` arrive on schedule, then let the drain pass."""
        env = self.env
        arrive = self.arrive_late if self.late else self.arrive_early
        query = 0
        for chunk in stream.chunks():
            self.recorder.offer(chunk.arrival_ns, chunk.size)
            draws = _service_draws(chunk.service_u, self.system)
            for at_ns, size, router_u, service_draws in zip(
                chunk.arrival_ns.tolist(), chunk.size.tolist(), chunk.router_u, draws, strict=True
            ):
                yield Instant(env, at_ns - env.now, Rank.ARRIVAL)
                self.count()
                arrive(query, size, router_u, service_draws)
                query += 1
        yield Instant(env, stream.end_ns + drain_ns - env.now, Rank.STOP)

    def serve(self, lane: Lane) -> Process:
        """Serve parts from the lane's queue, one after the other, for ever."""
        env = self.env
        waiting = lane.queue.waiting
        while True:
            while not waiting:
                self.idle_lanes[lane.device] += 1
                yield lane.rest()
                self.idle_lanes[lane.device] -= 1
            part = waiting.popleft()
            self.count()
            self.waiting -= 1
            if not self.late:
                self.waiting_parts[lane.device] -= 1
                self.waiting_work_ns[lane.device] -= part.expected_ns
            elif not self.bind_late(part, lane):
                self.unstarted_wait_ns += env.now - part.enqueue_ns
                continue
            now = env.now
            self.lane_until_ns[lane.number] = now + part.expected_ns
            self.recorder.start_part(
                part.query, part.path, lane.number, part.size, part.enqueue_ns, now, now + part.service_ns
            )
            yield Instant(env, part.service_ns, Rank.COMPLETION)
            self.complete(part, lane)

    # -- arrival --------------------------------------------------------------------------------------------

    def arrive_early(self, query: int, size: int, router_u: NDArray[np.float64], draws: Draws) -> None:
        """Bind the query to a node and a path, cut it into parts, and put these in their queues."""
        system = self.system
        now = self.env.now
        node = self.route(query, size, now, router_u)
        choice = self.node_choices[self.node_group[node]]
        first_device = self.node_device[node]
        if system.split_by_part:
            sizes = part_sizes(size, system.part_size)
            pick = None
        else:
            pick = self.pick(choice, first_device, size, system.sla_ns)
            if pick == DROP:
                self.recorder.drop(query, BY_POLICY, now)
                return
            device = first_device + self.path_slot[choice.first + pick]
            sizes = part_sizes(size, system.part_size) if self.device_splits[device] else [size]
        parts: list[Part] = []
        for part_size, (u, multipliers) in zip(sizes, draws, strict=False):
            chosen = self.pick(choice, first_device, part_size, system.sla_ns) if pick is None else pick
            reason = BY_POLICY
            if chosen != DROP:
                part = Part(query, part_size, u, multipliers, now)
                self.look_up(part, choice, chosen, part_size == size or pick is None)
                part.device = first_device + self.path_slot[part.path]
                if self.queues[part.device].has_room():
                    self.join(part, node)
                    parts.append(part)
                    continue
                reason = QUEUE_FULL
            for placed in reversed(parts):
                self.leave(placed, node)
            self.recorder.drop(query, reason, now)
            return
        self.admit(query, len(parts))
        self.recorder.node[query] = node
        for part in parts:
            self.queues[part.device].wake_lanes()

    def arrive_late(self, query: int, size: int, _router_u: NDArray[np.float64], draws: Draws) -> None:
        """Put the query, or its parts, in the central queue."""
        now = self.env.now
        queue = self.queues[0]
        parts = 0
        for part_size, (u, multipliers) in zip(part_sizes(size, self.system.part_size), draws, strict=False):
            if not queue.has_room():
                for _ in range(parts):
                    queue.waiting.pop()
                self.waiting -= parts
                self.recorder.drop(query, QUEUE_FULL, now)
                return
            queue.waiting.append(Part(query, part_size, u, multipliers, now))
            self.waiting += 1
            parts += 1
        self.admit(query, parts)
        queue.wake_lanes()

    def admit(self, query: int, parts: int) -> None:
        """Count the query in."""
        self.in_system += 1
        if parts > 1:
            self.parts_left[query] = parts

    def join(self, part: Part, node: int) -> None:
        """Put the part at the end of its device's queue."""
        device = part.device
        self.queues[device].waiting.append(part)
        self.waiting += 1
        self.waiting_parts[device] += 1
        self.waiting_work_ns[device] += part.expected_ns
        self.unfinished_parts[node] += 1

    def leave(self, part: Part, node: int) -> None:
        """Take back the part that joined last."""
        device = part.device
        self.queues[device].waiting.pop()
        self.waiting -= 1
        self.waiting_parts[device] -= 1
        self.waiting_work_ns[device] -= part.expected_ns
        self.unfinished_parts[node] -= 1

    # -- binding --------------------------------------------------------------------------------------------

    def pick(self, choice: ChoiceSet, first_device: int, size: int, time_left_ns: int) -> int:
        """Return the policy's pick among the paths of `choice`, or DROP."""
        system = self.system
        if system.uses_estimates:
            state = self.state
            services = system.services
            estimate_paths(
                size,
                self.env.now,
                system.sees_queue,
                first_device,
                choice.first,
                system.paths,
                system.device_lane,
                state.idle_lanes,
                state.waiting_parts,
                state.waiting_work_ns,
                state.lane_until_ns,
                services.index,
                services.grid,
                choice.service_ns,
                choice.wait_ns,
            )
        pick = int(
            self.choose(
                size,
                time_left_ns,
                choice.accuracy,
                choice.service_ns,
                choice.wait_ns,
                system.policy_parameters,
            )
        )
        if not DROP <= pick < len(choice.accuracy):
            raise IndexError(
                f"the policy chose path {pick} of a node with {len(choice.accuracy)} paths; {DROP} drops the query"
            )
        return pick

    def look_up(self, part: Part, choice: ChoiceSet, pick: int, estimated: bool) -> None:
        """Give the part its path, and its true and expected service times.

        `estimated` says that `choice` holds the policy's estimate for a part of this very size.
        """
        system = self.system
        index, grid = system.services.index, system.services.grid
        part.path = path = choice.first + pick
        unit = self.unit_of_path[path]
        multiplier = part.multipliers[unit] if unit >= 0 else 1.0
        part.service_ns = service_ns(index, grid, path, part.size, part.u, multiplier)
        if system.knows_service:
            part.expected_ns = part.service_ns
        elif estimated and system.uses_estimates:
            part.expected_ns = int(choice.service_ns[pick])
        else:
            part.expected_ns = expected_ns(index, grid, path, part.size)

    def bind_late(self, part: Part, lane: Lane) -> bool:
        """Let the policy pick among the paths of the lane's device; False if the query is dropped instead."""
        query = part.query
        if self.recorder.drop_reason[query] != NOT_DROPPED:
            return False
        slot = lane.device - self.node_device[lane.node]
        choice = self.device_choices[self.node_group[lane.node], slot]
        waited_ns = self.env.now - self.recorder.arrival_ns[query]
        pick = self.pick(choice, self.node_device[lane.node], part.size, self.system.sla_ns - waited_ns)
        if pick == DROP:
            self.recorder.drop(query, BY_POLICY, self.env.now)
            self.parts_left.pop(query, None)
            self.in_system -= 1
            return False
        self.look_up(part, choice, pick, True)
        self.recorder.node[query] = lane.node
        self.unfinished_parts[lane.node] += 1
        return True

    # -- completion -----------------------------------------------------------------------------------------

    def complete(self, part: Part, lane: Lane) -> None:
        """End the part, and the query if it was the last."""
        self.count()
        query = part.query
        recorder = self.recorder
        self.unfinished_parts[lane.node] -= 1
        recorder.correct[query] += part.size * self.accuracy[part.path]
        if self.parts_left and query in self.parts_left:
            self.parts_left[query] -= 1
            if self.parts_left[query]:
                return
            del self.parts_left[query]
        elif recorder.drop_reason[query] != NOT_DROPPED:
            return
        self.in_system -= 1
        recorder.finish_ns[query] = self.env.now
        recorder.path[query] = part.path

    # -- bookkeeping ----------------------------------------------------------------------------------------

    def count(self) -> None:
        """Bring the integrals of the queries in the system and of the parts waiting up to now."""
        now = self.env.now
        elapsed_ns = now - self.counted_ns
        if elapsed_ns:
            self.in_system_integral += elapsed_ns * self.in_system
            self.waiting_integral += elapsed_ns * self.waiting
            self.counted_ns = now

    def stop(self) -> None:
        """Settle the accounts when the clock stops."""
        self.count()
        for queue in {id(queue): queue for queue in self.queues}.values():
            self.unstarted_wait_ns += sum(self.env.now - part.enqueue_ns for part in queue.waiting)


def _service_draws(service_u: NDArray[np.float64], system: System) -> Iterable[Draws]:
    """Yield, for each query of a chunk, the service draw and the unit multipliers of each of its parts."""
    units = system.services.units
    if not units:
        for row in service_u.tolist():
            yield [(u, ()) for u in row]
        return
    multipliers = np.stack([unit.unit_quantile(service_u) for unit in units], axis=-1).tolist()
    for row, unit_rows in zip(service_u.tolist(), multipliers, strict=True):
        yield list(zip(row, unit_rows, strict=True))
