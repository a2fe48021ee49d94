"""Availability: which devices are up and open, and what becomes of the work on a device that goes down.

A device is *down* while a fault or a maintenance has it: it serves nothing, and what was there fails. It is *closed*
while it drains: it takes no new attempts and serves what it has. Faults may overlap, so both are counted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import pairwise

import numpy as np

from sim.engine.dispatch import Dispatcher
from sim.engine.instant import Clock
from sim.engine.ledger import Ledger
from sim.engine.pace import Pace
from sim.engine.record import Span
from sim.engine.station import Attempt, Lane
from sim.serving.clients import DropReason
from sim.serving.faults import Change
from sim.serving.system import System

__all__ = ["Availability"]

FAULT = int(DropReason.FAULT)


class Availability:
    """Keeps account of devices that are down, closed or slow.

    Parameters
    ----------
    system : System
    env : Clock
    ledger : Ledger
    dispatcher : Dispatcher
        Told which nodes and paths are in use.
    lanes : list of list of Lane
        The lanes of every device.
    paces : list of Pace
        By device.
    cut : callable
        ``cut(lane)`` stops what the lane serves.
    fail : callable
        ``fail(attempt, reason)``.

    Attributes
    ----------
    held_paths : bool[node paths]
        Which of its paths each node holds; to be followed by `refresh` where it is changed.
    """

    def __init__(
        self,
        system: System,
        env: Clock,
        ledger: Ledger,
        dispatcher: Dispatcher,
        lanes: list[list[Lane]],
        paces: list[Pace],
        cut: Callable[[Lane], None],
        fail: Callable[[Attempt, int], None],
    ) -> None:
        self.system = system
        self.env = env
        self.ledger = ledger
        self.dispatcher = dispatcher
        self.lanes = lanes
        self.paces = paces
        self.cut = cut
        self.fail = fail
        devices = len(lanes)
        self.downs = [0] * devices
        self.closes = [0] * devices
        self.since_ns: dict[tuple[int, int], int] = {}
        self.device_node: list[int] = np.repeat(np.arange(len(system.node_group)), np.diff(system.node_device)).tolist()
        self.held_paths = np.ones(int(system.node_path[-1]), dtype=np.bool_)
        self.routable = np.zeros((system.models, len(system.node_group)), dtype=np.bool_)
        for model, nodes in enumerate(system.serving_nodes):
            self.routable[model][nodes] = True

    def change(self, rows: Iterable[tuple[int, int, float]]) -> None:
        """Carry out everything that happens to devices at this instant.

        `rows` are (device, `Change`, slowdown after it).

        First every device is marked, so that nothing is sent from one that goes down to another that does at the same
        instant. Then what was on devices that went down fails, device by device: what their lanes serve, lane by lane,
        then what waits, in the queue's order. Then lanes of devices that came back go on.
        """
        touched: dict[int, tuple[bool, bool]] = {}
        for device, change, slowdown in rows:
            touched.setdefault(device, (not self.downs[device], not self.closes[device]))
            if change in (Change.DOWN, Change.UP):
                self.downs[device] += 1 if change == Change.DOWN else -1
            elif change in (Change.CLOSE, Change.OPEN):
                self.closes[device] += 1 if change == Change.CLOSE else -1
            else:
                self.paces[device].slow(slowdown)
        for device, (was_up, was_open) in touched.items():
            self.note(device, Span.DOWN, was_up, not self.downs[device])
            self.note(device, Span.CLOSED, was_open, not self.closes[device])
        self.refresh(touched)
        for device, (was_up, _) in touched.items():
            if was_up and self.downs[device]:
                self.evict(device)
        for device in touched:
            self.set_lanes(device)

    def note(self, device: int, kind: Span, was: bool, now: bool) -> None:
        """Record how long a device was down or closed, once that is over."""
        if was and not now:
            self.since_ns[device, kind] = self.env.now
        elif now and not was:
            self.ledger.recorder.add_span(device, kind, self.since_ns.pop((device, kind)), self.env.now)

    def is_open(self, device: int) -> bool:
        """Whether the device takes new attempts."""
        return not self.downs[device] and not self.closes[device]

    def refresh(self, devices: Iterable[int]) -> None:
        """Tell the dispatcher which nodes and paths are in use, after changes to these devices."""
        system = self.system
        dispatcher = self.dispatcher
        usable = dispatcher.binder.state.usable_paths
        for node in sorted({self.device_node[device] for device in devices}):
            group = int(system.node_group[node])
            bounds = system.group_path[group * system.models : (group + 1) * system.models + 1].tolist()
            first, end = bounds[0], bounds[-1]
            place = int(system.node_path[node])
            held: list[bool] = self.held_paths[place : place + end - first].tolist()
            opened = [
                held[path - first] and self.is_open(int(system.node_device[node]) + dispatcher.path_slot[path])
                for path in range(first, end)
            ]
            usable[place : place + len(opened)] = opened
            for model, (begin, stop) in enumerate(pairwise(bounds)):
                self.routable[model][node] = any(opened[begin - first : stop - first])
            if all(opened):
                dispatcher.binder.restricted.discard(node)
            else:
                dispatcher.binder.restricted.add(node)
        dispatcher.nodes = [
            nodes[routable[nodes]] for nodes, routable in zip(system.serving_nodes, self.routable, strict=True)
        ]

    def evict(self, device: int) -> None:
        """Let everything fail that is on a device which went down."""
        ledger = self.ledger
        for lane in self.lanes[device]:
            parts = lane.serving
            if parts:
                self.cut(lane)
                for part in parts:
                    self.fail_whole(part.attempt)
        if ledger.late:
            return
        queue = self.dispatcher.queues[device]
        for part in list(queue.waiting):
            if part.queued:  # It may have left with another part of its attempt.
                queue.waiting.remove(part)
                ledger.leave(part)
                ledger.lose(part)
                self.fail_whole(part.attempt)

    def fail_whole(self, attempt: Attempt) -> None:
        """Let an attempt fail, and what waits of it elsewhere leave its queues; what is in service runs on."""
        self.dispatcher.withdraw(attempt)
        self.fail(attempt, FAULT)

    def set_lanes(self, device: int) -> None:
        """Let the lanes of a device stop taking parts, or take them again."""
        # Under early binding a closed device still serves what waits in its own queue.
        takes = self.is_open(device) if self.ledger.late else not self.downs[device]
        for lane in self.lanes[device]:
            if lane.takes != takes:
                lane.takes = takes
                if lane.resting:
                    lane.queue.retire(lane)
                    lane.wake()

    def stop(self) -> None:
        """Record what is still down or closed when the clock stops."""
        for (device, kind), since_ns in self.since_ns.items():
            self.ledger.recorder.add_span(device, kind, since_ns, self.env.now)
