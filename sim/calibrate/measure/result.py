"""What is left of a measurement: a sample file, and a device profile that `mprec run` finds."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from sim.calibrate.about_samples import measured_notes
from sim.calibrate.fit import fit_table
from sim.calibrate.measure.blocks import NOT_TIMED
from sim.calibrate.measure.campaign import Measured
from sim.calibrate.measure.host import host_text
from sim.calibrate.measure.settings import MeasureSettings, least_repeats
from sim.calibrate.profile_folder import DeviceText, device_file, name_problems, write_profile
from sim.calibrate.sample_set import TOTAL, SampleKey, SampleSet, read_sample_csv, write_sample_csv
from sim.profile.device import UNFIT
from sim.spec.problems import Problem, SpecError

__all__ = [
    "check_free",
    "interference_lines",
    "interference_text",
    "sample_file",
    "sample_set",
    "unfit_text",
    "write_device",
]

_SAME = ("kind", "lanes", "threads", "waiting", "load", "ids", "cache")
"""What the samples of one device must agree in."""


def sample_file(folder: Path, device: str, model: str) -> Path:
    """Path of the samples of one model on a device."""
    return folder / "samples" / f"{device}-{model}.csv.xz"


def check_free(folder: Path, device: str, model: str, about: Mapping[str, str], *, replace: bool) -> None:
    """Check, before anything is measured, that the result can be put in its place.

    A device that holds other models is completed, if these were measured in the same way.

    Raises
    ------
    SpecError
    """
    own = sample_file(folder, device, model)
    problems = name_problems(folder, device)
    if problems:
        raise SpecError(problems)
    if own.exists() and not replace:
        raise SpecError([Problem(f"{own} is there already; give --replace, or another --name")])
    if device_file(folder, device).exists() and not any(_sample_files(folder, device)):
        raise SpecError([Problem(f"{device_file(folder, device)} is there and was not measured; give another --name")])
    problems = []
    for file in _sample_files(folder, device):
        there = read_sample_csv(file).about if file != own else about
        problems += [
            Problem(f"{file} was measured otherwise; give another --name", None, key, about[key], there.get(key))
            for key in _SAME
            if there.get(key) != about[key]
        ]
    if problems:
        raise SpecError(problems)


def about_settings(settings: MeasureSettings, device: str, command: str) -> dict[str, str]:
    """What the sample file says of how it was measured, but for what is known only afterwards."""
    waiting = {"poll": "polling", "block": "blocking (asleep between queries)"}[settings.style]
    return {
        "device": device,
        "kind": "gpu" if settings.device == "cuda" else "cpu",
        "host": host_text(settings.device),
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d"),
        "command": command,
        "lanes": str(settings.lanes),
        "threads": str(settings.threads),
        "waiting": "back-to-back" if settings.load == 1 else waiting,
        "load": f"{settings.load:g}",
        "ids": settings.ids,
        "cache": settings.cache or "none",
        "blocks": str(settings.blocks),
        "quantile": f"p{settings.level * 100:g}",
    }


def sample_set(measured: Measured, settings: MeasureSettings, about: Mapping[str, str]) -> SampleSet:
    """Return the samples of the blocks that are saved, and say so if the measurement is unfit.

    Parameters
    ----------
    measured : Measured
    settings : MeasureSettings
    about : mapping
        See `about_settings`.
    """
    cells = {}
    numbers = measured.saved_blocks()
    for cell in settings.cells(settings.representations):
        for number in numbers:
            lanes = measured.blocks[number]
            if cell not in lanes[0].times:
                # Measured in other blocks, or left out.
                continue
            times = np.concatenate([one.times[cell] for one in lanes])
            for column, stage in enumerate((TOTAL, *measured.stages[cell.representation])):
                key = SampleKey(settings.model, cell.representation, stage, cell.size, number)
                own = times[:, column]
                cells[key] = np.maximum(own[own != NOT_TIMED], 1)
    repeats = min(
        sum(cell.size for key, cell in cells.items() if key[1:4] == (name, TOTAL, size))
        for name, size in {(key.representation, key.size) for key in cells}
    )
    more = {"repeats": str(repeats), "interference": interference_text(measured)}
    if fewer := _fewer_repeats(measured, settings):
        more["fewer repeats"] = fewer
    if measured.verdict.unfit:
        more["unfit"] = unfit_text(measured)
    return SampleSet(cells, {**about, **more})


def _fewer_repeats(measured: Measured, settings: MeasureSettings) -> str:
    """Say which sizes have too few repeats for the quantile; empty where all have enough."""
    found: dict[str, list[int]] = {}
    for cell, repeats in measured.per_block.items():
        if repeats * settings.blocks < least_repeats(settings.level):
            found.setdefault(cell.representation, []).append(cell.size)
    return ", ".join(f"{settings.model} {name} from size {min(sizes)} on" for name, sizes in found.items())


def unfit_text(measured: Measured) -> str:
    """Say why the measurement is unfit, and which of its blocks are saved."""
    saved, every = len(measured.saved_blocks()), len(measured.blocks)
    which = "every block" if saved == every else f"the {saved} blocks whose service times agree"
    return f"{measured.verdict.unfit}; kept all the same, with {which}"


def interference_text(measured: Measured) -> str:
    """Figures of what disturbed the blocks that are saved, in one sentence."""
    kept = measured.verdict.kept
    saved = set(measured.saved_blocks())
    chosen = [number in saved for number in measured.blocks]
    readings = [reading for reading, good in zip(measured.readings, chosen, strict=True) if good]
    duration = sum(reading.duration_ns for reading in readings)
    usual = float(np.median([reading.spin_ns for reading in readings]))
    drift = max(abs(reading.spin_ns / usual - 1) for reading in readings)
    off = [abs(value) for value, good in zip(measured.disagreement, chosen, strict=True) if good]
    steal, waiting, switches = (
        [count for reading in readings if (count := getattr(reading, name)) is not None]
        for name in ("steal_ns", "waiting_ns", "involuntary_switches")
    )
    parts = [
        f"{measured.verdict.set_aside} of {len(kept)} blocks set aside",
        f"steal {sum(steal) / duration:.2%}" if steal else "steal not exposed",
        f"waiting for a core {sum(waiting) / duration:.2%}" if waiting else "waiting for a core not exposed",
        f"{sum(switches) / duration * 1e9:.1f} involuntary switches/s" if switches else "switches not exposed",
        f"clock within {drift:.1%}",
        f"blocks within {max(off):.1%} of each other's median",
    ]
    return ", ".join(parts)


def interference_lines(measured: Measured) -> list[str]:
    """Report the figures, and each block that was set aside with the reason."""
    lines = [f"interference: {interference_text(measured)}"]
    for number, reason in zip(measured.blocks, measured.verdict.reasons, strict=True):
        if reason:
            lines.append(f"  block {number} set aside: {reason}")
    return lines


def write_device(
    folder: Path,
    device: str,
    samples: SampleSet,
    model: str,
    *,
    memory: str | None,
    power: Mapping[str, str] | None,
) -> list[Path]:
    """Write the samples of a model and the profile of the device with all models measured on it.

    Parameters
    ----------
    folder : Path
        Profile folder.
    device : str
        Name of the profile.
    samples : SampleSet
    model : str
    memory : str or None
        As in "16GiB".
    power : mapping or None
        As in ``{"idle": "40W", "busy": "250W"}``; where it is not known the profile has none.

    Returns
    -------
    list of Path
        What was written.

    Raises
    ------
    SpecError
    RunDirectoryError
    """
    own = sample_file(folder, device, model)
    others = [read_sample_csv(file) for file in _sample_files(folder, device) if file != own]
    every = SampleSet.joined([*others, samples])
    tables = [fit_table(every, *pair).rows for pair in every.pairs()]
    before = own.read_bytes() if own.exists() else None
    write_sample_csv(own, samples)
    try:
        digest = SampleSet.joined([*others, read_sample_csv(own)]).sha256
        text = _device_text(device, every, digest, memory=memory, power=power)
        write_profile(folder, text, tables, replace=True)
    except BaseException:
        # Samples and profile belong together: both are new, or none is.
        if before is None:
            own.unlink(missing_ok=True)
        else:
            own.write_bytes(before)
        raise
    return [own, device_file(folder, device)]


def _device_text(
    device: str, every: SampleSet, digest: str, *, memory: str | None, power: Mapping[str, str] | None
) -> DeviceText:
    """What the device file says beside its tables."""
    about = every.about
    unfit = about.get("unfit")
    return DeviceText(
        name=device,
        kind="gpu" if about["kind"] == "gpu" else "cpu",
        evidence="measured",
        provenance={
            "source": "own measurement by mprec calibrate measure",
            "host": about["host"],
            "date": about["date"],
            "command": about["command"],
            "repeats": min(int(part) for part in about["repeats"].split("; ")),
            "samples": every.samples(),
            "sha256": digest,
            "notes": " ".join(measured_notes(about)),
        },
        description=(UNFIT if unfit else "") + _description(about),
        memory=memory,
        lanes=int(about["lanes"]),
        power=power,
    )


def _description(about: Mapping[str, str]) -> str:
    host = about["host"].split("; ")
    hardware = host[1] if about["kind"] == "gpu" else host[0]
    lanes, threads = (
        f"{about[key]} {word}{'' if about[key] == '1' else 's'}"
        for key, word in (("lanes", "lane"), ("threads", "thread"))
    )
    return f"{hardware}; {lanes}, {threads} each"


def _sample_files(folder: Path, device: str) -> list[Path]:
    """Sample files of a device, by what they say: another device's name may begin with this one's."""
    files = sorted((folder / "samples").glob(f"{device}-*.csv.xz"))
    return [file for file in files if read_sample_csv(file).about.get("device") == device]
