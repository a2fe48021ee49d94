"""The offline mapping as it is written: which representations live on which device."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from sim.spec.binding import SpecModel

__all__ = ["ExplicitMappingSpec", "MappingSpec", "MostAccurateFirstSpec", "Representation"]

Representation = Literal["table", "dhe", "select", "hybrid"]


class MostAccurateFirstSpec(SpecModel):
    """Per device, representations from most to least accurate, each that fits in the memory that is left (MP-Rec)."""

    kind: Literal["most-accurate-first"]
    representations: tuple[Representation, ...] | None = Field(
        None, min_length=1, description="Only these are considered; all that have a profile by default."
    )
    shared_tables: bool = Field(
        False, description="Hybrid and table paths of one device share the embedding tables in memory."
    )
    reserve_fastest: bool = Field(
        False, description="Reserve memory for the representation that fits with the shortest mean service time first."
    )


class ExplicitMappingSpec(SpecModel):
    """Exactly the named representations on each named device."""

    kind: Literal["explicit"]
    devices: dict[str, tuple[Representation, ...]] = Field(
        min_length=1, description="Device name (or group/device) to its representations."
    )
    shared_tables: bool = Field(
        False, description="Hybrid and table paths of one device share the embedding tables in memory."
    )


MappingSpec = Annotated[MostAccurateFirstSpec | ExplicitMappingSpec, Field(discriminator="kind")]
