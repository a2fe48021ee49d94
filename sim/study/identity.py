"""What a finished task is known by: the content of all that its result depends on, wherever it came from."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import platform
import sys
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from pydantic import BaseModel

from sim.serving.policies.user import is_own
from sim.study.prepare import PreparedScenario

__all__ = ["NoIdentity", "code_version", "scenario_hash", "source_files", "task_key"]

NUMERIC = ("numpy", "scipy", "numba", "simpy")
"""The packages whose arithmetic ends up in results."""

CODE = ("spec", "profile", "workload", "serving", "engine", "stats", "study")
"""The packages of the simulator that make results; what shows and reports them is left out."""

SAME_RESULTS = frozenset(
    {
        "label",
        "parameters",
        "replications",
        "base_dir",
        "offered_load",
        "evidence",
        "assumptions",
        "profiles",
        "laws",
        "most_recorded",
    }
)
"""Fields of a prepared scenario that no replication's result depends on, or that are read otherwise."""

SAME_KEYS = frozenset({"name", "report", "replications", "precision"})
"""The same of the keys of an experiment; what of `report` counts is a field of the prepared scenario."""


class NoIdentity(TypeError):
    """Something that a result depends on has no content that could be compared."""


class _Digest(Protocol):
    def update(self, data: bytes, /) -> None: ...


@cache
def code_version() -> dict[str, str]:
    """Return what results depend on besides their input: the state of the source, packages, and how they reckon.

    Two processes with the same ones give the same results to the byte.
    """
    from sim.serving.compiled import source_hash

    package = Path(__file__).resolve().parent.parent
    return {
        "mprec-sim source": source_hash(*(package / name for name in CODE)),
        "python": f"{sys.version_info.major}.{sys.version_info.minor}",
        **{name: version(name) for name in NUMERIC},
        "machine": platform.machine(),
        "arithmetic": _arithmetic(),
    }


def _arithmetic() -> str:
    """Return a hash of functions whose last digits differ between processors, each at some thousand numbers."""
    from scipy import special

    u = (np.arange(4096) + 0.5) / 4096
    values = [
        *(np.log(u), np.log1p(-u), np.exp(8 * u), np.expm1(u), np.sqrt(u), u ** (1 / 1.7)),
        *(special.gammaincinv(0.25, u), special.ndtri(u), special.ndtr(8 * u - 4), special.pdtr(np.rint(20 * u), 7.5)),
        *(np.cumsum(u / 3), np.array([np.sum(u / 3), np.mean(u / 7), np.std(u), np.dot(u / 3, u / 7)])),
    ]
    return hashlib.sha256(np.concatenate(values).tobytes()).hexdigest()[:16]


def task_key(scenario: str, replication: int, cell: int | None, recorded: bool) -> str:
    """Return what the result of a replication, or of one of several cells of it, is known by.

    Parameters
    ----------
    scenario : str
        As from `scenario_hash`.
    replication : int
    cell : int or None
        None is the whole replication.
    recorded : bool
        Whether it is measured from a record; sums of rows give percentiles from a histogram.
    """
    content = [scenario, replication, cell, recorded]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def scenario_hash(scenario: PreparedScenario) -> str:
    """Return a hash of all that the replications of a scenario depend on, but for their numbers.

    These are the fleet as arrays, the laws of its queries (so the content of profiles and traces, not their names),
    the seed, the keys of the experiment, the source of a user's policy and the version of the code. A sweep's other
    points and labels, the number of replications and what the report shows are no part of it.

    Raises
    ------
    NoIdentity
        If the source of the policy is not to be had, say.
    """
    digest = hashlib.sha256(json.dumps(code_version(), sort_keys=True).encode())
    for one in fields(scenario):
        if one.name == "experiment":
            content = scenario.experiment.model_dump(exclude=set(SAME_KEYS))
            _feed(digest, {key: value for key, value in content.items() if value is not None})
        elif one.name not in SAME_RESULTS:
            _feed(digest, getattr(scenario, one.name))
    _feed(digest, scenario.read_laws())
    return digest.hexdigest()


def source_files(function: Callable[..., object]) -> dict[str, bytes]:
    """Return the Python source that a user's function may consist of, by its path from where it is imported.

    That is all of its package, or of a module that is in none, all modules of its folder, as these may be imported by
    it.

    Raises
    ------
    NoIdentity
        If there is no source.
    """
    top = function.__module__.partition(".")[0]
    found = importlib.util.find_spec(top) if top != "__main__" else None
    origin = None if found is None or found.origin is None else Path(found.origin)
    if origin is None or origin.suffix != ".py":
        raise NoIdentity(f"the source of {function.__module__}:{function.__qualname__} is not to be had")
    folder = origin.parent
    files = folder.rglob("*.py") if found is not None and found.submodule_search_locations else folder.glob("*.py")
    base = folder.parent if found is not None and found.submodule_search_locations else folder
    return {file.relative_to(base).as_posix(): file.read_bytes() for file in sorted(files)}


def _feed(digest: _Digest, value: Any) -> None:
    """Add the content of a value to a hash: the same for equal content in any process, and for no other."""
    if isinstance(value, Enum):
        _add(digest, "enum", repr(value.value).encode())
    elif value is None or isinstance(value, bool | int | float | str | bytes):
        _add(digest, type(value).__name__, repr(value).encode())
    elif isinstance(value, np.ndarray) and value.dtype != object:
        _add(digest, f"array {value.dtype.str} {value.shape}", np.ascontiguousarray(value).tobytes())
    elif isinstance(value, np.generic):
        _feed(digest, value.item())
    elif isinstance(value, BaseModel):
        _add(digest, "model", type(value).__name__.encode())
        _feed(digest, value.model_dump())
    elif isinstance(value, Mapping):
        # A trace is known by what is in it, which is part of the laws; where it is kept does not count.
        keys = sorted((key for key, one in value.items() if key != "file" or not isinstance(one, str)), key=str)
        _add(digest, "mapping", str(len(keys)).encode())
        for key in keys:
            _feed(digest, key)
            _feed(digest, value[key])
    elif isinstance(value, list | tuple):
        _add(digest, "sequence", str(len(value)).encode())
        for one in value:
            _feed(digest, one)
    elif is_dataclass(value):
        _add(digest, "fields", type(value).__name__.encode())
        for one in fields(value):
            _feed(digest, one.name)
            _feed(digest, getattr(value, one.name))
    elif callable(value) and hasattr(value, "__qualname__"):
        _add(digest, "function", f"{value.__module__}:{value.__qualname__}".encode())
        if is_own(value):
            _feed(digest, source_files(value))
    else:
        raise NoIdentity(f"a {type(value).__name__} has no content that could be compared")


def _add(digest: _Digest, kind: str, content: bytes) -> None:
    # The length keeps one value from being taken for two.
    digest.update(f"{kind} {len(content)}:".encode())
    digest.update(content)
