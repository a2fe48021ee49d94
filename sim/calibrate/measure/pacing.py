"""Gaps between queries: none (back-to-back), or as a server has them at some load, asleep or polling."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from sim.workload.streams import Stream, open_stream

__all__ = ["Pacing", "Waiting", "WaitingStyle"]

WaitingStyle: TypeAlias = Literal["poll", "block"]


@dataclass(frozen=True, slots=True)
class Waiting:
    """How a lane waits for its next query.

    Attributes
    ----------
    style : {"poll", "block"}
        "poll" looks at the clock until the time has come; "block" sleeps, so that the core may sleep too.
    load : float
        Share of time in service, in (0, 1]; 1 is back-to-back.
    """

    style: WaitingStyle = "poll"
    load: float = 1.0


@dataclass
class Pacing:
    """Waits before a query as long as an M/G/1 server is idle, on average, for each query that it serves.

    Gaps are exponential, of mean ``usual (1 - load) / load``, drawn from a stream of the lane.
    """

    waiting: Waiting
    seed: int
    lane: int
    block: int
    clock: Callable[[], int] = time.perf_counter_ns
    sleep: Callable[[float], None] = time.sleep
    _gaps: Stream = field(init=False)

    def __post_init__(self) -> None:
        # Blocks count from -1 (the pilot); replications of a stream from 0.
        self._gaps = open_stream(self.seed, f"measured gaps of lane {self.lane}", self.block + 1)

    def wait(self, usual_ns: int) -> None:
        """Wait before a query that takes `usual_ns`; not at all where that is not known yet."""
        load = self.waiting.load
        if load >= 1.0 or usual_ns <= 0:
            return
        gap_ns = -math.log(float(self._gaps.uniforms(1)[0])) * usual_ns * (1.0 - load) / load
        if self.waiting.style == "block":
            self.sleep(gap_ns / 1e9)
            return
        until = self.clock() + gap_ns
        while self.clock() < until:
            pass
