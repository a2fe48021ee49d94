"""Re-mapping as it is written: when the offline mapping is run again, and what changing it costs."""

from __future__ import annotations

from pydantic import Field, model_validator

from sim.spec.binding import SpecModel
from sim.spec.units import BytesPerS, DurationNs, Fraction

__all__ = ["RemappingSpec"]


class RemappingSpec(SpecModel):
    """The mapping is run again with the load and the devices that there are."""

    every: DurationNs | None = Field(None, description="How often the mapping is run again.")
    on_fault: bool = Field(False, description="Run it again whenever a fault begins or ends.")
    target: Fraction = Field(
        0.7,
        description="The most accurate mapping is taken whose fastest paths would be busy for no more than this share.",
    )
    load_bandwidth: BytesPerS = Field(description="Rate at which a device loads representations that it did not hold.")
    at_once: int | None = Field(
        None,
        ge=1,
        description="Nodes of a cell that change at a time, one batch after the other; all at once by default.",
    )

    @model_validator(mode="after")
    def _has_an_occasion(self) -> RemappingSpec:
        if self.every is None and not self.on_fault:
            raise ValueError("re-mapping needs an occasion: every, on_fault or both")
        return self
