"""The planned fleet: profiles found, representations mapped to devices, and the paths a policy may use.

Everything that can be wrong with a scenario beyond the shape of its file is found here, before anything runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sim.profile.device import Device
from sim.profile.library import UnknownName, build_device, build_model, find_device, find_model
from sim.profile.model import Model
from sim.profile.service import Service
from sim.serving.mapping import Candidate, most_accurate_first, resident_bytes
from sim.serving.policies import POLICIES, PathView
from sim.serving.splitting import part_bounds
from sim.spec.binding import problem_at
from sim.spec.device import DeviceSpec
from sim.spec.experiment import (
    DeviceUseSpec,
    Experiment,
    ExplicitMappingSpec,
    LateBindingSpec,
    SizeThresholdPolicySpec,
    StaticPolicySpec,
)
from sim.spec.problems import Problem, SpecError
from sim.spec.source import Node

__all__ = ["Path", "Plan", "PlannedDevice", "PlannedGroup", "is_named", "plan_fleet"]

KeyPath = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class PlannedDevice:
    """A device of a node, with what this fleet changes of its profile and the representations mapped to it."""

    name: str
    profile: Device
    memory_bytes: int | None
    lanes: int
    queue_limit: int | None
    data_loading: bool
    representations: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PlannedGroup:
    """Equal nodes."""

    name: str
    count: int
    devices: tuple[PlannedDevice, ...]


@dataclass(frozen=True, slots=True)
class Path:
    """A representation on a device of a group's nodes; `slot` is the device's place on its node."""

    name: str
    group: int
    slot: int
    representation: str
    accuracy: float
    service: Service


@dataclass(frozen=True, slots=True)
class Plan:
    """The fleet of a scenario, ready to be laid out.

    Attributes
    ----------
    model : Model
    groups : tuple of PlannedGroup
    mapped : tuple of Path
        Every path that exists.
    eligible : tuple of Path
        Those that the policy may use, group by group, in the order that the policy sees.
    preference : tuple of (group, slot)
        Kinds of device that hold an eligible path, in the order that late binding tries them.
    assumptions : tuple of str
        What was taken for granted, in plain words, for the report.
    """

    model: Model
    groups: tuple[PlannedGroup, ...]
    mapped: tuple[Path, ...]
    eligible: tuple[Path, ...]
    preference: tuple[tuple[int, int], ...]
    assumptions: tuple[str, ...]


def is_named(names: Sequence[str] | None, group: str, device: str) -> bool:
    """Whether `names` has this device, by its name or as group/device; None names them all."""
    return names is None or device in names or f"{group}/{device}" in names


class _Planner:
    """Plans one scenario and collects every problem on the way."""

    def __init__(self, experiment: Experiment, node: Node, sizes: tuple[int, int], mean_size: float) -> None:
        self.experiment = experiment
        self.node = node
        self.sizes = sizes
        self.mean_size = mean_size
        self.problems: list[Problem] = []
        self.assumptions: list[str] = []

    def report(
        self, path: KeyPath, message: str, *, allowed: str | None = None, names: Sequence[str] | None = None
    ) -> None:
        self.problems.append(problem_at(self.node, path, message, allowed=allowed, names=names))

    def stop_if_broken(self) -> None:
        if self.problems:
            raise SpecError(self.problems)

    # -- profiles ---------------------------------------------------------------------------------------

    def find_model(self) -> Model | None:
        reference = self.experiment.model
        try:
            return find_model(reference) if isinstance(reference, str) else build_model(reference)
        except UnknownName as unknown:
            self.report(("model",), "unknown model", names=unknown.known)
            return None

    def find_device(self, path: KeyPath, reference: str | DeviceSpec) -> Device | None:
        try:
            return find_device(reference) if isinstance(reference, str) else build_device(reference)
        except UnknownName as unknown:
            self.report(path, "unknown device", names=unknown.known)
            return None

    def read_as_asked(self, path: KeyPath, use: DeviceUseSpec) -> Device | None:
        """Return the profile of `use` with its tables read as `use` says."""
        device = self.find_device((*path, "profile"), use.profile)
        if device is None or (use.beyond is None and use.size_step is None and use.round_to is None):
            return device
        try:
            return device.with_overrides(beyond=use.beyond, round_to_ns=use.round_to, size_step=use.size_step)
        except ValueError as error:
            self.report((*path, "beyond"), str(error))
            return None

    def find_devices(self) -> list[list[tuple[str, Device | None, DeviceUseSpec | None]]]:
        groups = []
        for g, group in enumerate(self.experiment.fleet):
            found: list[tuple[str, Device | None, DeviceUseSpec | None]] = []
            for name, use in group.devices.items():
                path: KeyPath = ("fleet", g, "devices", name)
                if isinstance(use, DeviceUseSpec):
                    found.append((name, self.read_as_asked(path, use), use))
                else:
                    found.append((name, self.find_device(path, use), None))
            groups.append(found)
        return groups

    # -- mapping ----------------------------------------------------------------------------------------

    def candidates(self, model: Model, device: Device, data_loading: bool) -> dict[str, tuple[Candidate, Service]]:
        candidates = {}
        for name, representation in model.representations.items():
            service = device.service(model, name, data_loading=data_loading)
            if service is None:
                continue
            low = service.min_size or 0
            high = service.max_size
            size = max(self.mean_size, low) if high is None else min(max(self.mean_size, low), high)
            candidates[name] = (
                Candidate(
                    name,
                    representation.accuracy,
                    representation.bytes or 0,
                    representation.table_bytes or 0,
                    float(service.mean_at(size)),
                ),
                service,
            )
        return candidates

    def explicit(self, group: str, device: str) -> tuple[KeyPath, tuple[str, ...]]:
        mapping = self.experiment.mapping
        assert isinstance(mapping, ExplicitMappingSpec)
        for name in (f"{group}/{device}", device):
            if name in mapping.devices:
                return ("mapping", "devices", name), mapping.devices[name]
        return ("mapping", "devices"), ()

    def map_device(
        self,
        group: str,
        name: str,
        memory_bytes: int | None,
        candidates: dict[str, tuple[Candidate, Service]],
    ) -> tuple[str, ...]:
        mapping = self.experiment.mapping
        if not isinstance(mapping, ExplicitMappingSpec):
            asked = mapping.representations
            return most_accurate_first(
                [
                    candidate
                    for candidate, _ in candidates.values()
                    if asked is None or candidate.representation in asked
                ],
                memory_bytes,
                shared_tables=mapping.shared_tables,
                reserve_fastest=mapping.reserve_fastest,
            )
        path, wanted = self.explicit(group, name)
        held = []
        for i, representation in enumerate(wanted):
            if representation not in candidates:
                self.report(
                    (*path, i),
                    f"{group}/{name} has no profile for {representation} of this model",
                    allowed=", ".join(candidates) or "nothing: the device has no profile for this model",
                )
            else:
                held.append(candidates[representation][0])
        needed = resident_bytes(held, shared_tables=mapping.shared_tables)
        if memory_bytes is not None and needed > memory_bytes:
            self.report(
                path,
                f"{', '.join(wanted)} need {needed:,} bytes but {group}/{name} has {memory_bytes:,}",
                allowed="representations that fit the device's memory together",
            )
        order = {representation: -candidates[representation][0].accuracy for representation in candidates}
        return tuple(sorted((c.representation for c in held), key=lambda r: order[r]))

    # -- the whole --------------------------------------------------------------------------------------

    def plan(self) -> Plan:
        model = self.find_model()
        found = self.find_devices()
        self.check_names()
        self.stop_if_broken()
        assert model is not None
        several = len(self.experiment.fleet) > 1
        groups: list[PlannedGroup] = []
        mapped: list[Path] = []
        unmapped: list[str] = []
        for g, group in enumerate(self.experiment.fleet):
            devices: list[PlannedDevice] = []
            for slot, (name, profile, use) in enumerate(found[g]):
                assert profile is not None
                memory = profile.memory_bytes if use is None or use.memory is None else use.memory
                data_loading = use is not None and use.data_loading
                candidates = self.candidates(model, profile, data_loading)
                if data_loading and not candidates:
                    self.report(
                        ("fleet", g, "devices", name, "data_loading"),
                        f"profile {profile.name} has no measured data loading for {model.name}",
                    )
                held = self.map_device(group.name, name, memory, candidates)
                devices.append(
                    PlannedDevice(
                        name,
                        profile,
                        memory,
                        profile.lanes if use is None or use.lanes is None else use.lanes,
                        None if use is None else use.queue_limit,
                        data_loading,
                        held,
                    )
                )
                where = f"{group.name}/{name}" if several else name
                if not candidates:
                    unmapped.append(f"{group.name}/{name}: profile {profile.name} has nothing for {model.name}")
                elif not held:
                    unmapped.append(
                        f"{group.name}/{name}: no representation fits its memory of {memory:,} bytes "
                        f"(smallest: {min(c.total_bytes for c, _ in candidates.values()):,})"
                        if memory is not None
                        else f"{group.name}/{name}: the mapping puts no representation there"
                    )
                mapped.extend(
                    Path(
                        f"{representation}@{where}",
                        g,
                        slot,
                        representation,
                        candidates[representation][0].accuracy,
                        candidates[representation][1],
                    )
                    for representation in held
                )
            groups.append(PlannedGroup(group.name, group.count, tuple(devices)))
        self.stop_if_broken()
        if not mapped:
            self.report(("fleet",), "no representation lives on any device: " + "; ".join(unmapped))
        else:
            self.assumptions.extend(f"no path on {line}" for line in unmapped)
        self.stop_if_broken()
        eligible = self.eligible(groups, mapped)
        self.check_sizes(groups, eligible)
        preference = self.preference(groups, eligible)
        self.stop_if_broken()
        self.note_assumptions(model, groups, eligible)
        return Plan(model, tuple(groups), tuple(mapped), tuple(eligible), preference, tuple(self.assumptions))

    def device_names(self) -> list[str]:
        names = {name for group in self.experiment.fleet for name in group.devices}
        full = [f"{group.name}/{name}" for group in self.experiment.fleet for name in group.devices]
        return [*sorted(names), *full]

    def check_names(self) -> None:
        """Check every place that names a device of the fleet."""
        known = self.device_names()
        experiment = self.experiment
        named: list[tuple[KeyPath, str]] = []
        policy = experiment.policy
        if isinstance(policy, StaticPolicySpec) and policy.device is not None:
            named.append((("policy", "device"), policy.device))
        if isinstance(policy, SizeThresholdPolicySpec):
            named += [(("policy", "small"), policy.small), (("policy", "large"), policy.large)]
        if isinstance(experiment.mapping, ExplicitMappingSpec):
            named += [(("mapping", "devices", name), name) for name in experiment.mapping.devices]
        if experiment.splitting is not None and experiment.splitting.devices is not None:
            named += [(("splitting", "devices", i), name) for i, name in enumerate(experiment.splitting.devices)]
        if experiment.batching is not None and experiment.batching.devices is not None:
            named += [(("batching", "devices", i), name) for i, name in enumerate(experiment.batching.devices)]
        if isinstance(experiment.binding, LateBindingSpec):
            named += [(("binding", "preference", i), name) for i, name in enumerate(experiment.binding.preference)]
            if not POLICIES[policy.kind].binds_late:
                self.report(("policy", "kind"), f"{policy.kind} needs early binding: it picks the device itself")
            if experiment.splitting is not None and experiment.splitting.over == "devices":
                self.report(
                    ("splitting", "over"),
                    "with late binding parts go to whichever lane is free",
                    allowed="lanes",
                )
        for path, name in named:
            if name not in known:
                self.report(path, f"no device of the fleet is called {name!r}", names=known)

    def eligible(self, groups: Sequence[PlannedGroup], mapped: Sequence[Path]) -> list[Path]:
        policy = POLICIES[self.experiment.policy.kind]
        eligible: list[Path] = []
        for g, group in enumerate(groups):
            views = [
                PathView(i, group.name, group.devices[path.slot].name, path.representation, path.accuracy)
                for i, path in enumerate(mapped)
                if path.group == g
            ]
            eligible.extend(mapped[view.index] for view in policy.eligible(self.experiment.policy, views))
        if not eligible:
            exist = ", ".join(path.name for path in mapped)
            wanted = self.experiment.policy.model_dump(exclude_none=True)
            words = ", ".join(f"{key} {value}" for key, value in wanted.items())
            self.report(
                ("policy",),
                f"no path of the fleet suits the policy ({words})",
                allowed=f"the paths that exist: {exist}",
            )
        elif len({path.group for path in eligible}) < len(groups):
            idle = [group.name for g, group in enumerate(groups) if all(path.group != g for path in eligible)]
            self.assumptions.append(f"nodes of {', '.join(idle)} hold no path of the policy and serve nothing")
        return eligible

    def check_sizes(self, groups: Sequence[PlannedGroup], eligible: Sequence[Path]) -> None:
        splitting = self.experiment.splitting
        low, high = part_bounds(self.sizes, splitting.part) if splitting else self.sizes
        if splitting and splitting.over == "lanes" and splitting.devices is not None:
            low, high = min(low, self.sizes[0]), self.sizes[1]
        for path in eligible:
            service = path.service
            if (service.min_size is not None and low < service.min_size) or (
                service.max_size is not None and high > service.max_size
            ):
                self.report(
                    ("workload", "sizes"),
                    f"queries (or their parts) have {low} to {high} samples, but {path.name} was measured over "
                    f"{service.min_size} to {service.max_size}",
                    allowed="sizes within the measured range; bound them with min and max, or split the queries",
                )
        self.check_batches(groups, eligible, high)

    def check_batches(self, groups: Sequence[PlannedGroup], eligible: Sequence[Path], largest: int) -> None:
        batching = self.experiment.batching
        if batching is None:
            return
        if batching.samples is not None and batching.samples < largest:
            self.report(
                ("batching", "samples"),
                f"a query (or part) may have {largest} samples, more than a whole batch",
                allowed=f"at least {largest}, or splitting into parts of at most {batching.samples}",
            )
            return
        most = batching.queries * largest if batching.samples is None else batching.samples
        most = min(most, batching.queries * largest)
        for path in eligible:
            group = groups[path.group]
            limit = path.service.max_size
            if is_named(batching.devices, group.name, group.devices[path.slot].name) and limit and most > limit:
                self.report(
                    ("batching",),
                    f"a batch may have {most} samples, but {path.name} was measured up to {limit}",
                    allowed=f"samples: {limit} or less, or beyond: linear on the device",
                )

    def preference(self, groups: Sequence[PlannedGroup], eligible: Sequence[Path]) -> tuple[tuple[int, int], ...]:
        kinds = list(dict.fromkeys((path.group, path.slot) for path in eligible))
        binding = self.experiment.binding
        if not isinstance(binding, LateBindingSpec) or not binding.preference:
            return tuple(kinds)
        ordered: list[tuple[int, int]] = []
        for i, name in enumerate(binding.preference):
            matching = [
                (g, slot)
                for g, slot in kinds
                if name in (groups[g].devices[slot].name, f"{groups[g].name}/{groups[g].devices[slot].name}")
            ]
            if not matching:
                self.report(("binding", "preference", i), f"{name!r} holds no path that the policy may use")
            ordered.extend(kind for kind in matching if kind not in ordered)
        return (*ordered, *(kind for kind in kinds if kind not in ordered))

    def note_assumptions(self, model: Model, groups: Sequence[PlannedGroup], eligible: Sequence[Path]) -> None:
        used = {path.representation for path in eligible}
        for name in sorted(used):
            representation = model.representations[name]
            if representation.accuracy_evidence in ("assumed", "recalled"):
                why = f" ({representation.accuracy_source})" if representation.accuracy_source else ""
                self.assumptions.append(
                    f"accuracy of {name}, {representation.accuracy:.2%}, is {representation.accuracy_evidence}{why}"
                )
        if any(model.representations[name].bytes is None for name in used):
            limited = [device.name for group in groups for device in group.devices if device.memory_bytes is not None]
            if limited:
                self.assumptions.append(f"{model.name} has no known size in memory: it is taken to fit")
        batching = self.experiment.batching
        if batching is not None and batching.queries > 1:
            for g, slot in sorted({(path.group, path.slot) for path in eligible}):
                device = groups[g].devices[slot]
                if is_named(batching.devices, groups[g].name, device.name) and not device.profile.per_query_overhead_ns:
                    self.assumptions.append(
                        f"a batch on {device.profile.name} costs what one query of as many samples costs"
                    )
            if getattr(self.experiment.policy, "queue", "ignored") != "ignored":
                self.assumptions.append("the policy expects waits as if what waits were served one at a time")
        slots = {(path.group, path.slot) for path in eligible if path.service.evidence == "modelled"}
        profiles = dict.fromkeys(groups[group].devices[slot].profile.name for group, slot in sorted(slots))
        self.assumptions.extend(f"service times of {name} are modelled, not measured" for name in profiles)


def plan_fleet(experiment: Experiment, node: Node, *, sizes: tuple[int, int], mean_size: float) -> Plan:
    """Plan the fleet of a scenario.

    Parameters
    ----------
    experiment : Experiment
        The validated scenario.
    node : Node
        The YAML it was read from, for the positions of problems.
    sizes : (int, int)
        Least and greatest query size that the workload can draw.
    mean_size : float
        Mean query size, at which services are compared where the mapping asks for it.

    Raises
    ------
    SpecError
        With every problem found: unknown names, representations that fit no device, sizes outside the measured
        range, settings that contradict each other.
    """
    return _Planner(experiment, node, sizes, mean_size).plan()


def describe(plan: Plan) -> dict[str, Any]:
    """Return the mapping as plain data for the report: device to representations."""
    return {
        f"{group.name}/{device.name}": list(device.representations) for group in plan.groups for device in group.devices
    }
