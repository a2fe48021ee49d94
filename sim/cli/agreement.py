"""The part of ``mprec compare`` that holds a simulated run against a measured one."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import typer

__all__ = ["against_measured"]

FAILED = 1


def against_measured(
    simulated: Sequence[Path], measured: Path, limits: Sequence[str], out: Path | None, as_markdown: bool
) -> None:
    """Print predicted against measured, draw the Q-Q figure, and exit with 1 where it is unfit or misses a limit."""
    from sim.report.agreement import compare_runs, markdown, render
    from sim.report.figures.agreement import plot_agreement

    agreement = compare_runs(simulated, measured, dict(_limit(text) for text in limits))
    files = plot_agreement(agreement, measured / "figures" if out is None else out)
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
