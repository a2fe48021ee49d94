"""``mprec calibrate import``: runs that other tools measured."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal

import typer

from sim.cli.calibrate.device_options import Description, Kind, Lanes, Memory, Price
from sim.cli.calibrate.writing import told_if_unwritable

__all__ = ["import_runs"]


def import_runs(
    files: Annotated[list[Path], typer.Argument(metavar="FILE", help="Files to read.", show_default=False)],
    out: Annotated[
        Path,
        typer.Option(
            metavar="PATH",
            help="For samples: a .csv or .csv.xz file, or a folder for one a device. For percentiles: a folder.",
        ),
    ],
    file_format: Annotated[
        Literal["auto", "samples", "percentiles", "loadgen", "loadgen-detail", "perf-analyzer", "kairos", "ribbon"],
        typer.Option("--format", help="What the files are; auto finds it for each."),
    ] = "auto",
    device: Annotated[
        str | None, typer.Option(help="Name of the device; where a file has several, the one to take.")
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="Model, where a file does not say it; where it has several, the one to take.")
    ] = None,
    representation: Annotated[str, typer.Option(help="Representation, where a file does not say it.")] = "table",
    size: Annotated[
        list[int] | None,
        typer.Option(min=1, help="Query size, where a file does not say it; repeatable, one a file."),
    ] = None,
    unit: Annotated[
        Literal["ns", "us", "ms", "s"] | None, typer.Option(help="Unit of times, where columns do not say theirs.")
    ] = None,
    column: Annotated[
        list[str] | None,
        typer.Option(
            metavar="WHAT=NAME",
            help="Column that holds the size, service, model, representation, device, stage, block, repeat, unit or "
            "queries; repeatable.",
        ),
    ] = None,
    where: Annotated[
        list[str] | None, typer.Option(metavar="COLUMN=VALUE", help="Take only such rows of a CSV; repeatable.")
    ] = None,
    with_queueing: Annotated[
        bool, typer.Option("--with-queueing", help="Take latencies that include waiting as if they were service times.")
    ] = False,
    kind: Kind = None,
    description: Description = "",
    memory: Memory = None,
    lanes: Lanes = None,
    price: Price = None,
    source: Annotated[str | None, typer.Option(help="Where they come from, for the provenance.")] = None,
    licence: Annotated[str | None, typer.Option(help="Their licence, for the provenance.")] = None,
    published: Annotated[
        bool, typer.Option("--published", help="Call them published, not measured: others measured them.")
    ] = False,
    replace: Annotated[bool, typer.Option("--replace", help="Overwrite a profile or samples of that name.")] = False,
) -> None:
    """Read service times that were measured elsewhere: CSV of samples or percentiles, LoadGen, perf_analyzer, AWS.

    Samples become a sample file, which `mprec calibrate fit` makes a profile of. Percentiles have no samples behind
    them; they become the rows of a profile as they are. Everything that is wrong is told by line, and nothing is
    written then.
    """
    from sim.calibrate.imported_runs import origin, with_origin, write_percentiles, write_samples
    from sim.calibrate.profile_folder import DeviceText, device_file
    from sim.calibrate.sources.choices import CONTENTS, Choices
    from sim.calibrate.sources.reading import read_runs

    choices = Choices(
        model=model,
        device=device,
        representation=representation,
        unit=unit,
        columns=_pairs(column, "--column", allowed=CONTENTS),
        where=_pairs(where, "--where"),
        with_queueing=with_queueing,
    )
    found = read_runs(files, choices, sizes=size or (), wanted=None if file_format == "auto" else file_format)
    for file, known in zip(files, found.formats, strict=True):
        typer.echo(f"{file}: {known}")
    for remark in found.remarks:
        typer.echo(remark)
    command = _command(
        files,
        {
            "--format": None if file_format == "auto" else file_format,
            "--model": model,
            "--representation": None if representation == "table" else representation,
            "--device": device,
            "--size": size,
            "--unit": unit,
            "--column": column,
            "--where": where,
        },
        flags=["--with-queueing"] if with_queueing else [],
    )
    if found.samples:
        given = {
            "source": source,
            "licence": licence,
            "kind": kind,
            "description": description or None,
            "memory": memory,
            "lanes": lanes,
            "price": price,
            "evidence": "published" if published else None,
        }
        named = with_origin(found, files, command, given, with_queueing=with_queueing)
        with told_if_unwritable():
            written = write_samples(named, out, replace_there=replace)
        for samples, path in zip(named.values(), written, strict=True):
            typer.echo(f"wrote {path}: {sum(cell.size for cell in samples.cells.values()):,} samples")
        return
    text = DeviceText(
        name=device or files[0].stem,
        kind=kind or "other",
        evidence="published" if published else "measured",
        provenance={
            "source": source or origin(found, files),
            **({} if licence is None else {"licence": licence}),
            "command": command,
        },
        description=description,
        memory=memory,
        lanes=lanes or 1,
        price=price,
    )
    with told_if_unwritable():
        profile, tables = write_percentiles(found, out, text, with_queueing=with_queueing, replace_there=replace)
    typer.echo(f"wrote {device_file(out, profile.name)}")
    for table in tables:
        levels = ", ".join(f"p{100 * level:g}" for level in table.levels)
        typer.echo(f"  {table.model}, {table.representation}: {table.sizes.size} sizes, {levels}, as they were given")


def _command(files: list[Path], options: Mapping[str, Sequence[object] | str | None], flags: Sequence[str]) -> str:
    """Return the command line that reads the same rows again, without paths."""
    words = ["mprec", "calibrate", "import", *(file.name for file in files)]
    for option, values in options.items():
        for value in [values] if isinstance(values, str) else values or ():
            words += [option, str(value)]
    return shlex.join([*words, *flags])


def _pairs(given: list[str] | None, option: str, allowed: tuple[str, ...] = ()) -> dict[str, str]:
    pairs = {}
    for written in given or []:
        key, found, value = written.partition("=")
        if not found or not key or not value:
            raise typer.BadParameter(f"{written!r} is not of the form NAME=VALUE", param_hint=option)
        if allowed and key not in allowed:
            raise typer.BadParameter(f"{key!r} is none of {', '.join(allowed)}", param_hint=option)
        pairs[key] = value
    return pairs
