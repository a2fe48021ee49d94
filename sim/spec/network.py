"""The network between router and nodes, and what routers know, as they are written."""

from __future__ import annotations

from pydantic import Field, model_validator

from sim.spec.binding import Contradiction, SpecModel
from sim.spec.units import DurationNs, DurationOrZeroNs

__all__ = ["KnowledgeSpec", "NetworkSpec"]


class KnowledgeSpec(SpecModel):
    """What routers know of the nodes: their state some time ago, or each router its own queries alone."""

    delay: DurationNs | None = Field(None, description="Routers see the nodes' loads as they were this long ago.")
    routers: int | None = Field(
        None,
        ge=2,
        le=10_000,
        description="So many routers of a cell share its queries at random and no state: each sees only what it sent "
        "itself.",
    )

    @model_validator(mode="after")
    def _one_kind(self) -> KnowledgeSpec:
        if (self.delay is None) == (self.routers is None):
            raise ValueError("knowledge is either a delay or a number of routers")
        return self


class NetworkSpec(SpecModel):
    """One-way delay between router and node, drawn for the way out and the way back of every attempt."""

    delay: DurationNs = Field(description="Mean delay of one way.")
    cv: float = Field(
        0.0,
        ge=0.0,
        le=20.0,
        description="Coefficient of variation of what exceeds `floor`, which has a gamma law: 0 is constant, 1 "
        "exponential.",
    )
    floor: DurationOrZeroNs = Field(0, description="Part of the delay that is always there.")

    @model_validator(mode="after")
    def _floor_is_lower(self) -> NetworkSpec:
        if self.floor > self.delay:
            raise Contradiction(("floor",), "the floor is beyond the mean delay")
        if self.floor and not self.cv:
            raise Contradiction(("floor",), "floor has no effect on a constant delay (cv: 0); leave it out or raise cv")
        return self
