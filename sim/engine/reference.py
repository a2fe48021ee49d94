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
from itertools import chain, pairwise, repeat
from typing import Protocol

import numpy as np
import simpy
from numpy.typing import NDArray

from sim.engine.availability import Availability
from sim.engine.batching import BatchQueue
from sim.engine.client import ClientSide
from sim.engine.dispatch import PLACED, Dispatcher, Draws
from sim.engine.instant import Clock, Instant, Rank, after
from sim.engine.ledger import Ledger
from sim.engine.pace import Pace
from sim.engine.record import RunRecord
from sim.engine.remapping import Remapper
from sim.engine.scaling import Scaler
from sim.engine.station import Attempt, Fifo, Lane, Line, Part, Queue, Sorted
from sim.serving.aftereffects import Aftereffects, counted, extra_ns
from sim.serving.faults import FaultSchedule, slowdowns
from sim.serving.queueing import Order
from sim.serving.spells import past_at_start
from sim.serving.system import System

__all__ = ["Cell", "Chunk", "Stream", "play_out", "simulate"]

Process = Generator[simpy.Event, object, None]


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
        """Service draws, shape (n, attempts * parts)."""

    @property
    def router_u(self) -> NDArray[np.float64]:
        """Router draws, shape (n, attempts * choices)."""

    @property
    def router(self) -> NDArray[np.int64]:
        """Which of several routers gets the query, shape (n,); (0,) where there is one."""

    @property
    def network_ns(self) -> NDArray[np.int64]:
        """Delays of the way out and back of each attempt, shape (n, attempts * 2); (n, 0) without a network."""


class Stream(Protocol):
    """A drawn query stream, see `sim.workload.draw.QueryStream`."""

    @property
    def end_ns(self) -> int:
        """End of the arrival period, known at the latest when the last chunk was taken."""

    def chunks(self) -> Iterable[Chunk]:
        """Yield the queries in order of arrival."""

    def lane_scores(self, count: int) -> NDArray[np.float64]:
        """Return so many standard normal draws of what lanes served before; of systems with spells."""


def simulate(system: System, stream: Stream, *, drain_ns: int, faults: FaultSchedule | None = None) -> RunRecord:
    """Run one replication on SimPy.

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

    Returns
    -------
    RunRecord
    """
    env = Clock()
    return play_out(Cell(system, env, Ledger(system, env)), stream, drain_ns=drain_ns, faults=faults)


def play_out(cell: Cell, stream: Stream, *, drain_ns: int, faults: FaultSchedule | None) -> RunRecord:
    """Run a replication on a cell to which nothing has happened yet; parameters are those of `simulate`."""
    env = cell.env
    if faults is not None:
        env.process(cell.carry_out(faults))
    env.run(until=env.process(cell.play(stream, drain_ns)))
    cell.stop()
    ledger = cell.ledger
    return ledger.recorder.record(
        class_sla_ns=cell.system.class_sla_ns,
        end_ns=stream.end_ns,
        stop_ns=stream.end_ns + drain_ns,
        in_system_integral=ledger.in_system_integral,
        waiting_integral=ledger.waiting_integral,
        unstarted_wait_ns=ledger.unstarted_wait_ns,
    )


class Cell:
    """One router, its nodes, and the replication that runs on them."""

    def __init__(self, system: System, env: Clock, ledger: Ledger) -> None:
        self.system = system
        self.env = env
        self.ledger = ledger
        self.accuracy: list[float] = system.path_accuracy.tolist()
        self.path_overhead_ns: list[int] = system.path_overhead_ns.tolist()
        self.idle_costs = _lists(system.idle_costs)
        self.idle_carries: list[float] = system.idle_costs.carries.tolist()
        self.idle_carry_of: list[int] = system.idle_costs.carry_of.tolist()
        self.size_costs = _lists(system.size_costs)
        self.size_carries: list[float] = system.size_costs.carries.tolist()
        self.size_carry_of: list[int] = system.size_costs.carry_of.tolist()
        self.typical_size_ns: list[int] = system.size_costs.typical_ns.tolist()
        self.queues = self._queues()
        self.dispatcher = Dispatcher(system, env, ledger, self.queues, self.fail)
        self.paces = self._paces() if system.controls_lanes else []
        self.work = self.work_paced if system.controls_lanes else self.work_undisturbed
        self.client: ClientSide | None = None
        if system.clients is not None:
            self.client = ClientSide(system.clients, env, ledger, self.dispatcher, self.cut)
        self.lanes = lanes = self._start_lanes()
        self.availability: Availability | None = None
        if system.has_faults or system.scaling or system.remapping:
            self.availability = Availability(
                system, env, ledger, self.dispatcher, lanes, self.paces, self.cut, self.fail
            )

        self.scalers: list[Scaler] = []
        if self.availability is not None:
            self.scalers = [Scaler(rule, system, env, ledger, self.availability) for rule in system.scaling]
        if self.scalers:
            self.undisturbed_work, self.work = self.work, self.work_watched
            ledger.loaded = self.node_loaded
            for scaler in self.scalers:
                scaler.begin()

        self.remapper: Remapper | None = None
        if self.availability is not None and system.remapping is not None:
            self.remapper = Remapper(system.remapping, system, env, ledger, self.availability)
            self.remapper.begin()

    def _queues(self) -> list[Queue]:
        """Return the queue of each device; under late binding it is one and the same."""
        system = self.system
        devices = len(system.device_lane) - 1
        if system.late_lanes is not None:
            return [Queue(system.late_limit, self._line())] * devices
        return [self._queue(device) for device in range(devices)]

    def _line(self) -> Line:
        return Fifo() if self.system.order == Order.FIFO else Sorted()

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

    def _paces(self) -> list[Pace]:
        system = self.system
        speeds: list[int] = system.lane_speed.tolist()
        return [Pace(self.env, self.ledger, speeds[first:end]) for first, end in pairwise(system.device_lane.tolist())]

    def _start_lanes(self) -> list[list[Lane]]:
        """Start a process for every lane that may serve; return these lanes by device."""
        system = self.system
        devices = len(system.device_lane) - 1
        lane_device: list[int] = np.repeat(np.arange(devices), np.diff(system.device_lane)).tolist()
        device_node: list[int] = np.repeat(np.arange(len(system.node_group)), np.diff(system.node_device)).tolist()
        lanes: list[list[Lane]] = [[] for _ in range(devices)]
        numbers = range(len(lane_device)) if system.late_lanes is None else system.late_lanes.tolist()
        for rank, number in enumerate(numbers):
            device = lane_device[number]
            queue, components = self.queues[device], int(system.spells.first[device + 1] - system.spells.first[device])
            carries = len(self.idle_carries), len(self.size_carries)
            lane = Lane(self.env, number, device, device_node[device], queue, rank, components, *carries)
            lanes[device].append(lane)
            self.env.process(self.serve_batches(lane, queue) if isinstance(queue, BatchQueue) else self.serve(lane))
        return lanes

    # -- the processes ----------------------------------------------------------------------------------------

    def play(self, stream: Stream, drain_ns: int) -> Process:
        """Let the queries of `stream` arrive on schedule, then let the drain pass."""
        env = self.env
        ledger = self.ledger
        past = past_at_start(self.system.spells, self.system.device_lane, stream.lane_scores)
        for lane in chain.from_iterable(self.lanes):
            lane.past = past[lane.number, : len(lane.past)]
        arrive = self.arrive if self.client is None else self.client.arrive
        query = 0
        for chunk in stream.chunks():
            ledger.recorder.offer(chunk.arrival_ns, chunk.size, chunk.query_class)
            draws = _service_draws(chunk.service_u, self.system)
            routers = chunk.router.tolist() if len(chunk.router) else repeat(0)
            for at_ns, size, router, router_u, service_draws, ways_ns in zip(
                chunk.arrival_ns.tolist(),
                chunk.size.tolist(),
                routers,
                np.ascontiguousarray(chunk.router_u),
                draws,
                chunk.network_ns.tolist(),
                strict=False,
            ):
                yield Instant(env, at_ns - env.now, Rank.ARRIVAL)
                ledger.count()
                ledger.in_system += 1
                arrive(query, size, router, router_u, service_draws, ways_ns)
                query += 1
        yield Instant(env, stream.end_ns + drain_ns - env.now, Rank.STOP)

    def serve(self, lane: Lane) -> Process:
        """Serve parts from the lane's queue, one after the other, for ever."""
        waiting = lane.queue.waiting
        is_served = self.dispatcher.is_served
        while True:
            while not waiting or not lane.takes:
                yield from self.rest(lane)
            part = waiting.popleft()
            if is_served(part, lane):
                self.dispatcher.binder.enter_spell(part, part.size, lane)
                service_ns = self.with_aftereffects_ns(part.service_ns, lane, part.path, part.size)
                self.ledger.start((part,), lane, service_ns, part.expected_ns)
                served = yield self.work(lane, service_ns)
                lane.ended_ns = self.env.now
                if served:
                    self.complete(part, lane)

    def serve_batches(self, lane: Lane, queue: BatchQueue) -> Process:
        """Serve batches from the lane's queue, one after the other, for ever."""
        while True:
            while (line := queue.ready()) is None or not lane.takes:
                yield from self.rest(lane)
            batch: list[Part] = []
            samples = 0
            while queue.fits(line, len(batch), samples):
                part = line.popleft()
                if self.dispatcher.is_served(part, lane):
                    batch.append(part)
                    samples += part.size
            queue.wake_if_ready()
            if batch:
                service_ns, expected_ns = self.batch_times(batch, samples, lane)
                service_ns = self.with_aftereffects_ns(service_ns, lane, batch[0].path, samples)
                self.ledger.start(batch, lane, service_ns, expected_ns)
                served = yield self.work(lane, service_ns)
                lane.ended_ns = self.env.now
                if served:
                    for part in batch:
                        self.complete(part, lane)

    def rest(self, lane: Lane) -> Process:
        """Stand idle until there is work, or out of the way until the lane may take parts again."""
        if not lane.takes:
            yield lane.sleep()
            return
        self.ledger.idle_lanes[lane.device] += 1
        yield lane.rest()
        self.ledger.idle_lanes[lane.device] -= 1

    def work_undisturbed(self, _lane: Lane, service_ns: int) -> simpy.Event:
        """Return the event of the completion of service that nothing can change."""
        return Instant(self.env, service_ns, Rank.COMPLETION)

    def work_paced(self, lane: Lane, service_ns: int) -> simpy.Event:
        """Return the event of the end of service that may be slowed; its value is False if it was cut off."""
        return self.paces[lane.device].start(lane, service_ns)

    def work_watched(self, lane: Lane, service_ns: int) -> simpy.Event:
        """Return the event of the end of service, and let the scalers count the lane as busy until then."""
        event = self.undisturbed_work(lane, service_ns)
        for scaler in self.scalers:
            scaler.watch(lane, event)
        return event

    def node_loaded(self, node: int, change: int) -> None:
        """Tell the scalers that there is more or less unfinished on a node."""
        for scaler in self.scalers:
            scaler.loaded(node, change)

    def carry_out(self, faults: FaultSchedule) -> Process:
        """Let everything happen to devices that was drawn."""
        env = self.env
        availability = self.availability
        assert availability is not None
        slowdown = slowdowns(faults)
        starts = np.flatnonzero(np.diff(faults.time_ns, prepend=-1)).tolist()
        for first, end in pairwise([*starts, len(faults.time_ns)]):
            yield Instant(env, int(faults.time_ns[first]) - env.now, Rank.FAULT)
            self.ledger.count()
            availability.change(
                zip(
                    faults.device[first:end].tolist(),
                    faults.change[first:end].tolist(),
                    slowdown[first:end].tolist(),
                    strict=True,
                )
            )
            if self.remapper is not None and self.remapper.rule.on_fault:
                after(env, 0, Rank.TIMER, self.remapper.decide)

    # -- what happens to an attempt ---------------------------------------------------------------------------

    def arrive(
        self,
        query: int,
        size: int,
        router: int,
        router_u: NDArray[np.float64],
        draws: Draws,
        ways_ns: Sequence[int],
    ) -> None:
        """Send a query whose client does nothing but wait."""
        attempt = Attempt(query, size)
        attempt.router = router
        out_ns = None
        if ways_ns:
            out_ns, attempt.back_ns = ways_ns
        reason = self.dispatcher.place(attempt, router_u, draws, out_ns)
        if reason != PLACED:
            self.ledger.drop(query, reason)

    def fail(self, attempt: Attempt, reason: int) -> None:
        """Let an attempt fail that had joined its queues; parts of it that wait are left out when their turn comes."""
        attempt.dead = True
        if attempt.wanted:
            attempt.wanted = False
            if self.client is None:
                self.ledger.drop(attempt.query, reason)
            else:
                self.client.failed(attempt, reason)

    def cut(self, lane: Lane) -> None:
        """Stop what the lane serves; its parts end unserved."""
        ledger = self.ledger
        parts = lane.serving
        ledger.count()
        ledger.cut(lane)
        self.paces[lane.device].cut(lane)
        for part in parts:
            ledger.end(part, lane)

    def complete(self, part: Part, lane: Lane) -> None:
        """End the part, the attempt if it was its last part, and the query if somebody waits for the attempt."""
        ledger = self.ledger
        ledger.count()
        ledger.end(part, lane)
        attempt = part.attempt
        attempt.correct += part.size * self.accuracy[part.path]
        attempt.left -= 1
        if attempt.left or not attempt.wanted:
            return
        path, node = part.path, lane.node
        if self.system.has_network:
            after(self.env, attempt.back_ns, Rank.COMPLETION, lambda: self.answer(attempt, path, node))
        else:
            self.answer(attempt, path, node)

    def answer(self, attempt: Attempt, path: int, node: int) -> None:
        """Hand an answer to the client, if it still waits."""
        if not attempt.wanted:
            return
        self.ledger.count()
        self.ledger.answer(attempt, path)
        if self.client is not None:
            self.client.answered(attempt, node)

    def batch_times(self, batch: list[Part], samples: int, lane: Lane) -> tuple[int, int]:
        """Return the true and the expected service time of a batch that a lane begins.

        The draw is that of the first part; a batch of one part takes exactly as long as the part alone.
        """
        first = batch[0]
        if len(batch) > 1:
            self.dispatcher.binder.time(first, samples)
        self.dispatcher.binder.enter_spell(first, samples, lane)
        overhead_ns = (len(batch) - 1) * self.path_overhead_ns[first.path]
        return first.service_ns + overhead_ns, first.expected_ns + overhead_ns

    def with_aftereffects_ns(self, service_ns: int, lane: Lane, path: int, samples: int) -> int:
        """Return how long service that starts now takes, after what the lane did before, and let all this count."""
        idle_ns = self.env.now - lane.ended_ns
        for which, carry in enumerate(self.idle_carries):
            lane.idle_ns[which] = counted(idle_ns, lane.idle_ns[which], carry)
        for row in range(path, len(self.idle_carry_of), len(self.system.paths)):
            service_ns += extra_ns(lane.idle_ns[self.idle_carry_of[row]], row, samples, *self.idle_costs)
        if lane.last_size > 0:
            for which, carry in enumerate(self.size_carries):
                lane.counted_size[which] = counted(lane.last_size, lane.counted_size[which], carry)
            counts = lane.counted_size[self.size_carry_of[path]]
            service_ns += extra_ns(counts, path, samples, *self.size_costs) - self.typical_size_ns[path]
        lane.last_size = samples
        return max(service_ns, 0)

    def stop(self) -> None:
        """Settle the accounts when the clock stops."""
        ledger = self.ledger
        ledger.count()
        for queue in {id(queue): queue for queue in self.queues}.values():
            ledger.unstarted_wait_ns += sum(self.env.now - part.enqueue_ns for part in queue.waiting)
        if self.availability is not None:
            self.availability.stop()
        for scaler in self.scalers:
            scaler.stop()


def _lists(costs: Aftereffects) -> tuple[list[int], list[int], list[int], list[int]]:
    return costs.first.tolist(), costs.at.tolist(), costs.extra_ns.tolist(), costs.per_sample_ns.tolist()


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
