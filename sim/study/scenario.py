"""The scenarios of an experiment file: found by name, extended, overridden, swept and validated."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sim.profile.library import UnknownName, data_dir, list_devices, list_models, own_file
from sim.spec.binding import bind, problem_at
from sim.spec.experiment import Experiment
from sim.spec.files import is_file
from sim.spec.optimise import OptimiseBlock, OptimiseSpec
from sim.spec.problems import Problem, SpecError, nearest_name
from sim.spec.scenario import expand_sweep, load_experiment
from sim.spec.source import Node, leading_comment
from sim.workload.shapes import list_workload_files

__all__ = [
    "Scenario",
    "asks_for_designs",
    "find_experiment",
    "load_scenarios",
    "optimise_block",
    "shipped_experiments",
]


@dataclass(frozen=True, slots=True)
class Scenario:
    """One point of the sweep.

    Attributes
    ----------
    parameters : dict
        Sweep key to label or value; empty without a sweep.
    experiment : Experiment
    node : Node
        The YAML it was read from, for the positions of problems that are found later.
    base_dir : Path
        Folder of the experiment file.
    sweep : dict or None
        The whole sweep that this is one point of, as it is written.
    comment : tuple of str
        Lines of the comment that its file begins with, which says what is asked.
    """

    parameters: dict[str, Any]
    experiment: Experiment
    node: Node
    base_dir: Path
    sweep: dict[str, Any] | None = None
    comment: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """The parameters in one line."""
        return ", ".join(f"{key}: {value}" for key, value in self.parameters.items()) or self.experiment.name


def shipped_experiments() -> list[str]:
    """Return the names of the experiments that come with the package."""
    return sorted(file.stem for file in data_dir("experiments").glob("*.yaml"))


def find_experiment(reference: str) -> Path:
    """Return the file of an experiment, named by its path or, if it ships with the package, by its name.

    Raises
    ------
    SpecError
        If there is no such file.
    """
    path = Path(reference)
    shipped = data_dir("experiments") / f"{reference}.yaml"
    # A folder called like an experiment is what somebody's run of it left, not the experiment.
    if path.name == reference and is_file(shipped) and not is_file(path):
        return shipped
    if os.path.exists(path):  # noqa: PTH110 - as in is_file
        return path
    names = shipped_experiments()
    raise SpecError(
        [
            Problem(
                message="no such experiment file",
                position=None,
                key_path="",
                value=reference,
                allowed=f"a YAML file, or one that ships: {', '.join(names)}",
                nearest=nearest_name(reference.removesuffix(".yaml").removesuffix(".yml"), names),
            )
        ]
    )


def load_scenarios(
    reference: str, overrides: Sequence[str] = (), *, seed: int | None = None, replications: int | None = None
) -> list[Scenario]:
    """Read an experiment and return its scenarios in the order of the sweep.

    Parameters
    ----------
    reference : str
        Path of the experiment file, or the name of one that ships.
    overrides : sequence of str
        ``key.path=value``, applied before the sweep is expanded.
    seed, replications : int, optional
        Override the file's.

    Raises
    ------
    SpecError
        With the problems of all scenarios.
    """
    path = find_experiment(reference)
    given = [*overrides]
    if seed is not None:
        given.append(f"seed={seed}")
    if replications is not None:
        given.append(f"replications={replications}")
    root = load_experiment(path, given)
    sweep = root.child("sweep")
    written = sweep.plain() if sweep is not None else None
    comment = tuple(leading_comment(path.read_text(encoding="utf-8")))
    base_dir = path.resolve().parent
    scenarios: list[Scenario] = []
    problems: list[Problem] = []
    try:
        optimise_block(root)
    except SpecError as error:
        problems.extend(error.problems)
    for point in expand_sweep(root):
        try:
            experiment = bind(point.node, Experiment)
        except SpecError as error:
            problems.extend([*error.problems, *_unknown_names(point.node, base_dir)])
            continue
        scenarios.append(Scenario(dict(point.parameters), experiment, point.node, base_dir, written, comment))
    if not problems and sweep is not None:
        problems.extend(_twice(sweep, scenarios))
    if problems:
        raise SpecError(problems)
    return scenarios


def _twice(sweep: Node, scenarios: Sequence[Scenario]) -> Iterator[Problem]:
    """Yield values of a list axis that say the same in two ways, as 1000/s and 1k/s; one with labels may do so."""
    first = scenarios[0].parameters
    for key, axis in sweep.value.items():
        if not isinstance(axis.value, list) or len(axis.value) < 2:
            continue
        others = {one: label for one, label in first.items() if one != key}
        along = [one for one in scenarios if {**one.parameters, key: None} == {**others, key: None}]
        seen: dict[str, Any] = {}
        # Labels of another axis that are equal would give more.
        for one, child in zip(along, axis.value, strict=True) if len(along) == len(axis.value) else ():
            label = one.parameters[key]
            former = seen.setdefault(one.experiment.model_dump_json(), label)
            if former != label:
                yield Problem(f"says the same as {former}", child.position, f"sweep.{key}", label)


def asks_for_designs(reference: str, overrides: Sequence[str] = ()) -> bool:
    """Return whether an experiment has a block `optimise`, and no sweep in its place."""
    root = load_experiment(find_experiment(reference), overrides)
    sweep = root.child("sweep")
    return root.child("optimise") is not None and not (sweep is not None and sweep.value)


def optimise_block(root: Node) -> OptimiseSpec | None:
    """Return the `optimise` block of an experiment, validated; None where there is none.

    Raises
    ------
    SpecError
        With every problem that its shape shows; what its values do is known once they are tried.
    """
    block = root.child("optimise")
    if block is None:
        return None
    return bind(replace(root, value={"optimise": block}), OptimiseBlock).optimise


def _unknown_names(node: Node, base_dir: Path) -> list[Problem]:
    """Return the names in a file that nothing has, also where the file is not valid otherwise."""
    problems: list[Problem] = []

    def unknown(path: tuple[str | int, ...], what: str, names: Sequence[str]) -> UnknownName | None:
        found = node.find(path)
        if found is None or not isinstance(found.value, str) or found.value in names:
            return None
        return UnknownName(found.value, what, tuple(names))

    def check(path: tuple[str | int, ...], what: str, names: Sequence[str]) -> None:
        if unknown(path, what, names):
            problems.append(problem_at(node, path, f"unknown {what}", names=names))

    def check_profile(path: tuple[str | int, ...], what: str, names: Sequence[str]) -> None:
        error = unknown(path, what, names)
        if error is not None and own_file(error.name, base_dir) is None:
            problems.append(problem_at(node, path, error.problem, names=names))

    devices = list_devices()
    check_profile(("model",), "model", list_models())
    classes = node.child("classes")
    own = range(len(classes.value) if classes is not None and isinstance(classes.value, list) else 0)
    for i in own:
        check_profile(("classes", i, "model"), "model", list_models())
    for workload in (("workload",), *(("classes", i, "workload") for i in own)):
        check((*workload, "sizes"), "size distribution", list_workload_files("sizes"))
        check((*workload, "arrivals", "shape"), "shape", list_workload_files("shapes"))
    fleet = node.child("fleet")
    for i, _ in enumerate(fleet.value if fleet is not None and isinstance(fleet.value, list) else ()):
        uses = node.find(("fleet", i, "devices"))
        for name in uses.value if uses is not None and isinstance(uses.value, dict) else ():
            check_profile(("fleet", i, "devices", name), "device", devices)
            check_profile(("fleet", i, "devices", name, "profile"), "device", devices)
    return problems
