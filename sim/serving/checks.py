"""Whether the settings of a planned fleet suit each other: devices that are named, sizes, batches, lanes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sim.serving.classes import PlannedModel, QueryClass
from sim.serving.findings import Findings
from sim.serving.paths import Path, PlannedGroup, is_named
from sim.serving.policies import POLICIES
from sim.serving.splitting import part_bounds
from sim.spec.experiment import Experiment, LateBindingSpec, SizeThresholdPolicySpec, StaticPolicySpec
from sim.spec.mapping import ExplicitMappingSpec
from sim.spec.source import KeyPath, format_path
from sim.spec.units import DURATIONS, LARGEST, format_duration_ns
from sim.workload.sources import Source

__all__ = ["Load", "check_batches", "check_lanes", "check_named_devices", "check_sizes", "check_times", "model_loads"]

MOST_OVER_MEAN = 64
"""Room for single draws far above the mean, in services of mean length. A law with a CV of hundreds may need more."""

LONG_NS = 3.6e12
"""A mean service from which on it is taken for the mistake, and not the number of queries."""

MOST_SLOWDOWN = 10.0
"""Slowdowns that have a name were measured, and are less than this."""


@dataclass(frozen=True, slots=True)
class Load:
    """What planning needs to know of a source of queries.

    Attributes
    ----------
    source : Source
    sizes : (int, int)
        Least and greatest query size that it can draw.
    mean_size, rate_per_s : float
        Mean query size and mean arrival rate.
    end_ns : float
        End of its arrivals; about then where a number of queries is asked for.
    """

    source: Source
    sizes: tuple[int, int]
    mean_size: float
    rate_per_s: float
    end_ns: float


def model_loads(loads: Sequence[Load], classes: Sequence[QueryClass], model: int) -> list[tuple[Load, float]]:
    """Return the loads with queries for a model, and the share of each that is for it."""
    found = []
    for load in loads:
        source = load.source
        share = sum(s for c, s in zip(source.classes, source.shares, strict=True) if classes[c].model == model)
        if share > 0:
            found.append((load, share))
    return found


def check_named_devices(experiment: Experiment, models: Sequence[PlannedModel], findings: Findings) -> None:
    """Check every place that names a device of the fleet."""
    names = {name for group in experiment.fleet for name in group.devices}
    full = [f"{group.name}/{name}" for group in experiment.fleet for name in group.devices]
    known = [*sorted(names), *full]
    named: list[tuple[KeyPath, str]] = []
    policy = experiment.policy
    if isinstance(policy, StaticPolicySpec) and policy.device is not None:
        named.append((("policy", "device"), policy.device))
    if isinstance(policy, SizeThresholdPolicySpec):
        named += [(("policy", "small"), policy.small), (("policy", "large"), policy.large)]
    for planned in models:
        if isinstance(planned.mapping, ExplicitMappingSpec):
            named += [((*planned.mapping_path, "devices", name), name) for name in planned.mapping.devices]
    if experiment.splitting is not None and experiment.splitting.devices is not None:
        named += [(("splitting", "devices", i), name) for i, name in enumerate(experiment.splitting.devices)]
    if experiment.batching is not None and experiment.batching.devices is not None:
        named += [(("batching", "devices", i), name) for i, name in enumerate(experiment.batching.devices)]
    if experiment.interference is not None and experiment.interference.devices is not None:
        named += [(("interference", "devices", i), name) for i, name in enumerate(experiment.interference.devices)]
    if isinstance(experiment.binding, LateBindingSpec):
        named += [(("binding", "preference", i), name) for i, name in enumerate(experiment.binding.preference)]
        if not POLICIES[policy.kind].binds_late:
            findings.report(("policy", "kind"), f"{policy.kind} needs early binding: it picks the device itself")
        if experiment.splitting is not None and experiment.splitting.over == "devices":
            findings.report(
                ("splitting", "over"),
                "with late binding parts go to whichever lane is free",
                allowed="lanes",
            )
    for path, name in named:
        if name not in known:
            findings.report(path, f"no device of the fleet is called {name!r}", names=known)


def check_sizes(experiment: Experiment, path: Path, loads: Sequence[tuple[Load, float]], findings: Findings) -> None:
    """Check that the path was measured over all sizes that its model's queries, or their parts, can have."""
    service = path.service
    for load, _ in loads:
        low, high = _part_sizes(experiment, load)
        if (service.min_size is not None and low < service.min_size) or (
            service.max_size is not None and high > service.max_size
        ):
            findings.report(
                (*load.source.path, "sizes"),
                f"queries (or their parts) have {low} to {high} samples, but {path.name} was measured over "
                f"{service.min_size} to {service.max_size}",
                allowed="sizes within the measured range; bound them with min and max, or split the queries",
            )


def check_times(
    experiment: Experiment,
    groups: Sequence[PlannedGroup],
    path: Path,
    loads: Sequence[tuple[Load, float]],
    findings: Findings,
) -> None:
    """Check that the work of all queries can be counted in 64 bits, were one path to serve every attempt of each.

    It fails where units are mixed up: 30,000 queries of 100 h each, or 1 ms at a rate of 1e12/s for an hour.
    """
    attempts = 1 + (experiment.retries.limit if experiment.retries else 0) + int(experiment.hedging is not None)
    slowdown = () if experiment.interference is None else experiment.interference.slowdown
    slowest = MOST_SLOWDOWN if isinstance(slowdown, str) else max(slowdown, default=1.0)
    total_ns = 0.0
    found: list[tuple[float, float, float, Load]] = []
    for load, share in loads:
        workload, size = load.source.workload, _part_sizes(experiment, load)[1]
        parts = -(-load.sizes[1] // size)
        queries = workload.queries or load.rate_per_s * (workload.duration or 0) / 1e9
        after_idle = sum(max(one.extra_ns) + size * max(one.per_sample_ns, default=0) for one in path.after_idle)
        after_size = 0 if path.after_size is None else max(path.after_size.extra_ns)
        alone_ns = float(path.service.mean_at(np.array([size]))[0]) + after_idle + after_size
        mean_ns = slowest * (alone_ns + groups[path.group].devices[path.slot].profile.per_query_overhead_ns)
        work_ns = attempts * parts * (share * queries + MOST_OVER_MEAN) * mean_ns
        total_ns += work_ns
        found.append((work_ns, mean_ns, queries, load))
    if total_ns <= LARGEST:
        return
    longest_ns = max(mean_ns for _, mean_ns, _, _ in found)
    _, mean_ns, queries, load = max(found, key=lambda one: one[0])
    device = groups[path.group].devices[path.slot].name
    where: KeyPath = ("fleet", path.group, "devices", device)
    if longest_ns < LONG_NS:
        # No service is long: the queries are too many.
        where = ("workload", "queries") if load.source.workload.queries else (*load.source.path, "arrivals", "rate")
        where = where if findings.node.find(where) is not None else where[:-1]
        message = (
            f"{_counted(load, queries)} are too many: at up to {_readable(mean_ns)} each by {path.name} their times "
            "cannot be counted in 64 bits"
        )
    else:
        message = (
            f"service by {path.name} takes up to {_readable(longest_ns)} on average: the times of "
            f"{_counted(load, queries)} cannot be counted in 64 bits"
        )
    if where[0] == "fleet" or all(one.key_path != format_path(where) for one in findings.problems):
        allowed = f"{LARGEST / 8.64e13 / 365.25:.0f} years in all; is the unit right?"
        findings.report(where, message, allowed=allowed)


def _counted(load: Load, queries: float) -> str:
    """Return how many queries a load has, and why so many."""
    duration = load.source.workload.duration
    if load.source.workload.queries or duration is None:
        return f"{queries:,.0f} queries"
    count = f"{queries:,.0f}" if queries < 1e9 else f"{queries:.3g}"
    return f"{count} queries ({load.rate_per_s:.6g}/s for {format_duration_ns(duration)})"


def _readable(time_ns: float) -> str:
    """Return a time in the largest unit that it has at least one of."""
    unit = max((unit for unit in DURATIONS if DURATIONS[unit] <= max(time_ns, 1.0)), key=DURATIONS.__getitem__)
    return f"{time_ns / DURATIONS[unit]:.3g} {unit}"


def _part_sizes(experiment: Experiment, load: Load) -> tuple[int, int]:
    splitting = experiment.splitting
    if splitting is None:
        return load.sizes
    low, high = part_bounds(load.sizes, splitting.part)
    if splitting.over == "lanes" and splitting.devices is not None:
        return min(low, load.sizes[0]), load.sizes[1]
    return low, high


def asked_sizes(
    experiment: Experiment, groups: Sequence[PlannedGroup], path: Path, loads: Sequence[tuple[Load, float]]
) -> tuple[int, int]:
    """Return the smallest and largest size that a path may be asked for: of queries, their parts or batches."""
    bounds = [_part_sizes(experiment, load) for load, _ in loads]
    low, high = min(one for one, _ in bounds), max(one for _, one in bounds)
    batching, group = experiment.batching, groups[path.group]
    if batching is not None and is_named(batching.devices, group.name, group.devices[path.slot].name):
        most = batching.queries * high
        high = max(high, most if batching.samples is None else min(most, batching.samples))
    return low, high


def check_batches(
    experiment: Experiment,
    groups: Sequence[PlannedGroup],
    path: Path,
    loads: Sequence[tuple[Load, float]],
    findings: Findings,
) -> None:
    """Check that batches hold the largest query, and that the path was measured up to the largest batch."""
    batching = experiment.batching
    if batching is None:
        return
    largest = max(_part_sizes(experiment, load)[1] for load, _ in loads)
    if batching.samples is not None and batching.samples < largest:
        findings.report(
            ("batching", "samples"),
            f"a query (or part) may have {largest} samples, more than a whole batch",
            allowed=f"at least {largest}, or splitting into parts of at most {batching.samples}",
        )
        return
    _, most = asked_sizes(experiment, groups, path, loads)
    limit = path.service.max_size
    if most > largest and limit and most > limit:
        findings.report(
            ("batching",),
            f"a batch may have {most} samples, but {path.name} was measured up to {limit}",
            allowed=f"samples: {limit} or less, or beyond: linear on the device",
        )


def check_lanes(
    experiment: Experiment,
    models: Sequence[PlannedModel],
    groups: Sequence[PlannedGroup],
    eligible: Sequence[Path],
    findings: Findings,
) -> None:
    """Check that under late binding a lane that is free can serve whatever is first in the central queue."""
    if not isinstance(experiment.binding, LateBindingSpec):
        return
    held: dict[tuple[int, int], set[int]] = {}
    for path in eligible:
        held.setdefault((path.group, path.slot), set()).add(path.model)
    for (g, slot), found in held.items():
        lacking = [planned.model.name for m, planned in enumerate(models) if m not in found]
        if lacking:
            findings.report(
                ("binding", "kind"),
                f"a free lane takes the first query, but {groups[g].name}/{groups[g].devices[slot].name} has no path "
                f"for {', '.join(lacking)}",
                allowed="early binding, or every model on every device that serves",
            )
