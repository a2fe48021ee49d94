"""Keeps finished replications for every later run that would have the same, whatever its experiment file is called."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from sim.report.rundir import written_whole
from sim.spec.units import format_bytes
from sim.stats.summary import ReplicationResult
from sim.stats.totals import Totals
from sim.study.identity import NoIdentity, scenario_hash, task_key
from sim.study.prepare import PreparedScenario
from sim.study.replication import Part, keeps_record

__all__ = ["BOUND_BYTES", "ResultStore", "store_folder", "taken_line"]

BOUND_BYTES = 2 * 10**9
"""What a store may hold; what was not used for longest goes first."""

TRIMMED_TO = 0.9
"""A store that is too large is cut to this part of its bound."""

CHECKED_EVERY = 0.05
"""The size of a store is looked at after this part of its bound was written; no file may be larger."""

LEFT_S = 3600.0
"""A file that was begun longer ago than this belongs to a process that is gone."""

VARIABLE = "MPREC_STORE"


def _tell_nobody(_line: str) -> None:
    pass


def store_folder(asked: str | None = None) -> Path | None:
    """Return the folder of the store: the asked one, else that of ``MPREC_STORE``, else one in the user's cache.

    ``none`` is no store.
    """
    name = asked or os.environ.get(VARIABLE)
    if name == "none":
        return None
    if name:
        return Path(name)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser()) / "mprec-sim-results"


def taken_line(count: int, what: str, folder: Path | None) -> str:
    """Return in words that so many results, such as replications, come from a store."""
    if count == 1:
        return f"1 {what} was run before and is taken from {folder}"
    return f"{count} {what}s were run before and are taken from {folder}"


class ResultStore:
    """Finished replications, and finished cells of others, by the content of all that they depend on.

    Several processes may use one at a time. A file is there whole or not at all, and one that is damaged counts as
    absent.

    Parameters
    ----------
    folder : Path
        Made when the first result is kept.
    bound_bytes : int
        Most that it may hold.
    tell : callable
        ``tell(line)`` is told, once, that nothing is kept because the folder cannot be written; and which scenario's
        results are not kept.
    """

    def __init__(
        self, folder: Path, bound_bytes: int = BOUND_BYTES, tell: Callable[[str], None] = _tell_nobody
    ) -> None:
        self.folder = folder
        self.bound_bytes = bound_bytes
        self._tell = tell
        self._is_written = True
        self._written = 0
        self._hashes: dict[int, tuple[PreparedScenario, str | None]] = {}

    def find(
        self, scenario: PreparedScenario, replication: int, cell: int | None = None, records: Path | None = None
    ) -> Part | None:
        """Return a result that was kept; None if there is none.

        Parameters
        ----------
        scenario : PreparedScenario
        replication : int
        cell : int or None
            None is the whole replication, which is what a replication of one cell leaves.
        records : Path, optional
            Where its per-query records go; a result that was kept without them is none.
        """
        file = self._file(scenario, replication, cell, records is not None)
        if file is None:
            return None
        try:
            content = file.read_bytes()
        except OSError:
            return None
        try:
            part, held = _read(content, file.stem)
        except (ValueError, KeyError, TypeError, zlib.error):
            with contextlib.suppress(OSError):
                file.unlink()
            return None
        if records is not None and not self._take_records(held, records):
            return None
        with contextlib.suppress(OSError):
            os.utime(file)
        return part

    def keep(
        self,
        scenario: PreparedScenario,
        replication: int,
        part: Part,
        cell: int | None = None,
        records: Path | None = None,
    ) -> None:
        """Keep a result, with its per-query records where there are some."""
        file = self._file(scenario, replication, cell, records is not None)
        if file is None or not self._is_written:
            return
        try:
            held = None if records is None else self._keep_records(records)
            self._write(file, _written(part, held, file.stem))
            if self._written > CHECKED_EVERY * self.bound_bytes:
                self.trim()
        except OSError as error:
            self._is_written = False
            self._tell(f"{self.folder} cannot be written: {error.strerror or error}; no more results are kept there")

    def drop(self, scenario: PreparedScenario, replication: int, cell: int) -> None:
        """Remove a cell that is not needed any more, as its replication is complete."""
        file = self._file(scenario, replication, cell, False)
        if file is not None:
            with contextlib.suppress(OSError):
                file.unlink()

    def trim(self) -> None:
        """Remove what was not used for longest, if the store holds more than it may."""
        self._written = 0
        found = sorted(_files(self.folder))
        total = sum(size for _, size, _ in found)
        excess = total - TRIMMED_TO * self.bound_bytes if total > self.bound_bytes else 0
        for used, size, file in found:
            gone = file.name.startswith(".") and time.time() - used > LEFT_S
            if excess > 0 or gone:
                with contextlib.suppress(OSError):
                    file.unlink()
                excess -= size

    def _file(self, scenario: PreparedScenario, replication: int, cell: int | None, records: bool) -> Path | None:
        known = self._hashes.get(id(scenario))
        if known is None:
            try:
                known = (scenario, scenario_hash(scenario))
            except NoIdentity as error:
                known = (scenario, None)
                self._tell(f"{scenario.label}: its results are not kept for other runs: {error}")
            self._hashes[id(scenario)] = known
        if known[1] is None:
            return None
        key = task_key(known[1], replication, cell, keeps_record(scenario, records))
        return self.folder / key[:2] / f"{key}.result"

    def _records(self, held: str) -> Path:
        return self.folder / held[:2] / f"{held}.npz"

    def _take_records(self, held: str | None, target: Path) -> bool:
        """Copy the records of a result; return whether they were there as they had been written."""
        if held is None:
            return False
        file = self._records(held)
        try:
            content = file.read_bytes()
        except OSError:
            return False
        if hashlib.sha256(content).hexdigest() != held:
            with contextlib.suppress(OSError):
                file.unlink()
            return False
        with written_whole(target) as stream:
            stream.write(content)
        with contextlib.suppress(OSError):
            os.utime(file)
        return True

    def _keep_records(self, records: Path) -> str | None:
        """Keep a file of records under its own content, so that no other process can put others there."""
        if records.stat().st_size > CHECKED_EVERY * self.bound_bytes:
            return None
        content = records.read_bytes()
        held = hashlib.sha256(content).hexdigest()
        self._write(self._records(held), content)
        return held

    def _write(self, file: Path, content: bytes) -> None:
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        file.parent.mkdir(exist_ok=True)
        # Another process may be writing the same file.
        handle, name = tempfile.mkstemp(prefix=".", dir=file.parent)
        partial = Path(name)
        try:
            with os.fdopen(handle, "wb") as stream:
                stream.write(content)
            partial.replace(file)
        except BaseException:
            with contextlib.suppress(OSError):
                partial.unlink()
            raise
        self._written += len(content)

    def __str__(self) -> str:
        return f"{self.folder} (at most {format_bytes(self.bound_bytes)})"


def _written(part: Part, records: str | None, key: str) -> bytes:
    """Return a result as it is kept: a hash of its key and of what follows, then that."""
    kind = "replication" if isinstance(part, ReplicationResult) else "cell"
    content = {"kind": kind, "records": records, "part": part.to_json_dict()}
    packed = zlib.compress(json.dumps(content).encode(), 1)
    return hashlib.sha256(key.encode() + packed).digest() + packed


def _read(content: bytes, key: str) -> tuple[Part, str | None]:
    checksum, packed = content[:32], content[32:]
    if hashlib.sha256(key.encode() + packed).digest() != checksum:
        raise ValueError("damaged")
    found: dict[str, Any] = json.loads(zlib.decompress(packed))
    kinds: dict[str, Any] = {"replication": ReplicationResult, "cell": Totals}
    part: Part = kinds[found["kind"]].from_json_dict(found["part"])
    return part, found["records"]


def _files(folder: Path) -> Iterator[tuple[float, int, Path]]:
    """Yield when each file was last used, the room it takes, and its path."""
    for file in folder.glob("??/*"):
        with contextlib.suppress(OSError):
            status = file.stat()
            yield status.st_mtime, -(-status.st_size // 4096) * 4096, file
