"""Writes a device profile from measurements: a YAML file, its tables, and where they come from.

A profile folder is laid out like `hwprofiles/`: `devices/NAME.yaml` and `tables/NAME-MODEL-REPRESENTATION.csv`. An
experiment names the device by its name where the folder is called `hwprofiles`, and by the path of its file anywhere.
"""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import yaml
from numpy.typing import NDArray

from sim.profile.device import Device
from sim.profile.library import data_dir, load_device, ships
from sim.profile.service import Evidence
from sim.profile.spells import Spells
from sim.profile.stage_file import format_stage_csv
from sim.profile.table_file import format_service_csv
from sim.report.rundir import RunDirectoryError
from sim.spec.problems import Problem, SpecError

__all__ = ["DeviceText", "TableRows", "device_file", "name_problems", "taken_problems", "write_profile"]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")

_LONGEST = 100
"""A table is called after device, model and representation, and no file may have a name of over 255 bytes."""


@dataclass(frozen=True, eq=False)
class TableRows:
    """A service table that is to be written.

    Attributes
    ----------
    model, representation : str
    sizes : int64, shape (S,)
    levels : float64, shape (Q,)
    service_ns : int64, shape (S, Q)
        As in `sim.profile.service.ServiceTable`: positive, not decreasing along a row.
    stage_means_ns : dict of str to dict of int to float
        Mean times of the measured stages by size, in ns; empty where none was measured.
    """

    model: str
    representation: str
    sizes: NDArray[np.int64]
    levels: NDArray[np.float64]
    service_ns: NDArray[np.int64]
    stage_means_ns: Mapping[str, Mapping[int, float]] = field(default_factory=dict)


@dataclass(frozen=True)
class DeviceText:
    """What a device file says beside its tables, in the words of the file.

    Attributes
    ----------
    name : str
        Letters, digits, dots, dashes and underscores.
    kind : {"cpu", "gpu", "tpu", "ipu", "other"}
    evidence : {"measured", "published", "modelled"}
    provenance : dict
        Keys of `sim.spec.device.ProvenanceSpec`; `source` is needed.
    description : str
    memory, price : str or None
        With units, as in "16GiB" and "0.34USD/h".
    lanes : int
    power : dict or None
        ``{"idle": "40W", "busy": "250W"}``.
    per_query_overhead : str or None
        As in "20us".
    table_options : dict
        How every table is read, by the keys of `sim.spec.device.TableFileSpec`.
    aftereffects : mapping of (model, representation) to dict
        ``after_idle`` and ``after_size`` of a service time, where they were measured.
    spells : Spells or None
        How its service times depend on those before, where that was measured.
    """

    name: str
    kind: Literal["cpu", "gpu", "tpu", "ipu", "other"]
    evidence: Evidence
    provenance: Mapping[str, str | int]
    description: str = ""
    memory: str | None = None
    lanes: int = 1
    price: str | None = None
    power: Mapping[str, str] | None = None
    per_query_overhead: str | None = None
    table_options: Mapping[str, str] = field(default_factory=dict)
    aftereffects: Mapping[tuple[str, str], Mapping[str, Any]] = field(default_factory=dict)
    spells: Spells | None = None


def device_file(folder: Path, name: str) -> Path:
    """Path of a device's file in a profile folder."""
    return folder / "devices" / f"{name}.yaml"


def name_problems(folder: Path | None, name: str) -> list[Problem]:
    """Return why no device of this name can be written to a profile folder, whatever is there.

    Without a folder only the name itself is judged, which is part of the names of other files, too.
    """
    problems = []
    if not _NAME.fullmatch(name) or len(name) > _LONGEST:
        allowed = f"letters, digits, dots, dashes, underscores; up to {_LONGEST} of them"
        problems.append(Problem("a device cannot be called that", value=name, allowed=allowed))
    if folder is not None and ships("devices", name) and folder.resolve() != data_dir("hwprofiles").resolve():
        problems.append(Problem("a device profile of that name ships; take another name", value=name))
    return problems


def taken_problems(folder: Path, name: str) -> list[Problem]:
    """Return why a device of this name cannot be written to a profile folder that may not lose what it holds."""
    file = device_file(folder, name)
    return [Problem(f"{file} is there already; replace it, or take another name")] if file.exists() else []


def write_profile(folder: Path, device: DeviceText, tables: Sequence[TableRows], *, replace: bool = False) -> Device:
    """Write a device profile into a profile folder, and return it as `mprec run` reads it.

    Everything is written and read back in a folder of its own first, so that what is wrong leaves nothing behind;
    the device file comes last into its place.

    Parameters
    ----------
    folder : Path
        Made if it is not there.
    device : DeviceText
    tables : sequence of TableRows
        At least one; one for each pair of model and representation.
    replace : bool
        Whether a profile of that name in the folder may be overwritten.

    Raises
    ------
    SpecError
        If the name is bad, taken here, or that of a profile that ships, or the profile cannot be read back.
    RunDirectoryError
        If a file cannot be written.
    """
    file = device_file(folder, device.name)
    _check(folder, device, tables, replace=replace)
    made = [one for one in (folder, *folder.parents) if not one.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        trial = Path(tempfile.mkdtemp(prefix=f".{device.name}.", suffix=".partial", dir=folder))
    except OSError as error:
        raise RunDirectoryError(f"{folder} cannot be written to: {error.strerror or error}") from error
    try:
        names = _write(trial, device, tables)
        load_device(device_file(trial, device.name))
        for name in (*names, f"devices/{device.name}.yaml"):
            target = folder / name
            target.parent.mkdir(exist_ok=True)
            (trial / name).replace(target)
    except OSError as error:
        raise RunDirectoryError(f"{file} could not be written: {error.strerror or error}") from error
    finally:
        shutil.rmtree(trial, ignore_errors=True)
        for one in made:
            with suppress(OSError):
                one.rmdir()  # Only what is empty can be: nothing was written.
    return load_device(file)


def _check(folder: Path, device: DeviceText, tables: Sequence[TableRows], *, replace: bool) -> None:
    name = device.name
    problems = name_problems(folder, name)
    if not problems and not replace:
        problems += taken_problems(folder, name)
    pairs = [(table.model, table.representation) for table in tables]
    if not pairs:
        problems.append(Problem(f"device {name} would have no table"))
    if len(set(pairs)) < len(pairs):
        problems.append(Problem(f"device {name} would have two tables of one model and representation"))
    if problems:
        raise SpecError(problems)


def _write(trial: Path, device: DeviceText, tables: Sequence[TableRows]) -> list[str]:
    """Write everything below `trial`; return the names of the tables in it."""
    names = []
    service: dict[str, dict[str, Any]] = {}
    (trial / "tables").mkdir()
    (trial / "devices").mkdir()
    for table in tables:
        stem = "-".join(_file_part(part) for part in (device.name, table.model, table.representation))
        names.append(f"tables/{stem}.csv")
        content = format_service_csv(table.sizes.tolist(), table.levels.tolist(), table.service_ns)
        (trial / names[-1]).write_text(content, encoding="utf-8")
        entry: dict[str, Any] = {"table": f"../{names[-1]}", **device.table_options}
        if table.stage_means_ns:
            names.append(f"tables/{stem}-stages.csv")
            rows = ((stage, size, ns) for stage, means in table.stage_means_ns.items() for size, ns in means.items())
            (trial / names[-1]).write_text(format_stage_csv(rows), encoding="utf-8")
            entry["stages"] = f"../{names[-1]}"
        entry |= device.aftereffects.get((table.model, table.representation), {})
        service.setdefault(table.model, {})[table.representation] = entry
    optional = {
        "description": device.description or None,
        "memory": device.memory,
        "lanes": device.lanes,
        "per_query_overhead": device.per_query_overhead,
        "spells": None if device.spells is None else device.spells.text(),
        "power": None if device.power is None else dict(device.power),
        "price": device.price,
    }
    described = {
        "name": device.name,
        "kind": device.kind,
        "evidence": device.evidence,
        **{key: value for key, value in optional.items() if value is not None},
        "provenance": dict(device.provenance),
        "service": service,
    }
    text = yaml.safe_dump(described, sort_keys=False, allow_unicode=True, width=110)
    device_file(trial, device.name).write_text(text, encoding="utf-8")
    return names


def _file_part(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name)
