"""Shapes of load over time and size distributions that ship, found by name."""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sim.profile.library import data_dir
from sim.spec.problems import Problem, SpecError, nearest_name
from sim.spec.source import Node, load_yaml

__all__ = ["find_shape", "find_sizes", "list_workload_files"]


def list_workload_files(folder: str) -> list[str]:
    """Return the names of the files in a folder of the shipped workloads."""
    return sorted(file.stem for file in (data_dir("workloads") / folder).glob("*.yaml"))


def _load(folder: str, name: str, key_path: str) -> Node:
    file: Path = data_dir("workloads") / folder / f"{name}.yaml"
    names = list_workload_files(folder)
    if name not in names:
        raise SpecError(
            [
                Problem(
                    f"unknown {'shape' if folder == 'shapes' else 'size distribution'}",
                    key_path=key_path,
                    value=name,
                    allowed=", ".join(names),
                    nearest=nearest_name(name, names),
                )
            ]
        )
    return _read(file)


@functools.cache
def _read(file: Path) -> Node:
    """Read a file that ships, once a process: every replication asks for it."""
    return load_yaml(file)


def find_shape(name: str) -> NDArray[np.float64]:
    """Return the relative rates of a shape that ships, over equal windows.

    Raises
    ------
    SpecError
        If there is no such shape; `allowed` lists those that there are.
    """
    node = _load("shapes", name, "workload.arrivals.shape").child("rates")
    assert node is not None
    return np.array(node.plain(), dtype=np.float64)


def find_sizes(name: str) -> Node:
    """Return the YAML of a size distribution that ships.

    Raises
    ------
    SpecError
        If there is no such distribution.
    """
    node = _load("sizes", name, "workload.sizes").child("sizes")
    assert node is not None
    return node
