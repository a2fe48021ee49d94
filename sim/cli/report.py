"""``mprec report``: a run as one HTML page."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

__all__ = ["report"]

BAD_INPUT = 2


def report(
    run: Annotated[str, typer.Argument(metavar="RUN", help="Run directory, or its name under runs/.")],
    out: Annotated[Path | None, typer.Option("--out", metavar="FILE", help="The page [RUN/report.html].")] = None,
) -> None:
    """Write a run as one HTML page that needs no network, and print its file.

    The verdict comes first, then figures, the table of scenarios, assumptions, saturation and warm-up, where the
    profiles come from, and how to get the same numbers again. Figures are drawn where there are none.
    """
    from sim.report.html import write_page
    from sim.report.rundir import RunDirectoryError, find_run

    if out is not None and out.is_dir():
        raise typer.BadParameter(f"{out} is a folder; name the file", param_hint="--out")
    try:
        file = write_page(find_run(run), out)
    except RunDirectoryError as error:
        print(error, file=sys.stderr)
        raise typer.Exit(BAD_INPUT) from error
    typer.echo(str(file))
