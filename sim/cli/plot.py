"""``mprec plot``: the figures of a run directory, drawn again from its summary."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["plot"]


def plot(
    run_dir: Annotated[Path, typer.Argument(help="Run directory that `mprec run` wrote.")],
) -> None:
    """Draw every figure of a run directory and print their files."""
    from sim.report.figures import plot_run

    for file in plot_run(run_dir):
        typer.echo(str(file))
