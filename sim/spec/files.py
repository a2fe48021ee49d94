"""Files that are named within files: where they are looked for, and which values of an experiment name one."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from sim.spec.source import KeyPath, Node, parse_key_path

__all__ = ["YAML_SUFFIXES", "file_paths", "find_file", "is_file", "is_yaml", "seen_from"]

YAML_SUFFIXES = (".yaml", ".yml")

TABLES = ("file", "table", "data_loading", "stages")
"""Keys of CSV files: of traces and of IDs, and of the tables of a device that is written inline."""

PROFILES = ("model", "profile", "slowdown")
"""Keys that hold a name, or the path of a YAML file; the devices of a group do, too."""

AXES = ("sweep", "choices")
"""Keys that hold values of other keys, by their key paths."""


def is_file(path: Path) -> bool:
    """Return whether there is such a file; no name is a mistake, however long it is and whatever is in it."""
    return os.path.isfile(path)  # noqa: PTH113 - Path.is_file raises where the system refuses the name


def is_yaml(name: str) -> bool:
    """Return whether `name` is the path of a YAML file by its ending, and so no mere name."""
    return name.endswith(YAML_SUFFIXES)


def find_file(name: str, folder: Path | None = None) -> Path | None:
    """Return the file `name`, from `folder` or else from the working directory; None if there is none."""
    places = (Path(name),) if folder is None else (folder / name, Path(name))
    return next((place for place in places if is_file(place)), None)


def file_paths(content: Any, place: KeyPath = (), path: KeyPath = ()) -> Iterator[KeyPath]:
    """Yield the key paths of an experiment's values that name a file, or may.

    Parameters
    ----------
    content : as from `Node.plain`
        What stands at `path`.
    place : key path
        What it is about: for values of a sweep or of choices, where they are put.
    path : key path
        Where it stands.
    """
    if isinstance(content, str):
        above, key = ("", "", *place)[-2:]
        if key in TABLES or (is_yaml(content) and (key in PROFILES or above == "devices")):
            yield path
    elif isinstance(content, dict):
        for key, inner in content.items():
            if key in AXES and isinstance(inner, dict):
                for axis, values in inner.items():
                    for label, value in _entries(values):
                        yield from file_paths(value, parse_key_path(axis), (*path, key, axis, label))
            else:
                yield from file_paths(inner, (*place, key), (*path, key))
    elif isinstance(content, list):
        for index, inner in enumerate(content):
            yield from file_paths(inner, (*place, index), (*path, index))


def _entries(content: Any) -> Iterable[tuple[str | int, Any]]:
    if isinstance(content, dict):
        return content.items()
    return enumerate(content) if isinstance(content, list) else ()


def seen_from(folder: Path, node: Node, own: Path) -> Node:
    """Return an experiment that stands in the folder `own`, with the files beside it named as from `folder`."""
    for path in file_paths(node.plain()) if own != folder else ():
        found = node.find(path)
        if found is not None and not Path(found.value).is_absolute() and is_file(own / found.value):
            node = node.replaced(path, replace(found, value=os.path.relpath(own / found.value, folder)))
    return node
