"""The reference engine: the readable definition of the model, as SimPy processes and events.

One process plays the query stream; one process a lane serves. A queue stands between: one a device under early
binding, one for the whole cell under late binding. Time is an integer number of nanoseconds; nothing is drawn here.

What happens at each event, in this order:

arrival
    Early binding: the router, which may see the nodes as they were, picks one; the policy picks one of its paths;
    the query is cut into parts if splitting asks for it; if a queue has no room for one of them the whole query is
    dropped, otherwise they join and idle lanes wake.
    Late binding: the query or its parts join the central queue, and idle lanes wake in preference order.
wake or completion
    A completion first ends its part; a query ends with its last part. Then the lane takes the next part of its
    queue, or rests. Under late binding the policy now picks among the paths on the lane's device. A part that is
    not worth serving any more is shed, its query with it, and the lane takes the next one. The part starts and its
    completion is scheduled. Where a device batches, the lane takes the parts of a batch one after the other and
    starts them together.
timer
    A part has waited for the timeout of batching: an idle lane wakes.
stop
    The drain is over: what is unfinished stays in flight.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from typing import Protocol

import numpy as np
import simpy
from numpy.typing import NDArray

from sim.engine.batching import BatchQueue
from sim.engine.binding import Binder
from sim.engine.instant import Clock, Instant, Rank
from sim.engine.knowledge import DelayedState, FollowedArray
from sim.engine.record import RunRecord
from sim.engine.recorder import NOT_DROPPED, Recorder
from sim.engine.station import Fifo, Lane, Line, Part, Queue, Sorted
from sim.serving.policies.base import DROP
from sim.serving.queueing import Order, Shed, order_key, sheds
from sim.serving.routers import ROUTERS, Route
from sim.serving.splitting import part_sizes
from sim.serving.state import State
from sim.serving.system import System

__all__ = ["DROP_REASONS", "Chunk", "Stream", "simulate"]

DROP_REASONS = ("queue-full", "policy", "deadline")
"""Why a query was dropped, by `RunRecord.drop_reason`."""

QUEUE_FULL, BY_POLICY, PAST_DEADLINE = range(3)

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
    def query_class(self) -> NDArray[np.int64]:
        """Class of each query, shape (n,)."""

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
        class_sla_ns=system.class_sla_ns,
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
        self.delayed = DelayedState(system, env, system.knowledge_delay_ns) if system.knowledge_delay_ns else None
        self.idle_lanes = self._array("idle_lanes")
        self.waiting_parts = self._array("waiting_parts")
        self.waiting_work_ns = self._array("waiting_work_ns")
        self.lane_until_ns = self._array("lane_until_ns")
        self.unfinished_parts = self._array("unfinished_parts")
        self.node_group: list[int] = system.node_group.tolist()
        self.node_device: list[int] = system.node_device.tolist()
        self.path_slot: list[int] = system.paths[:, 0].tolist()
        self.accuracy: list[float] = system.path_accuracy.tolist()
        self.device_splits: list[bool] = system.device_splits.tolist()
        self.class_sla_ns: list[int] = system.class_sla_ns.tolist()
        self.class_priority: list[int] = system.class_priority.tolist()
        self.class_model: list[int] = system.class_model.tolist()
        self.models = system.models
        self.routes: list[Route] = [
            ROUTERS[system.router.kind].bind(
                system.router, system, state if self.delayed is None else self.delayed.seen, model
            )
            for model in range(system.models)
        ]
        self.path_overhead_ns: list[int] = system.path_overhead_ns.tolist()
        self.sorts = system.order != Order.FIFO
        self.sheds = system.shed != Shed.NEVER
        self.served = 0
        self.parts_left: dict[int, int] = {}
        self.in_system = 0
        self.waiting = 0
        self.in_system_integral = 0
        self.waiting_integral = 0
        self.unstarted_wait_ns = 0
        self.counted_ns = 0
        self.late = system.late_lanes is not None
        self.binder = Binder(system, state, env)
        self.queues = self._start_lanes()

    def _array(self, name: str) -> memoryview | FollowedArray:
        """Return an array of the state to change; routers follow it late where their knowledge is old."""
        # A view of the array that compiled functions read: an element costs a third of what it costs through numpy.
        true = memoryview(getattr(self.state, name).data)
        return true if self.delayed is None else self.delayed.follow(true, name)

    def _start_lanes(self) -> list[Queue]:
        """Start a process for every lane that may serve; return the queue of each device."""
        system = self.system
        lane_device: list[int] = np.repeat(np.arange(len(system.device_lane) - 1), np.diff(system.device_lane)).tolist()
        device_node: list[int] = np.repeat(np.arange(len(system.node_group)), np.diff(system.node_device)).tolist()
        # Lanes report themselves idle when their processes start.
        self.state.idle_lanes[:] = 0
        if system.late_lanes is None:
            queues = [self._queue(device) for device in range(len(system.device_limit))]
            lanes = list(range(len(lane_device)))
        else:
            queues = [Queue(system.late_limit, self._line())] * (len(system.device_lane) - 1)
            lanes = system.late_lanes.tolist()
        for rank, number in enumerate(lanes):
            device = lane_device[number]
            lane = Lane(self.env, number, device, device_node[device], queues[device], rank)
            queue = lane.queue
            self.env.process(self.serve_batches(lane, queue) if isinstance(queue, BatchQueue) else self.serve(lane))
        return queues

    def _line(self) -> Line:
        return Sorted() if self.sorts else Fifo()

    def _queue(self, device: int) -> Queue:
        system = self.system
        limit, batch = int(system.device_limit[device]), int(system.batch_queries[device])
        if not batch:
            return Queue(limit, self._line())
        return BatchQueue(
            limit,
            self._line,
            self.env,
            queries=batch,
            samples=int(system.batch_samples[device]),
            timeout_ns=int(system.batch_timeout_ns[device]),
        )

    # -- the two kinds of process -------------------------------------------------------------------------

    def play(self, stream: Stream, drain_ns: int) -> Process:
        """Let the queries of `stream` arrive on schedule, then let the drain pass."""
        env = self.env
        arrive = self.arrive_late if self.late else self.arrive_early
        query = 0
        for chunk in stream.chunks():
            self.recorder.offer(chunk.arrival_ns, chunk.size, chunk.query_class)
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
            if self.take(part, lane):
                self.start((part,), lane, part.service_ns, part.expected_ns)
                yield Instant(env, part.service_ns, Rank.COMPLETION)
                self.complete(part, lane)

    def serve_batches(self, lane: Lane, queue: BatchQueue) -> Process:
        """Serve batches from the lane's queue, one after the other, for ever."""
        env = self.env
        while True:
            while (line := queue.ready()) is None:
                self.idle_lanes[lane.device] += 1
                yield lane.rest()
                self.idle_lanes[lane.device] -= 1
            batch: list[Part] = []
            samples = 0
            while queue.fits(line, len(batch), samples):
                part = line.popleft()
                if self.take(part, lane):
                    batch.append(part)
                    samples += part.size
            queue.wake_if_ready()
            if batch:
                service_ns, expected_ns = self.batch_times(batch, samples)
                self.start(batch, lane, service_ns, expected_ns)
                yield Instant(env, service_ns, Rank.COMPLETION)
                for part in batch:
                    self.complete(part, lane)

    def take(self, part: Part, lane: Lane) -> bool:
        """Count the part out of its queue; False if it is not served, because its query is or was dropped."""
        self.count()
        self.waiting -= 1
        if self.late:
            served = self.bind_late(part, lane)
        else:
            self.waiting_parts[lane.device] -= 1
            self.waiting_work_ns[lane.device] -= part.expected_ns
            served = not self.sheds or self.is_worth_serving(part)
            if not served:
                self.unfinished_parts[lane.node] -= 1
        if not served:
            self.unstarted_wait_ns += self.env.now - part.enqueue_ns
        return served

    def is_worth_serving(self, part: Part) -> bool:
        """Whether the part's query was not dropped, and is not to be shed now; sheds it otherwise."""
        query = part.query
        if self.recorder.drop_reason[query] != NOT_DROPPED:
            return False
        system = self.system
        deadline_ns = self.recorder.arrival_ns[query] + self.class_sla_ns[self.recorder.query_class[query]]
        if not sheds(system.shed, self.env.now, deadline_ns, part.expected_ns):
            return True
        self.drop_admitted(query, PAST_DEADLINE)
        return False

    def batch_times(self, batch: list[Part], samples: int) -> tuple[int, int]:
        """Return the true and the expected service time of a batch.

        The draw is that of the first part; a batch of one part takes exactly as long as the part alone.
        """
        first = batch[0]
        if len(batch) == 1:
            return first.service_ns, first.expected_ns
        self.binder.time(first, samples)
        overhead_ns = (len(batch) - 1) * self.path_overhead_ns[first.path]
        return first.service_ns + overhead_ns, first.expected_ns + overhead_ns

    def start(self, parts: Sequence[Part], lane: Lane, service_ns: int, expected_ns: int) -> None:
        """Start parts together on the lane."""
        now = self.env.now
        self.lane_until_ns[lane.number] = now + expected_ns
        for part in parts:
            self.recorder.start_part(
                part.query, part.path, lane.number, part.size, part.enqueue_ns, now, now + service_ns, self.served
            )
        self.served += 1

    # -- arrival --------------------------------------------------------------------------------------------

    def arrive_early(self, query: int, size: int, router_u: NDArray[np.float64], draws: Draws) -> None:
        """Bind the query to a node and a path, cut it into parts, and put these in their queues."""
        system = self.system
        now = self.env.now
        if self.delayed is not None:
            self.delayed.catch_up()
        query_class = self.recorder.query_class[query]
        model = self.class_model[query_class]
        sla_ns = self.class_sla_ns[query_class]
        node = self.routes[model](query, size, now, router_u)
        choice = self.binder.node_choices[self.node_group[node] * self.models + model]
        first_device = self.node_device[node]
        if system.split_by_part:
            sizes = part_sizes(size, system.part_size)
            pick = None
        else:
            pick = self.binder.pick(choice, first_device, size, sla_ns, query_class)
            if pick == DROP:
                self.recorder.drop(query, BY_POLICY, now)
                return
            device = first_device + self.path_slot[choice.first + pick]
            sizes = part_sizes(size, system.part_size) if self.device_splits[device] else [size]
        parts: list[Part] = []
        for part_size, (u, multipliers) in zip(sizes, draws, strict=False):
            chosen = self.binder.pick(choice, first_device, part_size, sla_ns, query_class) if pick is None else pick
            reason = BY_POLICY
            if chosen != DROP:
                part = Part(query, part_size, u, multipliers, now)
                self.binder.look_up(part, choice, chosen, part_size == size or pick is None)
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
            part = Part(query, part_size, u, multipliers, now)
            if self.sorts:
                self.sort(part)
            queue.waiting.append(part)
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
        if self.sorts:
            self.sort(part)
        self.queues[device].waiting.append(part)
        self.waiting += 1
        self.waiting_parts[device] += 1
        self.waiting_work_ns[device] += part.expected_ns
        self.unfinished_parts[node] += 1

    def sort(self, part: Part) -> None:
        """Give the part what its queue sorts it by."""
        query_class = self.recorder.query_class[part.query]
        deadline_ns = self.recorder.arrival_ns[part.query] + self.class_sla_ns[query_class]
        part.key = order_key(self.system.order, part.size, deadline_ns, self.class_priority[query_class])

    def leave(self, part: Part, node: int) -> None:
        """Take back the part that joined last."""
        device = part.device
        self.queues[device].waiting.pop()
        self.waiting -= 1
        self.waiting_parts[device] -= 1
        self.waiting_work_ns[device] -= part.expected_ns
        self.unfinished_parts[node] -= 1

    # -- binding --------------------------------------------------------------------------------------------

    def bind_late(self, part: Part, lane: Lane) -> bool:
        """Let the policy pick among the paths of the lane's device; False if the query is dropped instead."""
        query = part.query
        if self.recorder.drop_reason[query] != NOT_DROPPED:
            return False
        slot = lane.device - self.node_device[lane.node]
        query_class = self.recorder.query_class[query]
        cell = self.node_group[lane.node] * self.models + self.class_model[query_class]
        choice = self.binder.device_choices[cell, slot]
        left_ns = self.class_sla_ns[query_class] - (self.env.now - self.recorder.arrival_ns[query])
        pick = self.binder.pick(choice, self.node_device[lane.node], part.size, left_ns, query_class)
        if pick == DROP:
            self.drop_admitted(query, BY_POLICY)
            return False
        self.binder.look_up(part, choice, pick, True)
        if self.sheds and not self.is_worth_serving(part):
            return False
        self.recorder.node[query] = lane.node
        self.unfinished_parts[lane.node] += 1
        return True

    def drop_admitted(self, query: int, reason: int) -> None:
        """Drop a query that has joined its queue; parts of it that still wait are left out when their turn comes."""
        self.recorder.drop(query, reason, self.env.now)
        self.parts_left.pop(query, None)
        self.in_system -= 1

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
