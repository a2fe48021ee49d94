"""Planning: profiles found, representations mapped to devices, and the paths that a policy may use.

Everything that can be wrong with a scenario beyond the shape of its file is found here, before anything runs.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from pathlib import Path as FolderPath

from sim.serving.cache_check import cache_assumptions, check_caches
from sim.serving.checks import (
    Load,
    asked_sizes,
    check_batches,
    check_lanes,
    check_named_devices,
    check_sizes,
    check_times,
    model_loads,
)
from sim.serving.classes import PlannedModel, find_classes
from sim.serving.findings import Findings
from sim.serving.interference import find_slowdown
from sim.serving.paths import Path, Plan, PlannedDevice, PlannedGroup, Rung, is_named
from sim.serving.placement import find_devices, place
from sim.serving.policies import POLICIES, PathView
from sim.serving.readings import reading_assumptions
from sim.serving.remapping import check_ladder, plan_ladder
from sim.spec.experiment import Experiment, LateBindingSpec
from sim.spec.source import Node

__all__ = ["Load", "Path", "Plan", "PlannedDevice", "PlannedGroup", "is_named", "plan_fleet"]


ORDER_KEYS = frozenset({"queue", "queue.order"})
"""Axes of a sweep by which only some of its scenarios may have an order by priority."""


def plan_fleet(
    experiment: Experiment, node: Node, loads: Sequence[Load], base_dir: FolderPath, swept: Collection[str] = ()
) -> Plan:
    """Plan the fleet of a scenario.

    Parameters
    ----------
    experiment : Experiment
        The validated scenario.
    node : Node
        The YAML it was read from, for the positions of problems.
    loads : sequence of Load
        The sizes that each source of queries can draw.
    base_dir : pathlib.Path
        Folder of the experiment file, for files named relative to it.
    swept : collection of str
        Key paths that the sweep sets, of which a scenario has one value: what has an effect in another one only is no
        mistake.

    Raises
    ------
    SpecError
        With every problem found: unknown names, representations that fit no device, sizes outside the measured
        range, settings that contradict each other.
    """
    findings = Findings(node)
    models, classes = find_classes(experiment, base_dir, findings, orders_vary=not ORDER_KEYS.isdisjoint(swept))
    found = find_devices(experiment, base_dir, findings)
    slowdown, interference = find_slowdown(experiment, base_dir, findings)
    check_named_devices(experiment, models, findings)
    findings.stop_if_broken()
    loads_of = [model_loads(loads, classes, m) for m in range(len(models))]
    mean_sizes = [_mean_size(mine) for mine in loads_of]
    check_caches(found, models, findings)
    findings.stop_if_broken()
    groups, mapped = place(experiment, models, mean_sizes, found, findings)
    findings.stop_if_broken()
    rungs: tuple[Rung, ...] = ()
    if experiment.remapping is not None:
        mapped, rungs = plan_ladder(experiment, models, mean_sizes, found, mapped, findings)
        findings.stop_if_broken()
        findings.assume("re-mapping reckons with queries of mean size and the profiles' mean service times")
    eligible = _eligible(experiment, models, groups, mapped, findings)
    if rungs:
        check_ladder(experiment, rungs, eligible, findings)
    for path in eligible:
        check_sizes(experiment, path, loads_of[path.model], findings)
        check_batches(experiment, groups, path, loads_of[path.model], findings)
    preference = _preference(experiment, groups, eligible, findings)
    check_lanes(experiment, models, groups, eligible, findings)
    findings.stop_if_broken()
    for path in eligible:
        check_times(experiment, groups, path, loads_of[path.model], findings)
    findings.stop_if_broken()
    _note_assumptions(experiment, models, groups, mapped, eligible, findings)
    asked = [
        (
            path,
            groups[path.group].devices[path.slot].profile.name,
            *asked_sizes(experiment, groups, path, loads_of[path.model]),
        )
        for path in eligible
    ]
    for line in dict.fromkeys(reading_assumptions(asked)):
        findings.assume(line)
    return Plan(
        tuple(models),
        tuple(classes),
        tuple(groups),
        tuple(mapped),
        rungs,
        tuple(mean_sizes),
        tuple(eligible),
        preference,
        tuple(findings.assumptions),
        slowdown,
        interference,
    )


def _mean_size(loads: Sequence[tuple[Load, float]]) -> float:
    """Return the mean size of a model's queries, over the sources by how many each sends it."""
    if len(loads) == 1:
        return loads[0][0].mean_size
    weights = [load.rate_per_s * share for load, share in loads]
    return math.fsum(w * load.mean_size for w, (load, _) in zip(weights, loads, strict=True)) / math.fsum(weights)


def _eligible(
    experiment: Experiment,
    models: Sequence[PlannedModel],
    groups: Sequence[PlannedGroup],
    mapped: Sequence[Path],
    findings: Findings,
) -> list[Path]:
    """Return the paths that the policy may use, group by group and model by model."""
    policy = POLICIES[experiment.policy.kind]
    eligible: list[Path] = []
    for g, group in enumerate(groups):
        for m in range(len(models)):
            views = [
                PathView(i, group.name, group.devices[path.slot].name, path.representation, path.accuracy)
                for i, path in enumerate(mapped)
                if path.group == g and path.model == m
            ]
            eligible.extend(mapped[view.index] for view in policy.eligible(experiment.policy, views))
    words = ", ".join(f"{key} {value}" for key, value in experiment.policy.model_dump(exclude_none=True).items())
    for m, planned in enumerate(models):
        of = f" for {planned.model.name}" if len(models) > 1 else ""
        serving = {path.group for path in eligible if path.model == m}
        if not serving:
            exist = ", ".join(path.name for path in mapped if path.model == m)
            findings.report(
                ("policy",),
                f"no path of the fleet{of} suits the policy ({words})",
                allowed=f"the paths that exist: {exist}",
            )
        elif len(serving) < len(groups):
            idle = ", ".join(group.name for g, group in enumerate(groups) if g not in serving)
            if len(models) > 1:
                findings.assume(f"nodes of {idle} hold no path of the policy for {planned.model.name}")
            else:
                findings.assume(f"nodes of {idle} hold no path of the policy and serve nothing")
    return eligible


def _preference(
    experiment: Experiment, groups: Sequence[PlannedGroup], eligible: Sequence[Path], findings: Findings
) -> tuple[tuple[int, int], ...]:
    kinds = list(dict.fromkeys((path.group, path.slot) for path in eligible))
    binding = experiment.binding
    if not isinstance(binding, LateBindingSpec) or not binding.preference:
        return tuple(kinds)
    ordered: list[tuple[int, int]] = []
    for i, name in enumerate(binding.preference):
        matching = [(g, slot) for g, slot in kinds if is_named((name,), groups[g].name, groups[g].devices[slot].name)]
        if not matching:
            findings.report(("binding", "preference", i), f"{name!r} holds no path that the policy may use")
        ordered.extend(kind for kind in matching if kind not in ordered)
    return (*ordered, *(kind for kind in kinds if kind not in ordered))


# -- assumptions ----------------------------------------------------------------------------------------


def _note_assumptions(
    experiment: Experiment,
    models: Sequence[PlannedModel],
    groups: Sequence[PlannedGroup],
    mapped: Sequence[Path],
    eligible: Sequence[Path],
    findings: Findings,
) -> None:
    for m, planned in enumerate(models):
        _note_model(
            planned, {path.representation for path in eligible if path.model == m}, groups, len(models) > 1, findings
        )
    loads = experiment.remapping is not None or any(rule.load_bandwidth for rule in experiment.autoscaling or ())
    for planned in models if loads else ():
        used = {path.representation for path in mapped if models[path.model] is planned}
        if any(planned.model.representations[name].bytes is None for name in used):
            findings.assume(f"of {planned.model.name} not every size is known: loading the unknown takes no time")
    batching = experiment.batching
    if batching is not None and batching.queries > 1:
        for g, slot in sorted({(path.group, path.slot) for path in eligible}):
            device = groups[g].devices[slot]
            if is_named(batching.devices, groups[g].name, device.name) and not device.profile.per_query_overhead_ns:
                findings.assume(f"a batch on {device.profile.name} costs what one query of as many samples costs")
        if getattr(experiment.policy, "queue", "ignored") != "ignored":
            findings.assume("the policy expects waits as if what waits were served one at a time")
    for line in cache_assumptions(groups, mapped, eligible):
        findings.assume(line)
    slots = {
        (path.group, path.slot)
        for path in eligible
        if path.service.evidence == "modelled"
        and (path.cached is None or groups[path.group].devices[path.slot].profile.roofline is not None)
    }
    profiles = dict.fromkeys(groups[group].devices[slot].profile.name for group, slot in sorted(slots))
    for name in profiles:
        findings.assume(f"service times of {name} are modelled, not measured")
    slots = {(path.group, path.slot) for path in eligible}
    devices = [groups[group].devices[slot].profile for group, slot in sorted(slots)]
    for name in dict.fromkeys(device.name for device in devices if device.unfit):
        findings.assume(
            f"service times of {name} were measured while something disturbed them, and are marked as unfit"
        )
    for name in dict.fromkeys(device.name for device in devices if device.includes_waiting):
        findings.assume(f"service times of {name} include waiting for other queries, which is counted twice")


def _note_model(
    planned: PlannedModel, used: set[str], groups: Sequence[PlannedGroup], several: bool, findings: Findings
) -> None:
    model = planned.model
    for name in sorted(used):
        representation = model.representations[name]
        if representation.accuracy_evidence in ("assumed", "recalled"):
            why = f" ({representation.accuracy_source})" if representation.accuracy_source else ""
            of = f" of {model.name}" if several else ""
            findings.assume(
                f"accuracy of {name}{of}, {representation.accuracy:.2%}, is {representation.accuracy_evidence}{why}"
            )
    if any(model.representations[name].bytes is None for name in used) and any(
        device.memory_bytes is not None for group in groups for device in group.devices
    ):
        findings.assume(f"{model.name} has no known size in memory: it is taken to fit")
