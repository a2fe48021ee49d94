"""Sends what tasks need to where the files of this machine are not: the laws of traces, the source of a policy."""

from __future__ import annotations

import atexit
import hashlib
import importlib
import pickle
import shutil
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from sim.study.identity import NoIdentity, source_files
from sim.study.prepare import PreparedScenario
from sim.workload.laws import SourceLaws

__all__ = ["Parcel", "with_laws"]


class Parcel:
    """A value that is unpacked once a process, with the modules of users' functions that it needs.

    Parameters
    ----------
    value : object
        Can be pickled.
    functions : sequence of callable
        Functions in `value` from modules that may not be importable where it is unpacked.
    """

    def __init__(self, value: object, functions: Sequence[Callable[..., object]] = ()) -> None:
        self._content = pickle.dumps(value, protocol=pickle.HIGHEST_PROTOCOL)
        self._files: dict[str, bytes] = {}
        self._unpacked: list[Any] = []
        for function in functions:
            try:
                self._files |= source_files(function)
            except NoIdentity:
                # What has no source here is installed there, or said to be missing.
                continue

    def __getstate__(self) -> tuple[bytes, dict[str, bytes]]:
        return self._content, self._files

    def __setstate__(self, state: tuple[bytes, dict[str, bytes]]) -> None:
        self._content, self._files = state
        self._unpacked = []

    def open(self) -> Any:
        """Return the value."""
        if not self._unpacked:
            if self._files:
                _install(self._files)
            self._unpacked.append(pickle.loads(self._content))
        return self._unpacked[0]


def with_laws(scenarios: Sequence[PreparedScenario]) -> tuple[PreparedScenario, ...]:
    """Return the scenarios with the laws of their queries, which are read from their traces here.

    Scenarios of equal workloads share them, so that they are sent once.
    """
    known: dict[str, tuple[SourceLaws, ...]] = {}
    found = []
    for scenario in scenarios:
        classes = [one.model_dump(mode="json") for one in scenario.classes or ()]
        key = repr([scenario.workload.model_dump(mode="json"), classes, str(scenario.base_dir), scenario.cells])
        if key not in known:
            known[key] = scenario.read_laws()
        found.append(replace(scenario, laws=known[key]))
    return tuple(found)


# Where each set of files is in this process, by their content: a cluster's workers outlive studies.
_folders: dict[str, Path] = {}


def _install(files: dict[str, bytes]) -> None:
    """Let modules be imported from `files`, instead of others of their names that were imported before."""
    digest = hashlib.sha256(repr(sorted(files.items())).encode()).hexdigest()
    known = _folders.get(digest)
    # What lies in a temporary folder for weeks may be cleaned away.
    if known is None or not all((known / name).is_file() for name in files):
        folder = Path(tempfile.mkdtemp(prefix=f"mprec-{digest[:16]}-"))
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        for name, content in files.items():
            file = folder / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
        _folders[digest] = folder
    tops = {name.partition("/")[0].removesuffix(".py") for name in files}
    for name in [one for one in sys.modules if one.partition(".")[0] in tops]:
        del sys.modules[name]
    first = str(_folders[digest])
    sys.path[:] = [first, *(one for one in sys.path if one != first)]
    importlib.invalidate_caches()
