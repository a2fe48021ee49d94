"""Dispatch: an attempt finds its node, its path and its queue, and a part its worth when a lane would take it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from sim.engine.binding import NO_USABLE_PATH, Binder
from sim.engine.instant import Clock, Rank, after
from sim.engine.ledger import Ledger
from sim.engine.station import Attempt, Lane, Part, Queue
from sim.serving.clients import DropReason
from sim.serving.policies.base import DROP
from sim.serving.queueing import Order, Shed, order_key, sheds
from sim.serving.routers import ROUTERS, Route
from sim.serving.splitting import part_sizes
from sim.serving.system import System

__all__ = ["PLACED", "Dispatcher", "Draws"]

Draws = list[tuple[float, Sequence[float]]]
"""Service draw and unit multipliers of each part of an attempt."""

QUEUE_FULL, BY_POLICY, PAST_DEADLINE = int(DropReason.QUEUE_FULL), int(DropReason.POLICY), int(DropReason.DEADLINE)
UNAVAILABLE = int(DropReason.UNAVAILABLE)
PLACED = -1
"""Returned where an attempt has joined its queues, instead of why it did not."""


class Dispatcher:
    """Places attempts in queues, and decides what becomes of a part whose turn has come.

    Parameters
    ----------
    system : System
    env : Clock
    ledger : Ledger
    queues : list of Queue
        By device; one and the same for all under late binding.
    fail : callable
        ``fail(attempt, reason)``: an attempt that had joined its queues is not served.

    Attributes
    ----------
    nodes : list of int64[nodes]
        By model: the nodes that take new attempts.
    place : callable
        ``place(attempt, router_u, draws, out_ns, avoid) -> PLACED or a DropReason``. Under early binding no node in
        `avoid` is considered, and the attempt is under way for `out_ns` where there is a network.
    """

    def __init__(
        self,
        system: System,
        env: Clock,
        ledger: Ledger,
        queues: list[Queue],
        fail: Callable[[Attempt, int], None],
    ) -> None:
        self.system = system
        self.env = env
        self.ledger = ledger
        self.queues = queues
        self.fail = fail
        self.binder = Binder(system, ledger.state, env)
        self.node_group: list[int] = system.node_group.tolist()
        self.node_device: list[int] = system.node_device.tolist()
        self.path_slot: list[int] = system.paths[:, 0].tolist()
        self.device_splits: list[bool] = system.device_splits.tolist()
        self.sorts = system.order != Order.FIFO
        self.sheds = system.shed != Shed.NEVER
        self.nodes = list(system.serving_nodes)
        self.models = system.models
        self.class_model: list[int] = system.class_model.tolist()
        self.class_priority: list[int] = system.class_priority.tolist()
        bind = ROUTERS[system.router.kind].bind
        seen = ledger.by_router or [ledger.state if ledger.delayed is None else ledger.delayed.seen]
        self.routes: list[list[Route]] = [
            [bind(system.router, system, state, model) for model in range(system.models)] for state in seen
        ]
        # Several routers begin at different nodes, and take turns at being first among nodes that look alike to them.
        self.turns = [router * len(system.node_group) // len(seen) for router in range(len(seen))]
        self.rotates = len(seen) > 1 and system.router.kind == "least-backlog"
        self.place = self.place_early if system.late_lanes is None else self.place_late

    # -- placing an attempt -----------------------------------------------------------------------------------

    def place_early(
        self,
        attempt: Attempt,
        router_u: NDArray[np.float64],
        draws: Draws,
        out_ns: int | None = None,
        avoid: Sequence[int] = (),
    ) -> int:
        """Send the attempt to a node, which it reaches at once or after `out_ns`."""
        ledger = self.ledger
        if ledger.delayed is not None:
            ledger.delayed.catch_up()
        model = self.class_model[ledger.recorder.query_class[attempt.query]]
        nodes = self.nodes_but(model, avoid) if avoid else self.nodes[model]
        if not len(nodes):
            return UNAVAILABLE
        router = attempt.router
        turn = self.turns[router]
        self.turns[router] += 1
        if self.rotates:
            nodes = np.roll(nodes, -(turn % len(nodes)))
        node = attempt.node = self.routes[router][model](turn, attempt.size, self.env.now, router_u, nodes)
        if out_ns is None:
            return self.bind(attempt, node, draws)
        ledger.load(attempt, node, 1)
        after(self.env, out_ns, Rank.ARRIVAL, lambda: self.reach(attempt, node, draws))
        return PLACED

    def reach(self, attempt: Attempt, node: int, draws: Draws) -> None:
        """An attempt arrives at its node, unless it was called back on the way."""
        self.ledger.count()
        reason = PLACED if attempt.dead else self.bind(attempt, node, draws)
        self.ledger.load(attempt, node, -1)
        if reason != PLACED:
            self.fail(attempt, reason)

    def bind(self, attempt: Attempt, node: int, draws: Draws) -> int:
        """Bind the attempt to one of the node's paths, cut it into parts, and put these in their queues."""
        system = self.system
        ledger = self.ledger
        now = self.env.now
        query, size = attempt.query, attempt.size
        query_class = ledger.recorder.query_class[query]
        choice = self.binder.node_choices[self.node_group[node] * self.models + self.class_model[query_class]]
        first_device = self.node_device[node]
        time_left_ns = ledger.deadline_ns(query) - system.way_back_ns - now
        if system.split_by_part:
            sizes = part_sizes(size, system.part_size)
            pick = None
        else:
            pick = self.binder.pick(choice, node, size, time_left_ns, query_class)
            if pick < 0:
                return BY_POLICY if pick == DROP else UNAVAILABLE
            device = first_device + self.path_slot[choice.first + pick]
            sizes = part_sizes(size, system.part_size) if self.device_splits[device] else [size]
        parts = attempt.parts
        for part_size, (u, multipliers) in zip(sizes, draws, strict=False):
            chosen = self.binder.pick(choice, node, part_size, time_left_ns, query_class) if pick is None else pick
            reason = UNAVAILABLE if chosen == NO_USABLE_PATH else BY_POLICY
            if chosen >= 0:
                part = Part(attempt, part_size, u, multipliers, now)
                self.binder.look_up(part, choice, chosen, part_size == size or pick is None)
                part.device = first_device + self.path_slot[part.path]
                queue = self.queues[part.device]
                if queue.has_room():
                    if self.sorts:
                        self.sort(part)
                    queue.waiting.append(part)
                    ledger.join(part, node)
                    parts.append(part)
                    continue
                reason = QUEUE_FULL
            for placed in reversed(parts):
                self.queues[placed.device].waiting.pop()
                ledger.leave(placed)
                ledger.lose(placed)
            parts.clear()
            return reason
        attempt.left = len(parts)
        ledger.recorder.node[query] = node
        for part in parts:
            self.queues[part.device].wake_lanes()
        return PLACED

    def place_late(
        self,
        attempt: Attempt,
        _router_u: NDArray[np.float64],
        draws: Draws,
        _out_ns: int | None = None,
        _avoid: Sequence[int] = (),
    ) -> int:
        """Put the attempt, or its parts, in the central queue."""
        ledger = self.ledger
        queue = self.queues[0]
        parts = attempt.parts
        for part_size, (u, multipliers) in zip(part_sizes(attempt.size, self.system.part_size), draws, strict=False):
            if not queue.has_room():
                for placed in reversed(parts):
                    queue.waiting.pop()
                    ledger.leave(placed)
                parts.clear()
                return QUEUE_FULL
            part = Part(attempt, part_size, u, multipliers, self.env.now)
            if self.sorts:
                self.sort(part)
            queue.waiting.append(part)
            ledger.join_centrally(part)
            parts.append(part)
        attempt.left = len(parts)
        queue.wake_lanes()
        return PLACED

    def has_other_node(self, live: Sequence[Attempt]) -> bool:
        """Whether an attempt at the same query could be sent to a node where none of these is."""
        model = self.class_model[self.ledger.recorder.query_class[live[0].query]]
        return len(self.nodes_but(model, [attempt.node for attempt in live])) > 0

    def nodes_but(self, model: int, avoid: Sequence[int]) -> NDArray[np.int64]:
        """Return the nodes that take new attempts for a model, without those in `avoid`."""
        nodes = self.nodes[model]
        for node in avoid:
            nodes = nodes[nodes != node]
        return nodes

    def sort(self, part: Part) -> None:
        """Give the part what its queue sorts it by."""
        query = part.attempt.query
        priority = self.class_priority[self.ledger.recorder.query_class[query]]
        part.key = order_key(self.system.order, part.size, self.ledger.deadline_ns(query), priority)

    def withdraw(self, attempt: Attempt) -> None:
        """Take the parts of the attempt that still wait out of their queues."""
        for part in attempt.parts:
            if part.queued:
                self.queues[max(part.device, 0)].waiting.remove(part)
                self.ledger.leave(part)
                self.ledger.lose(part)

    # -- a lane would take a part -----------------------------------------------------------------------------

    def is_served(self, part: Part, lane: Lane) -> bool:
        """Count the part out of its queue; False if it is not served, because its attempt has failed or now does."""
        ledger = self.ledger
        ledger.count()
        ledger.leave(part)
        served = self.bind_late(part, lane) if ledger.late else not self.sheds or self.is_worth_serving(part)
        if not served:
            ledger.lose(part)
        return served

    def is_worth_serving(self, part: Part) -> bool:
        """Whether the part's attempt has not failed, and is not to be shed now; sheds it otherwise."""
        attempt = part.attempt
        if attempt.dead:
            return False
        system = self.system
        deadline_ns = self.ledger.deadline_ns(attempt.query)
        if not sheds(system.shed, self.env.now, deadline_ns, part.expected_ns + system.way_back_ns):
            return True
        self.fail(attempt, PAST_DEADLINE)
        return False

    def bind_late(self, part: Part, lane: Lane) -> bool:
        """Let the policy pick among the paths of the lane's device; False if the part is not served instead."""
        attempt = part.attempt
        if attempt.dead:
            return False
        ledger = self.ledger
        query = attempt.query
        slot = lane.device - self.node_device[lane.node]
        query_class = ledger.recorder.query_class[query]
        cell = self.node_group[lane.node] * self.models + self.class_model[query_class]
        choice = self.binder.device_choices[cell, slot]
        time_left_ns = ledger.deadline_ns(query) - self.env.now
        pick = self.binder.pick(choice, lane.node, part.size, time_left_ns, query_class)
        if pick < 0:
            self.fail(attempt, BY_POLICY if pick == DROP else UNAVAILABLE)
            return False
        self.binder.look_up(part, choice, pick, True)
        part.device = lane.device
        if self.sheds and not self.is_worth_serving(part):
            return False
        ledger.recorder.node[query] = lane.node
        ledger.load(attempt, lane.node, 1)
        return True
