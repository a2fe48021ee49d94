"""Plans scenarios without running them: everything that can be wrong is found here, quickly."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from sim.report.comparison import check_baseline
from sim.serving.cells import check_cells, one_cell
from sim.serving.clients import check_clients
from sim.serving.decisions import check_decisions
from sim.serving.fault_check import check_faults
from sim.serving.interference import check_interference
from sim.serving.plan import Load, Plan, plan_fleet
from sim.serving.routing import check_routing
from sim.serving.scaling import check_scaling
from sim.spec.binding import problem_at
from sim.spec.experiment import Experiment
from sim.spec.problems import Problem, SpecError
from sim.spec.source import KeyPath, format_path
from sim.spec.units import DURATIONS, LARGEST
from sim.study.rounds import check_precision
from sim.study.scenario import Scenario
from sim.workload.arrivals import arrival_process
from sim.workload.sizes import SizeDistribution, TraceSizes, size_distribution
from sim.workload.sources import Source, sources_of

__all__ = ["check_baseline_named", "drain_ns", "plan_scenario", "plan_scenarios"]

DELAY_OVER_MEAN = 40
"""A delay that is drawn exceeds its mean by about this times the square of its coefficient of variation at most."""

DRAIN_SLAS = 10
"""`drain: auto` lets the clock run on for this many of the longest SLA after the last arrival."""


def drain_ns(experiment: Experiment) -> int:
    """Return how long the clock runs on after the arrival period."""
    drain = experiment.workload.drain
    slas = [experiment.sla if one.sla is None else one.sla for one in experiment.classes or ()]
    return DRAIN_SLAS * max(slas, default=experiment.sla) if drain == "auto" else drain


def plan_scenario(scenario: Scenario) -> Plan:
    """Find the profiles, read the traces, map the representations of a cell and check that the policy has paths.

    Raises
    ------
    SpecError
        With every problem of the scenario that the shape of its file does not show.
    """
    experiment = scenario.experiment
    duration_ns = experiment.workload.duration
    end_ns = None if duration_ns is None else duration_ns + drain_ns(experiment)
    problems = [
        *check_faults(experiment, scenario.node, end_ns=end_ns),
        *check_clients(experiment, scenario.node, end_ns=end_ns),
        *check_routing(experiment, scenario.node),
        *check_scaling(experiment, scenario.node, end_ns=end_ns),
        *check_precision(experiment, scenario.node),
        *_check_clock(scenario),
    ]
    unequal = check_cells(experiment, scenario.node)
    problems += unequal
    loads: list[Load] = []
    sources = sources_of(experiment.workload, experiment.classes)
    for source in sources:
        load, found = _load(scenario, source)
        problems += found
        if load is not None:
            loads.append(load)
    if len(loads) < len(sources) or unequal:
        raise SpecError(problems)
    expected_end_ns = max(load.end_ns for load in loads) + drain_ns(experiment)
    problems += check_decisions(experiment, scenario.node, expected_end_ns=expected_end_ns)
    try:
        plan = plan_fleet(one_cell(experiment), scenario.node, loads, scenario.base_dir, scenario.parameters)
    except SpecError as error:
        raise SpecError([*problems, *error.problems]) from error
    problems += check_interference(experiment, plan, scenario.node)
    if problems:
        raise SpecError(problems)
    return plan


def _check_clock(scenario: Scenario) -> list[Problem]:
    """Return what of the times that a run adds up cannot be counted in 64 bits."""
    experiment, network = scenario.experiment, scenario.experiment.network
    problems = []
    if drain_ns(experiment) > LARGEST:
        message = (
            f"the clock would run on for {DRAIN_SLAS} times this after the last arrival, which 64 bits cannot count"
        )
        allowed = f"at most {LARGEST // DRAIN_SLAS // DURATIONS['d']}d, or workload.drain"
        problems.append(problem_at(scenario.node, ("sla",), message, allowed=allowed))
    if network is not None and network.delay * (1.0 + DELAY_OVER_MEAN * network.cv**2) > LARGEST:
        message = "some of the delays that are drawn could not be counted in 64 bits; is the unit right?"
        problems.append(problem_at(scenario.node, ("network", "delay"), message))
    return problems


def _load(scenario: Scenario, source: Source) -> tuple[Load | None, list[Problem]]:
    """Return what planning needs to know of a source, where its sizes can be had, and what is wrong with it."""
    workload = source.workload
    problems: list[Problem] = []
    sizes: SizeDistribution | None = None
    rate_per_s, end_ns = 1.0, 0.0
    try:
        sizes = size_distribution(workload, scenario.base_dir)
        if isinstance(sizes, TraceSizes) and not sizes.repeat:
            problems += _sizes_end(scenario, source, len(sizes.sizes))
    except SpecError as error:
        problems += _placed(scenario, source, error, "sizes")
    except ValueError as error:
        problems.append(problem_at(scenario.node, (*source.path, "sizes"), str(error)))
    try:
        process = arrival_process(workload, scenario.base_dir, scenario.experiment.cells)
        rate_per_s = process.mean_rate_per_s
        end_ns = workload.duration or process.expected_ns(workload.queries or 0)
    except SpecError as error:
        problems += _placed(scenario, source, error, "arrivals")
    return None if sizes is None else Load(source, sizes.bounds, sizes.mean, rate_per_s, end_ns), problems


def _placed(scenario: Scenario, source: Source, error: SpecError, default: str) -> list[Problem]:
    """Give problems that know no place in the experiment file the place of what they are about."""
    placed = []
    for problem in error.problems:
        if problem.position is None:
            path: KeyPath = tuple(problem.key_path.split(".")) if problem.key_path else ("workload", default)
            message = problem.message
            if path[0] == "workload" and path[1] in ("arrivals", "sizes"):
                path = (*source.path, *path[1:])
                if source.name:
                    message = message.replace("--set workload.", f"--set classes.{source.name}.workload.")
            elif source.name:
                message = f"class {source.name}: {message}"
            found, _ = scenario.node.nearest(path)
            problem = replace(problem, message=message, position=found.position, key_path=format_path(path))
        placed.append(problem)
    return placed


def _sizes_end(scenario: Scenario, source: Source, sizes: int) -> list[Problem]:
    queries = scenario.experiment.workload.queries
    if queries is None or sizes >= queries:
        return []
    message = f"the trace has {sizes} sizes, fewer than the queries asked for"
    path = (*source.path, "sizes")
    return [problem_at(scenario.node, path, message, allowed="a shorter run, or repeat: true")]


def plan_scenarios(scenarios: Sequence[Scenario]) -> list[Plan]:
    """Plan every scenario; the problems of all of them are raised together."""
    plans: list[Plan] = []
    problems: list[Problem] = []
    for scenario in scenarios:
        try:
            plans.append(plan_scenario(scenario))
        except SpecError as error:
            problems.extend(error.problems)
    if problems:
        raise SpecError(problems)
    return plans


def check_baseline_named(scenarios: Sequence[Scenario]) -> None:
    """Refuse a baseline that is none of the scenarios of an experiment.

    Raises
    ------
    SpecError
    """
    first = scenarios[0]
    baseline = first.experiment.report.baseline
    try:
        check_baseline([scenario.parameters for scenario in scenarios], baseline)
    except ValueError as error:
        raise SpecError([problem_at(first.node, ("report", "baseline"), str(error))]) from error
