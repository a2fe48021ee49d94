"""Interference between the lanes of a device, as it is written, and the files of factors that were measured."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Discriminator, Field, Tag

from sim.spec.binding import SpecModel
from sim.spec.device import ProvenanceSpec

__all__ = ["InterferenceProfileSpec", "InterferenceSpec"]


def _alone_is_not_slowed(slowdown: tuple[float, ...]) -> tuple[float, ...]:
    if slowdown[0] != 1.0:
        raise ValueError("the first factor is that of a lane that is busy alone, which is 1")
    return slowdown


def _name_or_factors(value: Any) -> str:
    return "name" if isinstance(value, str) else "factors"


Slowdown = Annotated[
    tuple[Annotated[float, Field(ge=1.0, le=1000.0)], ...],
    Field(min_length=1),
    AfterValidator(_alone_is_not_slowed),
]


class InterferenceSpec(SpecModel):
    """Busy lanes of a device slow each other."""

    slowdown: Annotated[
        Annotated[str, Tag("name")] | Annotated[Slowdown, Tag("factors")], Discriminator(_name_or_factors)
    ] = Field(
        description="Factor on service times when 1, 2, ... lanes of the device are busy; more lanes are slowed by the "
        "last one. Or the name of factors that were measured, or the path of their file.",
    )
    devices: tuple[str, ...] | None = Field(
        None, min_length=1, description="Devices whose lanes interfere, by name or group/device; all by default."
    )


class InterferenceProfileSpec(SpecModel):
    """A file of factors: what was measured, and how."""

    name: str | None = Field(default=None, min_length=1)
    description: str = ""
    evidence: Literal["measured", "published", "modelled"]
    provenance: ProvenanceSpec
    slowdown: Slowdown = Field(description="Factor on service times when 1, 2, ... lanes of a device are busy.")
