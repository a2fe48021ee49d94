"""What is written of runs that were imported: sample files to be fitted, or a profile of percentiles as they are."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from sim.calibrate.profile_folder import DeviceText, TableRows, name_problems, write_profile
from sim.calibrate.sample_set import SampleSet, write_sample_csv
from sim.calibrate.sources.percentile_rows import PercentileRow, percentile_tables
from sim.calibrate.sources.reading import Imported
from sim.profile.device import QUEUEING, Device
from sim.spec.problems import Problem, SpecError

__all__ = ["origin", "sample_files", "with_origin", "write_percentiles", "write_samples"]


def origin(imported: Imported, files: Sequence[Path]) -> str:
    """Say what was imported, for a provenance: the names of the files and their formats."""
    names = ", ".join(file.name for file in files)
    return f"imported from {names} ({', '.join(sorted(set(imported.formats)))})"


def with_origin(
    imported: Imported,
    files: Sequence[Path],
    command: str,
    given: Mapping[str, object],
    *,
    with_queueing: bool = False,
) -> dict[str, SampleSet]:
    """Return the samples with what their profile has to say: where they come from, by which command, what is doubtful.

    What the files say of themselves is kept, and a command that made them goes before `command`; but for what is
    `given`, by the keys of a sample file and None where it is not.
    """
    digests = ", ".join(f"{digest[:16]}..." for digest in imported.sha256)
    doubts = [*imported.remarks, *([f"{QUEUEING}, so a simulation counts waiting twice"] if with_queueing else [])]
    found = {}
    for device, samples in imported.samples.items():
        about = samples.about
        notes = " ".join(filter(None, (about.get("notes"), *(f"{line}." for line in doubts))))
        said = {
            "source": about.get("source", f"{origin(imported, files)}, sha256 {digests}"),
            "command": " && ".join(filter(None, (about.get("command"), command))),
            **({"notes": notes} if notes else {}),
            **{key: str(value) for key, value in given.items() if value is not None},
        }
        found[device] = samples.with_about(**said)
    return found


def sample_files(samples: dict[str, SampleSet], out: Path) -> dict[str, Path]:
    """Return the file of each device: `out` itself if it is called .csv or .csv.xz, else one a device in that folder.

    Raises
    ------
    SpecError
        If there are several devices for one file, or one whose name no file can have.
    """
    if out.name.endswith((".csv", ".csv.xz")):
        if len(samples) > 1:
            names = ", ".join(samples)
            message = (
                f"samples of {len(samples)} devices do not go into one file; choose one with --device, or a folder"
            )
            raise SpecError([Problem(message, value=str(out), allowed=names)])
        return dict.fromkeys(samples, out)
    problems = [problem for device in samples for problem in name_problems(None, device)]
    if problems:
        raise SpecError(problems)
    return {device: out / f"{device}.csv.xz" for device in samples}


def write_samples(samples: dict[str, SampleSet], out: Path, *, replace_there: bool = False) -> list[Path]:
    """Write the samples of each device into its file.

    Raises
    ------
    SpecError
        As `sample_files`, or if a file is there and may not be replaced.
    RunDirectoryError
    """
    files = sample_files(samples, out)
    there = [file for file in files.values() if file.exists()]
    if there and not replace_there:
        raise SpecError([Problem(f"{file} is there already; replace it, or take another name") for file in there])
    return [write_sample_csv(file, samples[device]) for device, file in files.items()]


def write_percentiles(
    imported: Imported, folder: Path, text: DeviceText, *, with_queueing: bool = False, replace_there: bool = False
) -> tuple[Device, list[TableRows]]:
    """Write a profile whose tables are the percentiles as they were given, and return it with its tables.

    `text` needs no provenance but a source and a command: what is behind the numbers is added.

    Raises
    ------
    SpecError
        If they are no tables (`percentile_tables`), if `folder` is called like a file of samples, or as
        `sim.calibrate.profile_folder.write_profile`.
    """
    if folder.name.endswith((".csv", ".csv.xz")):
        raise SpecError([Problem("percentiles become a profile, in a folder", value=str(folder), allowed="a folder")])
    devices = sorted({row.device for row in imported.rows if row.device})
    if len(devices) > 1:
        message = f"percentiles of {len(devices)} devices do not make one profile; --where chooses rows by a column"
        raise SpecError([Problem(message, value=", ".join(devices))])
    tables = percentile_tables(imported.rows)
    digest = hashlib.sha256("".join(imported.sha256).encode()).hexdigest()
    provenance = dict(text.provenance)
    if devices:
        provenance["host"] = f"as the source calls it: {devices[0]}"
    queries = _behind(imported.rows)
    if queries is not None:
        provenance["samples"] = queries
    provenance["sha256"] = imported.sha256[0] if len(imported.sha256) == 1 else digest
    remarks = [f"{line}." for line in imported.remarks]
    provenance["notes"] = " ".join([*_notes(tables, with_queueing), *remarks])
    device = write_profile(folder, replace(text, provenance=provenance), tables, replace=replace_there)
    return device, tables


def _behind(rows: Sequence[PercentileRow]) -> int | None:
    counts = [row.queries for row in rows]
    return None if any(count is None for count in counts) else sum(count or 0 for count in counts)


def _notes(tables: Sequence[TableRows], with_queueing: bool) -> list[str]:
    notes = [
        "Percentiles as they were given, without the samples: nothing was fitted, smoothed or checked against sizes "
        "that were held out."
    ]
    low, high = min(table.levels[0] for table in tables), max(table.levels[-1] for table in tables)
    if low > 0:
        notes.append(f"Times below p{100 * low:g} are taken to be those of p{100 * low:g}, so the mean is too high.")
    if high < 1:
        notes.append(
            f"Times beyond p{100 * high:g} are taken to be those of p{100 * high:g}, so the tail is too short."
        )
    if any(np.any(np.diff(table.service_ns, axis=0) < 0) for table in tables):
        notes.append("They fall from one size to a larger one somewhere.")
    if with_queueing:
        notes.append(f"{QUEUEING}, so a simulation with them counts waiting twice.")
    return notes
