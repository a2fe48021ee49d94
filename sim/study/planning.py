"""Plans scenarios without running them: everything that can be wrong is found here, quickly."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from sim.serving.interference import check_interference
from sim.serving.plan import Plan, plan_fleet
from sim.spec.binding import problem_at
from sim.spec.problems import Problem, SpecError
from sim.study.scenario import Scenario
from sim.workload.arrivals import arrival_process
from sim.workload.sizes import SizeDistribution, TraceSizes, size_distribution

__all__ = ["plan_scenario", "plan_scenarios"]


def plan_scenario(scenario: Scenario) -> Plan:
    """Find the profiles, read the traces, map the representations and check that the policy has paths.

    Raises
    ------
    SpecError
        With every problem of the scenario that the shape of its file does not show.
    """
    workload = scenario.experiment.workload
    problems: list[Problem] = []
    sizes: SizeDistribution | None = None
    try:
        sizes = size_distribution(workload, scenario.base_dir)
        if isinstance(sizes, TraceSizes) and not sizes.repeat:
            problems += _sizes_end(scenario, len(sizes.sizes))
    except SpecError as error:
        problems += _placed(scenario, error, ("workload", "sizes"))
    except ValueError as error:
        problems.append(problem_at(scenario.node, ("workload", "sizes"), str(error)))
    try:
        arrival_process(workload, scenario.base_dir)
    except SpecError as error:
        problems += _placed(scenario, error, ("workload", "arrivals"))
    if sizes is None:
        raise SpecError(problems)
    try:
        plan = plan_fleet(scenario.experiment, scenario.node, sizes=sizes.bounds, mean_size=sizes.mean)
    except SpecError as error:
        raise SpecError([*problems, *error.problems]) from error
    problems += check_interference(scenario.experiment, plan, scenario.node)
    if problems:
        raise SpecError(problems)
    return plan


def _placed(scenario: Scenario, error: SpecError, default: tuple[str, ...]) -> list[Problem]:
    """Give problems that know no place in the experiment file the place of what they are about."""
    placed = []
    for problem in error.problems:
        if problem.position is None:
            path = tuple(problem.key_path.split(".")) if problem.key_path else default
            found, _ = scenario.node.nearest(path)
            problem = replace(problem, position=found.position, key_path=".".join(path))
        placed.append(problem)
    return placed


def _sizes_end(scenario: Scenario, sizes: int) -> list[Problem]:
    queries = scenario.experiment.workload.queries
    if queries is None or sizes >= queries:
        return []
    message = f"the trace has {sizes} sizes, fewer than the queries asked for"
    return [problem_at(scenario.node, ("workload", "sizes"), message, allowed="a shorter run, or repeat: true")]


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
