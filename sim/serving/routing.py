"""What routers know and how far they are from the nodes: settings that contradict each other."""

from __future__ import annotations

from sim.spec.binding import problem_at
from sim.spec.experiment import Experiment, LateBindingSpec
from sim.spec.problems import Problem
from sim.spec.source import Node

__all__ = ["check_routing"]


def check_routing(experiment: Experiment, node: Node) -> list[Problem]:
    """Return what contradicts itself in the knowledge and the network of an experiment."""
    problems = []
    knowledge, router = experiment.knowledge, experiment.router
    kind = "least-backlog" if router is None else router.kind
    late = isinstance(experiment.binding, LateBindingSpec)
    if late:
        for key, part in (("knowledge", knowledge), ("network", experiment.network)):
            if part is not None:
                problems.append(
                    problem_at(node, (key,), f"{key} is about a router, and binding: {{kind: late}} has none")
                )
        return problems
    if knowledge is None:
        return problems
    if knowledge.delay is not None and kind in ("random", "round-robin"):
        problems.append(
            problem_at(
                node,
                ("knowledge", "delay"),
                f"knowledge has no effect on the {kind} router, which looks at no loads",
                allowed="least-backlog, power-of-d, least-expected-completion",
            )
        )
    if knowledge.routers is not None and kind == "random":
        problems.append(
            problem_at(node, ("knowledge", "routers"), "several random routers do what one does: leave them out")
        )
    if knowledge.routers is not None and (
        kind == "least-expected-completion" or getattr(router, "measure", "queries") == "work"
    ):
        problems.append(
            problem_at(
                node,
                ("knowledge", "routers"),
                "a router that sees only its own queries can count them, but knows nothing of the nodes' work",
                allowed="round-robin, or least-backlog or power-of-d with measure: queries",
            )
        )
    return problems
