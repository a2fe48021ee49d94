"""A planned fleet: its groups, their devices, and the paths that live on them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sim.profile.aftereffects import AfterIdle, AfterSize
from sim.profile.device import Device
from sim.profile.interference import InterferenceProfile
from sim.profile.service import Service
from sim.serving.cache import CachedPath, DeviceCache
from sim.serving.classes import PlannedModel, QueryClass

__all__ = ["Path", "Plan", "PlannedDevice", "PlannedGroup", "Rung", "is_named"]

Rung = frozenset[tuple[int, int, str]]
"""The paths of one of several mappings, as (group, slot, representation)."""


@dataclass(frozen=True, slots=True)
class PlannedDevice:
    """A device of a node, with what this fleet changes of its profile."""

    name: str
    profile: Device
    memory_bytes: int | None
    lanes: int
    queue_limit: int | None
    data_loading: bool
    cache: DeviceCache | None = None


@dataclass(frozen=True, slots=True)
class PlannedGroup:
    """Equal nodes."""

    name: str
    count: int
    devices: tuple[PlannedDevice, ...]


@dataclass(frozen=True, slots=True)
class Path:
    """A representation of a model on a device of a group's nodes.

    `slot` is the device's place on its node; `cached` says what a cache makes of the path, None without one;
    `after_idle` and `after_size` what service takes longer on a lane that stood idle, or served many samples.
    """

    name: str
    group: int
    model: int
    slot: int
    representation: str
    accuracy: float
    service: Service
    cached: CachedPath | None = None
    after_idle: tuple[AfterIdle, ...] = ()
    after_size: AfterSize | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """The fleet of a scenario, ready to be laid out.

    Attributes
    ----------
    models : tuple of PlannedModel
    classes : tuple of QueryClass
        A single one without a name where the experiment has no classes.
    groups : tuple of PlannedGroup
    mapped : tuple of Path
        Every path that exists, or may come to exist by re-mapping.
    rungs : tuple of Rung
        With re-mapping: the paths of each mapping, the first the one at the start. Empty without it.
    mean_sizes : tuple of float
        By model: mean query size, in samples.
    eligible : tuple of Path
        Those that the policy may use, group by group and model by model, in the order that the policy sees.
    preference : tuple of (group, slot)
        Kinds of device that hold an eligible path, in the order that late binding tries them.
    assumptions : tuple of str
        What was taken for granted, in plain words, for the report.
    slowdown : tuple of float
        Factor on service times when 1, 2, ... lanes of a device are busy.
    interference : InterferenceProfile or None
        Where these were measured.
    """

    models: tuple[PlannedModel, ...]
    classes: tuple[QueryClass, ...]
    groups: tuple[PlannedGroup, ...]
    mapped: tuple[Path, ...]
    rungs: tuple[Rung, ...]
    mean_sizes: tuple[float, ...]
    eligible: tuple[Path, ...]
    preference: tuple[tuple[int, int], ...]
    assumptions: tuple[str, ...]
    slowdown: tuple[float, ...]
    interference: InterferenceProfile | None


def is_named(names: Sequence[str] | None, group: str, device: str) -> bool:
    """Whether `names` has this device, by its name or as group/device; None names them all."""
    return names is None or device in names or f"{group}/{device}" in names
