"""What clients do about slow and failed queries, as it is written: timeouts, retries and hedges."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from sim.spec.binding import Contradiction, SpecModel
from sim.spec.units import DurationNs, DurationOrZeroNs, Fraction

__all__ = ["HedgingSpec", "RetriesSpec", "TimeoutSpec"]

Cancel = Literal["none", "waiting", "running"]
CANCEL = (
    "What the nodes do about an attempt that nobody waits for any more: serve it all the same (none), take what still "
    "waits of it out of the queues (waiting), or stop what is in service too (running; a batch stops if all of it is)."
)
Failure = Literal["queue-full", "policy", "deadline", "fault", "timeout", "unavailable"]


class TimeoutSpec(SpecModel):
    """A client waits for an attempt only so long; without a retry the query is then dropped."""

    after: DurationNs = Field(description="How long a client waits for the answer to each attempt.")
    cancel: Cancel = Field("waiting", description=CANCEL)


class RetriesSpec(SpecModel):
    """A query whose attempt failed is sent again."""

    limit: int = Field(ge=1, le=16, description="Most retries of one query.")
    backoff: DurationOrZeroNs = Field(0, description="How long to wait before the first retry.")
    multiplier: float = Field(
        2.0, ge=1.0, le=100.0, description="Each further retry waits this many times longer than the one before."
    )
    on: tuple[Failure, ...] | None = Field(
        None, min_length=1, description="Failures that are retried; by default every one but the policy's own drops."
    )
    budget: Fraction | None = Field(
        None,
        description="Retries allowed for each offered query, such as 10%; they are saved up to `burst`. No budget by "
        "default.",
    )
    burst: int = Field(
        10, ge=1, le=1_000_000, description="With a budget: most retries that are saved up, and available at first."
    )
    past_deadline: bool = Field(False, description="Send retries that can only be late, too.")

    @model_validator(mode="after")
    def _burst_has_a_budget(self) -> RetriesSpec:
        if self.budget is None and "burst" in self.model_fields_set:
            raise Contradiction(("burst",), "burst saves up a budget, and there is none")
        return self


class HedgingSpec(SpecModel):
    """A query that is not answered soon is sent to a second node as well; the first answer wins."""

    after: DurationOrZeroNs | None = Field(None, description="How long after its arrival a query is sent again.")
    percentile: float | None = Field(
        None,
        gt=0.0,
        lt=100.0,
        description="Instead of `after`: this percentile of the latencies of the last `window` queries served.",
    )
    window: int = Field(
        1000, ge=10, le=100_000, description="With a percentile: queries it is taken over; none is hedged before."
    )
    cancel: Cancel = Field("waiting", description=CANCEL)

    @model_validator(mode="after")
    def _one_delay(self) -> HedgingSpec:
        if (self.after is None) == (self.percentile is None):
            raise ValueError("hedging needs either after or percentile")
        if self.percentile is None and "window" in self.model_fields_set:
            raise Contradiction(("window",), "window belongs to a percentile, and there is none")
        return self
