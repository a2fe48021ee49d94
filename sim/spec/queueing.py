"""Device queues as they are written: their order, their bound, what is shed, and batching."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from sim.spec.binding import SpecModel
from sim.spec.units import DurationOrZeroNs

__all__ = ["BatchingSpec", "QueueSpec"]


class QueueSpec(SpecModel):
    """Every queue of the fleet; a device's own `queue_limit` goes before `limit`."""

    order: Literal["fifo", "smallest-first", "earliest-deadline", "priority"] = Field(
        "fifo",
        description="Which waiting part is served next: the first that came, the one with the fewest samples, the one "
        "whose deadline comes first, or the one whose class has the least priority number. Equal ones go first come, "
        "first served.",
    )
    limit: int | None = Field(
        None,
        ge=0,
        lt=2**53,
        description="Most parts that may wait; a query that finds no room is dropped. Unbounded by default.",
    )
    shed: Literal["never", "late", "hopeless"] = Field(
        "never",
        description="Queries dropped when a lane would take them: none, those whose deadline has passed (late), or "
        "those that are not expected to finish by their deadline (hopeless).",
    )


class BatchingSpec(SpecModel):
    """Parts that wait for the same representation on a device are served together."""

    queries: int = Field(ge=1, le=100_000, description="Most parts in a batch.")
    samples: int | None = Field(None, ge=1, lt=2**53, description="Most samples in a batch; no limit by default.")
    timeout: DurationOrZeroNs = Field(
        0,
        description="How long a batch that is not full waits for more, from when its oldest part joined the queue; "
        "0s starts whatever waits as soon as a lane is free.",
    )
    devices: tuple[str, ...] | None = Field(
        None, min_length=1, description="Devices that batch, by name or group/device; all by default."
    )

    @model_validator(mode="after")
    def _waits_for_something(self) -> BatchingSpec:
        if self.queries == 1 and self.timeout > 0:
            raise ValueError("a batch of one query is full at once: leave timeout out or raise queries")
        return self
