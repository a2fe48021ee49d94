"""Options that several commands share."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

__all__ = [
    "ClusterOption",
    "EngineName",
    "EngineOption",
    "ExperimentArgument",
    "JobsOption",
    "OverridesOption",
    "PluginsOption",
    "ReplicationsOption",
    "SeedOption",
    "StoreOption",
    "add_plugins",
    "cannot_both",
]


class EngineName(StrEnum):
    """Engines as the command line names them."""

    AUTO = "auto"
    REFERENCE = "reference"
    COMPILED = "compiled"


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

SeedOption = Annotated[int | None, typer.Option("--seed", min=0, help="Seed of all draws, instead of the file's.")]
ReplicationsOption = Annotated[
    int | None, typer.Option("--replications", min=1, help="Independent runs of each point, instead of the file's.")
]
JobsOption = Annotated[
    int | None,
    typer.Option("--jobs", min=1, help="Processes; all cores if worth starting them. Results do not depend on it."),
]
EngineOption = Annotated[
    EngineName,
    typer.Option(
        "--engine", help="Engine: SimPy, compiled by numba, or whichever is done first. All give the same results."
    ),
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
