"""Keeps finished replications in the run directory, so that an interrupted run can go on where it stopped."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from sim.stats.summary import ReplicationResult
from sim.study.execute import Task

__all__ = ["Checkpoint", "CheckpointMismatch"]


class CheckpointMismatch(ValueError):
    """The run directory belongs to another experiment, other profiles or another version."""


class Checkpoint:
    """Finished replications, one small file each, in a folder of the run directory.

    Parameters
    ----------
    folder : Path
        Made when the first replication is saved.
    fingerprint : str
        Hash of all that the results depend on.
    """

    def __init__(self, folder: Path, fingerprint: str) -> None:
        self.folder = folder
        self.fingerprint = fingerprint

    def start(self) -> None:
        """Make the folder and note whose results it will hold."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self._write(self.folder / "fingerprint", self.fingerprint)

    def load(self) -> dict[Task, ReplicationResult]:
        """Return what is finished.

        Raises
        ------
        CheckpointMismatch
            If the folder was made by a run that differs in anything its results depend on.
        """
        marker = self.folder / "fingerprint"
        if not marker.exists():
            return {}
        if marker.read_text(encoding="utf-8") != self.fingerprint:
            raise CheckpointMismatch(
                f"{self.folder.parent} was begun with another experiment, profile, seed or version; "
                "resume it with those, or choose another --out"
            )
        results = {}
        for file in sorted(self.folder.glob("s*-r*.json")):
            scenario, _, replication = file.stem.partition("-")
            data = json.loads(file.read_text(encoding="utf-8"))
            results[int(scenario[1:]), int(replication[1:])] = ReplicationResult.from_json_dict(data)
        return results

    def records_file(self, task: Task) -> Path:
        """Return the file for the per-query records of `task`."""
        return self.folder / f"s{task[0]}-r{task[1]}.npz"

    def save(self, task: Task, result: ReplicationResult) -> None:
        """Keep a finished replication."""
        file = self.folder / f"s{task[0]}-r{task[1]}.json"
        self._write(file, json.dumps(result.to_json_dict()))

    def remove(self) -> None:
        """Remove the folder when the run is complete and its results are written."""
        shutil.rmtree(self.folder, ignore_errors=True)

    @staticmethod
    def _write(file: Path, text: str) -> None:
        partial = file.with_name(file.name + ".partial")
        partial.write_text(text, encoding="utf-8")
        partial.replace(file)
