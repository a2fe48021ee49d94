"""Classes of queries and the models they ask, with everything that can contradict itself about them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sim.profile.library import UnknownName, build_model, find_model
from sim.profile.model import Model
from sim.serving.findings import Findings
from sim.spec.classes import ClassSpec
from sim.spec.experiment import Experiment
from sim.spec.mapping import MappingSpec
from sim.spec.model import ModelSpec
from sim.spec.source import KeyPath

__all__ = ["PlannedModel", "QueryClass", "find_classes"]


@dataclass(frozen=True, slots=True)
class PlannedModel:
    """A model that some class asks, and how it is mapped to the fleet.

    Attributes
    ----------
    model : Model
    mapping : MappingSpec
    memory : float or None
        Most of each device's memory that it may take; None is all that is left.
    path, mapping_path, memory_path : key path
        Where the model, its mapping and its memory are written, for problems.
    """

    model: Model
    mapping: MappingSpec
    memory: float | None = None
    path: KeyPath = ("model",)
    mapping_path: KeyPath = ("mapping",)
    memory_path: KeyPath = ("model",)


@dataclass(frozen=True, slots=True)
class QueryClass:
    """A class of queries; `priority` is least first, `model` an index into the planned models."""

    name: str
    sla_ns: int
    priority: int
    model: int


def find_classes(
    experiment: Experiment, base_dir: Path, findings: Findings, *, orders_vary: bool = False
) -> tuple[list[PlannedModel], list[QueryClass]]:
    """Return the models of an experiment in the order in which classes name them, and its classes.

    Files of models are looked for in `base_dir`, then in the working directory. Problems are reported to `findings`;
    what is returned is of use only if there are none. Priorities may be without effect where the sweep varies the order
    of queues (`orders_vary`), as in a comparison with the order of arrival.
    """
    top = _find_model(experiment.model, ("model",), base_dir, findings)
    specs = experiment.classes
    order = "fifo" if experiment.queue is None else experiment.queue.order
    if order == "priority" and len({one.priority or 0 for one in specs or ()}) < 2:
        findings.report(
            ("queue", "order"),
            "every query has the same priority, so this is the order of arrival",
            allowed="classes of different priority, or another order",
        )
    if specs is None:
        models = [] if top is None else [PlannedModel(top, experiment.mapping)]
        return models, [QueryClass("", experiment.sla, 0, 0)]
    _check_names(specs, findings)
    _check_loads(experiment, specs, findings)
    for i, spec in enumerate(specs):
        if spec.priority is not None and order != "priority" and not orders_vary:
            findings.report(("classes", i, "priority"), "has no effect without queue: {order: priority}")
    found = [
        top if spec.model is None else _find_model(spec.model, ("classes", i, "model"), base_dir, findings)
        for i, spec in enumerate(specs)
    ]
    if top is None or any(model is None for model in found):
        return [], []
    models = _models(experiment, specs, top, [model for model in found if model is not None], findings)
    numbers = {planned.model.content_hash: m for m, planned in enumerate(models)}
    classes = [
        QueryClass(
            spec.name,
            experiment.sla if spec.sla is None else spec.sla,
            spec.priority or 0,
            numbers[model.content_hash],
        )
        for spec, model in zip(specs, found, strict=True)
        if model is not None
    ]
    return models, classes


def _find_model(reference: str | ModelSpec, path: KeyPath, base_dir: Path, findings: Findings) -> Model | None:
    try:
        return find_model(reference, base_dir) if isinstance(reference, str) else build_model(reference)
    except UnknownName as unknown:
        findings.report(path, unknown.problem, names=unknown.known)
        return None


def _check_names(specs: Sequence[ClassSpec], findings: Findings) -> None:
    names = [spec.name for spec in specs]
    for i, name in enumerate(names):
        if name in names[:i]:
            findings.report(("classes", i, "name"), "another class has this name")


def _check_loads(experiment: Experiment, specs: Sequence[ClassSpec], findings: Findings) -> None:
    """Check that every query is of one class, and that nothing about the loads goes unheard."""
    shared = [i for i, spec in enumerate(specs) if spec.workload is None]
    own = [i for i, spec in enumerate(specs) if spec.workload is not None]
    for i in own:
        if specs[i].share is not None:
            findings.report(("classes", i, "share"), "the class has a workload of its own, and all of it")
    if own and experiment.workload.queries is not None:
        findings.report(
            ("workload", "queries"),
            "several workloads end at one time, not after so many queries",
            allowed="duration in place of queries",
        )
    if not shared:
        findings.report(
            ("workload", "arrivals"),
            "every class has a workload of its own, so these queries would be of none",
            allowed="a class without a workload, to have these",
        )
        return
    missing = [i for i in shared if specs[i].share is None]
    if len(shared) > 1 and missing:
        for i in missing:
            findings.report(("classes", i), f"{specs[i].name} has no share of the workload it has with other classes")
        return
    total = math.fsum(specs[i].share or 0.0 for i in shared if i not in missing)
    if len(missing) < len(shared) and abs(total - 1.0) > 1e-9:
        names = ", ".join(specs[i].name for i in shared)
        findings.report(
            ("classes", shared[-1], "share"), f"the shares of {names} add up to {total:.9g}", allowed="a sum of 1"
        )


def _models(
    experiment: Experiment, specs: Sequence[ClassSpec], top: Model, found: Sequence[Model], findings: Findings
) -> list[PlannedModel]:
    """Return the models that are asked, each with the one mapping and the one limit of memory that it has."""
    if all(model.content_hash != top.content_hash for model in found):
        findings.report(("model",), "every class has another model, so this one is never asked")
    path: dict[str, KeyPath] = {}
    mappings: dict[str, tuple[MappingSpec, KeyPath]] = {top.content_hash: (experiment.mapping, ("mapping",))}
    memory: dict[str, tuple[float, KeyPath]] = {}
    by_name = {top.name: top}
    models: dict[str, Model] = {}
    for i, (spec, model) in enumerate(zip(specs, found, strict=True)):
        key = model.content_hash
        if by_name.setdefault(model.name, model).content_hash != key:
            findings.report(("classes", i, "model"), f"two models are called {model.name}", allowed="different names")
        models.setdefault(key, model)
        path.setdefault(key, ("model",) if spec.model is None else ("classes", i, "model"))
        if spec.mapping is not None:
            own: KeyPath = ("classes", i, "mapping")
            if mappings.setdefault(key, (spec.mapping, own))[0] != spec.mapping:
                where = "by the experiment" if mappings[key][1] == ("mapping",) else "by another class"
                findings.report(own, f"{model.name} is mapped otherwise {where}", allowed="one mapping for each model")
        if spec.memory is not None:
            limit: KeyPath = ("classes", i, "memory")
            if memory.setdefault(key, (spec.memory, limit))[0] != spec.memory:
                findings.report(limit, f"{model.name} has another limit in another class", allowed="one limit a model")
    planned = []
    for key, model in models.items():
        mapping, mapping_path = mappings.get(key, (experiment.mapping, ("mapping",)))
        share, memory_path = memory.get(key, (None, path[key]))
        planned.append(PlannedModel(model, mapping, share, path[key], mapping_path, memory_path))
    return planned
