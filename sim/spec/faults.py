"""Faults as they are written: crashes at given times, drawn lifetimes, slow spells and rolling maintenance."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    PlainSerializer,
    Tag,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
    model_validator,
)

from sim.spec.binding import SpecModel
from sim.spec.units import DurationNs, DurationOrZeroNs, format_fraction, parse_fraction

__all__ = [
    "CrashSpec",
    "FaultsSpec",
    "LifetimeSpec",
    "MaintenanceSpec",
    "NodeSetSpec",
    "SlowSpec",
    "SlowSpellSpec",
]


def _share(written: object) -> float:
    # A fraction may be written as 1 elsewhere; here it would be taken for the number of a node or of nodes.
    if isinstance(written, int):
        raise ValueError("nodes are a list of numbers, such as [0, 3], or a share of the group, such as 10%")
    return parse_fraction(written)


def _nodes_tag(value: Any) -> str:
    return "list" if isinstance(value, list | tuple) else "share"


NodeShare = Annotated[
    float,
    BeforeValidator(_share),
    PlainSerializer(format_fraction, return_type=str),
    WithJsonSchema({"type": ["string", "number"], "examples": ["10%", 0.1]}),
]
Numbers = Annotated[tuple[Annotated[int, Field(ge=0)], ...], Field(min_length=1)]
Nodes = Annotated[Annotated[NodeShare, Tag("share")] | Annotated[Numbers, Tag("list")], Discriminator(_nodes_tag)]


class NodeSetSpec(SpecModel):
    """Some nodes: the whole fleet, a group, or nodes or racks of a group."""

    group: str | None = Field(None, description="Group of nodes; without it the whole fleet.")
    nodes: Nodes | None = Field(
        None, description="Numbers of nodes in the group, from 0 on, or a share: the first of its nodes, rounded up."
    )
    racks: Numbers | None = Field(None, description="Numbers of racks in the group, from 0 on; it needs rack_size.")

    @field_validator("nodes", "racks")
    @classmethod
    def _in_a_group(cls, value: Any, info: ValidationInfo) -> Any:
        if value is not None and "group" in info.data and info.data["group"] is None:
            raise ValueError(f"{info.field_name} are numbered in a group: say in which")
        return value

    @field_validator("nodes", "racks")
    @classmethod
    def _each_once(cls, value: Any) -> Any:
        if isinstance(value, tuple):
            repeated = sorted({number for number in value if value.count(number) > 1})
            if repeated:
                raise ValueError(f"has numbers twice: {', '.join(map(str, repeated))}")
        return value

    @field_validator("racks")
    @classmethod
    def _nodes_or_racks(cls, value: Any, info: ValidationInfo) -> Any:
        if value is not None and info.data.get("nodes") is not None:
            raise ValueError("nodes and racks both say which nodes are meant; leave one of them out")
        return value


class CrashSpec(NodeSetSpec):
    """Devices that are down from a given time on."""

    # `for` is no name in Python, and the attribute's name is no key of the file.
    model_config = ConfigDict(populate_by_name=False)

    at: DurationOrZeroNs = Field(description="When it begins, from the start of the run.")
    lasts: DurationNs | None = Field(None, alias="for", description="How long it lasts; to the end by default.")
    device: str | None = Field(None, description="Only this device of each node; all by default.")


class SlowSpec(CrashSpec):
    """Devices that are slower from a given time on."""

    factor: float = Field(gt=1.0, le=1000.0, description="What service times are multiplied by meanwhile.")


class LifetimeSpec(SpecModel):
    """Components that fail and are repaired at random, each on its own; at the start all are up."""

    each: Literal["device", "node", "rack", "cell"] = Field(
        description="What fails as one: a device, a node, a rack of nodes, or a whole cell."
    )
    group: str | None = Field(None, description="Only those of this group; of every group by default.")
    device: str | None = Field(None, description="With each: device, only the devices of this name.")
    mtbf: DurationNs = Field(description="Mean time from being up (again) to the next failure.")
    mttr: DurationNs = Field(description="Mean time from a failure to being up again.")
    shape: float = Field(
        1.0,
        ge=0.1,
        le=100.0,
        description="Shape of the Weibull law of the times up; 1 is exponential, more wears out, less fails early. "
        "The mean stays mtbf.",
    )
    repair: Literal["exponential", "fixed"] = Field(
        "exponential", description="Law of the times down: exponential, or always mttr."
    )

    @field_validator("group")
    @classmethod
    def _the_cell_is_in_no_group(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value is not None and info.data.get("each") == "cell":
            raise ValueError("a cell has nodes of all groups; leave group out")
        return value

    @field_validator("device")
    @classmethod
    def _device_of_devices(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value is not None and info.data.get("each", "device") != "device":
            raise ValueError(f"with each: {info.data['each']} all devices go together; write each: device")
        return value


class SlowSpellSpec(LifetimeSpec):
    """Components that turn slow at random for a while: mtbf between slow spells, mttr their length."""

    factor: float = Field(gt=1.0, le=1000.0, description="What service times are multiplied by meanwhile.")


class MaintenanceSpec(NodeSetSpec):
    """Nodes are drained, taken down and brought back, some at a time, in the order of the fleet."""

    at: DurationOrZeroNs = Field(description="When the first nodes are closed, from the start of the run.")
    at_once: int = Field(1, ge=1, description="Nodes that are away at once.")
    drain: DurationOrZeroNs = Field(description="Time between closing a node for new queries and taking it down.")
    down: DurationNs = Field(description="Time that a node is down.")


def _slow_tag(value: Any) -> str:
    if isinstance(value, BaseModel):
        return "drawn" if isinstance(value, SlowSpellSpec) else "timed"
    return "drawn" if isinstance(value, dict) and value.keys() & {"each", "mtbf", "mttr"} else "timed"


Slow = Annotated[Annotated[SlowSpec, Tag("timed")] | Annotated[SlowSpellSpec, Tag("drawn")], Discriminator(_slow_tag)]


class FaultsSpec(SpecModel):
    """What goes wrong with the fleet, and when it is maintained."""

    crashes: tuple[CrashSpec, ...] | None = Field(None, min_length=1, description="Failures at given times.")
    lifetimes: tuple[LifetimeSpec, ...] | None = Field(None, min_length=1, description="Failures drawn at random.")
    slow: tuple[Slow, ...] | None = Field(
        None, min_length=1, description="Slow spells, at given times (at, for) or drawn at random (each, mtbf, mttr)."
    )
    maintenance: tuple[MaintenanceSpec, ...] | None = Field(
        None, min_length=1, description="Rolling maintenance: drain, take down, bring back, next."
    )

    @model_validator(mode="after")
    def _something_happens(self) -> FaultsSpec:
        if self.crashes is None and self.lifetimes is None and self.slow is None and self.maintenance is None:
            raise ValueError("no faults are given: write crashes, lifetimes, slow or maintenance, or leave faults out")
        return self
