"""YAML as a tree of values that know where they stand in their file.

Scalars follow the core schema of YAML 1.2: ``1e3`` is a number, ``yes`` and ``on`` are strings, ``1:30`` and dates are
strings. Duplicate keys, which YAML parsers pass over in silence, are problems.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from sim.spec.problems import Position, Problem, SpecError

__all__ = ["KeyPath", "Node", "Position", "format_path", "leading_comment", "load_yaml", "parse_key_path", "parse_yaml"]

KeyPath = tuple[str | int, ...]

MOST_NODES = 1_000_000
"""More values than this come from aliases that multiply each other, not from a person."""

MOST_LEVELS = 100
"""Values within each other, and parts of a key path. No file needs a tenth of this; what walks a tree calls itself."""

TOO_DEEP = f"nested too deeply: at most {MOST_LEVELS} values may stand within each other"

MOST_DIGITS = 1_000
"""Of a whole number. Python writes no number out that has some thousands."""

INTEGER = re.compile(r"[-+]?[0-9]+")
PREFIXED_INTEGER = re.compile(r"0o[0-7]+|0x[0-9a-fA-F]+")
FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
INFINITY = re.compile(r"[-+]?\.(inf|Inf|INF)")
NOT_A_NUMBER = (".nan", ".NaN", ".NAN")


@dataclass(frozen=True, slots=True)
class Node:
    """A YAML value and its place.

    Attributes
    ----------
    value : scalar, dict of str to Node, or list of Node
    position : Position
        Where the value starts.
    key_position : Position or None
        Where its key stands, for values of a mapping.
    """

    value: Any
    position: Position
    key_position: Position | None = None

    def plain(self) -> Any:
        """Return the value without positions."""
        if isinstance(self.value, dict):
            return {key: node.plain() for key, node in self.value.items()}
        if isinstance(self.value, list):
            return [node.plain() for node in self.value]
        return self.value

    def find(self, path: Sequence[str | int]) -> Node | None:
        """Return the node at `path`, or None; items of a list go by index or by their ``name``."""
        node, rest = self.nearest(path)
        return None if rest else node

    def nearest(self, path: Sequence[str | int]) -> tuple[Node, KeyPath]:
        """Return the deepest node on the way to `path` that exists, and what is left of the path."""
        node = self
        for depth, key in enumerate(path):
            child = node.child(key)
            if child is None:
                return node, tuple(path[depth:])
            node = child
        return node, ()

    def child(self, key: str | int) -> Node | None:
        """Return the value under `key`, or None."""
        if isinstance(self.value, dict):
            child = self.value.get(str(key))
            return child if isinstance(child, Node) else None
        if isinstance(self.value, list):
            index = self.index_of(key)
            return None if index is None else self.value[index]
        return None

    def index_of(self, key: str | int) -> int | None:
        """Return the index of the list item that `key` names: its number, or the value of its ``name``."""
        if isinstance(key, int) or (INTEGER.fullmatch(key) and not key.startswith("-")):
            return int(key) if len(str(key)) <= MOST_DIGITS and int(key) < len(self.value) else None
        for index, item in enumerate(self.value):
            if isinstance(item.value, dict) and "name" in item.value and item.value["name"].value == key:
                return index
        return None

    def replaced(self, path: Sequence[str | int], new: Node) -> Node:
        """Return a tree with `new` at `path`; mappings on the way are made where they are missing.

        Raises
        ------
        KeyError
            With the key, where the path goes through a scalar or a list item that does not exist.
        """
        if not path:
            return replace(new, key_position=new.key_position or self.key_position)
        key, rest = path[0], path[1:]
        if isinstance(self.value, dict):
            child = self.value.get(str(key))
            if child is None:
                child = Node({} if rest else None, new.position, new.position)
            return replace(self, value={**self.value, str(key): child.replaced(rest, new)})
        if isinstance(self.value, list):
            index = self.index_of(key)
            if index is None:
                raise KeyError(key)
            items = list(self.value)
            items[index] = items[index].replaced(rest, new)
            return replace(self, value=items)
        if self.value is None:
            return replace(self, value={}).replaced(path, new)
        raise KeyError(key)


def format_path(path: Sequence[str | int]) -> str:
    """Return a key path as it is written: ``fleet[0].devices.cpu``."""
    text = ""
    for key in path:
        text += f"[{key}]" if isinstance(key, int) else f".{key}" if text else key
    return text


def parse_key_path(text: str) -> KeyPath:
    """Split a dotted path; a part in double quotes may hold dots. It is empty where a part is, or if it is too deep."""
    parts: list[str] = []
    part = ""
    quoted = False
    for character in text.strip():
        if character == '"':
            quoted = not quoted
        elif character == "." and not quoted:
            parts.append(part)
            part = ""
        else:
            part += character
    parts.append(part)
    return tuple(parts) if all(parts) and len(parts) <= MOST_LEVELS else ()


def leading_comment(text: str) -> list[str]:
    """Return the lines of the comment that a YAML text begins with, without what marks them as comment.

    What is said to editors and shells, such as ``# yaml-language-server: ...``, is left out.
    """
    lines = []
    for line in text.splitlines():
        if not line.startswith("#"):
            break
        said = line.lstrip("#").strip()
        if not said.startswith(("!", "yaml-language-server:", "vim:", "-*-")):
            lines.append(said)
    return lines


def load_yaml(file: Path) -> Node:
    """Read a YAML file.

    Raises
    ------
    SpecError
        If the file cannot be read, with every problem of its text otherwise.
    """
    try:
        text = file.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise SpecError([Problem(f"{file} is not UTF-8 text: {error.reason} at byte {error.start}")]) from error
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise SpecError([Problem(f"{file} cannot be read: {why or error}")]) from error
    return parse_yaml(text, str(file))


def parse_yaml(text: str, file: str) -> Node:
    """Parse YAML text; `file` is what positions call it.

    Raises
    ------
    SpecError
        With every problem found: a syntax error, duplicate keys, keys that are no scalars, tags, numbers that are too
        long; values that are too deep or too many.
    """
    try:
        root = _Composer(text, file).get_single_node()
    except yaml.reader.ReaderError as error:
        before = text[: error.position]
        position = Position(file, before.count("\n") + 1, error.position - before.rfind("\n"))
        character = f"the character {ord(text[error.position]):#06x} is not allowed in YAML"
        raise SpecError([Problem(f"YAML syntax: {character}", position)]) from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        position = Position(file, mark.line + 1, mark.column + 1) if mark else Position(file, 1, 1)
        context = f" {error.context}" if error.context else ""
        raise SpecError([Problem(f"YAML syntax: {error.problem or 'not YAML'}{context}", position)]) from error
    except yaml.YAMLError as error:
        raise SpecError([Problem(f"YAML syntax: {str(error).splitlines()[0]}", Position(file, 1, 1))]) from error
    if root is None:
        raise SpecError([Problem("the file is empty", Position(file, 1, 1))])
    builder = _Builder(file)
    node = builder.build(root, None)
    if builder.problems:
        raise SpecError(builder.problems)
    return node


class _Composer(yaml.SafeLoader):
    """Composes a node graph that is neither too deep nor, with its aliases written out, too large to be walked."""

    def __init__(self, text: str, file: str) -> None:
        super().__init__(text)
        self.file = file
        self.level = 0
        self.extents: dict[int, tuple[int, int]] = {}

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """Compose the next node, and count the values and the levels that it has once its aliases are written out."""
        alias = self.check_event(yaml.AliasEvent)
        self.level += 1
        mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
        self.stop_if(self.level > MOST_LEVELS, TOO_DEEP, mark)
        node = super().compose_node(parent, index)
        self.level -= 1
        if node is None:
            return None
        if alias:
            self.stop_if(id(node) not in self.extents, "an alias that contains itself", node.start_mark)
            return node
        values, levels = 1, 1
        for entry in node.value if isinstance(node, yaml.CollectionNode) else ():
            for child in entry if isinstance(entry, tuple) else (entry,):
                more, below = self.extents[id(child)]
                values, levels = values + more, max(levels, below + 1)
        self.stop_if(levels > MOST_LEVELS, TOO_DEEP, node.start_mark)
        self.stop_if(values > MOST_NODES, f"aliases expand to more than {MOST_NODES:,} values", node.start_mark)
        self.extents[id(node)] = values, levels
        return node

    def stop_if(self, wrong: bool, message: str, mark: yaml.Mark) -> None:
        # At once: everything after this would go on to walk it.
        if wrong:
            raise SpecError([Problem(message, Position(self.file, mark.line + 1, mark.column + 1))])


class _Builder:
    """Turns PyYAML's node graph into a tree."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.problems: list[Problem] = []

    def position(self, node: yaml.Node) -> Position:
        return Position(self.file, node.start_mark.line + 1, node.start_mark.column + 1)

    def build(self, node: yaml.Node, key_position: Position | None) -> Node:
        position = self.position(node)
        if isinstance(node, yaml.MappingNode):
            return Node(self.mapping(node), position, key_position)
        if isinstance(node, yaml.SequenceNode):
            return Node([self.build(item, None) for item in node.value], position, key_position)
        return Node(self.scalar(node), position, key_position)

    def mapping(self, node: yaml.MappingNode) -> dict[str, Node]:
        result: dict[str, Node] = {}
        for key_node, value_node in node.value:
            position = self.position(key_node)
            if not isinstance(key_node, yaml.ScalarNode):
                self.problems.append(Problem("a key has to be a word or a number", position))
                continue
            key = str(key_node.value)
            if key == "<<" and key_node.style is None:
                self.problems.append(
                    Problem("merge keys (<<) are not part of YAML 1.2", position, allowed="extends: other.yaml")
                )
                continue
            if key in result:
                first = result[key].key_position
                assert first is not None
                self.problems.append(Problem(f"key {key!r} stands twice (first on line {first.line})", position, key))
                continue
            result[key] = self.build(value_node, position)
        return result

    def scalar(self, node: Any) -> Any:
        text = str(node.value)
        tag = node.tag.rpartition(":")[2]
        # A plain scalar gets its type from its text; a quoted or block one, and one tagged !!str, is a string.
        if node.style is not None:
            return text
        if node.start_mark.buffer is not None and node.start_mark.buffer[node.start_mark.pointer :].startswith("!"):
            self.problems.append(Problem(f"the tag !{tag} is not used here", self.position(node)))
            return text
        if len(text) > MOST_DIGITS and (INTEGER.fullmatch(text) or PREFIXED_INTEGER.fullmatch(text)):
            message = f"a whole number of {len(text):,} digits"
            self.problems.append(Problem(message, self.position(node), allowed=f"at most {MOST_DIGITS:,}"))
            return None
        return resolve_scalar(text)


def resolve_scalar(text: str) -> Any:
    """Return what a plain scalar means in the core schema of YAML 1.2."""
    if text in ("", "~", "null", "Null", "NULL"):
        return None
    if text in ("true", "True", "TRUE"):
        return True
    if text in ("false", "False", "FALSE"):
        return False
    if INTEGER.fullmatch(text):
        return int(text)
    if PREFIXED_INTEGER.fullmatch(text):
        return int(text, 0)
    if FLOAT.fullmatch(text):
        return float(text)
    if INFINITY.fullmatch(text):
        return float(text.replace(".", "", 1))
    if text in NOT_A_NUMBER:
        return float("nan")
    return text
