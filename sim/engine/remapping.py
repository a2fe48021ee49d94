"""Re-mapping while the fleet serves: what is decided, and how nodes change from one mapping to another."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sim.engine.availability import Availability
from sim.engine.instant import Clock, Rank, after
from sim.engine.ledger import Ledger
from sim.serving.compiled import jit
from sim.serving.remapping import Remapping, capacity_per_s, first_that_carries
from sim.serving.system import System

__all__ = ["Remapper"]

_capacity_per_s = jit(capacity_per_s)


class Remapper:
    """Takes the most accurate mapping that can carry the load, on the devices that are open.

    Parameters
    ----------
    rule : Remapping
    system : System
    env : Clock
    ledger : Ledger
        Knows how many queries were offered.
    availability : Availability
        Knows which devices are open, and is told which paths nodes hold.
    """

    def __init__(self, rule: Remapping, system: System, env: Clock, ledger: Ledger, availability: Availability) -> None:
        self.rule = rule
        self.system = system
        self.env = env
        self.ledger = ledger
        self.availability = availability
        self.mapping = 0
        self.round = 0
        self.offered = 0
        self.rate_per_s: float | None = None
        self.group: list[int] = system.node_group.tolist()

    def begin(self) -> None:
        """Put the experiment's own mapping in force, and decide from then on."""
        for node in range(len(self.group)):
            self.held(node)[:] = self.asked(node)
        self.tell(range(len(self.group)))
        if self.rule.every_ns:
            after(self.env, self.rule.every_ns, Rank.TIMER, self.tick)

    def tick(self) -> None:
        """Look at the load of the last interval, decide, and wait for the next."""
        offered = self.ledger.in_system + self.ledger.ended
        self.rate_per_s = (offered - self.offered) * 1e9 / self.rule.every_ns
        self.offered = offered
        self.decide()
        after(self.env, self.rule.every_ns, Rank.TIMER, self.tick)

    def decide(self) -> None:
        """Begin to change to another mapping if the load asks for it."""
        mapping = self.choose()
        if mapping == self.mapping:
            return
        self.ledger.count()
        self.mapping = mapping
        self.round += 1
        self.change(
            [node for node in range(len(self.group)) if np.any(self.held(node) != self.asked(node))], self.round
        )

    def choose(self) -> int:
        """Return the first mapping that the load leaves room in; the one of the greatest capacity if none does."""
        rule = self.rule
        rate_per_s = self.rate_per_s
        if rate_per_s is None:
            elapsed_ns = self.env.now
            rate_per_s = (self.ledger.in_system + self.ledger.ended) * 1e9 / elapsed_ns if elapsed_ns else 0.0
        opened = np.array([self.availability.is_open(device) for device in range(len(self.availability.lanes))])
        capacities = [self.capacity_per_s(mapping, opened) for mapping in range(len(rule.in_force))]
        return first_that_carries(rate_per_s, rule.target, np.array(capacities))

    def capacity_per_s(self, mapping: int, opened: NDArray[np.bool_]) -> float:
        """Return the queries that the fastest paths of a mapping serve on the devices that are open."""
        system = self.system
        return _capacity_per_s(
            self.rule.in_force[mapping],
            self.rule.lane_rate_per_s,
            np.ascontiguousarray(system.paths[:, 0]),
            system.node_group,
            system.group_path,
            system.node_device,
            system.device_lane,
            opened,
        )

    def change(self, nodes: list[int], round_: int) -> None:
        """Let the next nodes drop what they are not to hold, and load what they are; the others follow."""
        now, later = nodes[: self.rule.at_once], nodes[self.rule.at_once :]
        if not now:
            return
        load_ns = 0
        for node in now:
            held, asked = self.held(node), self.asked(node)
            first, _ = self.paths(self.group[node])
            of_device: dict[int, int] = {}
            for row in np.flatnonzero(asked & ~held).tolist():
                slot = int(self.system.paths[first + row, 0])
                of_device[slot] = of_device.get(slot, 0) + int(self.rule.load_ns[first + row])
            load_ns = max(load_ns, *of_device.values(), 0)
            held &= asked
        self.tell(now)

        def loaded() -> None:
            # A later decision has begun anew with what is held.
            if self.round == round_:
                for node in now:
                    self.held(node)[:] = self.asked(node)
                self.tell(now)
                self.change(later, round_)

        after(self.env, load_ns, Rank.TIMER, loaded)

    # -- the paths of a node ----------------------------------------------------------------------------------

    def paths(self, group: int) -> tuple[int, int]:
        """Return the first and the end of the eligible paths of a group."""
        return int(self.system.group_path[group]), int(self.system.group_path[group + 1])

    def held(self, node: int) -> NDArray[np.bool_]:
        """Return which of its paths a node holds, to be changed in place."""
        place = int(self.system.node_path[node])
        first, end = self.paths(self.group[node])
        held: NDArray[np.bool_] = self.availability.held_paths[place : place + end - first]
        return held

    def asked(self, node: int) -> NDArray[np.bool_]:
        """Return which of its paths a node is to hold."""
        first, end = self.paths(self.group[node])
        asked: NDArray[np.bool_] = self.rule.in_force[self.mapping, first:end]
        return asked

    def tell(self, nodes: range | list[int]) -> None:
        """Tell what the nodes hold now."""
        first_device = self.system.node_device
        self.availability.refresh([int(first_device[node]) for node in nodes])
