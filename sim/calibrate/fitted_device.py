"""A device fitted from its samples: its tables, their checks, what to say of them, and the profile that is written."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from sim.calibrate.about_samples import measured_notes
from sim.calibrate.fit import OUTLIER, FittedTable, fit_table, samples_for
from sim.calibrate.held_out import LIMITS, HeldOut, Judged, check_held_out
from sim.calibrate.profile_folder import DeviceText, name_problems, taken_problems, write_profile
from sim.calibrate.sample_set import SampleSet, read_sample_csv
from sim.profile.device import Device
from sim.spec.problems import Problem, SpecError

__all__ = [
    "FittedDevice",
    "check_writable_as",
    "devices_in",
    "fit_device",
    "fit_lines",
    "provenance",
    "total_lines",
    "write_fitted",
]

SHOWN = (0.5, 0.95, 0.99)
"""Quantile levels that reports and limits are about: samples that do not carry them are told."""

MEAN_MOVED = 0.02
"""A change of a size's mean by smoothing that is told."""

_HEADER = (
    f"  {'model':<16} {'representation':<14} {'sizes':>5} {'repeats':>7}  "
    f"{'p50 <5%':>8} {'error':>6} {'floor':>6}  {'p99 <15%':>8} {'error':>6} {'floor':>6}"
)


@dataclass(frozen=True, eq=False)
class FittedDevice:
    """Fits of all that was measured on a device.

    Attributes
    ----------
    name : str
    samples : SampleSet
    tables : tuple of FittedTable
    checks : tuple of HeldOut or None
        As many; None where there are too few sizes to hold half of them out.
    skip : int
        Repeats that were left out at the start of every block of a cell.
    """

    name: str
    samples: SampleSet
    tables: tuple[FittedTable, ...]
    checks: tuple[HeldOut | None, ...]
    skip: int

    def judged(self, level: float) -> list[Judged]:
        """Checks of a quantile level, of the tables that know it: where it is one sample there is nothing to judge."""
        pairs = zip(self.tables, self.checks, strict=True)
        return [check.judged[level] for table, check in pairs if check is not None and table.knows(level)]


def devices_in(files: Sequence[Path], name: str | None = None) -> dict[str, SampleSet]:
    """Read sample files and put those of one device together.

    A device is called what its samples say, else like the file; with `name` all files are of that device.

    Raises
    ------
    SpecError
        As `sim.calibrate.sample_set.read_sample_csv`, for all files at once, where one is named twice, and where `name`
        would put samples of different devices together.
    """
    found: dict[str, list[SampleSet]] = {}
    said: dict[str, list[str]] = {}
    resolved = [file.resolve() for file in files]
    problems = [
        Problem(f"{file} is given twice: its samples would count twice")
        for i, file in enumerate(files)
        if resolved[i] in resolved[:i]
    ]
    more = False
    for file in files:
        try:
            samples = read_sample_csv(file)
        except SpecError as error:
            problems += error.problems
            more |= error.more
            continue
        found.setdefault(name or samples.about.get("device") or file.name.split(".csv")[0], []).append(samples)
        if "device" in samples.about:
            said.setdefault(samples.about["device"], []).append(str(file))
    if name is not None and len(said) > 1:
        devices = "; ".join(f"{device} in {', '.join(named)}" for device, named in said.items())
        problems.append(Problem(f"--name would make one device of the samples of {len(said)}: {devices}", value=name))
    if problems:
        raise SpecError(problems, more=more)
    return {device: SampleSet.joined(sets) for device, sets in found.items()}


def check_writable_as(folder: Path | None, devices: Iterable[str], *, replace_there: bool) -> None:
    """Check, before anything is fitted, that devices can be called so and written to `folder`; None writes no profile.

    Raises
    ------
    SpecError
    """
    problems = [problem for device in devices for problem in name_problems(folder, device)]
    if folder is not None and not problems and not replace_there:
        problems = [problem for device in devices for problem in taken_problems(folder, device)]
    if problems:
        raise SpecError(problems)


def fit_device(samples: SampleSet, name: str, *, skip: int = 0) -> FittedDevice:
    """Fit and check every model and representation of a device.

    Raises
    ------
    SpecError
        If a pair has no samples of the whole query, or `skip` leaves none.
    """
    tables = []
    problems = []
    for model, representation in samples.pairs():
        try:
            tables.append(fit_table(samples, model, representation, skip=skip))
        except ValueError as error:
            problems.append(Problem(f"{name}: {error}"))
    if problems:
        raise SpecError(problems)
    checks = [check_held_out(samples, *pair, skip=skip) for pair in samples.pairs()]
    return FittedDevice(name, samples, tuple(tables), tuple(checks), skip)


def fit_lines(device: FittedDevice) -> list[str]:
    """What there is to say of a fit: the check by model and representation, outliers, warming up."""
    total = sum(table.samples for table in device.tables)
    lines = [f"{device.name}: {total:,} samples", _HEADER]
    for table, check in zip(device.tables, device.checks, strict=True):
        rows = table.rows
        line = f"  {rows.model:<16} {rows.representation:<14} {rows.sizes.size:>5} {table.repeats:>7}"
        lines.append(line + ("  too few sizes to hold half of them out" if check is None else _judged(table, check)))
    lines += [line for table in device.tables for line in _remarks(table, device.skip)]
    return lines


def _judged(table: FittedTable, check: HeldOut) -> str:
    text = ""
    for level in LIMITS:
        one = check.judged[level]
        cells = ["-", "-", "-"]
        if table.knows(level):
            cells = [f"{share:.1%}" for share in (one.within, np.median(np.abs(one.error)), one.floor)]
        text += f"  {cells[0]:>8} {cells[1]:>6} {cells[2]:>6}"
    return text


def _remarks(table: FittedTable, skip: int) -> Iterable[str]:
    where = f"  {table.rows.model}, {table.rows.representation}: "
    unknown = [level for level in SHOWN if not table.knows(level)]
    if unknown:
        few = sum(count < samples_for(unknown[-1]) for count in table.counts)
        least = int(table.rows.sizes[table.counts.index(table.repeats)])
        names = [f"p{100 * level:g}" for level in unknown]
        listed = f"{', '.join(names[:-1])} and {names[-1]} are" if names[1:] else f"{names[0]} is"
        have, their = ("has", "its") if few == 1 else ("have", "their")
        yield (
            f"{where}{listed} not known: {few} of {len(table.counts)} sizes {have} too few samples "
            f"(size {least} has {table.repeats}), and {their} largest stands for what is beyond; a size needs "
            + ", ".join(f"{samples_for(level)} for {name}" for level, name in zip(unknown, names, strict=True))
        )
    if table.outliers:
        yield (
            f"{where}{table.outliers} of {table.samples:,} samples take more than {OUTLIER:g} times the median of "
            f"their size, up to {table.worst_outlier:.3g} times at size {table.worst_size}; they are kept"
        )
    if table.warms_up:
        kept = f" after the {skip} left out" if skip else ""
        advice = f"--skip {table.warm_up} leaves out what is warm-up"
        if table.warm_up == skip:
            advice = "no --skip leaves this out and some repeats of every size"
        yield f"{where}the first repeat of a block{kept} takes {table.first_repeat:.3g} times the median; {advice}"
    if table.moved > LIMITS[0.5]:
        yield f"{where}medians that fall with size were averaged, which moves one of them by {table.moved:.1%}"
    if abs(table.mean_moved) > MEAN_MOVED:
        yield (
            f"{where}quantiles that fall with size were averaged, which moves the mean of size {table.mean_moved_size} "
            f"by {table.mean_moved:+.1%}, the most of all sizes: it and the tail there are in part those of other sizes"
        )


def total_lines(devices: Sequence[FittedDevice], apart: str | None = None) -> list[str]:
    """The check over all devices, where the level is known; those with `apart` in their name are added up apart."""
    groups = {"all devices": list(devices)}
    if apart is not None:
        groups = {
            f"without {apart}": [device for device in devices if apart not in device.name],
            f"{apart} alone": [device for device in devices if apart in device.name],
        }
    lines = []
    for name, group in groups.items():
        for level, limit in LIMITS.items():
            judged = [one for device in group for one in device.judged(level)]
            if judged:
                lines += _total(f"{name}, p{100 * level:g}", judged, limit)
    return lines


def _total(name: str, judged: Sequence[Judged], limit: float) -> list[str]:
    errors = np.abs(np.concatenate([one.error for one in judged]))
    noise = np.concatenate([one.noise for one in judged])
    floor = np.average([one.floor for one in judged], weights=[one.error.size for one in judged])
    return [
        f"{name}: {np.mean(errors <= limit):.1%} of {errors.size:,} sizes held out are predicted within {limit:.0%}; "
        f"error {np.median(errors):.2%} in the median, {np.quantile(errors, 0.95):.1%} at its 95th percentile",
        f"  noise floor: a measurement of a size has a standard error of {np.median(noise):.2%} in the median, and two "
        f"would agree within {limit:.0%} in {floor:.1%}",
    ]


def provenance(device: FittedDevice, command: str) -> dict[str, str | int]:
    """Return the provenance block of a fitted device, from what its samples say of themselves."""
    about = device.samples.about
    found: dict[str, str | int] = {"source": about.get("source", "own measurement")}
    found |= {key: about[key] for key in ("citation", "licence", "host", "date") if key in about}
    found["command"] = " && ".join(filter(None, (about.get("command"), command)))
    found["repeats"] = min(table.repeats for table in device.tables)
    found["samples"] = sum(table.samples for table in device.tables)
    if device.samples.sha256:
        found["sha256"] = device.samples.sha256
    notes = [
        *measured_notes(about),
        about.get("notes", ""),
        "Quantiles of the repeats of each size, made monotone over the sizes; outliers kept.",
    ]
    if device.skip:
        notes.append(f"The first {device.skip} repeats of every block of a cell are left out as warm-up.")
    for level, limit in LIMITS.items():
        errors = [one.error for one in device.judged(level)]
        if errors:
            within = np.mean(np.abs(np.concatenate(errors)) <= limit)
            notes.append(
                f"Half of the sizes predicts p{100 * level:g} of the others within {limit:.0%} in {within:.1%}."
            )
    notes += [f"{line.strip()}." for table in device.tables for line in _remarks(table, device.skip)]
    found["notes"] = " ".join(filter(None, notes))
    return found


def write_fitted(folder: Path, device: FittedDevice, text: DeviceText, *, replace_there: bool = False) -> Device:
    """Write the profile of a fitted device; `text` says what the samples do not. Raises as `write_profile`."""
    rows = [table.rows for table in device.tables]
    return write_profile(folder, replace(text, name=device.name), rows, replace=replace_there)
