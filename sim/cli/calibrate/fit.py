"""``mprec calibrate fit``: samples to a device profile, checked on sizes that were held out."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from sim.cli.calibrate.device_options import Description, Kind, Lanes, Memory, Price
from sim.cli.calibrate.writing import told_if_unwritable

__all__ = ["fit"]


def fit(
    files: Annotated[
        list[Path],
        typer.Argument(metavar="SAMPLES", help="Sample files, as measure and import write them.", show_default=False),
    ],
    out: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Profile folder to write into; left out, only the check is printed."),
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="Name of the device; left out, the one in the samples, or that of the file.")
    ] = None,
    kind: Kind = None,
    description: Description = "",
    memory: Memory = None,
    lanes: Lanes = None,
    price: Price = None,
    skip: Annotated[
        int, typer.Option(min=0, help="Repeats to leave out at the start of every block of a size, as warm-up.")
    ] = 0,
    apart: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Add up devices with this in their name apart from the others.")
    ] = None,
    figures: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Where to draw the errors; left out: FOLDER/figures.")
    ] = None,
    replace: Annotated[bool, typer.Option("--replace", help="Overwrite a profile of that name in FOLDER.")] = False,
) -> None:
    """Fit samples to service tables that do not fall over sizes, and check them: half of the sizes predicts the others.

    Samples of one device in several files are put together; each device becomes one profile, and --name is refused
    where it would make one of several. By model and
    representation the check says in which share of the sizes p50 came out within 5% and p99 within 15%, the median
    error, and the floor: in which share a second measurement would agree that well with the first. The profile refuses
    sizes outside those that were measured. Kind, lanes, memory and price that are left out are what the samples say.
    """
    from sim.calibrate.about_samples import said_of_device
    from sim.calibrate.fitted_device import (
        check_writable_as,
        devices_in,
        fit_device,
        fit_lines,
        provenance,
        total_lines,
        write_fitted,
    )
    from sim.calibrate.held_out import LIMITS
    from sim.calibrate.profile_folder import DeviceText, device_file
    from sim.report.figures.fit_errors import plot_held_out
    from sim.report.rundir import check_writable

    sets = devices_in(files, name)
    if out is not None or figures is not None:
        check_writable_as(out, sets, replace_there=replace)
        with told_if_unwritable():
            check_writable(out or figures or Path())
    # What the samples say of their device is believed before they are fitted, which may take long.
    said = {device: said_of_device(samples.about, kind, lanes, memory, price) for device, samples in sets.items()}
    devices = [fit_device(samples, device, skip=skip) for device, samples in sets.items()]
    for device in devices:
        typer.echo("\n".join(fit_lines(device)))
    typer.echo("\n".join(total_lines(devices, apart)))
    command = _command(files, name, skip)
    for device in devices:
        if out is not None:
            text = DeviceText(
                name=device.name,
                provenance=provenance(device, command),
                description=description or device.samples.about.get("description", ""),
                **said[device.name],
            )
            with told_if_unwritable():
                write_fitted(out, device, text, replace_there=replace)
            typer.echo(f"wrote {device_file(out, device.name)}")
        folder = figures or (None if out is None else out / "figures")
        known = [
            (check, {level: one.error for level, one in check.judged.items() if table.knows(level)})
            for table, check in zip(device.tables, device.checks, strict=True)
            if check is not None
        ]
        series = [(f"{check.model}, {check.representation}", check.sizes, errors) for check, errors in known if errors]
        if folder is not None and series:
            title = f"{device.name}: how far off is the fit at sizes it did not see?"
            with told_if_unwritable():
                drawn = plot_held_out(folder / f"{device.name}-fit", title, series, LIMITS)
            typer.echo(f"drew {' and '.join(str(file) for file in drawn)}")


def _command(files: list[Path], name: str | None, skip: int) -> str:
    """Return the command line that fits the same numbers again, without paths; all else the profile says itself."""
    words = ["mprec", "calibrate", "fit", *(file.name for file in files)]
    words += [] if name is None else ["--name", name]
    words += ["--skip", str(skip)] if skip else []
    return shlex.join(words)
