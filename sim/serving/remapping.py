"""Re-mapping: the mappings that a fleet may change between, from the most accurate to the fastest.

The first is the experiment's own mapping. Each further one is the same rule without the most accurate representation of
those that the one before it considered, so that what is left of the memory goes to faster ones.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from sim.serving.classes import PlannedModel
from sim.serving.findings import Findings
from sim.serving.paths import Path, Plan, Rung
from sim.serving.placement import Found, place
from sim.spec.experiment import Experiment, LateBindingSpec
from sim.spec.mapping import MostAccurateFirstSpec

__all__ = ["Remapping", "build_remapping", "capacity_per_s", "check_ladder", "first_that_carries", "plan_ladder"]


@dataclass(frozen=True, slots=True)
class Remapping:
    """The rule and the mappings.

    Attributes
    ----------
    every_ns : int
        Time between decisions; 0 is never.
    on_fault : bool
        Whether it is decided whenever a fault begins or ends.
    target : float
        Most expected utilisation.
    at_once : int
        Nodes that change at a time.
    in_force : bool[mappings, paths]
        Which eligible paths each mapping has.
    load_ns : int64[paths]
        How long a device loads the path's representation.
    lane_rate_per_s : float64[paths]
        Queries of mean size that a lane serves.
    """

    every_ns: int
    on_fault: bool
    target: float
    at_once: int
    in_force: NDArray[np.bool_]
    load_ns: NDArray[np.int64]
    lane_rate_per_s: NDArray[np.float64]


def plan_ladder(
    experiment: Experiment,
    models: Sequence[PlannedModel],
    mean_sizes: Sequence[float],
    found: Found,
    mapped: Sequence[Path],
    findings: Findings,
) -> tuple[list[Path], tuple[Rung, ...]]:
    """Return the paths of all mappings, and which of them each has.

    Parameters
    ----------
    experiment : Experiment
        With `remapping`.
    models, mean_sizes, found
        As given to `sim.serving.placement.place`.
    mapped : sequence of Path
        What the experiment's own mapping places.
    findings : Findings
        Gets the problems.
    """
    path = ("remapping",)
    mapping = models[0].mapping
    if len(models) > 1:
        findings.report(path, "one model can be mapped again, and the classes ask several")
    if isinstance(experiment.binding, LateBindingSpec):
        findings.report(path, "re-mapping needs early binding: what waits centrally has no path yet")
    if not isinstance(mapping, MostAccurateFirstSpec):
        findings.report(path, "an explicit mapping is what it is", allowed="mapping: {kind: most-accurate-first}")
    spec = experiment.remapping
    assert spec is not None
    if spec.on_fault and experiment.faults is None:
        findings.report((*path, "on_fault"), "there are no faults")
    duration = experiment.workload.duration
    if spec.every is not None and duration is not None and spec.every > duration:
        findings.report((*path, "every"), "the first decision is after the last arrival")
    nodes = sum(group.count for group in experiment.fleet)
    if spec.at_once is not None and spec.at_once > nodes:
        findings.report((*path, "at_once"), "more nodes at once than there are", allowed=f"at most {nodes}")
    findings.stop_if_broken()
    assert isinstance(mapping, MostAccurateFirstSpec)
    model = models[0].model
    names = [
        name for name in model.representations if mapping.representations is None or name in mapping.representations
    ]
    names.sort(key=lambda name: -model.representations[name].accuracy)
    rungs = [list(mapped)]
    for k in range(1, len(names)):
        # What this mapping cannot place is no problem of the experiment's.
        aside = Findings(findings.node)
        without = replace(models[0], mapping=mapping.model_copy(update={"representations": tuple(names[k:])}))
        _, paths = place(experiment, [without], mean_sizes, found, aside)
        if not aside.problems:
            rungs.append(paths)
    by_place = {(one.group, one.slot, one.representation): one for rung in rungs for one in rung}
    union = sorted(by_place.values(), key=lambda one: (one.group, one.slot, -one.accuracy))
    distinct = list(dict.fromkeys(frozenset((p.group, p.slot, p.representation) for p in rung) for rung in rungs))
    if len(distinct) < 2:
        findings.report(path, "every mapping that could be taken is the same, so there is nothing to trade")
    return union, tuple(distinct)


def check_ladder(experiment: Experiment, rungs: Sequence[Rung], eligible: Sequence[Path], findings: Findings) -> None:
    """Check that the policy may use different paths under different mappings, or changing them changes nothing."""
    used = {
        frozenset(i for i, path in enumerate(eligible) if (path.group, path.slot, path.representation) in rung)
        for rung in rungs
    }
    # A mapping without a path for the policy carries nothing, so that it is never taken.
    if eligible and len(used - {frozenset()}) < 2:
        findings.report(
            ("remapping",),
            f"the {experiment.policy.kind} policy uses the same paths in every mapping, so there is nothing to trade",
            allowed="a policy that uses several representations, such as mp-rec or fastest",
        )


def capacity_per_s(
    in_force: NDArray[np.bool_],
    lane_rate_per_s: NDArray[np.float64],
    path_slot: NDArray[np.int64],
    node_group: NDArray[np.int64],
    group_path: NDArray[np.int64],
    node_device: NDArray[np.int64],
    device_lane: NDArray[np.int64],
    opened: NDArray[np.bool_],
) -> float:
    """Return the queries that the fastest paths in force serve on the devices that are open.

    Parameters
    ----------
    in_force : bool[paths]
    lane_rate_per_s : float64[paths]
    path_slot : int64[paths]
        Slot of the path's device on its node.
    node_group, group_path, node_device, device_lane
        As in `sim.serving.system.System`.
    opened : bool[devices]
    """
    total = 0.0
    for node in range(len(node_group)):
        first, end = group_path[node_group[node]], group_path[node_group[node] + 1]
        of_node = 0.0
        for device in range(node_device[node], node_device[node + 1]):
            best = 0.0
            for path in range(first, end):
                if in_force[path] and node_device[node] + path_slot[path] == device:
                    best = max(best, lane_rate_per_s[path])
            if opened[device]:
                of_node += best * (device_lane[device + 1] - device_lane[device])
        total += of_node
    return total


def first_that_carries(rate_per_s: float, target: float, capacities: NDArray[np.float64]) -> int:
    """Return the first mapping that the load leaves room in; the one of the greatest capacity if none does."""
    best = 0
    for mapping in range(len(capacities)):
        if rate_per_s <= target * capacities[mapping]:
            return mapping
        if capacities[mapping] > capacities[best]:
            best = mapping
    return best


def build_remapping(experiment: Experiment, plan: Plan, mean_size: float) -> Remapping | None:
    """Return the rule and the mappings as arrays; None where the mapping stays as it is."""
    spec = experiment.remapping
    if spec is None:
        return None
    representations = plan.models[0].model.representations

    def rate_per_s(path: Path) -> float:
        service = path.service
        size = max(mean_size, service.min_size or 0)
        size = size if service.max_size is None else min(size, service.max_size)
        return 1e9 / float(service.mean_at(size))

    return Remapping(
        every_ns=spec.every or 0,
        on_fault=spec.on_fault,
        target=spec.target,
        at_once=spec.at_once or sum(group.count for group in plan.groups),
        in_force=np.array(
            [[(p.group, p.slot, p.representation) in rung for p in plan.eligible] for rung in plan.rungs],
            dtype=np.bool_,
        ),
        load_ns=np.array(
            [
                math.ceil((representations[p.representation].bytes or 0) / spec.load_bandwidth * 1e9)
                for p in plan.eligible
            ],
            dtype=np.int64,
        ),
        lane_rate_per_s=np.array([rate_per_s(p) for p in plan.eligible]),
    )
