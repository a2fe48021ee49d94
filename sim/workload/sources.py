"""Sources of queries: the experiment's workload and those of classes that have one of their own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sim.spec.classes import ClassSpec
from sim.spec.source import KeyPath
from sim.spec.workload import WorkloadSpec

__all__ = ["Source", "sources_of"]


@dataclass(frozen=True, slots=True)
class Source:
    """Queries that arrive by one process, and the classes among them.

    Attributes
    ----------
    name : str
        Of the class whose workload it is; empty for the experiment's workload.
    workload : WorkloadSpec
        Arrivals and sizes of this source, with the length of the run.
    classes : tuple of int
        The classes that its queries are of, in order.
    shares : tuple of float
        The share of each.
    path : key path
        Where its arrivals and sizes are written.
    """

    name: str
    workload: WorkloadSpec
    classes: tuple[int, ...] = (0,)
    shares: tuple[float, ...] = (1.0,)
    path: KeyPath = ("workload",)

    def stream(self, name: str) -> str:
        """Return the name of a random stream of this source."""
        return f"{name}.{self.name}" if self.name else name


def sources_of(workload: WorkloadSpec, classes: Sequence[ClassSpec] | None) -> tuple[Source, ...]:
    """Return the sources of an experiment, in the order of their first classes.

    Parameters
    ----------
    workload : WorkloadSpec
        The experiment's.
    classes : sequence of ClassSpec or None
        None is a single class that has the experiment's workload.
    """
    if classes is None:
        return (Source("", workload),)
    shared = tuple(i for i, one in enumerate(classes) if one.workload is None)
    sources = []
    for i, one in enumerate(classes):
        if one.workload is not None:
            own = workload.model_copy(update={"arrivals": one.workload.arrivals, "sizes": one.workload.sizes})
            sources.append(Source(one.name, own, (i,), (1.0,), ("classes", i, "workload")))
        elif i == shared[0]:
            # A share that is missing beside others is a problem that the planner reports.
            shares = [classes[j].share for j in shared]
            sources.append(Source("", workload, shared, tuple(1.0 if share is None else share for share in shares)))
    return tuple(sources)
