"""Options that several commands share."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

__all__ = [
    "ClusterOption",
    "ExperimentArgument",
    "OverridesOption",
    "PluginsOption",
    "StoreOption",
    "add_plugins",
    "cannot_both",
]

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

ClusterOption = Annotated[
    str | None,
    typer.Option(
        "--cluster",
        metavar="ADDRESS",
        help="Dask cluster that runs it: tcp://HOST:8786 of its scheduler, or local:N for N processes of this machine.",
    ),
]
StoreOption = Annotated[
    str | None,
    typer.Option(
        "--store",
        metavar="DIR",
        help="Where finished results are kept, so that they are never run again; none keeps nothing "
        "[MPREC_STORE, else a folder in the user's cache].",
    ),
]


def cannot_both(jobs: int | None, cluster: str | None) -> None:
    """Refuse local processes and a cluster at once."""
    if jobs is not None and cluster is not None:
        raise typer.BadParameter("the cluster's workers do the work, so --jobs has no meaning", param_hint="--cluster")


def add_plugins(folders: list[Path] | None) -> None:
    """Let policy functions be imported from `folders`, which were named on the command line."""
    for folder in folders or []:
        if not folder.is_dir():
            raise typer.BadParameter(f"{folder} is not a folder", param_hint="--plugins")
        sys.path.insert(0, str(folder.resolve()))
