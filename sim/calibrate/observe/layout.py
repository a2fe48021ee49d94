"""What of an experiment a real server can be: which lanes it has, what they serve, and what it cannot do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from sim.calibrate.observe.subject import Empty, Rehearsal, SubjectSpec, TorchModel
from sim.profile.dlrm import DlrmShape
from sim.profile.library import dlrm_shape, find_dlrm_shape
from sim.serving.paths import Plan
from sim.serving.system import System
from sim.spec.binding import problem_at
from sim.spec.experiment import DeviceUseSpec, Experiment
from sim.spec.model import ModelSpec
from sim.spec.problems import Problem, SpecError
from sim.spec.source import Node
from sim.stats.devices import SystemView
from sim.workload.draw import QueryStream
from sim.workload.popularity import Popularity

__all__ = ["EMPTY", "LaidOut", "RealDevice", "Variable", "check_observable", "real_devices", "subjects_of"]

EMPTY = 0
"""The subject of every worker that answers at once."""

NOT_SERVED = {
    "classes": "classes of queries",
    "batching": "batching",
    "splitting": "cutting queries into parts",
    "faults": "faults",
    "autoscaling": "autoscaling",
    "remapping": "re-mapping",
    "interference": "a slowdown that is given: the real one happens by itself",
    "network": "a network between router and nodes",
    "knowledge": "routers that know late or in part",
    "timeout": "timeouts",
    "retries": "retries",
    "hedging": "hedging",
}


class LaidOut(Protocol):
    """A scenario with its fleet laid out, see `sim.study.variation`."""

    @property
    def parameters(self) -> Mapping[str, Any]:
        """What distinguishes it in the sweep."""

    @property
    def experiment(self) -> Experiment:
        """The validated scenario."""

    @property
    def node(self) -> Node:
        """The YAML it was read from."""

    @property
    def base_dir(self) -> Path:
        """Folder of its file."""

    @property
    def plan(self) -> Plan:
        """Its devices and paths."""

    @property
    def system(self) -> System:
        """The fleet as arrays."""

    @property
    def view(self) -> SystemView:
        """The fleet as metrics see it."""

    @property
    def drain_ns(self) -> int:
        """How long the clock runs on after the arrivals."""

    @property
    def warmup_ns(self) -> int | None:
        """The warm-up that is cut."""

    @property
    def time_varying(self) -> bool:
        """Whether the load varies with time."""

    @property
    def offered_load(self) -> float | None:
        """Work offered over work possible, where that does not depend on choices."""

    @property
    def assumptions(self) -> tuple[str, ...]:
        """What is taken for granted."""

    def stream(self, replication: int) -> QueryStream:
        """Return the queries of a replication."""


class Variable(Protocol):
    """An experiment that can be laid out with some keys set otherwise, see `sim.study.variation`."""

    def lay_out(self, more: Sequence[str] = ()) -> Sequence[LaidOut]:
        """Return the scenarios with `more` set as well."""

    def resolved(self, more: Sequence[str] = ()) -> str:
        """Return the experiment with `more` set, as a file that says everything."""


@dataclass(frozen=True, slots=True)
class RealDevice:
    """A device of a group's nodes, and the workers that stand for its lanes.

    Attributes
    ----------
    group, slot : int
    name : str
        As the experiment calls it.
    kind : str
        ``cpu``, ``gpu``, ...
    lanes : tuple of int
        Its lanes on every node of the group, through the fleet.
    paths : tuple of int
        Eligible paths on it; none where the policy does not use it.
    """

    group: int
    slot: int
    name: str
    kind: str
    lanes: tuple[int, ...]
    paths: tuple[int, ...]


def check_observable(scenarios: Sequence[LaidOut]) -> None:
    """Raise SpecError where an experiment asks what a real server cannot do here.

    Raises
    ------
    SpecError
        With every such key.
    """
    problems: list[Problem] = []
    for scenario in scenarios:
        experiment, node = scenario.experiment, scenario.node
        problems += [
            problem_at(node, (key,), f"a real server here does not do this: {words}")
            for key, words in NOT_SERVED.items()
            if getattr(experiment, key) is not None
        ]
        problems += [
            problem_at(
                node, ("fleet", g, "devices", name, "cache"), "the models of a real server here have no MP-Cache"
            )
            for g, group in enumerate(experiment.fleet)
            for name, use in group.devices.items()
            if isinstance(use, DeviceUseSpec) and use.cache is not None
        ]
        if experiment.cells > 1:
            problems.append(problem_at(node, ("cells",), "a real server here is one cell"))
        if getattr(experiment.policy, "queue", None) == "actual":
            message = "nobody knows true service times beforehand on a real server"
            problems.append(problem_at(node, ("policy", "queue"), message, allowed="ignored, expected"))
        if scenario.plan.groups != scenarios[0].plan.groups and _lanes_differ(scenario, scenarios[0]):
            problems.append(problem_at(node, ("fleet",), "the fleet may not vary in the sweep: it is real"))
    if problems:
        raise SpecError(problems)


def _lanes_differ(one: LaidOut, other: LaidOut) -> bool:
    return not np.array_equal(one.system.device_lane, other.system.device_lane) or [
        path.name for path in one.plan.eligible
    ] != [path.name for path in other.plan.eligible]


def real_devices(scenario: LaidOut) -> list[RealDevice]:
    """Return the devices of a fleet, group by group, with their lanes."""
    system, plan = scenario.system, scenario.plan
    device_lane = list(pairwise(system.device_lane.tolist()))
    first_device: list[int] = system.node_device.tolist()
    found = []
    for g, group in enumerate(plan.groups):
        nodes = np.flatnonzero(system.node_group == g).tolist()
        for slot, device in enumerate(group.devices):
            lanes = [lane for node in nodes for lane in range(*device_lane[first_device[node] + slot])]
            paths = [row for row, path in enumerate(plan.eligible) if (path.group, path.slot) == (g, slot)]
            found.append(RealDevice(g, slot, device.name, device.profile.kind, tuple(lanes), tuple(paths)))
    return found


def subjects_of(
    scenario: LaidOut, device: RealDevice, law: Popularity, *, rehearse: bool
) -> tuple[list[SubjectSpec], dict[int, int]]:
    """Return what a worker of the device holds, and which of it serves each path; the first is empty.

    Parameters
    ----------
    scenario : LaidOut
    device : RealDevice
    law : Popularity
        Of the IDs that queries ask.
    rehearse : bool
        Keep the core busy for as long as the experiment's own profile says, instead of loading models.

    Raises
    ------
    SpecError
        If the model has no shape that could be built, or nothing here is such a device.
    """
    specs: list[SubjectSpec] = [Empty()]
    of_path: dict[int, int] = {}
    for path in device.paths:
        of_path[path] = len(specs)
        planned = scenario.plan.eligible[path]
        specs.append(Rehearsal(planned.service) if rehearse else _model(scenario, device, planned.representation, law))
    return specs, of_path


def _shape(model: str | ModelSpec) -> DlrmShape | None:
    if isinstance(model, str):
        return find_dlrm_shape(model)
    return None if model.dlrm is None else dlrm_shape(model.dlrm)


def _model(scenario: LaidOut, device: RealDevice, representation: str, law: Popularity) -> TorchModel:
    shape = _shape(scenario.experiment.model)
    if shape is None:
        message, allowed = "the model has no shape that could be built", "a model with a dlrm block"
        raise SpecError([problem_at(scenario.node, ("model",), message, allowed=allowed)])
    if device.kind not in ("cpu", "gpu"):
        where = ("fleet", device.group, "devices", device.name)
        raise SpecError([problem_at(scenario.node, where, f"nothing here is a {device.kind}", allowed="cpu, gpu")])
    # `ModelSpec` admits only these names beside a shape.
    return TorchModel(shape, representation, "cuda" if device.kind == "gpu" else "cpu", law)  # type: ignore[arg-type]
