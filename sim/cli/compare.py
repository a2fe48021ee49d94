"""``mprec compare``: a simulated run held against a measured one."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

__all__ = ["compare"]

FAILED = 1
BAD_INPUT = 2


def compare(
    sim_run: Annotated[str, typer.Argument(help="Simulated run: a run directory, or its name under runs/.")],
    real_run: Annotated[str, typer.Argument(help="Measured run, as from `mprec calibrate observe`.")],
    limits: Annotated[
        list[str] | None,
        typer.Option(
            "--limit",
            metavar="METRIC=PERCENT",
            help="Largest error of a metric as printed, e.g. p99=10%; repeatable. Exit code 1 where one is missed.",
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Folder of the figure [REAL_RUN/figures].")
    ] = (None),
    as_markdown: Annotated[bool, typer.Option("--markdown", help="Print a Markdown table instead of text.")] = False,
) -> None:
    """Print predicted against measured latency, correct predictions and path mix, with signed errors.

    An error is (predicted - measured) / measured. A measured run that was disturbed is called unfit, and ends with
    exit code 1. A Q-Q figure is drawn.
    """
    from sim.report.agreement import compare_runs, find_run, markdown, render
    from sim.report.figures.agreement import plot_agreement
    from sim.report.rundir import RunDirectoryError

    allowed = dict(_limit(text) for text in limits or ())
    try:
        measured = find_run(real_run)
        agreement = compare_runs(find_run(sim_run), measured, allowed)
        files = plot_agreement(agreement, measured / "figures" if out is None else out)
    except RunDirectoryError as error:
        print(error, file=sys.stderr)
        raise typer.Exit(BAD_INPUT) from error
    typer.echo(markdown(agreement) if as_markdown else render(agreement))
    if as_markdown:
        for reason in agreement.unfit:
            print(f"unfit: {reason}", file=sys.stderr)
    for file in files:
        print(file, file=sys.stderr)
    if agreement.unfit or agreement.missed:
        raise typer.Exit(FAILED)


def _limit(text: str) -> tuple[str, float]:
    from sim.report.agreement import LIMITED

    metric, equals, value = text.rpartition("=")
    try:
        percent = float(value.removesuffix("%"))
    except ValueError:
        percent = -1.0
    if not equals or metric not in LIMITED or not value.endswith("%") or percent < 0:
        raise typer.BadParameter(
            f"{text!r} is no limit; allowed: METRIC=PERCENT% with a metric of {', '.join(LIMITED)}",
            param_hint="--limit",
        )
    return metric, percent / 100.0
