"""What can be wrong with the faults of a scenario beside its fleet and its length."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sim.serving.components import DeviceNumbers, nodes_in, racks_in
from sim.spec.binding import problem_at
from sim.spec.experiment import Experiment, NodeGroupSpec
from sim.spec.faults import CrashSpec, LifetimeSpec, MaintenanceSpec, NodeSetSpec, SlowSpellSpec
from sim.spec.problems import Problem
from sim.spec.source import KeyPath, Node
from sim.spec.units import format_duration_ns

__all__ = ["check_faults"]

MOST_CHANGES = 10_000_000
"""More rows of a schedule than this are not faults but a slip in a unit."""


class _Checker:
    """Holds the faults of a scenario against its fleet and its length."""

    def __init__(self, experiment: Experiment, node: Node, end_ns: int | None) -> None:
        self.node = node
        self.end_ns = end_ns
        self.cells = experiment.cells
        self.fleet = DeviceNumbers(experiment.fleet)
        self.problems: list[Problem] = []

    def report(
        self, path: KeyPath, message: str, *, allowed: str | None = None, names: Sequence[str] | None = None
    ) -> None:
        self.problems.append(problem_at(self.node, path, message, allowed=allowed, names=names))

    def group(self, path: KeyPath, name: str | None) -> bool:
        """Check that there is a group called `name`; nothing else of the entry means anything without it."""
        names = [group.name for group in self.fleet.groups]
        if name is None or name in names:
            return True
        self.report((*path, "group"), "no group of the fleet is called that", names=names)
        return False

    def device(self, path: KeyPath, group: str | None, name: str | None) -> None:
        known = dict.fromkeys(device for g in self.fleet.chosen(group) for device in self.fleet.groups[g].devices)
        if name is not None and name not in known:
            where = "the fleet" if group is None else group
            self.report((*path, "device"), f"no device of {where} is called that", names=list(known))

    def nodes(self, path: KeyPath, where: NodeSetSpec) -> None:
        if where.group is None:
            return
        group = self.fleet.groups[self.fleet.chosen(where.group)[0]]
        if isinstance(where.nodes, tuple):
            self.numbers((*path, "nodes"), where.nodes, group, "node", group.count)
        if where.racks is not None and group.rack_size is None:
            self.report((*path, "racks"), f"{group.name} is not in racks", allowed="with rack_size in the group")
        elif where.racks is not None:
            self.numbers((*path, "racks"), where.racks, group, "rack", racks_in(group))

    def numbers(self, path: KeyPath, written: Iterable[int], group: NodeGroupSpec, what: str, count: int) -> None:
        for i, number in enumerate(written):
            if number >= count:
                self.report((*path, i), f"{group.name} has no such {what}", allowed=f"0 to {count - 1}")

    def at(self, path: KeyPath, at_ns: int) -> None:
        if self.end_ns is not None and at_ns > self.end_ns:
            self.report(
                (*path, "at"),
                "is after the end of the run, arrivals and drain, so it would never happen",
                allowed=f"up to {format_duration_ns(self.end_ns)}",
            )

    def timed(self, path: KeyPath, spec: CrashSpec) -> None:
        self.at(path, spec.at)
        if self.group(path, spec.group):
            self.nodes(path, spec)
            self.device(path, spec.group, spec.device)

    def drawn(self, path: KeyPath, spec: LifetimeSpec) -> None:
        if self.end_ns is None:
            self.report(
                (*path, "mtbf"), "faults that are drawn need workload.duration: so many queries may take any time"
            )
        if not self.group(path, spec.group):
            return
        self.device(path, spec.group, spec.device)
        groups = [self.fleet.groups[g] for g in self.fleet.chosen(spec.group)]
        without = [group.name for group in groups if group.rack_size is None]
        if spec.each == "rack" and without:
            self.report(
                (*path, "each"),
                f"{', '.join(without)} {'is' if len(without) == 1 else 'are'} not in racks",
                allowed="with rack_size in the group",
            )
        if self.end_ns is not None:
            devices = sum(group.count * sum(spec.device in (None, name) for name in group.devices) for group in groups)
            changes = 2 * devices // self.cells * self.end_ns // (spec.mtbf + spec.mttr)
            if changes > MOST_CHANGES:
                self.report(
                    (*path, "mtbf"),
                    f"devices{' of a cell' if self.cells > 1 else ''} would change about {changes:,} times in a run",
                    allowed=f"at most {MOST_CHANGES:,} changes",
                )

    def maintained(self, path: KeyPath, spec: MaintenanceSpec) -> None:
        self.at(path, spec.at)
        if not self.group(path, spec.group):
            return
        found = len(self.problems)
        self.nodes(path, spec)
        if len(self.problems) > found:
            return
        count = sum(len(nodes_in(self.fleet.groups[g], spec)) for g in self.fleet.chosen(spec.group))
        if spec.at_once > count:
            self.report((*path, "at_once"), "more nodes at once than are to be maintained", allowed=f"at most {count}")


def check_faults(experiment: Experiment, node: Node, *, end_ns: int | None) -> list[Problem]:
    """Return every problem of the faults of a scenario that shows only beside its fleet and its length.

    Parameters
    ----------
    experiment : Experiment
        The validated scenario.
    node : Node
        The YAML it was read from, for the positions of problems.
    end_ns : int or None
        When a run is over, arrivals and drain; None where it ends with a number of queries.
    """
    faults = experiment.faults
    if faults is None:
        return []
    checker = _Checker(experiment, node, end_ns)
    for i, crash in enumerate(faults.crashes or ()):
        checker.timed(("faults", "crashes", i), crash)
    for i, lifetime in enumerate(faults.lifetimes or ()):
        checker.drawn(("faults", "lifetimes", i), lifetime)
    for i, slow in enumerate(faults.slow or ()):
        if isinstance(slow, SlowSpellSpec):
            checker.drawn(("faults", "slow", i), slow)
        else:
            checker.timed(("faults", "slow", i), slow)
    for i, maintenance in enumerate(faults.maintenance or ()):
        checker.maintained(("faults", "maintenance", i), maintenance)
    return checker.problems
