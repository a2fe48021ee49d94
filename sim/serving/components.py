"""The fleet by its parts: which devices a group, a rack, a node or a name in an experiment file means."""

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
"""Devices by their numbers through the fleet, as in `sim.serving.system.System`; ascending."""


@dataclass(frozen=True, slots=True)
class Component:
    """What fails as one.

    Attributes
    ----------
    name : str
        ``gpus/3/gpu`` for a device, ``gpus/3`` for a node, ``gpus/rack0`` for a rack, ``cell``. It names the
        component's random stream, so it holds no number that another group or entry could shift.
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
    """The devices of the fleet by group, node and name."""

    def __init__(self, groups: Sequence[NodeGroupSpec]) -> None:
        self.groups = groups
        self.first = np.cumsum([0, *(group.count * len(group.devices) for group in groups)])

    def chosen(self, name: str | None) -> list[int]:
        """Return the groups that `name` means; None means all."""
        return [g for g, group in enumerate(self.groups) if name is None or group.name == name]

    def devices(self, g: int, nodes: NDArray[np.int64], device: str | None = None) -> Devices:
        """Return the devices of some nodes of group `g`, or only those called `device`, node by node."""
        names = list(self.groups[g].devices)
        slots = np.array([slot for slot, name in enumerate(names) if device in (None, name)], dtype=np.int64)
        return np.asarray(self.first[g] + (nodes[:, None] * len(names) + slots).ravel(), dtype=np.int64)

    def devices_of(self, where: NodeSetSpec, device: str | None = None) -> Devices:
        """Return the devices that `where` names, in the order of the fleet."""
        return np.concatenate(
            [self.devices(g, nodes_in(self.groups[g], where), device) for g in self.chosen(where.group)]
        )

    def nodes_of(self, where: NodeSetSpec) -> list[Devices]:
        """Return the devices of each node that `where` names, in the order of the fleet."""
        return [
            self.devices(g, nodes)
            for g in self.chosen(where.group)
            for nodes in nodes_in(self.groups[g], where).reshape(-1, 1)
        ]

    def components(self, spec: LifetimeSpec) -> Iterator[Component]:
        """Yield what fails as one under `spec`, in the order of the fleet."""
        if spec.each == "cell":
            yield Component("cell", np.arange(self.first[-1], dtype=np.int64))
            return
        for g in self.chosen(spec.group):
            group = self.groups[g]
            every = np.arange(group.count, dtype=np.int64)
            if spec.each == "rack":
                for rack in range(racks_in(group)):
                    assert group.rack_size is not None
                    members = every[rack * group.rack_size : (rack + 1) * group.rack_size]
                    yield Component(f"{group.name}/rack{rack}", self.devices(g, members))
            elif spec.each == "node":
                for node in range(group.count):
                    yield Component(f"{group.name}/{node}", self.devices(g, every[node : node + 1]))
            else:
                names = [name for name in group.devices if spec.device in (None, name)]
                for node in range(group.count):
                    for name in names:
                        yield Component(f"{group.name}/{node}/{name}", self.devices(g, every[node : node + 1], name))
