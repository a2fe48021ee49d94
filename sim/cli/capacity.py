"""``mprec capacity``: how much load a fleet takes, how many nodes a load needs, how tight an SLA can be."""

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
    SeedOption,
    StoreOption,
    add_plugins,
    cannot_both,
)
from sim.cli.terminal import ends_told, say
from sim.study.capacity.question import By, Find

__all__ = ["capacity"]

FAILED = 1


def capacity(
    experiment: ExperimentArgument,
    find: Annotated[
        Find,
        typer.Option(
            "--find",
            help="rate: the highest load that meets the SLA; nodes: the smallest fleet; sla: the tightest SLA.",
        ),
    ] = Find.RATE,
    overrides: OverridesOption = None,
    attainment: Annotated[
        str | None,
        typer.Option(
            "--attainment",
            metavar="PERCENT",
            help="Least share of queries within the SLA, besides the percentile, e.g. 99.9%.",
        ),
    ] = None,
    groups: Annotated[
        list[str] | None,
        typer.Option(
            "--group", metavar="NAME", help="With --find nodes: node group that is counted; repeatable [all of them]."
        ),
    ] = None,
    by: Annotated[
        By | None,
        typer.Option(
            "--by", help="With --find nodes and several groups: what the cheapest mix is cheapest by [price]."
        ),
    ] = None,
    tolerance: Annotated[
        str, typer.Option("--tolerance", metavar="PERCENT", help="Width of the bracket to stop at.")
    ] = "2%",
    confidence: Annotated[
        str,
        typer.Option(
            "--confidence", metavar="PERCENT", help="That all a search calls proved is right, for each scenario."
        ),
    ] = "95%",
    most_replications: Annotated[
        int, typer.Option("--max-replications", min=2, help="Of one point; what is open then stays open.")
    ] = 400,
    most_queries: Annotated[
        int, typer.Option("--max-queries", min=1000, help="Of one replication, under a steady load.")
    ] = 2_000_000,
    out: Annotated[Path | None, typer.Option("--out", metavar="DIR", help="Directory [runs/NAME-capacity].")] = None,
    seed: SeedOption = None,
    jobs: JobsOption = None,
    engine: EngineOption = EngineName.AUTO,
    cluster: ClusterOption = None,
    store: StoreOption = None,
    plugins: PluginsOption = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Do not say what is known so far.")] = False,
) -> None:
    """Search for the limit of every scenario, proved on both sides.

    A load, a fleet or an SLA counts as met or missed only when the interval decides. Axes of the sweep that the search
    takes the place of are left out. The answer goes to stdout, what is known so far to stderr. After Ctrl-C the same
    command goes on with what was finished. Exit code 1 where nothing was proved to meet.
    """
    from sim.study.capacity.perform import CapacityRequest, perform_capacity
    from sim.study.capacity.question import Question

    add_plugins(plugins)
    cannot_both(jobs, cluster)
    if find is not Find.NODES and groups:
        raise typer.BadParameter("node groups are counted with --find nodes", param_hint="--group")
    if find is not Find.NODES and by is not None:
        raise typer.BadParameter("mixes of node groups are compared with --find nodes", param_hint="--by")
    question = Question(
        find,
        None if attainment is None else _share(attainment, "--attainment", 0.0, 1.0),
        _share(confidence, "--confidence", 0.5, 1.0),
        _share(tolerance, "--tolerance", 0.0, 1.0),
        tuple(groups or ()),
        by,
        most_replications,
        most_queries,
    )
    request = CapacityRequest(
        experiment, question, tuple(overrides or ()), out, seed, jobs, engine.value, cluster, store
    )
    with ends_told("search", _what_is_kept(store)):
        finished = perform_capacity(request, _silent if quiet else say)
    _print(finished.report)
    if not any(one.order for one in finished.report.rankings):
        raise typer.Exit(FAILED)


def _what_is_kept(store: str | None) -> str:
    """Return what becomes of that which is finished when the search does not come to its end."""
    from sim.report.rundir import RunDirectoryError, check_writable
    from sim.study.store import VARIABLE, store_folder

    folder = store_folder(store)
    if folder is None:
        return f"nothing is kept with {'--store none' if store else f'{VARIABLE}=none'}"
    try:
        check_writable(folder)
    except RunDirectoryError as error:
        return f"nothing is kept: {error}"
    return "the same command goes on with what is finished"


def _share(text: str, option: str, low: float, high: float) -> float:
    """Return a share that is written as a percentage or a fraction, strictly between two bounds."""
    try:
        value = float(text.removesuffix("%")) / (100.0 if text.endswith("%") else 1.0)
    except ValueError:
        value = high
    if not low < value < high:
        raise typer.BadParameter(
            f"{text!r} is no share; allowed: more than {low:.0%} and less than {high:.0%}, e.g. 99%", param_hint=option
        )
    return value


def _silent(_message: object) -> None:
    pass


def _print(report: object) -> None:
    from shutil import get_terminal_size

    from sim.report.capacity import CapacityReport
    from sim.report.capacity_text import render_capacity

    assert isinstance(report, CapacityReport)
    encoding = (sys.stdout.encoding or "ascii").lower()
    print(render_capacity(report, get_terminal_size((100, 24)).columns, unicode="utf" in encoding))
