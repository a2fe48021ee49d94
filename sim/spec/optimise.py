"""The `optimise` block of an experiment file: what may be chosen, what is wanted, how long to search."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from sim.spec.binding import SpecModel

__all__ = ["Direction", "OptimiseBlock", "OptimiseSpec"]

Direction = Literal["max", "min"]
"""Whether more or less of a metric is better."""

CONSTRAINT = r"^\s*[a-z][a-z0-9_]*\s*(<=|>=)\s*\S.*$"
"""A metric, how it compares, and its limit."""


def _constraint(written: str) -> str:
    if re.match(CONSTRAINT, written) is None:
        raise ValueError(
            "a constraint is written as METRIC <= LIMIT or METRIC >= LIMIT, such as latency_ms_p99 <= sla or "
            "cost_usd_per_h <= 5"
        )
    return written


ConstraintText = Annotated[str, AfterValidator(_constraint), Field(json_schema_extra={"pattern": CONSTRAINT})]


class OptimiseSpec(SpecModel):
    """A search over designs, done by `mprec optimise`; every other command leaves it aside."""

    objectives: dict[str, Direction] | None = Field(
        None,
        min_length=1,
        description="Metrics of summary.json, or cost_usd_per_h, with max or min. By default accuracy_served, "
        "correct_predictions_within_sla_per_s, the latency percentile of the report and, where all devices have a "
        "price, cost_usd_per_h.",
    )
    resolution: dict[str, str | int | float] = Field(
        {},
        description="Metric to the smallest difference that counts, such as 0.01% or 1ms: means are compared in steps "
        "of it. Every difference beyond noise counts by default.",
    )
    constraints: tuple[ConstraintText, ...] = Field(
        (),
        description="What every design has to meet, such as 'latency_ms_p99 <= sla' or 'accuracy_served >= 78.8%'.",
    )
    choices: dict[str, list[Any] | dict[str, Any]] = Field(
        min_length=1,
        description="Key path to its values, to labels with values, or to {from, to, step}; a design has one of each.",
    )
    trials: int = Field(
        100, ge=1, le=100_000, description="Designs that are tried; all of them where there are no more than that."
    )
    seed: int = Field(1, ge=0, lt=2**32, description="Seed of the search; the draws have the experiment's.")
    batch: int = Field(
        8, ge=1, le=1000, description="Designs that are tried side by side; the search learns after each batch."
    )
    front_replications: int | None = Field(
        None,
        ge=1,
        le=100_000,
        description="Replications of the designs on the front, once the search is over; as many as of all others by "
        "default.",
    )


class OptimiseBlock(SpecModel):
    """The block by itself, with its key."""

    optimise: OptimiseSpec
