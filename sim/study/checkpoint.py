"""Keeps what is finished in the run directory, so that an interrupted run can go on where it stopped."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from sim.report.rundir import written_whole
from sim.stats.summary import ReplicationResult
from sim.stats.totals import Totals
from sim.study.tasks import Task

__all__ = ["KEPT", "Checkpoint", "CheckpointMismatch"]

KEPT = "what is finished is kept: run the same command with --resume to complete it"
"""Note on an exception that ended a run of which something is finished."""

MARKER = "fingerprint"


class CheckpointMismatch(ValueError):
    """The run directory belongs to another experiment, other profiles or another version."""


class Checkpoint:
    """Finished replications, and finished cells of others, one file each, in a folder of the run directory.

    Parameters
    ----------
    folder : Path
        Made when the first of them is saved.
    fingerprint : str
        Hash of all that the results depend on.
    """

    def __init__(self, folder: Path, fingerprint: str) -> None:
        self.folder = folder
        self.fingerprint = fingerprint
        self._started = False
        self._made_run_directory = False

    def start(self) -> None:
        """Make the folder and note whose results it will hold."""
        self._started = True
        self._made_run_directory = not self.folder.parent.exists()
        self._write(self.folder / MARKER, self.fingerprint)

    def check(self) -> None:
        """Make sure that the folder, if there is one, is this run's.

        Raises
        ------
        CheckpointMismatch
            If it was made by a run that differs in anything its results depend on.
        """
        marker = self.folder / MARKER
        if marker.exists() and marker.read_text(encoding="utf-8") != self.fingerprint:
            raise CheckpointMismatch(
                f"{self.folder.parent} was begun with another experiment, profile, seed or version; "
                "resume it with those, or choose another --out"
            )

    def load(self) -> dict[tuple[int, int], ReplicationResult]:
        """Return the finished replications."""
        results = {}
        for file in sorted(self.folder.glob("s*-r*.json")):
            scenario, replication = _numbers(file)
            data = json.loads(file.read_text(encoding="utf-8"))
            results[scenario, replication] = ReplicationResult.from_json_dict(data)
        return results

    def cells(self) -> list[Task]:
        """Return the cells that are finished of replications that are not, in order."""
        found = (_numbers(file) for file in self.folder.glob("s*-r*-c*.cell"))
        return sorted((scenario, replication, cell) for scenario, replication, cell in found)

    def load_cell(self, task: Task) -> Totals:
        """Return a finished cell."""
        return Totals.from_json_dict(json.loads(self._cell_file(task).read_text(encoding="utf-8")))

    def save_cell(self, task: Task, totals: Totals) -> None:
        """Keep a finished cell until its replication is complete."""
        self._write(self._cell_file(task), json.dumps(totals.to_json_dict()))

    def save(self, scenario: int, replication: int, result: ReplicationResult) -> None:
        """Keep a finished replication; its cells are not needed any more."""
        name = f"s{scenario}-r{replication}"
        self._write(self.folder / f"{name}.json", json.dumps(result.to_json_dict()))
        for file in self.folder.glob(f"{name}-c*.cell"):
            file.unlink()

    def records_file(self, task: Task) -> Path:
        """Return the file for the per-query records of `task`."""
        return self.folder / f"{_name(task)}.npz"

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Keep what is finished where an exception ends the run, and note that on it; where nothing is, leave nothing.

        To be entered before workers are started, so that they are gone when it is looked at what they finished.
        """
        try:
            yield
        except BaseException as error:
            # What a worker that was told to end was about to write.
            for file in self.folder.glob(".*.partial"):
                file.unlink(missing_ok=True)
            if self._started:
                self._keep_or_leave_nothing(error)
            raise

    def _keep_or_leave_nothing(self, error: BaseException) -> None:
        if {*self.folder.parent.glob("*"), *self.folder.glob("*")} - {self.folder, self.folder / MARKER}:
            error.add_note(KEPT)
            return
        self.remove()
        if self._made_run_directory:
            with suppress(OSError):
                self.folder.parent.rmdir()

    def remove(self) -> None:
        """Remove the folder when the run is complete and its results are written."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _cell_file(self, task: Task) -> Path:
        return self.folder / f"{_name(task)}.cell"

    @staticmethod
    def _write(file: Path, text: str) -> None:
        with written_whole(file) as stream:
            stream.write(text.encode())


def _name(task: Task) -> str:
    scenario, replication, cell = task
    return f"s{scenario}-r{replication}-c{cell}"


def _numbers(file: Path) -> list[int]:
    return [int(part[1:]) for part in file.stem.split("-")]
