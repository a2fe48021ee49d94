"""Reads the question that `mprec optimise` is asked; what is wrong with it is found before anything runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sim.spec.binding import bind
from sim.spec.design_space import Design, DesignSpace, design_space
from sim.spec.experiment import Experiment
from sim.spec.optimise import OptimiseSpec
from sim.spec.problems import Position, Problem, SpecError
from sim.spec.scenario import expand_sweep, load_experiment, overlapping
from sim.spec.source import Node, parse_key_path
from sim.study.objectives import Wanted, has_price, wanted
from sim.study.prepare import PreparedScenario, prepare
from sim.study.scenario import Scenario, find_experiment, optimise_block

__all__ = ["DesignQuestion", "designs_in", "read_question"]

COMBINATIONS = 16
"""A value that does not go with the file's others is tried in so many combinations before it is called wrong."""


@dataclass(frozen=True, slots=True)
class DesignQuestion:
    """A search that can be begun.

    Attributes
    ----------
    spec : OptimiseSpec
    space : DesignSpace
    wanted : Wanted
    experiment : Experiment
        One of its designs.
    written : object
        The file with what was set, as plain values.
    """

    spec: OptimiseSpec
    space: DesignSpace
    wanted: Wanted
    experiment: Experiment
    written: object


def read_question(reference: str, overrides: Sequence[str] = ()) -> DesignQuestion:
    """Read an experiment with an `optimise` block, and try every value of every choice without running it.

    Parameters
    ----------
    reference : str
        Path of the experiment file, or the name of one that ships.
    overrides : sequence of str
        ``key.path=value``.

    Raises
    ------
    SpecError
        With every problem. A value is wrong if it goes neither with what else the file says nor with any of some
        combinations of the other choices. Whether all combinations do is found when they are tried.
    """
    file = find_experiment(reference)
    root = load_experiment(file, overrides)
    spec = optimise_block(root)
    if spec is None:
        raise SpecError(
            [Problem("there is nothing to choose", root.position, "optimise", allowed="optimise: {choices: {...}}")]
        )
    sweep = root.child("sweep")
    if sweep is not None and sweep.value:
        raise SpecError(
            [
                Problem(
                    "does not go with optimise: every design is one scenario",
                    sweep.key_position or sweep.position,
                    "sweep",
                    allowed="--set 'sweep={}' to leave the sweep out",
                )
            ]
        )
    space = design_space(root)
    _refuse_overrides(overrides, space)
    (point,) = expand_sweep(root)
    possible = _try_values(point.node, space, file.resolve().parent)
    wants = wanted(
        spec,
        root,
        possible[0].experiment.report.percentile,
        priced=all(has_price(prepared) for prepared in possible),
    )
    return DesignQuestion(spec, space, wants, possible[0].experiment, root.plain())


def designs_in(reference: str, overrides: Sequence[str] = ()) -> int:
    """Return how many designs an experiment has, with every value tried; overrides of what is chosen are left out.

    Raises
    ------
    SpecError
        As `read_question`.
    """
    space = design_space(load_experiment(find_experiment(reference), overrides))
    return read_question(reference, [one for one in overrides if not _is_chosen(one, space)]).space.size


def _is_chosen(override: str, space: DesignSpace) -> bool:
    path = parse_key_path(override.partition("=")[0])
    return any(overlapping(path, choice.path) for choice in space.choices)


def _refuse_overrides(overrides: Sequence[str], space: DesignSpace) -> None:
    problems = []
    for text in overrides:
        key = text.partition("=")[0]
        for choice in space.choices:
            if overlapping(parse_key_path(key), choice.path):
                where = Position(f"--set {key}", 1, 1)
                problems.append(Problem(f"has no effect: optimise.choices sets {choice.key}", where, key))
    if problems:
        raise SpecError(problems)


def _try_values(node: Node, space: DesignSpace, base_dir: Path) -> list[PreparedScenario]:
    """Return a design with each value, laid out."""
    possible: list[PreparedScenario] = []
    problems: list[Problem] = []
    drawn = np.random.default_rng(0)
    for which, choice in enumerate(space.choices):
        for number in range(len(choice.nodes)):
            try:
                possible.append(_laid_out(space.node(node, [(which, number)]), base_dir))
            except SpecError as error:
                found = _in_combination(node, space, base_dir, which, number, drawn)
                if found is None:
                    problems.extend(error.problems)
                else:
                    possible.append(found)
    if problems:
        raise SpecError(problems)
    return possible


def _in_combination(
    node: Node, space: DesignSpace, base_dir: Path, which: int, number: int, drawn: np.random.Generator
) -> PreparedScenario | None:
    for _ in range(COMBINATIONS):
        design: Design = tuple(int(drawn.integers(len(choice.nodes))) for choice in space.choices)
        values = [(i, number if i == which else value) for i, value in enumerate(design)]
        try:
            return _laid_out(space.node(node, values), base_dir)
        except SpecError:
            continue
    return None


def _laid_out(node: Node, base_dir: Path) -> PreparedScenario:
    (prepared,) = prepare([Scenario({}, bind(node, Experiment), node, base_dir)])
    return prepared
