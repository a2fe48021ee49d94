"""The system of the benchmark as one would write it by hand in SimPy: a process and a Store a device.

It draws nothing: it takes the same queries as the engine, and gives the same finish times.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Sequence
from typing import Any

import simpy

from benchmarks.plain_dispatch import Dispatcher, Queries, Record

__all__ = ["PlainModel", "TunedModel"]

Process = Generator[simpy.Event, Any, None]
Job = tuple[int, int, int, int, int]
"""Query, arrival, size, path and service time."""


class PlainModel:
    """A process and a Store a device."""

    def __init__(self, dispatcher: Dispatcher, choose_node: Callable[[Sequence[float]], int]) -> None:
        self.env = simpy.Environment()
        self.dispatcher = dispatcher
        self.choose_node = choose_node
        self.records: list[Record] = []
        self.build(dispatcher.nodes * dispatcher.devices)

    def build(self, devices: int) -> None:
        self.stores = [simpy.Store(self.env) for _ in range(devices)]
        for device in range(devices):
            self.env.process(self.serve(device))

    def put(self, device: int, job: Job) -> None:
        self.stores[device].put(job)

    def serve(self, device: int) -> Process:
        env, store, dispatcher = self.env, self.stores[device], self.dispatcher
        while True:
            query, arrival, size, path, service = yield store.get()
            start = env.now
            dispatcher.starts(device, start, service)
            yield env.timeout(service)
            dispatcher.ends(device)
            self.records.append((query, arrival, size, start, env.now, path))

    def arrive(self, queries: Queries) -> Process:
        env, dispatcher, choose_node, put = self.env, self.dispatcher, self.choose_node, self.put
        for query, (at, size, draws) in enumerate(queries):
            yield env.timeout(at - env.now)
            # Whatever else happens in this nanosecond goes before an arrival.
            while env.peek() == at:
                yield env.timeout(0)
            device, path, service = dispatcher.place(choose_node(draws), size, at)
            put(device, (query, at, size, path, service))

    def run(self, queries: Queries) -> list[Record]:
        """Serve the queries."""
        self.env.process(self.arrive(queries))
        self.env.run()
        return self.records


class TunedModel(PlainModel):
    """The same with a plain deque instead of the Store, and an event for a device that has nothing to do."""

    def build(self, devices: int) -> None:
        self.waiting: list[deque[Job]] = [deque() for _ in range(devices)]
        self.idle: list[simpy.Event | None] = [None] * devices
        for device in range(devices):
            self.env.process(self.serve(device))

    def put(self, device: int, job: Job) -> None:
        self.waiting[device].append(job)
        idle = self.idle[device]
        if idle is not None:
            self.idle[device] = None
            idle.succeed()

    def serve(self, device: int) -> Process:
        env, waiting, dispatcher = self.env, self.waiting[device], self.dispatcher
        while True:
            if not waiting:
                self.idle[device] = idle = env.event()
                yield idle
            query, arrival, size, path, service = waiting.popleft()
            start = env.now
            dispatcher.starts(device, start, service)
            yield env.timeout(service)
            dispatcher.ends(device)
            self.records.append((query, arrival, size, start, env.now, path))
