"""Sources that lanes load in processes of their own, for tests."""

from __future__ import annotations

import os
import time
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sim.calibrate.measure.subject import Served, Subjects


@dataclass
class Echo:
    """Serves in no time and says in its stages on which cores, and how often it served before."""

    lane: int
    stages: tuple[str, ...] = ("table", "top MLP")
    apart: tuple[str, ...] = ("encoder cache",)
    served: int = 0

    def renew(self, block: int) -> None:
        if block == 99:
            raise RuntimeError("no block 99 here")
        if block == 98 and self.lane == 1:
            os._exit(3)

    def take(self, size: int) -> Any:
        return size

    def serve(self, inputs: Any) -> Served:
        self.served += 1
        if self.lane == 1:
            time.sleep(0.002)
        return Served(inputs, (sum(1 << core for core in os.sched_getaffinity(0)), self.served))

    def time_apart(self, inputs: Any) -> list[int]:
        return [7]


class Cyclic(Echo):
    """Refers to itself, as models do."""

    alive: weakref.ref[Cyclic] | None = None

    def __init__(self, lane: int) -> None:
        super().__init__(lane)
        self.myself = self
        Cyclic.alive = weakref.ref(self)


@dataclass(frozen=True)
class OneAtATime:
    """Has no room for what it loads beside what it loaded before."""

    def load(self, representations: Sequence[str], lane: int) -> Subjects:
        if Cyclic.alive is not None and Cyclic.alive() is not None:
            raise MemoryError("there is another one")
        return {name: Cyclic(lane) for name in representations}


@dataclass(frozen=True)
class EchoSource:
    def load(self, representations: Sequence[str], lane: int) -> Subjects:
        return {name: Echo(lane) for name in representations}
