"""``mprec calibrate roofline``: how wrong predictions from datasheets are."""

from __future__ import annotations

from typing import Annotated

import typer

__all__ = ["roofline"]


def roofline(
    devices: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="DEVICE",
            help="Devices with a roofline, by name or path; all found if left out.",
            show_default=False,
        ),
    ] = None,
    against: Annotated[
        list[str] | None,
        typer.Option(
            metavar="DEVICE",
            help="Device with measured or published tables to compare with, by name or path; repeatable. Left out: "
            "those whose name has all parts of the modelled one's, as triton-t4 has those of gpu-t4.",
        ),
    ] = None,
    model: Annotated[
        list[str] | None, typer.Option(metavar="MODEL", help="Model, by name or path; repeatable. All if left out.")
    ] = None,
) -> None:
    """Predict devices from their datasheets, and report the error against every measured profile at hand.

    By representation and size: the predicted mean service time over the measured one. Where stages were measured, the
    same for each of them.
    """
    from sim.calibrate.roofline_check import check_lines, summary_lines
    from sim.calibrate.roofline_pairs import find_checks

    checks, unused = find_checks(devices or (), against or (), model or ())
    for check in checks:
        typer.echo("\n".join(check_lines(check)))
    for line in summary_lines(checks) if checks else ():
        typer.echo(line)
    for line in unused:
        typer.echo(line)
    if not checks:
        raise typer.Exit(1)
