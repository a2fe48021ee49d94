"""Plans scenarios without running them: everything that can be wrong is found here, quickly."""

from __future__ import annotations

from collections.abc import Sequence

from sim.serving.plan import Plan, plan_fleet
from sim.spec.problems import Problem, SpecError
from sim.study.scenario import Scenario
from sim.workload.sizes import size_distribution

__all__ = ["plan_scenario", "plan_scenarios"]


def plan_scenario(scenario: Scenario) -> Plan:
    """Find the profiles, map the representations and check that the policy has paths.

    Raises
    ------
    SpecError
        With every problem of the scenario that its file alone does not show.
    """
    sizes = size_distribution(scenario.experiment.workload, scenario.base_dir)
    return plan_fleet(scenario.experiment, scenario.node, sizes=sizes.bounds, mean_size=sizes.mean)


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
