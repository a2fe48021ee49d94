"""``mprec optimise``: search the designs that an experiment file allows, and print the best of them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from sim.cli.options import (
    ClusterOption,
    EngineName,
    EngineOption,
    ExperimentArgument,
    JobsOption,
    OverridesOption,
    PluginsOption,
    ReplicationsOption,
    SeedOption,
    StoreOption,
    add_plugins,
    cannot_both,
)
from sim.cli.terminal import ends_told, progress_bar, say

__all__ = ["optimise"]

FAILED = 1
BAD_INPUT = 2


def optimise(
    experiment: ExperimentArgument,
    overrides: OverridesOption = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Directory of the search [runs/NAME-designs].")
    ] = None,
    seed: SeedOption = None,
    replications: ReplicationsOption = None,
    trials: Annotated[
        int | None, typer.Option("--trials", min=1, help="Designs that are tried, instead of the file's.")
    ] = None,
    jobs: JobsOption = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Complete the search that was interrupted in the directory.")
    ] = False,
    engine: EngineOption = EngineName.AUTO,
    cluster: ClusterOption = None,
    store: StoreOption = None,
    plugins: PluginsOption = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress bar.")] = False,
) -> None:
    """Search designs for the front of what the file wants: its block `optimise` says what may be chosen.

    The front goes to stdout, progress to stderr; every design leaves a run directory. Exit code 1 if none is feasible.
    Ctrl-C keeps what is finished; --resume completes it.
    """
    from sim.study.design_search import OptimiserMissing
    from sim.study.optimise import SearchRequest, perform_search

    add_plugins(plugins)
    cannot_both(jobs, cluster)
    given = [*(overrides or ()), *([] if trials is None else [f"optimise.trials={trials}"])]
    request = SearchRequest(
        experiment, tuple(given), out, seed, replications, jobs, resume, engine.value, cluster, store
    )
    with ends_told("search"), progress_bar(quiet) as progress:
        try:
            finished = perform_search(request, progress, say)
        except OptimiserMissing as error:
            say(error)
            raise typer.Exit(BAD_INPUT) from error
    _print(finished.report)


def _print(report: object) -> None:
    from shutil import get_terminal_size

    from sim.report.designs import DesignReport, render_designs

    assert isinstance(report, DesignReport)
    encoding = (sys.stdout.encoding or "ascii").lower()
    print(render_designs(report, get_terminal_size((100, 24)).columns, unicode="utf" in encoding))
    if not report.front:
        raise typer.Exit(FAILED)
