"""The system of the speed benchmark as one would write it by hand in SimPy: a process and a Store a device.

MP-Rec over the paths of a node, the node by least backlog, service by look-up. It draws nothing: it takes the same
queries as the engine, and gives the same finish times.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Generator, Sequence
from dataclasses import dataclass

import simpy


@dataclass
class Path:
    device: int
    accuracy: float
    sizes: Sequence[float]
    times_ns: Sequence[float]

    def service_ns(self, size: int) -> int:
        i = min(max(bisect_right(self.sizes, size) - 1, 0), len(self.sizes) - 2)
        low, high = self.sizes[i], self.sizes[i + 1]
        weight = (size - low) / (high - low)
        return round(self.times_ns[i] + weight * (self.times_ns[i + 1] - self.times_ns[i]))


class PlainModel:
    def __init__(self, nodes: int, paths: Sequence[Path], devices: int, sla_ns: int) -> None:
        self.env = simpy.Environment()
        self.nodes = nodes
        self.paths = paths
        self.devices = devices
        self.sla_ns = sla_ns
        count = nodes * devices
        self.stores = [simpy.Store(self.env) for _ in range(count)]
        self.backlog_ns = [0] * count
        self.busy_until = [0] * count
        self.unfinished = [0] * nodes
        self.records: list[tuple[int, int, int, int, int]] = []
        for device in range(count):
            self.env.process(self.serve(device))

    def serve(self, device: int) -> Generator[simpy.Event, None, None]:
        store = self.stores[device]
        while True:
            query, arrival, path, service = yield store.get()
            self.backlog_ns[device] -= service
            start = self.env.now
            self.busy_until[device] = start + service
            yield self.env.timeout(service)
            self.unfinished[device // self.devices] -= 1
            self.records.append((query, arrival, start, self.env.now, path))

    def arrive(self, arrivals: Sequence[int], sizes: Sequence[int]) -> Generator[simpy.Event, None, None]:
        env = self.env
        for query, (at, size) in enumerate(zip(arrivals, sizes, strict=True)):
            yield env.timeout(at - env.now)
            now = env.now
            node = min(range(self.nodes), key=self.unfinished.__getitem__)
            best = fastest = -1
            best_ns = fastest_ns = 0
            for i, path in enumerate(self.paths):
                device = node * self.devices + path.device
                wait = max(self.busy_until[device] - now, 0) + self.backlog_ns[device]
                service = path.service_ns(size)
                completion = wait + service
                if fastest < 0 or completion < fastest_ns:
                    fastest, fastest_ns, fastest_service = i, completion, service
                if completion <= self.sla_ns and (
                    best < 0
                    or path.accuracy > self.paths[best].accuracy
                    or (path.accuracy == self.paths[best].accuracy and completion < best_ns)
                ):
                    best, best_ns, best_service = i, completion, service
            if best < 0:
                best, best_service = fastest, fastest_service
            device = node * self.devices + self.paths[best].device
            self.unfinished[node] += 1
            self.backlog_ns[device] += best_service
            self.stores[device].put((query, now, best, best_service))

    def run(self, arrivals: Sequence[int], sizes: Sequence[int]) -> list[tuple[int, int, int, int, int]]:
        self.env.process(self.arrive(arrivals, sizes))
        self.env.run()
        return sorted(self.records)
