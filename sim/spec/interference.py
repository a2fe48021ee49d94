"""Interference between the lanes of a device, as it is written."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, field_validator

from sim.spec.binding import SpecModel

__all__ = ["InterferenceSpec"]

Slowdown = Annotated[float, Field(ge=1.0, le=1000.0)]


class InterferenceSpec(SpecModel):
    """Busy lanes of a device slow each other."""

    slowdown: tuple[Slowdown, ...] | None = Field(
        None,
        min_length=1,
        description="Factor on service times when 1, 2, ... lanes of the device are busy; more lanes are slowed by the "
        "last one. The device profile's co-location measurement by default.",
    )
    devices: tuple[str, ...] | None = Field(
        None, min_length=1, description="Devices whose lanes interfere, by name or group/device; all by default."
    )

    @field_validator("slowdown")
    @classmethod
    def _alone_is_not_slowed(cls, slowdown: tuple[float, ...] | None) -> tuple[float, ...] | None:
        if slowdown is not None and slowdown[0] != 1.0:
            raise ValueError("the first factor is that of a lane that is busy alone, which is 1")
        return slowdown
