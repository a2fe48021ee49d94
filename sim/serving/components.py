"""The fleet by its parts: which devices of a cell a group, a rack, a node or a name in an experiment file means."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal

import numpy as np
from numpy.typing import NDArray

from sim.spec.experiment import NodeGroupSpec
from sim.spec.faults import LifetimeSpec, NodeSetSpec

__all__ = ["Component", "DeviceNumbers", "Devices", "nodes_in", "racks_in"]

Devices = NDArray[np.int64]
"""Devices by their numbers through their cell, as in `sim.serving.system.System`; ascending."""


@dataclass(frozen=True, slots=True)
class Component:
    """What fails as one.

    Attributes
    ----------
    name : str
        ``gpus/3/gpu`` for a device, ``gpus/3`` for a node, ``gpus/rack0`` for a rack, ``cell`` or one of several,
        ``cell0``. It names the component's random stream, so it holds no number that another group or entry, or other
        cells, could shift: nodes and racks are numbered through the group.
    devices : int64[devices]
    """

    name: str
    devices: Devices


def racks_in(group: NodeGroupSpec) -> int:
    """Return the number of racks of a group; 0 if it is not in racks."""
    return 0 if group.rack_size is None else -(-group.count // group.rack_size)


def nodes_in(group: NodeGroupSpec, where: NodeSetSpec) -> NDArray[np.int64]:
    """Return the numbers in `group` of the nodes that `where` names, ascending."""
    every = np.arange(group.count, dtype=np.int64)
    if where.racks is not None:
        assert group.rack_size is not None
        return every[np.isin(every // group.rack_size, where.racks)]
    if isinstance(where.nodes, tuple):
        return np.sort(np.array(where.nodes, dtype=np.int64))
    if where.nodes is not None:
        # By the decimal that was written: 0.07 x 100 is more than 7 in binary, and would be rounded up to 8.
        return every[: math.ceil(Decimal(repr(where.nodes)) * group.count)]
    return every


class DeviceNumbers:
    """The devices of a cell by group, node and name.

    Node n of a group belongs to cell ``n // (count / cells)``. Nodes are given by their numbers through the group in
    the whole fleet, and those of other cells are left out of what is returned.

    Parameters
    ----------
    groups : sequence of NodeGroupSpec
        Of the whole fleet.
    cell, cells : int
    """

    def __init__(self, groups: Sequence[NodeGroupSpec], cell: int = 0, cells: int = 1) -> None:
        self.groups = groups
        self.cell = cell
        self.cells = cells
        self.first = np.cumsum([0, *(group.count // cells * len(group.devices) for group in groups)])

    def chosen(self, name: str | None) -> list[int]:
        """Return the groups that `name` means; None means all."""
        return [g for g, group in enumerate(self.groups) if name is None or group.name == name]

    def own(self, g: int) -> range:
        """Return the nodes of group `g` that are in the cell."""
        size = self.groups[g].count // self.cells
        return range(self.cell * size, (self.cell + 1) * size)

    def devices(self, g: int, nodes: NDArray[np.int64], device: str | None = None) -> Devices:
        """Return the devices of some nodes of group `g`, or only those called `device`, node by node."""
        names = list(self.groups[g].devices)
        slots = np.array([slot for slot, name in enumerate(names) if device in (None, name)], dtype=np.int64)
        own = self.own(g)
        mine = nodes[(nodes >= own.start) & (nodes < own.stop)] - own.start
        return np.asarray(self.first[g] + (mine[:, None] * len(names) + slots).ravel(), dtype=np.int64)

    def devices_of(self, where: NodeSetSpec, device: str | None = None) -> Devices:
        """Return the devices that `where` names, in the order of the fleet."""
        return np.concatenate(
            [self.devices(g, nodes_in(self.groups[g], where), device) for g in self.chosen(where.group)]
        )

    def in_turn(self, where: NodeSetSpec, at_once: int) -> Iterator[tuple[int, Devices]]:
        """Yield the turns that nodes of the cell have, and their devices.

        The nodes that `where` names take turns in the order of the fleet, cell or not, `at_once` of them in each.
        """
        before = 0
        turns: dict[int, list[Devices]] = {}
        for g in self.chosen(where.group):
            nodes = nodes_in(self.groups[g], where)
            turn = (before + np.arange(len(nodes))) // at_once
            own = self.own(g)
            for i in np.flatnonzero((nodes >= own.start) & (nodes < own.stop)).tolist():
                turns.setdefault(int(turn[i]), []).append(self.devices(g, nodes[i : i + 1]))
            before += len(nodes)
        for number in sorted(turns):
            yield number, np.concatenate(turns[number])

    def components(self, spec: LifetimeSpec) -> Iterator[Component]:
        """Yield what fails as one under `spec`, in the order of the fleet."""
        if spec.each == "cell":
            name = "cell" if self.cells == 1 else f"cell{self.cell}"
            yield Component(name, np.arange(self.first[-1], dtype=np.int64))
            return
        for g in self.chosen(spec.group):
            group = self.groups[g]
            own = self.own(g)
            if spec.each == "rack":
                size = group.rack_size
                assert size is not None
                for start in range(own.start, own.stop, size):
                    members = np.arange(start, min(start + size, own.stop), dtype=np.int64)
                    yield Component(f"{group.name}/rack{start // size}", self.devices(g, members))
            elif spec.each == "node":
                for node in own:
                    yield Component(f"{group.name}/{node}", self.devices(g, np.array([node])))
            else:
                names = [name for name in group.devices if spec.device in (None, name)]
                for node in own:
                    for name in names:
                        yield Component(f"{group.name}/{node}/{name}", self.devices(g, np.array([node]), name))
