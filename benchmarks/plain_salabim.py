"""The system of the benchmark as one would write it by hand in salabim: a component a device, nothing monitored."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Sequence
from typing import Any

import salabim

from benchmarks.plain_dispatch import Dispatcher, Queries, Record

__all__ = ["Device", "LeanDevice", "run"]

ARRIVAL = 1
"""Priority of arrivals; whatever else happens in the same nanosecond has priority 0 and goes before them."""

Process = Generator[Any, Any, None]
Job = tuple[int, int, int, int, int]
"""Query, arrival, size, path and service time."""


class Query(salabim.Component):  # type: ignore[misc]
    """A query: a component without a process, which is what salabim's queues hold."""

    def setup(self, job: Job) -> None:
        self.job = job


class Device(salabim.Component):  # type: ignore[misc]
    """A device with its queue."""

    def setup(self, number: int, dispatcher: Dispatcher, records: list[Record]) -> None:
        self.number = number
        self.dispatcher = dispatcher
        self.records = records
        self.status.monitor(False)
        self.mode.monitor(False)
        self.build()

    def build(self) -> None:
        self.waiting: Any = salabim.Queue(monitor=False)

    def put(self, job: Job) -> None:
        Query(job=job).enter(self.waiting)

    def take(self) -> Job:
        job: Job = self.waiting.pop().job
        return job

    def process(self) -> Process:
        env, dispatcher, number, records = self.env, self.dispatcher, self.number, self.records
        while True:
            while not self.waiting:
                yield self.passivate()
            query, arrival, size, path, service = self.take()
            start = env.now()
            dispatcher.starts(number, start, service)
            yield self.hold(service)
            dispatcher.ends(number)
            records.append((query, arrival, size, start, env.now(), path))


class LeanDevice(Device):
    """The same with a plain deque of tuples: to create a component for every query costs many times the rest."""

    def build(self) -> None:
        self.waiting = deque()

    def put(self, job: Job) -> None:
        self.waiting.append(job)

    def take(self) -> Job:
        job: Job = self.waiting.popleft()
        return job


class Source(salabim.Component):  # type: ignore[misc]
    """Lets the queries arrive."""

    def process(
        self,
        queries: Queries,
        dispatcher: Dispatcher,
        choose_node: Callable[[Sequence[float]], int],
        fleet: Sequence[Device],
    ) -> Process:
        for query, (at, size, draws) in enumerate(queries):
            yield self.hold(till=at, priority=ARRIVAL)
            number, path, service = dispatcher.place(choose_node(draws), size, at)
            device = fleet[number]
            device.put((query, at, size, path, service))
            if device.ispassive():
                device.activate()


def run(
    dispatcher: Dispatcher,
    choose_node: Callable[[Sequence[float]], int],
    queries: Queries,
    device_class: type[Device] = Device,
) -> list[Record]:
    """Serve the queries.

    The clock is salabim's, a float: it holds whole nanoseconds exactly. Processes are generators; as greenlets
    (``yieldless=True``) they need another package.
    """
    env = salabim.Environment(trace=False, yieldless=False, random_seed="")
    records: list[Record] = []
    devices = dispatcher.nodes * dispatcher.devices
    fleet = [device_class(number=number, dispatcher=dispatcher, records=records) for number in range(devices)]
    Source(queries=queries, dispatcher=dispatcher, choose_node=choose_node, fleet=fleet)
    env.run()
    return records
