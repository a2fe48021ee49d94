"""Autoscaling as it is written: what is measured, how many nodes it asks for, and how long they take to come."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from sim.spec.binding import Contradiction, SpecModel
from sim.spec.units import BytesPerS, DurationNs, DurationOrZeroNs, Fraction

__all__ = ["AttainmentScalingSpec", "BacklogScalingSpec", "ScalingSpec", "UtilisationScalingSpec"]


class _Scaling(SpecModel):
    """What every rule has."""

    group: str = Field(description="Group of nodes that is scaled.")
    min: int | None = Field(None, ge=1, description="Fewest nodes; one, or one in each cell, by default.")
    max: int | None = Field(None, ge=1, description="Most nodes; those of the group by default.")
    initial: int | None = Field(None, ge=1, description="Nodes at the start; `min` by default.")
    every: DurationNs = Field(description="How often it is decided.")
    provisioning: DurationOrZeroNs = Field(0, description="From the decision until a new node loads its model.")
    load_bandwidth: BytesPerS | None = Field(
        None, description="A new node loads its representations at this rate; at once by default."
    )
    cooldown: DurationOrZeroNs = Field(0, description="How long after any change no node is taken away.")

    @model_validator(mode="after")
    def _limits_agree(self) -> _Scaling:
        fewest = self.min or 1
        if self.max is not None and self.max < fewest:
            raise Contradiction(("max",), f"max {self.max} is below min {fewest}")
        if self.initial is not None and not fewest <= self.initial <= (self.max or self.initial):
            raise Contradiction(("initial",), f"initial {self.initial} is not between min and max")
        return self


class UtilisationScalingSpec(_Scaling):
    """As many nodes as bring the busy lanes of the last interval to a share of all."""

    measure: Literal["utilisation"]
    target: Fraction = Field(description="Share of the lanes that is to be busy.")
    tolerance: float = Field(
        0.1, ge=0.0, lt=1.0, description="Nothing changes while the nodes asked for differ by no more than this share."
    )


class BacklogScalingSpec(_Scaling):
    """As many nodes as bring the unfinished queries, on average over the last interval, to so many a node."""

    measure: Literal["backlog"]
    target: float = Field(gt=0.0, le=1e9, description="Unfinished queries (or parts) for each node.")
    tolerance: float = Field(
        0.1, ge=0.0, lt=1.0, description="Nothing changes while the nodes asked for differ by no more than this share."
    )


class AttainmentScalingSpec(_Scaling):
    """More nodes while too few queries of the last interval were served in time, fewer while nearly all were."""

    measure: Literal["sla-attainment"]
    target: Fraction = Field(description="Share of the queries that ended which has to be in time; add nodes below.")
    scale_in_above: Fraction = Field(description="Take a node away where at least this share was in time.")
    step: Fraction = Field(0.25, description="Share of the nodes that is added at a time, one at least.")

    @model_validator(mode="after")
    def _thresholds_agree(self) -> AttainmentScalingSpec:
        if self.scale_in_above <= self.target:
            raise Contradiction(
                ("scale_in_above",), "scale_in_above has to be more than target, or nodes would come and go for ever"
            )
        return self


ScalingSpec = Annotated[
    UtilisationScalingSpec | BacklogScalingSpec | AttainmentScalingSpec, Field(discriminator="measure")
]
