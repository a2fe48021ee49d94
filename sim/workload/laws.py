"""The laws of a source's queries, read from its files once, so that they can be drawn where these files are not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sim.workload.arrivals import RenewalArrivals, TraceArrivals, arrival_process
from sim.workload.sizes import SizeDistribution, size_distribution
from sim.workload.sources import Source

__all__ = ["SourceLaws", "laws_of"]


@dataclass(frozen=True, slots=True)
class SourceLaws:
    """When the queries of a source arrive and of which size they are, in one of so many equal cells."""

    process: RenewalArrivals | TraceArrivals
    sizes: SizeDistribution


def laws_of(sources: Sequence[Source], base_dir: Path, cells: int = 1) -> tuple[SourceLaws, ...]:
    """Return the laws of each source.

    Parameters
    ----------
    sources : sequence of Source
    base_dir : Path
        Where relative trace files are looked for first.
    cells : int
        Cells that share the queries.

    Raises
    ------
    SpecError
        If a trace or a name cannot be found, or a trace is over before the run.
    """
    return tuple(
        SourceLaws(
            arrival_process(source.workload, base_dir, cells),
            size_distribution(source.workload, base_dir),
        )
        for source in sources
    )
