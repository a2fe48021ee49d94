"""Options that several commands share."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

__all__ = ["ExperimentArgument", "OverridesOption", "PluginsOption", "add_plugins"]

ExperimentArgument = Annotated[
    str,
    typer.Argument(metavar="EXPERIMENT", help="Experiment file, or the name of one that ships.", show_default=False),
]
OverridesOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="KEY=VALUE", help="Set a key of the file, e.g. workload.arrivals.rate=2k/s; repeatable."
    ),
]
PluginsOption = Annotated[
    list[Path] | None,
    typer.Option("--plugins", metavar="DIR", help="Folder to import policy functions from; repeatable."),
]


def add_plugins(folders: list[Path] | None) -> None:
    """Let policy functions be imported from `folders`, which were named on the command line."""
    for folder in folders or []:
        if not folder.is_dir():
            raise typer.BadParameter(f"{folder} is not a folder", param_hint="--plugins")
        sys.path.insert(0, str(folder.resolve()))
