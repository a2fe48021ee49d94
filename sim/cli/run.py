"""``mprec run``: run an experiment, keep everything in a run directory, print a table and a verdict."""

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

__all__ = ["run"]


def run(
    experiment: ExperimentArgument,
    overrides: OverridesOption = None,
    out: Annotated[Path | None, typer.Option("--out", metavar="DIR", help="Run directory [runs/NAME].")] = None,
    seed: SeedOption = None,
    replications: ReplicationsOption = None,
    jobs: JobsOption = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Complete the run that was interrupted in the run directory.")
    ] = False,
    engine: EngineOption = EngineName.AUTO,
    figures: Annotated[
        bool, typer.Option("--figures/--no-figures", help="Draw figures; `mprec plot` does so later.")
    ] = True,
    cluster: ClusterOption = None,
    store: StoreOption = None,
    trace: Annotated[
        str | None,
        typer.Option(
            "--trace",
            metavar="WINDOW",
            help="Write what happens in a stretch of simulated time, as 10ms..20ms or 1s+50ms, to trace.json.",
        ),
    ] = None,
    trace_scenario: Annotated[
        str | None, typer.Option("--trace-scenario", metavar="LABEL", help="Scenario to trace [the first].")
    ] = None,
    trace_replication: Annotated[
        int | None, typer.Option("--trace-replication", min=0, metavar="N", help="Its replication to trace [0].")
    ] = None,
    plugins: PluginsOption = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress bar.")] = False,
) -> None:
    """Run an experiment and print whether each scenario meets the SLA.

    The table and the verdict go to stdout, progress to stderr. Ctrl-C keeps what is finished; --resume completes it.
    So it is when the process is terminated, a worker dies or a file cannot be written.
    """
    from sim.study.runs import RunRequest, perform
    from sim.study.trace import TraceRequest

    add_plugins(plugins)
    if trace is None and (trace_scenario is not None or trace_replication is not None):
        raise typer.BadParameter(
            "--trace-scenario and --trace-replication say what --trace is of", param_hint="--trace"
        )
    traced = None if trace is None else TraceRequest(trace, trace_scenario, trace_replication or 0)
    cannot_both(jobs, cluster)
    request = RunRequest(
        experiment,
        tuple(overrides or ()),
        out,
        seed,
        replications,
        jobs,
        resume,
        engine.value,
        figures,
        cluster,
        store,
        traced,
    )
    with ends_told("run"), progress_bar(quiet) as progress:
        finished = perform(request, progress, say)
    _print_report(finished.report)


def _print_report(report: object) -> None:
    from shutil import get_terminal_size

    from sim.report.table import Report, render

    assert isinstance(report, Report)
    encoding = (sys.stdout.encoding or "ascii").lower()
    width = get_terminal_size((100, 24)).columns
    print(render(report, width, unicode="utf" in encoding))
