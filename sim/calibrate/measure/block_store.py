"""Blocks that are measured, kept on disk one by one so that an interrupted measurement can go on."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sim.calibrate.measure.blocks import MeasuredBlock
from sim.calibrate.measure.interference import BlockReading
from sim.calibrate.measure.subject import Cell
from sim.report.rundir import written_whole
from sim.spec.problems import Problem, SpecError

__all__ = ["BlockStore", "Pilot", "open_store"]

_SETTINGS = "settings.json"


@dataclass(frozen=True, eq=False)
class Pilot:
    """What was learnt before the blocks of some representations.

    Attributes
    ----------
    usual_ns : dict
        How long a query of each cell takes.
    stages : dict
        Stages of each representation.
    """

    usual_ns: dict[Cell, int]
    stages: dict[str, tuple[str, ...]]


class BlockStore:
    """A folder with the settings of a measurement and a file for each pilot and each block."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def pilot(self, number: int) -> Pilot | None:
        """Return the pilot of a round of representations, or None if it is not there."""
        try:
            written = json.loads((self.folder / f"pilot-{number}.json").read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        usual = {Cell(name, size): int(usual_ns) for name, size, usual_ns in written["usual_ns"]}
        return Pilot(usual, {name: tuple(stages) for name, stages in written["stages"].items()})

    def keep_pilot(self, number: int, pilot: Pilot) -> None:
        """Write the pilot of a round."""
        written = {"usual_ns": [[*cell, usual] for cell, usual in pilot.usual_ns.items()], "stages": pilot.stages}
        self._write(f"pilot-{number}.json", json.dumps(written).encode())

    def block(self, number: int) -> list[MeasuredBlock] | None:
        """Return what every lane measured in a block, or None if it is not there."""
        try:
            with np.load(self.folder / f"block-{number:05d}.npz") as arrays:
                index = json.loads(bytes(arrays["index"]).decode())
                lanes = []
                for lane, one in enumerate(index):
                    cells = [Cell(name, size) for name, size in one["cells"]]
                    times = {cell: arrays[f"{lane}-{place}"] for place, cell in enumerate(cells)}
                    lanes.append(MeasuredBlock(times, BlockReading(**one["reading"])))
                return lanes
        except FileNotFoundError:
            return None

    def keep_block(self, number: int, lanes: Sequence[MeasuredBlock]) -> None:
        """Write what every lane measured in a block."""
        index = [{"cells": [list(cell) for cell in one.times], "reading": asdict(one.reading)} for one in lanes]
        arrays: dict[str, Any] = {
            f"{lane}-{place}": times for lane, one in enumerate(lanes) for place, times in enumerate(one.times.values())
        }
        arrays["index"] = np.frombuffer(json.dumps(index).encode(), dtype=np.uint8)
        content = io.BytesIO()
        np.savez_compressed(content, **arrays)
        self._write(f"block-{number:05d}.npz", content.getvalue())

    def remove(self) -> None:
        """Remove it all: what was measured is in a sample file now."""
        shutil.rmtree(self.folder, ignore_errors=True)
        with suppress(OSError):
            # Only if no other measurement is unfinished.
            self.folder.parent.rmdir()

    def _write(self, name: str, content: bytes) -> None:
        with written_whole(self.folder / name) as stream:
            stream.write(content)


def open_store(folder: Path, settings: Mapping[str, Any], *, resume: bool) -> BlockStore:
    """Open the store of a measurement.

    Parameters
    ----------
    folder : Path
    settings : mapping
        All that the figures depend on; what is measured under other settings does not go together.
    resume : bool
        Go on with what is there.

    Raises
    ------
    SpecError
        If there is something and it is not to be resumed, or it was measured otherwise.
    RunDirectoryError
        If nothing can be written.
    """
    store = BlockStore(folder)
    wanted = json.loads(json.dumps(settings))
    try:
        there = json.loads((folder / _SETTINGS).read_text(encoding="utf-8"))
    except FileNotFoundError:
        there = None
    except ValueError as error:
        raise SpecError([Problem(f"{folder / _SETTINGS} is damaged; remove {folder}: {error}")]) from error
    if there is not None and not resume:
        raise SpecError([Problem(f"{folder} holds an unfinished measurement: go on with --resume, or remove it")])
    if there is not None and there != wanted:
        changed = sorted(key for key in {*there, *wanted} if there.get(key) != wanted.get(key))
        problems = [
            Problem(
                "the measurement that is to be resumed had another value", None, key, wanted.get(key), there.get(key)
            )
            for key in changed
        ]
        raise SpecError(problems)
    if there is None:
        store._write(_SETTINGS, json.dumps(wanted, indent=1).encode())
    return store
