"""Scaling: nodes that are started when a rule asks for them, and drained and switched off when it does not.

A node of a scaled group is *off*, *starting*, *up* or *draining*. Only nodes that are up take new attempts. Those that
start and drain are paid for like those that are up.
"""

from __future__ import annotations

from enum import IntEnum

import simpy

from sim.engine.availability import Availability
from sim.engine.instant import Clock, Rank, after
from sim.engine.ledger import Ledger
from sim.engine.record import Span
from sim.engine.station import Lane
from sim.serving.faults import Change
from sim.serving.scaling import Measure, Scaling, mean_load, nodes_for_attainment, nodes_for_load
from sim.serving.system import System

__all__ = ["Scaler"]


class Phase(IntEnum):
    """What a node is doing."""

    OFF = 0
    STARTING = 1
    UP = 2
    DRAINING = 3


class Integral:
    """A number of things, integrated over time."""

    def __init__(self, env: Clock) -> None:
        self.env = env
        self.number = 0
        self.integral = 0
        self.counted_ns = 0

    def add(self, change: int) -> None:
        """Change the number from now on."""
        now = self.env.now
        self.integral += (now - self.counted_ns) * self.number
        self.counted_ns = now
        self.number += change

    def take(self) -> int:
        """Return the integral since it was last taken."""
        self.add(0)
        integral, self.integral = self.integral, 0
        return integral


class Scaler:
    """Carries out the rule of one group.

    Parameters
    ----------
    rule : Scaling
    system : System
    env : Clock
    ledger : Ledger
    availability : Availability
        Closes and opens nodes.
    """

    def __init__(self, rule: Scaling, system: System, env: Clock, ledger: Ledger, availability: Availability) -> None:
        self.rule = rule
        self.system = system
        self.env = env
        self.ledger = ledger
        self.availability = availability
        self.all = range(rule.first_node, rule.first_node + rule.nodes)
        self.phase = dict.fromkeys(self.all, Phase.OFF)
        self.off_since_ns: dict[int, int] = {}
        self.starts: dict[int, simpy.Event] = {}
        first, end = system.node_device[rule.first_node], system.node_device[rule.first_node + 1]
        self.lanes_of_node = int(system.device_lane[end] - system.device_lane[first])
        self.busy = Integral(env)
        self.unfinished = Integral(env)
        self.ended, self.in_time = 0, 0
        self.last_change_ns = -rule.cooldown_ns

    def begin(self) -> None:
        """Set the nodes out as they are at first, and decide from then on."""
        for node in self.all:
            if node < self.rule.first_node + self.rule.initial:
                self.phase[node] = Phase.UP
            else:
                self.switch(node, Change.CLOSE)
                self.off_since_ns[node] = self.env.now
        self.wait()

    def wait(self) -> None:
        """Decide again when it is time."""
        after(self.env, self.rule.every_ns, Rank.TIMER, self.decide)

    # -- what is measured -------------------------------------------------------------------------------------

    def watch(self, lane: Lane, work: simpy.Event) -> None:
        """Count a lane of the group as busy until `work` ends."""
        if lane.node in self.phase:
            self.busy.add(1)
            assert work.callbacks is not None
            work.callbacks.append(lambda _: self.busy.add(-1))

    def loaded(self, node: int, change: int) -> None:
        """Count what is unfinished in the group; a node that drains and has nothing left is switched off."""
        if node in self.phase:
            self.unfinished.add(change)
            if self.phase[node] is Phase.DRAINING and not self.ledger.unfinished_parts[node]:
                self.switch_off(node)

    def asked(self, current: int) -> int:
        """Return the nodes that the rule asks for, within its limits."""
        rule = self.rule
        if rule.measure == Measure.UTILISATION:
            load = mean_load(self.busy.take(), rule.every_ns, self.lanes_of_node)
            nodes = nodes_for_load(load, rule.target, rule.tolerance, current)
        elif rule.measure == Measure.BACKLOG:
            load = mean_load(self.unfinished.take(), rule.every_ns, 1)
            nodes = nodes_for_load(load, rule.target, rule.tolerance, current)
        else:
            ended, in_time = self.ledger.ended - self.ended, self.ledger.in_time - self.in_time
            self.ended, self.in_time = self.ledger.ended, self.ledger.in_time
            nodes = current
            if ended:
                nodes = nodes_for_attainment(in_time / ended, rule.target, rule.scale_in_above, rule.step, current)
        return min(max(nodes, rule.fewest), rule.most)

    # -- what is done -----------------------------------------------------------------------------------------

    def decide(self) -> None:
        """Start nodes, or drain some, as the rule asks."""
        self.ledger.count()
        current = sum(phase in (Phase.STARTING, Phase.UP) for phase in self.phase.values())
        asked = self.asked(current)
        if asked > current:
            self.scale_out(asked - current)
        elif asked < current and self.env.now - self.last_change_ns >= self.rule.cooldown_ns:
            self.scale_in(current - asked)
        self.wait()

    def scale_out(self, count: int) -> None:
        """Take draining nodes back, the first ones first; then start ones that are off."""
        for node in self.first(Phase.DRAINING, count):
            self.phase[node] = Phase.UP
            self.switch(node, Change.OPEN)
            count -= 1
        for node in self.first(Phase.OFF, count):
            self.phase[node] = Phase.STARTING
            self.ledger.recorder.add_spans(self.devices(node), Span.OFF, self.off_since_ns.pop(node), self.env.now)
            self.start(node)
        self.last_change_ns = self.env.now

    def start(self, node: int) -> None:
        """Let the node be up when it is ready, unless it is given up before."""

        def ready() -> None:
            if self.starts.get(node) is event:
                del self.starts[node]
                self.ledger.count()
                self.phase[node] = Phase.UP
                self.switch(node, Change.OPEN)

        event = self.starts[node] = after(self.env, self.rule.ready_ns, Rank.TIMER, ready)

    def scale_in(self, count: int) -> None:
        """Give up nodes that are starting, the last ones first; then drain ones that are up."""
        for node in self.last(Phase.STARTING, count):
            del self.starts[node]
            self.switch_off(node)
            count -= 1
        for node in self.last(Phase.UP, count):
            self.phase[node] = Phase.DRAINING
            self.switch(node, Change.CLOSE)
            if not self.ledger.unfinished_parts[node]:
                self.switch_off(node)
        self.last_change_ns = self.env.now

    def switch_off(self, node: int) -> None:
        """Stop paying for the node, which is closed and empty."""
        self.phase[node] = Phase.OFF
        self.off_since_ns[node] = self.env.now

    def switch(self, node: int, change: Change) -> None:
        """Close or open every device of the node."""
        self.availability.change([(device, change, 1.0) for device in self.devices(node)])

    def devices(self, node: int) -> range:
        """Return the devices of the node."""
        return range(int(self.system.node_device[node]), int(self.system.node_device[node + 1]))

    def first(self, phase: Phase, count: int) -> list[int]:
        """Return up to `count` nodes in this phase, the first ones first."""
        return [node for node in self.all if self.phase[node] is phase][:count]

    def last(self, phase: Phase, count: int) -> list[int]:
        """Return up to `count` nodes in this phase, the last ones first."""
        return [node for node in reversed(self.all) if self.phase[node] is phase][:count]

    def stop(self) -> None:
        """Record what is off when the clock stops."""
        for node, since_ns in self.off_since_ns.items():
            self.ledger.recorder.add_spans(self.devices(node), Span.OFF, since_ns, self.env.now)
