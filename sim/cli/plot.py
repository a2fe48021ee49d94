"""``mprec plot``: the figures of a run directory, drawn again from its summary."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

__all__ = ["plot"]


def plot(
    run_dir: Annotated[Path, typer.Argument(help="Run directory that `mprec run` wrote.")],
) -> None:
    """Draw every figure of a run directory and print their files."""
    from sim.report.figures import plot_run
    from sim.report.rundir import RunDirectoryError

    try:
        files = plot_run(run_dir)
    except RunDirectoryError as error:
        print(error, file=sys.stderr)
        raise typer.Exit(2) from error
    for file in files:
        typer.echo(str(file))
