"""``mprec plot``: the figures of a run directory, drawn again from its summary."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

__all__ = ["plot"]


def plot(
    run: Annotated[str, typer.Argument(metavar="RUN", help="Run directory, or its name under runs/.")],
) -> None:
    """Draw every figure of a run directory and print their files."""
    from sim.report.figures import plot_run
    from sim.report.rundir import RunDirectoryError, check_finished, find_run

    folder = find_run(run)
    try:
        check_finished(folder)
        files = plot_run(folder)
    except RunDirectoryError as error:
        print(error, file=sys.stderr)
        raise typer.Exit(2) from error
    for file in files:
        typer.echo(str(file))
