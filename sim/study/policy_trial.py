"""Asks policies of the user's once for a path, to see before a run whether they give one."""

from __future__ import annotations

from collections.abc import Sequence

from sim.engine.binding import Binder, ChoiceSet
from sim.engine.instant import Clock
from sim.serving.policies.user import PolicyError
from sim.serving.state import State
from sim.spec.binding import problem_at
from sim.spec.problems import SpecError
from sim.study.prepare import PreparedScenario
from sim.study.scenario import Scenario

__all__ = ["try_policies"]


def try_policies(scenarios: Sequence[Scenario], prepared: Sequence[PreparedScenario]) -> None:
    """Ask the user's policy of each scenario for the paths of its smallest queries on idle nodes.

    Not for a run that follows in this process: a function may remember what it was asked.

    Raises
    ------
    SpecError
        With every policy that raises an exception, or returns what is no path.
    """
    problems = []
    for scenario, one in zip(scenarios, prepared, strict=True):
        if scenario.experiment.policy.kind == "user":
            try:
                _try_policy(one)
            except PolicyError as error:
                problems.append(problem_at(scenario.node, ("policy", "function"), str(error)))
    if problems:
        raise SpecError(problems)


def _try_policy(prepared: PreparedScenario) -> None:
    system = prepared.system
    binder = Binder(system, State.empty(system), Clock())
    choices: list[tuple[int, ChoiceSet]] = list(enumerate(binder.node_choices))
    if binder.device_choices:
        choices = [(cell, choice) for (cell, _), choice in binder.device_choices.items()]
    nodes = system.node_group.tolist()
    for source, laws in zip(prepared.sources, prepared.read_laws(), strict=True):
        size = laws.sizes.bounds[0]
        for query_class in source.classes:
            model, sla_ns = int(system.class_model[query_class]), int(system.class_sla_ns[query_class])
            for cell, choice in choices:
                if cell % system.models == model and len(choice.accuracy):
                    binder.pick(choice, nodes.index(cell // system.models), size, sla_ns, query_class)
