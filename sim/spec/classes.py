"""Classes of queries as they are written: a limit, a priority, a model or a load of their own."""

from __future__ import annotations

from pydantic import Field

from sim.spec.binding import Name, SpecModel
from sim.spec.mapping import MappingSpec
from sim.spec.model import NamedModel
from sim.spec.units import DurationNs, Fraction
from sim.spec.workload import ArrivalsSpec, NamedSizes

__all__ = ["ClassSpec", "ClassWorkloadSpec"]


class ClassWorkloadSpec(SpecModel):
    """The load of one class; how long the run is stands in the workload of the experiment."""

    arrivals: ArrivalsSpec = Field(description="When queries of the class arrive.")
    sizes: NamedSizes = Field("mlperf-dlrm-v2", description="Candidates per query, by name or inline.")


class ClassSpec(SpecModel):
    """Queries that have something in common; whatever is left out is the experiment's."""

    name: Name = Field(description="Name of the class, used in tables.")
    share: Fraction | None = Field(
        None,
        description="Share of the experiment's workload; the shares of the classes without a workload of their own add "
        "up to 1. May be left out by a class that has it alone.",
    )
    sla: DurationNs | None = Field(None, description="Latency limit; the experiment's by default.")
    priority: int | None = Field(
        None, ge=0, le=1_000_000, description="Least first, under queue: {order: priority}; 0 by default."
    )
    model: NamedModel | None = Field(
        None, description="The model that its queries ask, by name or inline; the experiment's by default."
    )
    workload: ClassWorkloadSpec | None = Field(
        None, description="Arrivals and sizes of its own, beside those of the experiment."
    )
    mapping: MappingSpec | None = Field(
        None, description="Which representations of its model live on which device; the experiment's by default."
    )
    memory: Fraction | None = Field(
        None,
        description="Most of each device's memory that its model may take; all that models before it leave by default.",
    )
