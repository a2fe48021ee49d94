"""The accounts of a replication: what is where at this instant, and the integrals of it over time.

Every change of the state that routers and policies read goes through here, and so does every record of a part.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from sim.engine.instant import Clock
from sim.engine.knowledge import DelayedState, FollowedArray
from sim.engine.recorder import Recorder
from sim.engine.station import Attempt, Lane, Part
from sim.serving.state import State
from sim.serving.system import System

__all__ = ["Ledger"]


class Ledger:
    """Counts queries, parts and lanes event by event.

    Attributes
    ----------
    recorder : Recorder
    state : State
        The true state of queues and lanes.
    delayed : DelayedState or None
        The state that routers see, where it is not the true one.
    by_router : list of State
        What each of several routers sees, its own queries alone; empty where there is one.
    loaded : callable or None
        ``loaded(node, change)`` is told when there is more or less unfinished on a node.
    ended, in_time : int
        Queries that have ended, and those of them that were served within their SLA.
    in_system, waiting : int
        Queries that were offered and have not ended; parts that wait.
    in_system_integral, waiting_integral : int
        Their integrals over time, up to the last `count`.
    unstarted_wait_ns : int
        Total wait of the parts that never started.
    """

    def __init__(self, system: System, env: Clock) -> None:
        self.env = env
        self.class_sla_ns: list[int] = system.class_sla_ns.tolist()
        self.recorder = Recorder()
        self.state = State.empty(system)
        delay_ns = system.knowledge_delay_ns
        self.delayed = DelayedState(system, env, delay_ns, self.state) if delay_ns else None
        # Lanes report themselves idle when their processes start.
        self.state.idle_lanes[:] = 0
        self.idle_lanes = self._array("idle_lanes")
        self.waiting_parts = self._array("waiting_parts")
        self.waiting_work_ns = self._array("waiting_work_ns")
        self.lane_until_ns = self._array("lane_until_ns")
        self.unfinished_parts = self._array("unfinished_parts")
        self.by_router = [State.empty(system) for _ in range(system.routers)] if system.routers > 1 else []
        self.late = system.late_lanes is not None
        self.served = 0
        self.loaded: Callable[[int, int], None] | None = None
        self.ended = 0
        self.in_time = 0
        self.in_system = 0
        self.waiting = 0
        self.in_system_integral = 0
        self.waiting_integral = 0
        self.unstarted_wait_ns = 0
        self.counted_ns = 0

    def _array(self, name: str) -> memoryview | FollowedArray:
        """Return an array of the state to change; routers follow it late where their knowledge is old."""
        # A view of the array that compiled functions read: an element costs a third of what it costs through numpy.
        true = memoryview(getattr(self.state, name).data)
        return true if self.delayed is None else self.delayed.follow(true, name)

    def count(self) -> None:
        """Bring the integrals up to now; to be called before anything of this instant changes."""
        now = self.env.now
        elapsed_ns = now - self.counted_ns
        if elapsed_ns:
            self.in_system_integral += elapsed_ns * self.in_system
            self.waiting_integral += elapsed_ns * self.waiting
            self.counted_ns = now

    def deadline_ns(self, query: int) -> int:
        """Return when the query has to be served by."""
        recorder = self.recorder
        return recorder.arrival_ns[query] + self.class_sla_ns[recorder.query_class[query]]

    # -- queries --------------------------------------------------------------------------------------------

    def drop(self, query: int, reason: int) -> None:
        """End a query that is not served."""
        self.recorder.drop(query, reason, self.env.now)
        self.in_system -= 1
        self.ended += 1

    def answer(self, attempt: Attempt, path: int) -> None:
        """End the query of an attempt that is served, by a last part on `path`."""
        recorder = self.recorder
        query = attempt.query
        self.in_system -= 1
        self.ended += 1
        if self.env.now <= self.deadline_ns(query):
            self.in_time += 1
        recorder.finish_ns[query] = self.env.now
        recorder.path[query] = path
        recorder.correct[query] = attempt.correct
        recorder.answered_by[query] = attempt.number

    # -- parts ----------------------------------------------------------------------------------------------

    def load(self, attempt: Attempt, node: int, change: int) -> None:
        """Count what was sent to a node and has not finished, as it is and as the attempt's router sees it."""
        self.unfinished_parts[node] += change
        if self.loaded is not None:
            self.loaded(node, change)
        if self.by_router:
            self.by_router[attempt.router].unfinished_parts[node] += change

    def join(self, part: Part, node: int) -> None:
        """Count a part into the queue of its device, on `node`."""
        part.queued = True
        device = part.device
        self.waiting += 1
        self.waiting_parts[device] += 1
        self.waiting_work_ns[device] += part.expected_ns
        self.load(part.attempt, node, 1)

    def join_centrally(self, part: Part) -> None:
        """Count a part into the central queue."""
        part.queued = True
        self.waiting += 1

    def leave(self, part: Part) -> None:
        """Count a part out of its queue."""
        part.queued = False
        self.waiting -= 1
        if not self.late:
            device = part.device
            self.waiting_parts[device] -= 1
            self.waiting_work_ns[device] -= part.expected_ns

    def lose(self, part: Part) -> None:
        """Count out a part that has left its queue and will never start."""
        self.unstarted_wait_ns += self.env.now - part.enqueue_ns
        if not self.late:
            self.load(part.attempt, part.attempt.node, -1)

    def start(self, parts: Sequence[Part], lane: Lane, service_ns: int, expected_ns: int) -> None:
        """Start parts together on the lane."""
        now = self.env.now
        self.lane_until_ns[lane.number] = now + expected_ns
        recorder = self.recorder
        lane.serving = parts
        lane.first_record = len(recorder.part_query)
        for part in parts:
            part.lane = lane
            recorder.start_part(part, lane.number, now, now + service_ns, self.served)
        self.served += 1

    def end(self, part: Part, lane: Lane) -> None:
        """Count a part out of the lane that served it, or that was cut off while it did."""
        part.lane = None
        # It may have been expected to take longer.
        self.lane_until_ns[lane.number] = self.env.now
        self.load(part.attempt, lane.node, -1)

    def cut(self, lane: Lane) -> None:
        """Record that the lane stops now what it serves; its parts are still to be ended."""
        now = self.env.now
        for record in range(lane.first_record, lane.first_record + len(lane.serving)):
            self.recorder.cut_part(record, now)
        self.lane_until_ns[lane.number] = now

    def retime(self, lane: Lane, finish_ns: int) -> None:
        """Record that what the lane serves will finish at another time than was thought."""
        for record in range(lane.first_record, lane.first_record + len(lane.serving)):
            self.recorder.part_finish_ns[record] = finish_ns
