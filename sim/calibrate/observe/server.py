"""The dispatcher of a real server: the simulator's own dispatch, in real time, over workers instead of lanes.

Routers, policies, queues and accounts are those of `sim.engine` and `sim.serving`; what differs is where time comes
from. The dispatcher polls a clock and its workers. When it sees that a query has ended it reads the clock, deals with
every arrival that was due by then, and lets the query end at that time. So events happen in the order of their stamps,
an arrival happens at its scheduled time however late the dispatcher got to it, and a record obeys every law that a
simulated one does. What a query costs on a lane, from its arrival or from the end of the one before to the end that the
dispatcher saw, therefore holds the cost of dispatch.
"""

from __future__ import annotations

import gc
import time
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from heapq import heappush
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from sim.calibrate.observe.arrivals import NOT_YET, WITH_IT, Queries
from sim.engine.audit import InvariantError, audit
from sim.engine.binding import ChoiceSet
from sim.engine.dispatch import PLACED, Dispatcher
from sim.engine.instant import Clock
from sim.engine.ledger import Ledger
from sim.engine.record import RunRecord
from sim.engine.station import Attempt, Fifo, Lane, Queue, Sorted
from sim.serving.queueing import Order
from sim.serving.system import System

__all__ = ["Observed", "Server"]

LEAD_NS = 2_000_000
"""From the decision to begin to the first instant of a block."""

LOOK_NS = 200_000_000
"""How often the dispatcher looks whether its workers are alive."""

MEANWHILE_NS = 500_000
"""How long nothing must have happened before the dispatcher turns to something else."""

Meanwhile = Callable[[int], None]


class Answers(Protocol):
    """Where a worker leaves the news of an end, as in `sim.calibrate.observe.mailbox`."""

    @property
    def worked_ns(self) -> int: ...

    def is_done(self) -> bool: ...


class Serves(Protocol):
    """What stands for a lane, as in `sim.calibrate.observe.worker`."""

    @property
    def mailbox(self) -> Answers: ...

    def ask(self, subject: int, size: int) -> None: ...

    def check(self) -> None: ...


@dataclass(frozen=True, eq=False, slots=True)
class Observed:
    """What a block left behind.

    Attributes
    ----------
    record : RunRecord
        As the simulator's.
    lag_ns : int64, shape (queries,)
        From the scheduled arrival of each query to the end of its dispatch.
    worked_ns : int64, shape (parts,)
        How long the worker itself was at each part, in the order of the record.
    longest_gap_ns : int
        Longest time between two readings of the clock, that is, that the dispatcher stood still.
    """

    record: RunRecord
    lag_ns: NDArray[np.int64]
    worked_ns: NDArray[np.int64]
    longest_gap_ns: int


class _WallClock(Clock):
    """A clock that is told the time."""

    def tell(self, now_ns: int) -> None:
        self._now = now_ns


class _WorkerLane(Lane):
    """A lane whose parts a worker serves."""

    __slots__ = ("busy", "server", "worker")

    def __init__(
        self, server: Server, worker: Serves, number: int, device: int, node: int, queue: Queue, rank: int
    ) -> None:
        super().__init__(server.clock, number, device, node, queue, rank)
        self.server = server
        self.worker = worker
        self.busy = False

    def wake(self) -> None:
        """Take the next part of the queue, now."""
        self.resting = False
        self.server.ledger.idle_lanes[self.device] -= 1
        self.server.go_on(self)


class Server:
    """One block of a real server: its queues are empty at the start.

    Parameters
    ----------
    system : System
        The fleet; every lane has a worker.
    workers : sequence of Serves
        By lane: each a `Worker`, where it is not practice or a trial.
    subjects : sequence of int
        By path: which of the subjects of a worker serves it.
    only_lane : int, optional
        The one lane that serves; all by default.
    """

    def __init__(
        self,
        system: System,
        workers: Sequence[Serves],
        subjects: Sequence[int],
        only_lane: int | None = None,
    ) -> None:
        self.system = system
        self.subjects = list(subjects)
        self.clock = _WallClock()
        self.ledger = Ledger(system, self.clock)
        self.queues = self._queues()
        self.dispatcher = Dispatcher(system, self.clock, self.ledger, self.queues, self._fail)
        self.accuracy: list[float] = system.path_accuracy.tolist()
        self.worked_ns: array[int] = array("q")
        self.asked_path = 0
        self.origin_ns = 0
        self.longest_gap_ns = 0
        self.lanes = self._lanes(workers, only_lane)

    def _queues(self) -> list[Queue]:
        system = self.system
        devices = len(system.device_lane) - 1

        def line() -> Fifo | Sorted:
            return Fifo() if system.order == Order.FIFO else Sorted()

        if system.late_lanes is not None:
            return [Queue(system.late_limit, line())] * devices
        return [Queue(limit, line()) for limit in system.device_limit.tolist()]

    def _lanes(self, workers: Sequence[Serves], only_lane: int | None) -> list[_WorkerLane]:
        system = self.system
        lane_device = np.repeat(np.arange(len(system.device_lane) - 1), np.diff(system.device_lane)).tolist()
        device_node = np.repeat(np.arange(len(system.node_group)), np.diff(system.node_device)).tolist()
        numbers = list(range(len(lane_device))) if system.late_lanes is None else system.late_lanes.tolist()
        if only_lane is not None:
            numbers = [only_lane]
            self.dispatcher.nodes = [
                np.array([device_node[lane_device[only_lane]]], dtype=np.int64) for _ in range(system.models)
            ]
        lanes = []
        for rank, number in enumerate(numbers):
            device = lane_device[number]
            lane = _WorkerLane(self, workers[number], number, device, device_node[device], self.queues[device], rank)
            lanes.append(lane)
            self._rest(lane)
        return lanes

    def _rest(self, lane: _WorkerLane) -> None:
        self.ledger.idle_lanes[lane.device] += 1
        lane.resting = True
        heappush(lane.queue.idle, (lane.rank, lane))

    # -- a block ----------------------------------------------------------------------------------------------

    def replay(self, queries: Queries, drain_ns: int, meanwhile: Meanwhile | None = None) -> Observed:
        """Serve the queries of a block in real time; it takes as long as they do.

        Parameters
        ----------
        queries : Queries
        drain_ns : int
            How long the server goes on after the arrival period, if there is work.
        meanwhile : callable, optional
            ``meanwhile(now_ns)``, called whenever nothing has happened for `MEANWHILE_NS`.

        Returns
        -------
        Observed
            Its record obeys the laws of `sim.engine.audit`.

        Raises
        ------
        WorkerFailed
            If a worker dies.
        InvariantError
            If the record breaks a law.
        """
        count = len(queries)
        arrival_ns = list(queries.arrival_ns)
        self.ledger.recorder.offer(
            np.array(arrival_ns, dtype=np.int64),
            np.array(queries.size, dtype=np.int64),
            np.zeros(count, dtype=np.int64),
        )
        if queries.path is not None:
            self.ask_paths()
        lag_ns: array[int] = array("q")
        collects = gc.isenabled()
        gc.collect()
        gc.disable()
        try:
            end_ns = self._loop(queries, arrival_ns, lag_ns, drain_ns, meanwhile)
        finally:
            if collects:
                gc.enable()
        return self._settle(end_ns, drain_ns, np.array(lag_ns, dtype=np.int64))

    def _loop(
        self,
        queries: Queries,
        arrival_ns: list[int],
        lag_ns: array[int],
        drain_ns: int,
        meanwhile: Meanwhile | None,
    ) -> int:
        """Go on until everything is done or the drain is over; return the end of the arrival period."""
        read = time.monotonic_ns
        clock, ledger = self.clock, self.ledger
        recorded = ledger.recorder.arrival_ns
        paths = queries.path
        count, arrived, last_ended = len(arrival_ns), 0, 0
        looked_ns = read()
        origin = self.origin_ns = looked_ns + LEAD_NS
        stop_ns = NOT_YET if queries.end_ns is None else queries.end_ns + drain_ns
        lanes = self.lanes
        before_ns = quiet_ns = -LEAD_NS
        while True:
            ended = None
            for lane in lanes:
                if lane.busy and lane.worker.mailbox.is_done():
                    ended = lane
                    break
            now_ns = read() - origin
            if now_ns - before_ns > self.longest_gap_ns:
                self.longest_gap_ns = now_ns - before_ns
            before_ns = now_ns
            while arrived < count and arrival_ns[arrived] <= now_ns:
                at_ns = arrival_ns[arrived]
                clock.tell(at_ns)
                if paths is not None:
                    self.asked_path = paths[arrived]
                self.arrive(arrived, queries.size[arrived], queries.router_u[arrived])
                lag_ns.append(read() - origin - at_ns)
                arrived += 1
                quiet_ns = now_ns
            if now_ns > stop_ns:
                break
            if ended is not None:
                clock.tell(now_ns)
                self.complete(ended)
                last_ended = quiet_ns = now_ns
                if arrived < count and arrival_ns[arrived] == NOT_YET and ledger.in_system <= queries.most_left:
                    at_ns = now_ns + queries.pause_ns[arrived]
                    arrival_ns[arrived] = recorded[arrived] = at_ns
                    together = arrived + 1
                    while together < count and queries.pause_ns[together] == WITH_IT:
                        arrival_ns[together] = recorded[together] = at_ns
                        together += 1
            elif arrived == count and not ledger.in_system:
                break
            elif meanwhile is not None and now_ns - quiet_ns > MEANWHILE_NS:
                meanwhile(now_ns)
                quiet_ns = now_ns
            if now_ns + origin - looked_ns > LOOK_NS:
                looked_ns = now_ns + origin
                for lane in lanes:
                    lane.worker.check()
        if queries.end_ns is not None:
            return queries.end_ns
        return max(last_ended, arrival_ns[-1]) if count else 0

    def _settle(self, end_ns: int, drain_ns: int, lag_ns: NDArray[np.int64]) -> Observed:
        """Wait for what workers are still at, and close the accounts as of the end of the drain."""
        stop_ns = end_ns + drain_ns
        ledger = self.ledger
        for lane in self.lanes:
            while lane.busy and not lane.worker.mailbox.is_done():
                lane.worker.check()
            if lane.busy:
                # It ends after the clock has stopped: the part's time is known, the query stays in flight.
                finish_ns = max(stop_ns, time.monotonic_ns() - self.origin_ns)
                ledger.retime(lane, finish_ns)
                self.worked_ns[lane.first_record] = lane.worker.mailbox.worked_ns
        self.clock.tell(stop_ns)
        ledger.count()
        for queue in {id(queue): queue for queue in self.queues}.values():
            ledger.unstarted_wait_ns += sum(stop_ns - part.enqueue_ns for part in queue.waiting)
        record = ledger.recorder.record(
            class_sla_ns=self.system.class_sla_ns,
            end_ns=end_ns,
            stop_ns=stop_ns,
            in_system_integral=ledger.in_system_integral,
            waiting_integral=ledger.waiting_integral,
            unstarted_wait_ns=ledger.unstarted_wait_ns,
        )
        broken = audit(record, self.system)
        if broken:
            raise InvariantError("; ".join(broken))
        return Observed(record, lag_ns, np.array(self.worked_ns, dtype=np.int64), self.longest_gap_ns)

    def ask_paths(self) -> None:
        """Let the policy be asked as ever, and take the path that the query names instead of its pick."""
        binder = self.dispatcher.binder
        chosen = binder.pick

        def pick(choice: ChoiceSet, node: int, size: int, time_left_ns: int, query_class: int) -> int:
            chosen(choice, node, size, time_left_ns, query_class)
            return self.asked_path - choice.first

        binder.pick = pick  # type: ignore[method-assign]

    # -- what happens to a query ------------------------------------------------------------------------------

    def arrive(self, query: int, size: int, router_u: NDArray[np.float64]) -> None:
        """Let a query arrive, as of the time that the clock was told."""
        self.ledger.count()
        self.ledger.in_system += 1
        attempt = Attempt(query, size)
        units = (1.0,) * len(self.system.services.units)
        # The draw of the service time that a simulated lane would take; a worker takes what it takes.
        reason = self.dispatcher.place(attempt, router_u, [(0.5, units)])
        if reason != PLACED:
            self.ledger.drop(query, reason)

    def go_on(self, lane: _WorkerLane) -> None:
        """Let a free lane take the next part of its queue that is worth serving, or rest."""
        waiting = lane.queue.waiting
        while waiting:
            part = waiting.popleft()
            if self.dispatcher.is_served(part, lane):
                lane.busy = True
                lane.worker.ask(self.subjects[part.path], part.size)
                self.ledger.start((part,), lane, 0, part.expected_ns)
                self.worked_ns.append(0)
                return
        self._rest(lane)

    def complete(self, lane: _WorkerLane) -> None:
        """End the part of a lane, and its query if it was the last part; then let the lane go on."""
        ledger = self.ledger
        ledger.count()
        ledger.retime(lane, self.clock.now)
        self.worked_ns[lane.first_record] = lane.worker.mailbox.worked_ns
        (part,) = lane.serving
        ledger.end(part, lane)
        lane.busy = False
        attempt = part.attempt
        attempt.correct += part.size * self.accuracy[part.path]
        attempt.left -= 1
        if not attempt.left:
            if attempt.wanted:
                ledger.answer(attempt, part.path)
            # A part and its attempt name each other, and nothing collects cycles during a block.
            attempt.parts.clear()
        self.go_on(lane)

    def _fail(self, attempt: Attempt, reason: int) -> None:
        attempt.dead = True
        if attempt.wanted:
            attempt.wanted = False
            self.ledger.drop(attempt.query, reason)
