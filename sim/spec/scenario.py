"""What an experiment file says before it is validated: `extends`, ``--set`` and `sweep`, on the YAML tree."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

from sim.spec.files import is_file, seen_from
from sim.spec.problems import Position, Problem, SpecError
from sim.spec.source import KeyPath, Node, load_yaml, parse_key_path, parse_yaml

__all__ = [
    "SweepPoint",
    "axis_values",
    "expand_sweep",
    "labelled",
    "load_experiment",
    "overlapping",
    "overridden",
]

NOT_SWEPT = ("sweep", "extends", "report", "seed", "service_seed", "name", "optimise")
"""Keys that name or control the study as a whole."""


@dataclass(frozen=True, slots=True)
class SweepPoint:
    """One combination of the sweep.

    Attributes
    ----------
    parameters : mapping of str to label or value
        Sweep key to the label (of a mapping axis) or the value (of a list axis), in the order written.
    node : Node
        The experiment with these values in place and without `sweep`.
    """

    parameters: Mapping[str, Any]
    node: Node


def load_experiment(file: Path, overrides: Sequence[str] = ()) -> Node:
    """Read an experiment file with what it extends, and apply overrides.

    Parameters
    ----------
    file : Path
    overrides : sequence of str
        ``key.path=value``; the value is YAML. List items go by number or by their name.

    Raises
    ------
    SpecError
        With every problem of the files and of the overrides.
    """
    node = _extended(file)
    problems: list[Problem] = []
    for text in overrides:
        try:
            node = overridden(node, text)
        except SpecError as error:
            problems.extend(error.problems)
    if problems:
        raise SpecError(problems)
    return node


def _extended(file: Path) -> Node:
    """Read a file and those that it extends; files that they name are beside the file that names them."""
    folder = file.resolve().parent
    chain: list[Path] = []
    said: list[Node] = []
    while True:
        chain.append(file.resolve())
        node = seen_from(folder, load_yaml(file), chain[-1].parent)
        parent = node.child("extends")
        if parent is None:
            break
        if not isinstance(parent.value, str):
            raise SpecError([Problem("expected the path of another experiment file", parent.position, "extends")])
        said.append(replace(node, value={key: child for key, child in node.value.items() if key != "extends"}))
        file = file.parent / parent.value
        if not is_file(file):
            allowed = "the path of an experiment file, from the folder of this one"
            raise SpecError([Problem("no such file", parent.position, "extends", parent.value, allowed)])
        if file.resolve() in chain:
            shown = " -> ".join(path.name for path in (*chain, file.resolve()))
            raise SpecError([Problem("files extend each other in a circle", parent.position, "extends", shown)])
    for own in reversed(said):
        problems = list(_without_effect(node, own))
        if problems:
            raise SpecError(problems)
        node = _merged(node, own)
    return node


def _without_effect(base: Node, own: Node) -> Iterator[Problem]:
    """Yield what a file says in vain, as the sweep of the one that it extends sets it."""
    swept, sweeps = base.child("sweep"), own.child("sweep")
    again = {} if sweeps is None else sweeps.value
    if swept is None or not isinstance(swept.value, dict) or (sweeps is not None and not again):
        return
    for axis in swept.value:
        found = own.find(parse_key_path(axis))
        if found is not None and not (isinstance(again, dict) and axis in again):
            yield Problem(
                f"has no effect: the sweep of {Path(swept.position.file).name} sets {axis}",
                found.key_position or found.position,
                axis,
                allowed=f"leave it out, `sweep: {{{axis}: [...]}}`, or `sweep: {{}}` to leave that sweep out",
            )


def _merged(base: Node, own: Node) -> Node:
    """Return `base` with what `own` says: mappings key by key, unless their kinds differ; the rest is replaced.

    An empty sweep leaves out that of `base`.
    """
    if not isinstance(base.value, dict) or not isinstance(own.value, dict):
        return own
    base_kind, own_kind = base.child("kind"), own.child("kind")
    if own_kind is not None and (base_kind is None or base_kind.value != own_kind.value):
        return own
    merged = dict(base.value)
    for key, child in own.value.items():
        if key == "sweep" and child.value == {}:
            merged.pop(key, None)
            continue
        # A sweep axis replaces the one that it is named after: its values are a whole.
        merged[key] = (
            _merged_sweep(merged[key], child)
            if key in ("sweep", "choices") and key in merged
            else (_merged(merged[key], child) if key in merged else child)
        )
    return replace(own, value=merged)


def _merged_sweep(base: Node, own: Node) -> Node:
    if not isinstance(base.value, dict) or not isinstance(own.value, dict):
        return own
    return replace(own, value={**base.value, **own.value})


def overridden(node: Node, text: str) -> Node:
    """Return the tree with one override applied.

    Parameters
    ----------
    node : Node
    text : str
        ``key.path=value``, as in `load_experiment`.

    Raises
    ------
    SpecError
        If it is no override, its value is no YAML, it leads nowhere, or the tree has a sweep that sets the same.
    """
    place = f"--set {text.partition('=')[0]}"
    key, equals, value = text.partition("=")
    path = parse_key_path(key)
    if not equals or not path:
        raise SpecError([Problem("not an override", Position("--set", 1, 1), value=text, allowed="key.path=value")])
    try:
        new = parse_yaml(value, place) if value.strip() else Node(None, Position(place, 1, 1))
    except SpecError as error:
        raise SpecError([replace(problem, key_path=key) for problem in error.problems]) from error
    sweep = node.child("sweep")
    if sweep is not None and isinstance(sweep.value, dict) and path[0] != "sweep":
        for axis in sweep.value:
            swept = parse_key_path(axis)
            if overlapping(swept, path):
                raise SpecError(
                    [
                        Problem(
                            f"has no effect: the sweep sets {axis}",
                            Position(place, 1, 1),
                            key,
                            allowed=f"--set 'sweep={{}}' to leave the sweep out, or --set 'sweep.\"{axis}\"=[...]'"
                            if "." in axis
                            else f"--set 'sweep.{axis}=...'",
                        )
                    ]
                )
    # A value given with a `kind` of its own starts afresh: options of the former kind do not carry over.
    try:
        return node.replaced(path, replace(new, key_position=Position(place, 1, 1)))
    except KeyError as error:
        raise SpecError(
            [Problem(f"there is nothing at {error.args[0]!r} to set", Position(place, 1, 1), key)]
        ) from error


def overlapping(one: KeyPath, other: KeyPath) -> bool:
    """Return whether setting one path sets all or a part of what the other does."""
    shorter = min(len(one), len(other))
    return one[:shorter] == other[:shorter]


def expand_sweep(node: Node) -> list[SweepPoint]:
    """Return the combinations of the sweep, the first axis slowest; one point where there is no sweep.

    A block `optimise` is left out: it is about designs, of which a scenario is one.

    Raises
    ------
    SpecError
        With every problem of the sweep: empty axes, values that stand twice, paths that lead nowhere.
    """
    sweep = node.child("sweep")
    if isinstance(node.value, dict):
        node = replace(node, value={key: child for key, child in node.value.items() if key != "optimise"})
    if sweep is None:
        return [SweepPoint({}, node)]
    base = replace(node, value={key: child for key, child in node.value.items() if key != "sweep"})
    if not isinstance(sweep.value, dict):
        raise SpecError([Problem("expected key paths and their values", sweep.position, "sweep", sweep.plain())])
    if not sweep.value:
        if sweep.position.file.startswith("--set"):
            return [SweepPoint({}, base)]
        raise SpecError([Problem("the sweep is empty", sweep.position, "sweep", allowed="at least one key path")])
    problems: list[Problem] = []
    axes: list[tuple[str, KeyPath, list[tuple[Any, Node]]]] = []
    for key, axis in sweep.value.items():
        path = parse_key_path(key)
        where = axis.key_position or axis.position
        if not path or path[0] in NOT_SWEPT:
            allowed = f"the path of any key but {', '.join(NOT_SWEPT)}"
            problems.append(Problem("cannot be swept", where, f"sweep.{key}", allowed=allowed))
            continue
        values = axis_values(f"sweep.{key}", axis, problems)
        if values:
            try:
                base.replaced(path, values[0][1])
            except KeyError as error:
                problems.append(Problem(f"there is nothing at {error.args[0]!r} to set", where, f"sweep.{key}"))
        axes.append((key, path, values))
    for i, (key, path, _) in enumerate(axes):
        for other, other_path, _ in axes[:i]:
            if overlapping(path, other_path):
                problems.append(Problem(f"sets the same as {other}", sweep.value[key].key_position, f"sweep.{key}"))
    if problems:
        raise SpecError(problems)
    points = []
    for combination in product(*(values for _, _, values in axes)):
        scenario = base
        parameters: dict[str, Any] = {}
        for (key, path, _), (label, value) in zip(axes, combination, strict=True):
            parameters[key] = label
            former = scenario.find(path)
            scenario = scenario.replaced(
                path, replace(value, key_position=former.key_position if former else value.key_position)
            )
        points.append(SweepPoint(parameters, scenario))
    return points


def axis_values(where: str, axis: Node, problems: list[Problem]) -> list[tuple[Any, Node]]:
    """Return labels with values of an axis at the key path `where`; what is wrong with it is added to `problems`."""
    if isinstance(axis.value, dict):
        values = [(_visible(label, label), child) for label, child in axis.value.items()]
    elif isinstance(axis.value, list):
        values = []
        seen: list[Any] = []
        for child in axis.value:
            plain = child.plain()
            if plain in seen:
                problems.append(Problem("stands twice", child.position, where, plain))
                continue
            seen.append(plain)
            values.append((_shown(plain), child))
    else:
        problems.append(
            Problem(
                "expected a list of values, or labels with values",
                axis.position,
                where,
                axis.plain(),
            )
        )
        return []
    if not values:
        problems.append(Problem("has no values", axis.position, where, allowed="at least one value"))
    return values


def labelled(values: Any) -> Iterable[tuple[Any, Any]]:
    """Return labels with values of an axis, as from `Node.plain`; a list's values are called by what they say."""
    return values.items() if isinstance(values, dict) else ((_shown(value), value) for value in values)


def _shown(value: Any) -> Any:
    """Return the label of a value of a list axis."""
    return _visible(_label(value), value)


def _label(value: Any) -> Any:
    """Return how a value of a list axis is called: itself, or its content where it is a mapping or list."""
    if isinstance(value, dict):
        return " ".join(f"{key}={_label(item)}" for key, item in value.items())
    if isinstance(value, list):
        return "+".join(str(_label(item)) for item in value)
    return value


def _visible(label: Any, value: Any) -> Any:
    """Return a label that can be seen: where nothing would be, the value as it is written, such as ``''`` or ``[]``."""
    return label if str(label).strip() else repr(value)
