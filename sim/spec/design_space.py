"""The choices of an `optimise` block as a space of designs, with the place in the file of every value."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from itertools import product
from math import prod
from typing import Any

from sim.spec.problems import Problem, SpecError
from sim.spec.scenario import axis_values, overlapping
from sim.spec.source import KeyPath, Node, parse_key_path

__all__ = ["Choice", "Design", "DesignSpace", "design_space"]

NOT_CHOSEN = ("sweep", "extends", "report", "seed", "service_seed", "name", "optimise", "replications", "precision")
"""Keys that name or control the study as a whole, and are no part of a design."""

RANGE = ("from", "to", "step")
MOST_VALUES = 10_000
QUANTITY = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)\s*(.*)")

Design = tuple[int, ...]
"""One value of each choice, by its number."""


@dataclass(frozen=True, slots=True)
class Choice:
    """A key of the experiment and the values that it may have.

    Attributes
    ----------
    key : str
        As it is written.
    path : tuple
    labels : tuple
        How the values are called: themselves, or their labels.
    nodes : tuple of Node
        The values.
    ordered : bool
        Whether the values are quantities that ascend or descend, so that neighbours are alike.
    """

    key: str
    path: KeyPath
    labels: tuple[Any, ...]
    nodes: tuple[Node, ...]
    ordered: bool

    def override(self, number: int) -> str:
        """Return a value as ``key.path=value``."""
        return f"{self.key}={json.dumps(self.nodes[number].plain(), ensure_ascii=False)}"


@dataclass(frozen=True, slots=True)
class DesignSpace:
    """All combinations of the choices.

    Attributes
    ----------
    choices : tuple of Choice
    """

    choices: tuple[Choice, ...]

    @property
    def size(self) -> int:
        """Number of designs."""
        return prod(len(choice.nodes) for choice in self.choices)

    def designs(self) -> Iterator[Design]:
        """Yield every design, the first choice slowest."""
        return product(*(range(len(choice.nodes)) for choice in self.choices))

    def changes(self, design: Design) -> tuple[str, ...]:
        """Return a design as overrides."""
        return tuple(choice.override(number) for choice, number in zip(self.choices, design, strict=True))

    def labels(self, design: Design) -> dict[str, Any]:
        """Return what the values of a design are called, by key."""
        return {choice.key: choice.labels[number] for choice, number in zip(self.choices, design, strict=True)}

    def node(self, root: Node, values: Sequence[tuple[int, int]]) -> Node:
        """Return the experiment with some choices made, given as (choice, value); values keep their places."""
        for which, number in values:
            choice = self.choices[which]
            root = root.replaced(choice.path, choice.nodes[number])
        return root


def design_space(root: Node) -> DesignSpace:
    """Return the space that ``optimise.choices`` of an experiment spans.

    Raises
    ------
    SpecError
        With every problem: paths that lead nowhere, choices without a value or with one that stands twice, ranges
        that do not end.
    """
    block = root.find(("optimise", "choices"))
    if block is None or not isinstance(block.value, dict) or not block.value:
        where = root.find(("optimise",)) or root
        raise SpecError(
            [
                Problem(
                    "there is nothing to choose from", where.position, "optimise.choices", allowed="key.path: [values]"
                )
            ]
        )
    problems: list[Problem] = []
    choices: list[Choice] = []
    for key, written in block.value.items():
        shown = f"optimise.choices.{key}"
        where_key = written.key_position or written.position
        path = parse_key_path(key)
        if not path or path[0] in NOT_CHOSEN:
            problems.append(Problem("cannot be chosen", where_key, shown))
            continue
        values, ordered = _values(shown, written, problems)
        if not values:
            continue
        former = root.find(path)
        place = (former or written).key_position or where_key
        nodes = tuple(replace(node, key_position=place) for _, node in values)
        try:
            root.replaced(path, nodes[0])
        except KeyError as error:
            problems.append(Problem(f"there is nothing at {error.args[0]!r} to set", where_key, shown))
            continue
        problems += [
            Problem(f"sets the same as {other.key}", where_key, shown)
            for other in choices
            if overlapping(path, other.path)
        ]
        choices.append(Choice(key, path, tuple(label for label, _ in values), nodes, ordered))
    if problems:
        raise SpecError(problems)
    return DesignSpace(tuple(choices))


def _values(shown: str, written: Node, problems: list[Problem]) -> tuple[list[tuple[Any, Node]], bool]:
    """Return labels with values, and whether they are in the order of a quantity."""
    if isinstance(written.value, dict) and written.value and set(written.value) <= set(RANGE):
        return _range(shown, written, problems), True
    values = axis_values(shown, written, problems)
    quantities = [_quantity(node.plain()) for _, node in values]
    known = [one for one in quantities if one is not None]
    alike = len(known) == len(values) > 1 and len({unit for _, unit in known}) == 1
    numbers = [number for number, _ in known]
    return values, alike and (numbers == sorted(numbers) or numbers == sorted(numbers, reverse=True))


def _range(shown: str, written: Node, problems: list[Problem]) -> list[tuple[Any, Node]]:
    missing = [key for key in RANGE if key not in written.value]
    if missing:
        problems.append(
            Problem(f"{', '.join(missing)} is missing", written.position, shown, allowed="{from: 1, to: 8, step: 1}")
        )
        return []
    ends = {key: _quantity(written.value[key].plain()) for key in RANGE}
    for key, value in ends.items():
        if value is None:
            problems.append(
                Problem(
                    "expected a number, with a unit or without",
                    written.value[key].position,
                    f"{shown}.{key}",
                    written.value[key].plain(),
                )
            )
    known = [value for value in ends.values() if value is not None]
    if len(known) < len(RANGE):
        return []
    if len({unit for _, unit in known}) > 1:
        problems.append(Problem("from, to and step have to have the same unit", written.position, shown))
        return []
    (start, unit), (end, _), (step, _) = known
    if step <= 0 or end < start or (end - start) / step >= MOST_VALUES:
        problems.append(
            Problem(
                "has no end, or none that can be reached",
                written.position,
                shown,
                allowed=f"from at most to, step more than zero, at most {MOST_VALUES:,} values",
            )
        )
        return []
    numbers = (start + i * step for i in range(int((end - start) / step) + 1))
    plain = [_written(number, unit, written.value["from"].plain()) for number in numbers]
    return [(value, Node(value, written.position)) for value in plain]


def _quantity(value: Any) -> tuple[Decimal, str] | None:
    """Return a value as number and unit; None if it is neither a number nor a quantity with a unit."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    match = QUANTITY.fullmatch(str(value).strip())
    return None if match is None else (Decimal(match[1]), match[2])


def _written(number: Decimal, unit: str, like: Any) -> Any:
    if unit or isinstance(like, str):
        return f"{number.normalize():f}{unit}"
    return int(number) if number == number.to_integral_value() and isinstance(like, int) else float(number)
