"""Service times of a model on a device from the device's datasheet: a roofline per stage plus overheads.

For a query of n samples on a lane of c chips,

    time(n) = overhead + operator_overhead * operators
              + inputs(n) / host_link
              + exchange(n) / interconnect                      (only where tables are spread over chips)
              + sum over stages of max(arithmetic(n), traffic(n))

    arithmetic(n) = FLOPs per sample * (m + h) / (peak * compute_efficiency)
    traffic(n)    = (weights + activations per sample * m) / (bandwidth * bandwidth_efficiency)
    rows(n)       = rows per sample * n * whole lines per row / (chips * bandwidth * gather_efficiency)

with m = ceil(n / chips that compute), and h = `small_batch` the samples per chip at which half of the compute
efficiency is reached, so that m samples run at the share m/(m + h) of it. Stages do not overlap with each
other; within a stage arithmetic and traffic do.

Where the parameters live decides which bandwidth counts. A representation that fits one chip is copied to
every chip and the samples are shared out. One that fits only all chips together is sharded: the tables are
spread evenly, the vectors cross the interconnect, and the other stages run on all chips or, with
`sharded_dense: one-chip`, on one (the IPU layout of the MP-Rec artifact). Chips with `on_chip_memory` use its
bandwidth for what fits there; tables that do not fit go to the streaming memory and are fetched from there,
while the other parameters stay on chip.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from sim.profile.model import Representation, Stage
from sim.profile.service import ServiceTable
from sim.spec.units import LARGEST

__all__ = ["GRID", "Roofline", "roofline_seconds", "roofline_table"]

GRID: tuple[int, ...] = tuple(sorted({1} | {2**k for k in range(13)} | {3 * 2**k for k in range(11)}))
"""Query sizes of a computed table: powers of two and three times powers of two, from 1 to 4096."""


@dataclass(frozen=True, slots=True)
class Roofline:
    """What a datasheet says of one lane of a device, and the efficiencies assumed with it.

    Attributes
    ----------
    peak_flops_per_s, bandwidth_bytes_per_s : float
        Of one chip: matrix arithmetic and memory.
    vector_peak_flops_per_s : float or None
        Element-by-element arithmetic of one chip; None: as the matrix peak.
    chips : int
        Chips that work together on one query.
    chip_memory_bytes, on_chip_memory_bytes : int or None
        Memory of one chip; None: no limit, and no on-chip memory that holds parameters.
    on_chip_bandwidth_bytes_per_s, streaming_bandwidth_bytes_per_s : float or None
        Bandwidth of the on-chip memory of one chip, and of the streaming memory that all chips share.
    interconnect_bytes_per_s, host_link_bytes_per_s : float or None
        Of one chip to the others, and of the lane to its host; None: no such transfer.
    overhead_ns, operator_overhead_ns : int
        Per query and per operator.
    compute_efficiency, bandwidth_efficiency, gather_efficiency : float
        Attainable shares of the peaks; `gather_efficiency` is for rows fetched at random.
    small_batch : float
        Samples per chip at which half of the compute efficiency is reached.
    line_bytes : int
        Granularity of a random fetch.
    sharded_dense : {"all-chips", "one-chip"}
        Where the stages other than the tables run when the tables are sharded.
    """

    peak_flops_per_s: float
    bandwidth_bytes_per_s: float
    vector_peak_flops_per_s: float | None = None
    chips: int = 1
    chip_memory_bytes: int | None = None
    on_chip_memory_bytes: int | None = None
    on_chip_bandwidth_bytes_per_s: float | None = None
    streaming_bandwidth_bytes_per_s: float | None = None
    interconnect_bytes_per_s: float | None = None
    host_link_bytes_per_s: float | None = None
    overhead_ns: int = 0
    operator_overhead_ns: int = 0
    compute_efficiency: float = 0.5
    bandwidth_efficiency: float = 0.75
    gather_efficiency: float = 0.25
    small_batch: float = 0.0
    line_bytes: int = 64
    sharded_dense: Literal["all-chips", "one-chip"] = "all-chips"


@dataclass(frozen=True, slots=True)
class _Placement:
    """Bandwidths of the parameters, and the chips over which the work is spread."""

    weights_bytes_per_s: float
    tables_bytes_per_s: float
    dense_chips: int
    sharded: bool


def roofline_seconds(roofline: Roofline, representation: Representation, size: int) -> dict[str, float] | None:
    """Time of each part of a query, in seconds.

    Parameters
    ----------
    roofline : Roofline
        The lane that serves the query.
    representation : Representation
        What it serves.
    size : int
        Samples in the query, at least 1.

    Returns
    -------
    dict or None
        Seconds by part ("overhead", "operators", "host link", "exchange" and the names of the stages); their
        sum is the service time. None for an opaque representation, or where tables fit nowhere.
    """
    if not representation.stages or representation.bytes is None:
        return None
    place = _place(roofline, representation)
    if place is None:
        return None
    seconds = {
        "overhead": roofline.overhead_ns * 1e-9,
        "operators": roofline.operator_overhead_ns * 1e-9 * sum(s.operators for s in representation.stages),
    }
    if roofline.host_link_bytes_per_s is not None:
        seconds["host link"] = representation.input_bytes_per_sample * size / roofline.host_link_bytes_per_s
    if place.sharded and roofline.interconnect_bytes_per_s is not None:
        share = representation.exchange_bytes_per_sample * size / place.dense_chips
        seconds["exchange"] = share / roofline.interconnect_bytes_per_s
    for stage in representation.stages:
        seconds[stage.name] = _stage_seconds(roofline, stage, place, size)
    return seconds


def roofline_table(
    roofline: Roofline, representation: Representation, sizes: Sequence[int] = GRID
) -> ServiceTable | None:
    """Service times of a representation on a grid of sizes, deterministic, extended linearly beyond.

    Parameters
    ----------
    roofline : Roofline
        The lane that serves the query.
    representation : Representation
        What it serves.
    sizes : sequence of int
        The grid, increasing.

    Returns
    -------
    ServiceTable or None
        None for an opaque representation, or where its tables fit nowhere.
    """
    times = []
    for size in sizes:
        seconds = roofline_seconds(roofline, representation, size)
        if seconds is None:
            return None
        times.append(sum(seconds.values()) * 1e9)
    return ServiceTable(
        sizes=np.array(sizes, dtype=np.int64),
        levels=np.array([0.5]),
        # A datasheet may be so slow that 64 bits cannot count a time; a run that would come to it is refused.
        service_ns=np.clip(np.rint(np.array(times)), 1.0, LARGEST)[:, None],
        beyond="linear",
        evidence="modelled",
    )


def _place(roofline: Roofline, representation: Representation) -> _Placement | None:
    total = representation.bytes or 0
    tables = representation.table_bytes or 0
    chips = roofline.chips
    dense_when_sharded = chips if roofline.sharded_dense == "all-chips" else 1
    if roofline.on_chip_memory_bytes is None or roofline.on_chip_bandwidth_bytes_per_s is None:
        memory = roofline.bandwidth_bytes_per_s
        if roofline.chip_memory_bytes is None or total <= roofline.chip_memory_bytes:
            return _Placement(memory, chips * memory, chips, sharded=False)
        return _Placement(memory, chips * memory, dense_when_sharded, sharded=True)
    chip, fast = roofline.on_chip_memory_bytes, roofline.on_chip_bandwidth_bytes_per_s
    if total <= chip:
        return _Placement(fast, chips * fast, chips, sharded=False)
    if chips > 1 and total <= chips * chip:
        return _Placement(fast, chips * fast, dense_when_sharded, sharded=True)
    slow = roofline.streaming_bandwidth_bytes_per_s
    if slow is None:
        return None
    weights = fast if total - tables <= chip else slow
    return _Placement(weights, slow, chips, sharded=False)


def _stage_seconds(roofline: Roofline, stage: Stage, place: _Placement, size: int) -> float:
    per_chip = math.ceil(size / place.dense_chips)
    stream = place.weights_bytes_per_s * roofline.bandwidth_efficiency
    if stage.unit == "gather":
        lines = math.ceil(stage.row_bytes / roofline.line_bytes) * roofline.line_bytes
        fetched = stage.rows_per_sample * lines * size
        gather = fetched / (place.tables_bytes_per_s * roofline.gather_efficiency)
        return gather + stage.stream_bytes_per_sample * per_chip / stream
    peak = roofline.peak_flops_per_s
    if stage.unit == "vector" and roofline.vector_peak_flops_per_s is not None:
        peak = roofline.vector_peak_flops_per_s
    arithmetic = stage.flops_per_sample * (per_chip + roofline.small_batch) / (peak * roofline.compute_efficiency)
    traffic = (stage.weight_bytes + stage.stream_bytes_per_sample * per_chip) / stream
    return max(arithmetic, traffic)
