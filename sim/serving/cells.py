"""Cells: equal parts of the fleet that share nothing, and what cannot be shared out among them."""

from __future__ import annotations

from sim.spec.binding import problem_at
from sim.spec.experiment import Experiment, PowerOfDRouterSpec
from sim.spec.problems import Problem
from sim.spec.scaling import ScalingSpec
from sim.spec.source import KeyPath, Node
from sim.spec.workload import TraceArrivalsSpec

__all__ = ["check_cells", "one_cell"]


def one_cell(experiment: Experiment) -> Experiment:
    """Return the experiment of a single cell: the fleet and the limits of autoscaling divided by the cells.

    The workload stays the fleet's: a rate is divided where it is drawn, see `sim.workload.arrivals`. So do the faults,
    which are given by the numbers of nodes in the whole fleet, see `sim.serving.faults`.

    Parameters
    ----------
    experiment : Experiment
        One that `check_cells` has found nothing wrong with.
    """
    cells = experiment.cells
    if cells == 1:
        return experiment
    fleet = tuple(group.model_copy(update={"count": group.count // cells}) for group in experiment.fleet)
    rules = experiment.autoscaling
    return experiment.model_copy(
        update={
            "fleet": fleet,
            "cells": 1,
            "autoscaling": None if rules is None else tuple(_of_one_cell(rule, cells) for rule in rules),
        }
    )


def _of_one_cell(rule: ScalingSpec, cells: int) -> ScalingSpec:
    limits = {key: getattr(rule, key) for key in ("min", "max", "initial")}
    return rule.model_copy(update={key: total // cells for key, total in limits.items() if total is not None})


def _is_replayed(experiment: Experiment) -> bool:
    arrivals = experiment.workload.arrivals
    return isinstance(arrivals, TraceArrivalsSpec) and arrivals.gaps == "recorded"


def check_cells(experiment: Experiment, node: Node) -> list[Problem]:
    """Return what of an experiment cannot be shared out equally among its cells, or reaches beyond one.

    Parameters
    ----------
    experiment : Experiment
        The validated scenario.
    node : Node
        The YAML it was read from, for the positions of problems.
    """
    cells = experiment.cells
    if cells == 1:
        return []
    problems: list[Problem] = []

    def report(path: KeyPath, message: str, allowed: str) -> None:
        problems.append(problem_at(node, path, message, allowed=allowed))

    def divide(path: KeyPath, total: int | None, what: str) -> None:
        if total is None or total % cells == 0:
            return
        below = total - total % cells
        nearest = [str(count) for count in (below, below + cells) if count > 0]
        report(
            path,
            f"{total} {what} cannot be shared out to {cells} equal cells",
            f"a multiple of {cells}, such as {' or '.join(nearest)}",
        )

    for g, group in enumerate(experiment.fleet):
        divide(("fleet", g, "count"), group.count, "nodes")
        own = group.count // cells
        if group.rack_size is not None and group.count % cells == 0 and own % group.rack_size:
            report(
                ("fleet", g, "rack_size"),
                f"racks of {group.rack_size} would reach over the borders of cells, which have {own} nodes of "
                f"{group.name}",
                f"a divisor of {own}",
            )
    if experiment.workload.queries is not None and not _is_replayed(experiment):
        report(
            ("workload", "queries"),
            "so many queries are over at another time in every cell",
            "duration, or a trace of arrivals, which is over for all at once",
        )
    for i, rule in enumerate(experiment.autoscaling or ()):
        for key in ("min", "max", "initial"):
            divide(("autoscaling", i, key), getattr(rule, key), "nodes")
    nodes = sum(group.count for group in experiment.fleet) // cells
    router, remapping = experiment.router, experiment.remapping
    if isinstance(router, PowerOfDRouterSpec) and router.d > max(nodes, 1):
        report(("router", "d"), f"a router picks among the {nodes} nodes of its cell", f"at most {nodes}")
    if remapping is not None and remapping.at_once is not None and remapping.at_once > nodes:
        report(
            ("remapping", "at_once"),
            f"every cell changes its own nodes, of which it has {nodes}",
            f"at most {nodes}",
        )
    return problems
