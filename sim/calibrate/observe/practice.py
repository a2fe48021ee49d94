"""What the dispatcher does while nothing happens: it dispatches queries that nobody asked, to stay quick.

A core that polls a few numbers for milliseconds loses the code and the data of dispatch from its caches to whoever
shares them, and now and then the next dispatch takes ten times as long as the last one. That would be observed of the
dispatcher, where the workers are to be observed. So between events it goes through the same steps in accounts of its
own, with workers that answer at once; nothing of that reaches the accounts of the block. A query that comes meanwhile
waits for the end of the step, which takes about as long as a dispatch. Now and then the dispatcher looks at the clock
of its core instead.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from sim.calibrate.observe.arrivals import Queries
from sim.calibrate.observe.server import Server
from sim.engine.recorder import Recorder
from sim.serving.system import System

__all__ = ["Practice"]

STEPS_OF_ACCOUNTS = 4096
"""Steps after which the accounts begin anew: they grow by each step, however long the block is."""


class Practice:
    """Dispatches the queries of a block over and over, between the events of that block.

    Parameters
    ----------
    system : System
    subjects : sequence of int
        As of the `Server` that is to stay quick.
    queries : Queries
        Those of the block; their arrivals do not matter.
    only_lane : int, optional
        As of the `Server`.
    glance : callable, optional
        Called before each step, which is left out where it returns True: it took about as long.

    Attributes
    ----------
    done : int
        How many steps were taken.
    """

    def __init__(
        self,
        system: System,
        subjects: Sequence[int],
        queries: Queries,
        only_lane: int | None = None,
        glance: Callable[[], bool] = lambda: False,
    ) -> None:
        lanes = int(system.device_lane[-1])
        self.server = Server(system, [_AtOnce() for _ in range(lanes)], subjects, only_lane)
        self.queries = queries
        self.glance = glance
        self.done = 0
        if queries.path is not None:
            self.server.ask_paths()

    def step(self, now_ns: int) -> None:
        """Let one query arrive and end, as of a time that never goes back."""
        server, queries = self.server, self.queries
        if self.glance() or not len(queries):
            return
        query, asked = self.done % STEPS_OF_ACCOUNTS, self.done % len(queries)
        if not query:
            self._begin_anew(asked)
        if queries.path is not None:
            server.asked_path = queries.path[asked]
        server.clock.tell(now_ns)
        server.ledger.recorder.arrival_ns[query] = now_ns
        server.arrive(query, queries.size[asked], queries.router_u[asked])
        self.done += 1
        while any(lane.busy for lane in server.lanes):
            for lane in server.lanes:
                if lane.busy:
                    server.complete(lane)

    def _begin_anew(self, first: int) -> None:
        """Forget what was recorded, and tell of the queries that come next."""
        server = self.server
        server.ledger.recorder = Recorder()
        del server.worked_ns[:]
        sizes = np.resize(np.roll(self.queries.size, -first), STEPS_OF_ACCOUNTS)
        nothing = np.zeros(STEPS_OF_ACCOUNTS, dtype=np.int64)
        server.ledger.recorder.offer(nothing, sizes, nothing)


class _AtOnce:
    """Stands for a worker and its mailbox, and has answered whatever it was asked."""

    worked_ns = 0

    def __init__(self) -> None:
        self.mailbox = self

    def is_done(self) -> bool:
        return True

    def ask(self, subject: int, size: int) -> None:
        pass

    def check(self) -> None:
        pass
