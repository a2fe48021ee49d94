"""Placement: device profiles found, and the representations of every model mapped into their memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path as FolderPath

from sim.profile.device import Device
from sim.profile.library import UnknownName, build_device, find_device
from sim.profile.model import Model
from sim.profile.service import Service
from sim.profile.spells import spells
from sim.serving.cache import CachedPath, cached_path, find_cache
from sim.serving.classes import PlannedModel
from sim.serving.findings import Findings
from sim.serving.mapping import Candidate, most_accurate_first, resident_bytes
from sim.serving.paths import Path, PlannedDevice, PlannedGroup
from sim.spec.device import DeviceSpec
from sim.spec.experiment import DeviceUseSpec, Experiment
from sim.spec.mapping import ExplicitMappingSpec
from sim.spec.source import KeyPath

__all__ = ["Found", "find_devices", "place"]

Candidates = dict[str, tuple[Candidate, Service, CachedPath | None]]
Found = list[list[PlannedDevice | None]]


# -- profiles -------------------------------------------------------------------------------------------


def find_devices(experiment: Experiment, base_dir: FolderPath, findings: Findings) -> Found:
    """Return the devices of a node of each group, as this fleet uses them; None where one cannot be had.

    Files of profiles, and of measured IDs for caches, are looked for in `base_dir`, then in the working directory.
    """
    return [
        [
            _planned(("fleet", g, "devices", name), name, group.name, use, base_dir, findings)
            for name, use in group.devices.items()
        ]
        for g, group in enumerate(experiment.fleet)
    ]


def _planned(
    path: KeyPath,
    name: str,
    group: str,
    use: str | DeviceSpec | DeviceUseSpec,
    base_dir: FolderPath,
    findings: Findings,
) -> PlannedDevice | None:
    # What has no name of its own is called by where it is: several are told apart so.
    inline = f"{group}/{name}"
    if not isinstance(use, DeviceUseSpec):
        profile = _find_device(path, use, inline, base_dir, findings)
        return (
            None if profile is None else PlannedDevice(name, profile, profile.memory_bytes, profile.lanes, None, False)
        )
    profile = _read_as_asked(path, use, inline, base_dir, findings)
    if profile is None:
        return None
    return PlannedDevice(
        name,
        profile,
        profile.memory_bytes if use.memory is None else use.memory,
        profile.lanes if use.lanes is None else use.lanes,
        use.queue_limit,
        use.data_loading,
        find_cache(use.cache, (*path, "cache"), base_dir, findings),
    )


def _find_device(
    path: KeyPath, reference: str | DeviceSpec, inline: str, base_dir: FolderPath, findings: Findings
) -> Device | None:
    try:
        if isinstance(reference, str):
            return find_device(reference, base_dir)
        return build_device(reference, folder=base_dir, or_here=True, node=findings.node.find(path), name=inline)
    except UnknownName as unknown:
        findings.report(path, unknown.problem, names=unknown.known)
        return None


def _read_as_asked(
    path: KeyPath, use: DeviceUseSpec, inline: str, base_dir: FolderPath, findings: Findings
) -> Device | None:
    """Return the profile of `use` with its tables read, and with the spells, that `use` says."""
    device = _find_device((*path, "profile"), use.profile, inline, base_dir, findings)
    if device is None:
        return None
    at = "beyond"
    try:
        device = device.with_overrides(beyond=use.beyond, round_to_ns=use.round_to, size_step=use.size_step)
        at = "spells"
        return device.with_overrides(spells=spells(use.spells))
    except ValueError as error:
        findings.report((*path, at), str(error))
        return None


# -- mapping --------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Placed:
    """What was placed so far."""

    mapped: list[Path] = field(default_factory=list)
    unmapped: list[tuple[int, str]] = field(default_factory=list)


def place(
    experiment: Experiment,
    models: Sequence[PlannedModel],
    mean_sizes: Sequence[float],
    found: Found,
    findings: Findings,
) -> tuple[list[PlannedGroup], list[Path]]:
    """Map the representations of every model to the devices; return the groups and the paths that exist.

    On each device the models take their memory one after the other, each what those before it left.

    Parameters
    ----------
    experiment : Experiment
    models : sequence of PlannedModel
        In the order in which they take memory.
    mean_sizes : sequence of float
        Mean query size of each model's queries, at which services are compared where a mapping asks for it.
    found : list of list of PlannedDevice
        As from `find_devices`, all of them found.
    findings : Findings
        Gets the problems, and the devices that hold nothing.
    """
    several = len(experiment.fleet) > 1
    placed = _Placed()
    groups = []
    for g, group in enumerate(experiment.fleet):
        devices = []
        for slot, device in enumerate(found[g]):
            assert device is not None
            devices.append(device)
            where = f"{group.name}/{device.name}" if several else device.name
            _place_on_device(g, group.name, slot, device, where, models, mean_sizes, placed, findings)
        groups.append(PlannedGroup(group.name, group.count, tuple(devices)))
    for planned in models:
        if planned.memory is not None and all(
            device.memory_bytes is None for group in groups for device in group.devices
        ):
            findings.report(planned.memory_path, "has no effect: no device has a memory of known size")
        tables = [representation.table_bytes for representation in planned.model.representations.values()]
        if planned.mapping.shared_tables and not any(tables):
            findings.report(
                (*planned.mapping_path, "shared_tables"),
                f"has no effect: how much of {planned.model.name} is tables is not known",
                allowed="models with a DLRM's shape",
            )
    findings.stop_if_broken()
    for m, planned in enumerate(models):
        lines = [line for model, line in placed.unmapped if model == m]
        if any(path.model == m for path in placed.mapped):
            for line in lines:
                findings.assume(f"no path on {line}")
        elif len(models) == 1:
            findings.report(("fleet",), "no representation lives on any device: " + "; ".join(lines))
        else:
            findings.report(
                planned.path, f"no representation of {planned.model.name} lives on any device: " + "; ".join(lines)
            )
    return groups, placed.mapped


def _place_on_device(
    g: int,
    group: str,
    slot: int,
    device: PlannedDevice,
    where: str,
    models: Sequence[PlannedModel],
    mean_sizes: Sequence[float],
    placed: _Placed,
    findings: Findings,
) -> None:
    memory = left = device.memory_bytes
    for m, (planned, mean_size) in enumerate(zip(models, mean_sizes, strict=True)):
        model = planned.model
        room = left
        if planned.memory is not None and memory is not None and left is not None:
            room = min(left, round(planned.memory * memory))
        candidates = _candidates(model, device, mean_size, findings)
        if device.data_loading and not candidates:
            findings.report(
                ("fleet", g, "devices", device.name, "data_loading"),
                f"profile {device.profile.name} has no measured data loading for {model.name}",
            )
        held = _map(planned, group, device.name, room, candidates, len(models) > 1, findings)
        if left is not None:
            left -= resident_bytes([candidates[one][0] for one in held], shared_tables=planned.mapping.shared_tables)
        of = f" of {model.name}" if len(models) > 1 else ""
        if not candidates:
            placed.unmapped.append(
                (m, f"{group}/{device.name}: profile {device.profile.name} has nothing for {model.name}")
            )
        elif not held and room is not None:
            its = (
                f"its memory of {room:,} bytes" if room == memory else f"the {room:,} bytes of memory that it may take"
            )
            smallest = min(candidate.total_bytes for candidate, _, _ in candidates.values())
            placed.unmapped.append(
                (m, f"{group}/{device.name}: no representation{of} fits {its} (smallest: {smallest:,})")
            )
        elif not held:
            placed.unmapped.append((m, f"{group}/{device.name}: the mapping puts no representation{of} there"))
        prefix = f"{model.name}:" if len(models) > 1 else ""
        for representation in held:
            candidate, service, cached = candidates[representation]
            name = f"{prefix}{representation}@{where}"
            idle = device.profile.after_idle(model, representation)
            size = device.profile.after_size(model, representation)
            accuracy = candidate.accuracy
            placed.mapped.append(Path(name, g, m, slot, representation, accuracy, service, cached, idle, size))


def _candidates(model: Model, device: PlannedDevice, mean_size: float, findings: Findings) -> Candidates:
    candidates = {}
    for name, representation in model.representations.items():
        service = device.profile.service(model, name, data_loading=device.data_loading)
        if service is None:
            continue
        cached = None
        if device.cache is not None:
            cached = cached_path(device.cache, device.profile, model, representation, service, findings)
        if cached is not None:
            service = cached.service
        low = service.min_size or 0
        high = service.max_size
        size = max(mean_size, low) if high is None else min(max(mean_size, low), high)
        candidates[name] = (
            Candidate(
                name,
                representation.accuracy if cached is None else cached.accuracy,
                (representation.bytes or 0) if cached is None else cached.bytes,
                representation.table_bytes or 0,
                float(service.mean_at(size)),
            ),
            service,
            cached,
        )
    return candidates


def _map(
    planned: PlannedModel,
    group: str,
    device: str,
    room: int | None,
    candidates: Candidates,
    several: bool,
    findings: Findings,
) -> tuple[str, ...]:
    """Return the representations of a model that a device holds in `room` bytes, most accurate first."""
    mapping = planned.mapping
    if not isinstance(mapping, ExplicitMappingSpec):
        asked = mapping.representations
        return most_accurate_first(
            [
                candidate
                for candidate, _, _ in candidates.values()
                if asked is None or candidate.representation in asked
            ],
            room,
            shared_tables=mapping.shared_tables,
            reserve_fastest=mapping.reserve_fastest,
        )
    model = planned.model.name if several else "this model"
    named = next((name for name in (f"{group}/{device}", device) if name in mapping.devices), None)
    if named is None:
        return ()
    path: KeyPath = (*planned.mapping_path, "devices", named)
    wanted = mapping.devices[named]
    held = []
    for i, representation in enumerate(wanted):
        if representation not in candidates:
            findings.report(
                (*path, i),
                f"{group}/{device} has no profile for {representation} of {model}",
                allowed=", ".join(candidates) or f"nothing: the device has no profile for {model}",
            )
        else:
            held.append(candidates[representation][0])
    needed = resident_bytes(held, shared_tables=mapping.shared_tables)
    if room is not None and needed > room:
        of = f" of {model}" if several else ""
        findings.report(
            path,
            f"{', '.join(wanted)}{of} need {needed:,} bytes but {group}/{device} has {room:,}",
            allowed="representations that fit the device's memory together",
        )
    return tuple(c.representation for c in sorted(held, key=lambda c: -c.accuracy))
