"""``mprec compare``: scenarios against each other, or a simulated run against a measured one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from shutil import get_terminal_size
from typing import TYPE_CHECKING, Annotated

import typer

from sim.cli.agreement import against_measured
from sim.cli.options import (
    ClusterOption,
    EngineName,
    EngineOption,
    JobsOption,
    OverridesOption,
    PluginsOption,
    StoreOption,
    add_plugins,
    cannot_both,
)
from sim.cli.terminal import ends_told, progress_bar, say

if TYPE_CHECKING:
    from sim.report.differences import Comparison
    from sim.report.guard import Judgement, Limit
    from sim.study.comparing import Compared
    from sim.study.runs import RunRequest

__all__ = ["compare"]

FAILED = 1
BAD_INPUT = 2

MOST_IN_FULL = 2
"""Comparisons up to which every metric is printed."""


def compare(
    names: Annotated[
        list[str],
        typer.Argument(
            metavar="A [B...]",
            help="Run directories or their names under runs/, or experiments, which are run; A:LABEL takes the "
            "scenarios with that label. B and the rest are compared with A; A alone with its --baseline. Where the "
            "last is a run of `mprec calibrate observe`, A is held against it; of several, the mean.",
            show_default=False,
        ),
    ],
    fail_if: Annotated[
        list[str] | None,
        typer.Option(
            "--fail-if",
            metavar="LIMIT",
            help="Exit code 1 where a change is shown to exceed this, e.g. 'latency_ms_p99 > +2%'; repeatable.",
        ),
    ] = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="With --fail-if: exit code 1 also where a change may exceed the limit.")
    ] = False,
    metrics: Annotated[
        list[str] | None,
        typer.Option("--metric", metavar="NAME", help="Print this metric only; 'all' for every one; repeatable."),
    ] = None,
    baseline: Annotated[
        str | None, typer.Option("--baseline", metavar="LABEL", help="Of one run alone: what its scenarios go against.")
    ] = None,
    scenario: Annotated[
        str | None, typer.Option("--scenario", metavar="LABEL", help="Only scenarios with this label, of every run.")
    ] = None,
    confidence: Annotated[
        str | None, typer.Option("--confidence", metavar="SHARE", help="Of the intervals, e.g. 99% [as in A].")
    ] = None,
    json_file: Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Write everything as JSON.")] = None,
    csv_file: Annotated[
        Path | None, typer.Option("--csv", metavar="FILE", help="Write one row a metric as CSV.")
    ] = None,
    as_markdown: Annotated[bool, typer.Option("--markdown", help="Print Markdown tables instead of text.")] = False,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Folder of the figures [figures/ of the last run].")
    ] = None,
    limits: Annotated[
        list[str] | None,
        typer.Option(
            "--limit",
            metavar="METRIC=PERCENT",
            help="Against a measured run: largest error of a metric as printed, e.g. p99=10%; repeatable. Exit code 1 "
            "where one is missed.",
        ),
    ] = None,
    overrides: OverridesOption = None,
    seed: Annotated[int | None, typer.Option("--seed", min=0, help="Of experiments that are run [that of A].")] = None,
    replications: Annotated[
        int | None, typer.Option("--replications", min=1, help="Of experiments that are run [as many as A has].")
    ] = None,
    jobs: JobsOption = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with experiments that were interrupted.")] = False,
    engine: EngineOption = EngineName.AUTO,
    cluster: ClusterOption = None,
    store: StoreOption = None,
    plugins: PluginsOption = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress bar.")] = False,
) -> None:
    """Print by how much scenarios differ in every metric, with intervals.

    Replications with the same seed and number share their random numbers and are compared pair by pair. With --fail-if
    a change that is shown to be too large ends with exit code 1. A figure of the differences is drawn.

    Of a measured run: latency, correct predictions and path mix as predicted and measured, with signed errors,
    (predicted - measured) / measured. Several predictions of the same queries, by runs that differ in their
    service_seed, are averaged. A measured run that was disturbed is called unfit, and ends with exit code 1. A
    Q-Q figure is drawn.
    """
    from sim.report.difference_table import markdown, render, render_judgements
    from sim.report.rundir import RunDirectoryError
    from sim.study.comparing import check_draws, is_measured, locate

    add_plugins(plugins)
    cannot_both(jobs, cluster)
    asked = _request(overrides, seed, replications, jobs, resume, engine, cluster, store)
    others: dict[str, object] = {"--fail-if": fail_if, "--strict": strict, "--metric": metrics, "--baseline": baseline}
    others |= {"--scenario": scenario, "--confidence": confidence, "--json": json_file, "--csv": csv_file}
    try:
        named = [locate(name) for name in names]
        others |= {f":{one.label}": one.label for one in named}
        if all(one.is_run for one in named):
            of_runs = {"--set": overrides, "--seed": seed, "--replications": replications}
            _refuse(of_runs, "it applies to experiments that are run for the comparison, and these are finished runs")
        *before, last = named
        if before and is_measured(last) and not any(is_measured(one) for one in before):
            _refuse(others, f"{names[-1]} is a measured run: what is simulated is held against it by --limit")
            simulated = _obtained(before, asked, quiet)
            check_draws(simulated)
            against_measured(simulated, last.path, limits or (), out, as_markdown)
            return
        _refuse({"--limit": limits}, "the last run is no measured one; limits of what may change are set by --fail-if")
        parsed, level = _parsed(fail_if or ()), _share(confidence)
        runs = _obtained(named, asked, quiet)
        found, alone = _compared(runs, named, scenario, baseline, level)
        shown = _metrics(metrics or (), found)
        judged = _judged(parsed, found)
        failed = any(one.fails(strict=strict) for one in judged)
        width = get_terminal_size((100, 24)).columns
        typer.echo(markdown(found, alone, shown) if as_markdown else render(found, alone, shown, width))
        for line in render_judgements(judged, strict=strict):
            typer.echo(line)
        _write(found, alone, judged, failed, (json_file, csv_file), runs[-1] / "figures" if out is None else out)
    except RunDirectoryError as error:
        say(error)
        raise typer.Exit(BAD_INPUT) from error
    if failed:
        raise typer.Exit(FAILED)


def _request(
    overrides: list[str] | None,
    seed: int | None,
    replications: int | None,
    jobs: int | None,
    resume: bool,
    engine: EngineName,
    cluster: str | None,
    store: str | None,
) -> RunRequest:
    from sim.study.runs import RunRequest

    return RunRequest(
        "",
        tuple(overrides or ()),
        None,
        seed,
        replications,
        jobs,
        resume,
        engine.value,
        cluster=cluster,
        store=store,
    )


def _obtained(named: Sequence[Compared], request: RunRequest, quiet: bool) -> list[Path]:
    """Run the experiments among what was named; ends are those of `mprec run`."""
    from sim.study.comparing import obtain

    if all(one.is_run for one in named):
        return [one.path for one in named]
    with ends_told("run"), progress_bar(quiet) as progress:
        return obtain(named, request, progress, say)


def _compared(
    runs: Sequence[Path],
    named: Sequence[Compared],
    scenario: str | None,
    baseline: str | None,
    confidence: float | None,
) -> tuple[list[Comparison], list[str]]:
    from sim.study.comparing import compare_runs, run_names

    if baseline is not None and len(named) > 1:
        raise typer.BadParameter(
            "it is for one run alone; several are compared with the first", param_hint="--baseline"
        )
    names = run_names([(path, one.name) for path, one in zip(runs, named, strict=True)])
    labels = [[label for label in (one.label, scenario) if label is not None] for one in named]
    return compare_runs([*zip(runs, names, labels, strict=True)], baseline=baseline, confidence=confidence)


def _write(
    found: Sequence[Comparison],
    alone: Sequence[str],
    judged: Sequence[Judgement],
    failed: bool,
    files: tuple[Path | None, Path | None],
    folder: Path,
) -> None:
    from sim.report.difference_files import write_csv, write_json
    from sim.report.figures.differences import plot_differences

    json_file, csv_file = files
    if json_file is not None:
        write_json(json_file, found, alone, judged, failed)
    if csv_file is not None:
        write_csv(csv_file, found)
    for file in plot_differences(found, folder):
        say(file)


def _parsed(texts: Sequence[str]) -> list[Limit]:
    from sim.report.guard import LimitError, parse_limit

    try:
        return [parse_limit(text) for text in texts]
    except LimitError as error:
        raise typer.BadParameter(str(error), param_hint="--fail-if") from error


def _judged(limits: Sequence[Limit], found: Sequence[Comparison]) -> list[Judgement]:
    from sim.report.guard import LimitError, judge_limits

    try:
        return judge_limits(limits, found)
    except LimitError as error:
        raise typer.BadParameter(str(error), param_hint="--fail-if") from error


def _share(text: str | None) -> float | None:
    from sim.spec.units import parse_fraction

    if text is None:
        return None
    try:
        share = parse_fraction(text)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--confidence") from error
    if not 0 < share < 1:
        raise typer.BadParameter(f"{text} does not lie between 0 and 100%", param_hint="--confidence")
    return share


def _metrics(asked: Sequence[str], found: Sequence[Comparison]) -> list[str]:
    """Return which metrics to print; nothing for all of them."""
    from sim.report.difference_table import headline_metrics
    from sim.report.guard import unknown_metric

    if "all" in asked or (not asked and len(found) <= MOST_IN_FULL):
        return []
    if not asked:
        return list(dict.fromkeys(name for one in found for name in headline_metrics(one)))
    names = list(dict.fromkeys(row.metric for one in found for row in one.rows))
    for name in asked:
        if name not in names:
            raise typer.BadParameter(unknown_metric(name, ["all", *names]), param_hint="--metric")
    return list(asked)


def _refuse(given: Mapping[str, object], why: str) -> None:
    """Refuse options that do not go with what is compared."""
    for option, value in given.items():
        # A seed may be 0.
        if value or (value == 0 and value is not False):
            raise typer.BadParameter(why, param_hint=option)
