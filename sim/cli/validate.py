"""``mprec validate``: everything that can be checked without running."""

from __future__ import annotations

from typing import Annotated

import typer

__all__ = ["validate"]


def validate(
    experiment: Annotated[str, typer.Argument(help="Experiment file, or the name of one that ships.")],
    overrides: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override a key, e.g. workload.arrivals.rate=2k/s.")
    ] = None,
    plugins: Annotated[
        list[str] | None, typer.Option("--plugins", metavar="DIR", help="Folder to import your policy functions from.")
    ] = None,
) -> None:
    """Check an experiment and print what it would run; exit code 2 if anything is wrong."""
    from sim.study.check import check_scenarios
    from sim.study.scenario import load_scenarios

    add_plugins(plugins or [])
    scenarios = load_scenarios(experiment, overrides or [])
    for line in check_scenarios(scenarios):
        typer.echo(line)


def add_plugins(folders: list[str]) -> None:
    """Let policy functions be imported from `folders`, named on the command line."""
    import sys
    from pathlib import Path

    for folder in folders:
        if not Path(folder).is_dir():
            raise typer.BadParameter(f"{folder} is not a folder", param_hint="--plugins")
        sys.path.insert(0, str(Path(folder).resolve()))
