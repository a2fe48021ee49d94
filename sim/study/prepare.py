"""From a scenario's validated file to everything that a process needs to run its replications."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sim.serving.cells import one_cell
from sim.serving.clients import DROP_REASONS
from sim.serving.faults import FaultPlan, plan_faults
from sim.serving.interference import (
    FULL_SPEED,
    device_speeds,
    interference_assumptions,
    interference_evidence,
)
from sim.serving.paths import Plan
from sim.serving.policies.user import UserFunctionError
from sim.serving.routers import ROUTERS
from sim.serving.splitting import most_parts
from sim.serving.system import System, build_system
from sim.spec.binding import problem_at
from sim.spec.classes import ClassSpec
from sim.spec.experiment import Experiment
from sim.spec.network import NetworkSpec
from sim.spec.problems import Problem, SpecError
from sim.spec.workload import WorkloadSpec
from sim.stats.attempts import ATTEMPT_METRICS, AVAILABILITY_METRICS, SCALING_METRICS
from sim.stats.devices import ClassView, SystemView
from sim.stats.measurement import METRICS
from sim.study.planning import drain_ns, plan_scenarios
from sim.study.rounds import check_precision
from sim.study.scenario import Scenario
from sim.workload.arrivals import arrival_process
from sim.workload.laws import SourceLaws, laws_of
from sim.workload.sizes import SizeDistribution, size_distribution
from sim.workload.sources import Source, sources_of

__all__ = ["PreparedScenario", "prepare"]

EVIDENCE = ("modelled", "published", "measured")
"""Kinds of evidence, weakest first."""


@dataclass(frozen=True, slots=True)
class PreparedScenario:
    """A scenario laid out for its replications; it travels to other processes as it is.

    Its cells are equal but for what they draw and for the faults that befall them, so `system` and `view` are those of
    one of them.

    Attributes
    ----------
    label : str
        Its sweep parameters in one line.
    parameters : dict
    experiment : Experiment
    cells : int
    workload : WorkloadSpec
        That of all cells together.
    classes : tuple of ClassSpec or None
        Classes of queries; None where the experiment has none.
    base_dir : Path
        Folder of the experiment file, for traces named relative to it.
    system : System
    view : SystemView
    seed, replications : int
    parts, choices, attempts : int
        Service draws and router draws that each attempt needs, and most attempts of a query.
    network : NetworkSpec or None
        Delay between router and nodes, to be drawn for every attempt.
    expected_queries : float
        Mean number of queries of a replication, of all cells together.
    drain_ns : int
    warmup_ns : int or None
        None chooses by MSER-5.
    time_varying : bool
    timeline_ns : int or None
        Length of the intervals of the timeline; None measures none.
    offered_load : float or None
        Work offered over work that the lanes can do, where that does not depend on the policy's choices.
    evidence : str
        The weakest kind that an eligible path stands on; the slowdown of busy lanes counts too.
    assumptions : tuple of str
    profiles : dict
        Content hash, kind of evidence and provenance of every device profile, of measured IDs and of a named slowdown,
        and the model's hash, by name.
    most_recorded : int or None
        Queries of a cell in a replication up to which a record is kept until it is measured; None for the usual number.
    laws : tuple of SourceLaws or None
        The laws of its queries, for where its traces cannot be read; None has them read where it runs.
    """

    label: str
    parameters: dict[str, Any]
    experiment: Experiment
    cells: int
    workload: WorkloadSpec
    classes: tuple[ClassSpec, ...] | None
    base_dir: Path
    system: System
    view: SystemView
    seed: int
    replications: int
    parts: int
    choices: int
    attempts: int
    network: NetworkSpec | None
    expected_queries: float
    drain_ns: int
    warmup_ns: int | None
    time_varying: bool
    timeline_ns: int | None
    offered_load: float | None
    evidence: str
    assumptions: tuple[str, ...]
    profiles: dict[str, dict[str, str]]
    most_recorded: int | None = None
    laws: tuple[SourceLaws, ...] | None = None

    @property
    def sources(self) -> tuple[Source, ...]:
        """Where its queries come from."""
        return sources_of(self.workload, self.classes)

    def read_laws(self) -> tuple[SourceLaws, ...]:
        """Return the laws of its queries, from its files if need be."""
        return laws_of(self.sources, self.base_dir, self.cells) if self.laws is None else self.laws

    @property
    def most_replications(self) -> int:
        """Most replications that there may be."""
        asked = self.experiment.precision
        return self.replications if asked is None else asked.max_replications

    @property
    def expected_queries_per_cell(self) -> float:
        """Mean number of queries that a cell gets in a replication."""
        return self.expected_queries / self.cells

    def fault_plan(self, cell: int = 0) -> FaultPlan | None:
        """Return what fails or is maintained in a cell; `FaultPlan.schedule` draws it for a replication."""
        return plan_faults(self.experiment, cell)


def prepare(scenarios: Sequence[Scenario], plans: Sequence[Plan] | None = None) -> tuple[PreparedScenario, ...]:
    """Find the profiles, map the representations and lay the fleets out.

    Parameters
    ----------
    scenarios : sequence of Scenario
    plans : sequence of Plan, optional
        Those of the scenarios, where they were planned before.

    Raises
    ------
    SpecError
        With every problem of every scenario that the file alone does not show.
    """
    plans = plan_scenarios(scenarios) if plans is None else plans
    prepared: list[PreparedScenario] = []
    problems: list[Problem] = []
    for scenario, plan in zip(scenarios, plans, strict=True):
        try:
            prepared.append(_prepare(scenario, plan))
        except SpecError as error:
            problems.extend(error.problems)
    if problems:
        raise SpecError(problems)
    return tuple(prepared)


def _prepare(scenario: Scenario, plan: Plan) -> PreparedScenario:
    whole = scenario.experiment
    experiment = one_cell(whole)
    workload = experiment.workload
    sources = [source.workload for source in sources_of(workload, experiment.classes)]
    sizes = [size_distribution(source, scenario.base_dir) for source in sources]
    processes = [arrival_process(source, scenario.base_dir, whole.cells) for source in sources]
    rates_per_s = [process.mean_rate_per_s for process in processes]
    changes = _what_changes(experiment, any(process.time_varying for process in processes))
    try:
        system = build_system(experiment, plan)
    except UserFunctionError as error:
        raise SpecError([problem_at(scenario.node, ("policy", "function"), str(error))]) from error
    view = _view(experiment, plan, system)
    problems = check_precision(experiment, scenario.node, (*METRICS, *view.more_metrics))
    if problems:
        raise SpecError(problems)
    warmup = workload.warmup
    part = experiment.splitting.part if experiment.splitting else 0
    return PreparedScenario(
        label=scenario.label,
        parameters=scenario.parameters,
        experiment=whole,
        cells=whole.cells,
        workload=workload,
        classes=experiment.classes,
        base_dir=scenario.base_dir,
        system=system,
        view=view,
        seed=experiment.seed,
        replications=experiment.replications,
        parts=most_parts(max(one.bounds[1] for one in sizes), part),
        choices=ROUTERS[system.router.kind].choices(system.router),
        attempts=1 if system.clients is None else system.clients.most_attempts,
        network=experiment.network,
        expected_queries=workload.queries or whole.cells * sum(rates_per_s) * (workload.duration or 0) / 1e9,
        drain_ns=drain_ns(experiment),
        warmup_ns=None if warmup == "auto" else warmup,
        time_varying=bool(changes),
        timeline_ns=experiment.report.timeline,
        offered_load=_offered_load(experiment, plan, rates_per_s, sizes),
        evidence=min(
            (*(path.service.evidence for path in plan.eligible), *interference_evidence(experiment, plan)),
            key=EVIDENCE.index,
        ),
        assumptions=(
            *plan.assumptions,
            *interference_assumptions(experiment, plan),
            *_warmup_assumptions(workload, changes),
        ),
        profiles=_profiles(plan),
    )


def _what_changes(experiment: Experiment, load: bool) -> list[str]:
    """Return what changes with time, so that the run as it is written is what is asked about.

    A cut that looks for a steady state would take an outage or a cold start for the way there.
    """
    parts = {
        "the load": load or None,
        "the fleet": experiment.faults or experiment.autoscaling,
        "the mapping": experiment.remapping,
    }
    return [name for name, part in parts.items() if part is not None]


def _warmup_assumptions(workload: WorkloadSpec, changes: Sequence[str]) -> list[str]:
    if changes and workload.warmup == "auto":
        vary = "varies" if len(changes) == 1 else "vary"
        return [f"{' and '.join(changes)} {vary} with time, so there is no steady state to wait for: no warm-up is cut"]
    return []


def _profiles(plan: Plan) -> dict[str, dict[str, str]]:
    models = [planned.model for planned in plan.models]
    described = {f"model {model.name}": {"content_hash": model.content_hash} for model in models}
    for profile in (device.profile for group in plan.groups for device in group.devices):
        described[profile.name] = {
            "content_hash": profile.content_hash,
            "evidence": profile.evidence,
            "provenance": profile.provenance,
        }
    for device in (one for group in plan.groups for one in group.devices):
        laws = None if device.cache is None else device.cache.laws
        if laws is not None and laws.content_hash is not None:
            described[f"IDs of {device.name}"] = {
                "content_hash": laws.content_hash,
                "evidence": "measured",
                "provenance": laws.described,
            }
    interference = plan.interference
    if interference is not None:
        described[f"interference {interference.name}"] = {
            "content_hash": interference.content_hash,
            "evidence": interference.evidence,
            "provenance": interference.provenance,
        }
    return described


def _view(experiment: Experiment, plan: Plan, system: System) -> SystemView:
    kinds = [(group, device) for group in plan.groups for device in group.devices]
    several = len(plan.groups) > 1
    names = [f"{group.name}/{device.name}" if several else device.name for group, device in kinds]
    of_group = np.cumsum([0, *(len(group.devices) for group in plan.groups)])
    device_kind = np.concatenate(
        [np.tile(np.arange(of_group[g], of_group[g + 1]), group.count) for g, group in enumerate(plan.groups)]
    )

    def numbers(values: list[float | None]) -> NDArray[np.float64]:
        known = np.array([np.nan if value is None else value for value in values], dtype=np.float64)
        return np.asarray(known[device_kind], dtype=np.float64)

    profiles = [device.profile for _, device in kinds]
    return SystemView(
        lane_device=np.repeat(np.arange(len(device_kind)), np.diff(system.device_lane)),
        device_kind=device_kind,
        device_kind_name=names,
        device_idle_w=numbers([profile.idle_w for profile in profiles]),
        device_busy_w=numbers([profile.busy_w for profile in profiles]),
        device_price_usd_per_h=numbers([profile.price_usd_per_h for profile in profiles]),
        path_names=[path.name for path in plan.eligible],
        path_accuracy=system.path_accuracy,
        sla_ns=experiment.sla,
        drop_reasons=DROP_REASONS,
        more_metrics=(
            *(ATTEMPT_METRICS if system.clients is not None else ()),
            *(AVAILABILITY_METRICS if system.has_faults else ()),
            *(SCALING_METRICS if system.scaling else ()),
        ),
        device_node=_node_of_device(system) if system.has_faults or system.scaling else (),
        classes=tuple(ClassView(one.name, one.sla_ns) for one in plan.classes) if experiment.classes else (),
    )


def _node_of_device(system: System) -> list[int]:
    """Return the node of each device; -1 for one that no path uses."""
    nodes = np.repeat(np.arange(len(system.node_group)), np.diff(system.node_device))
    used = np.zeros(len(nodes), dtype=np.bool_)
    for node, group in enumerate(system.node_group.tolist()):
        cells = group * system.models
        rows = slice(int(system.group_path[cells]), int(system.group_path[cells + system.models]))
        used[system.node_device[node] + system.paths[rows, 0]] = True
    found: list[int] = np.where(used, nodes, -1).tolist()
    return found


def _offered_load(
    experiment: Experiment, plan: Plan, rates_per_s: Sequence[float], sizes: Sequence[SizeDistribution]
) -> float | None:
    """Return work offered over work possible where that does not depend on choices: one path on equal nodes."""
    if len(plan.groups) != 1 or len(plan.eligible) != 1 or experiment.splitting is not None:
        return None
    if experiment.batching is not None or (
        experiment.queue is not None and (experiment.queue.limit is not None or experiment.queue.shed != "never")
    ):
        return None
    group = plan.groups[0]
    (path,) = plan.eligible
    device = group.devices[path.slot]
    if device.queue_limit is not None or getattr(experiment.binding, "queue_limit", None) is not None:
        return None
    means_ns = [float(np.dot(one.probabilities, path.service.mean_at(one.values))) for one in sizes]
    work = sum(rate_per_s * mean_ns for rate_per_s, mean_ns in zip(rates_per_s, means_ns, strict=True))
    if experiment.interference is None:
        return work / (1e9 * group.count * device.lanes)
    # Where work piles up all lanes are busy, and they are as slow as that makes them.
    speed = int(device_speeds(experiment, plan)[path.group, path.slot][-1]) / FULL_SPEED
    return work / (1e9 * group.count * device.lanes * speed)
