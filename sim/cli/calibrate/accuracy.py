"""``mprec calibrate accuracy`` and ``click-log``: train representations on a click log, or draw a synthetic one."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Literal

import typer

from sim.cli.calibrate.writing import told_if_unwritable

__all__ = ["accuracy", "click_log"]

_SHARE = 1 / 7
"""Of the rows, to test on where nothing is said: the last day of a week, as of Criteo's log."""


def accuracy(
    logs: Annotated[
        list[Path],
        typer.Argument(metavar="LOG...", help="Click logs in the order of time, packed (.gz, .xz) or not."),
    ],
    model: Annotated[str, typer.Option(metavar="NAME|FILE", help="Model that ships, or a model file.")],
    representation: Annotated[
        str | None, typer.Option(metavar="NAME,...", help="Which; left out, all of the model file.", show_default=False)
    ] = None,
    log_format: Annotated[
        Literal["auto", "criteo", "libfm"], typer.Option("--format", help="Format of the logs.")
    ] = "auto",
    test: Annotated[
        list[Path] | None,
        typer.Option(metavar="LOG", help="Log with the test rows, instead of a split; repeatable.", show_default=False),
    ] = None,
    test_share: Annotated[
        float | None,
        typer.Option(min=0.0, max=1.0, help="Share of the rows, the last ones, to test on.", show_default="1/7"),
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Trainings of each representation.")] = 5,
    epochs: Annotated[int, typer.Option(min=1, help="Passes over the training rows.")] = 1,
    batch: Annotated[int, typer.Option(min=1, help="Rows a step.")] = 2048,
    learning_rate: Annotated[float, typer.Option(min=1e-9, help="Of Adam, at the start.")] = 1e-3,
    table_learning_rate: Annotated[
        float, typer.Option(min=1e-9, help="Of Adam on looked-up table rows, at the start.")
    ] = 1e-2,
    last_activation: Annotated[Literal["mish", "sigmoid"], typer.Option(help="Of the DHE decoders.")] = "mish",
    centroids: Annotated[
        int | None,
        typer.Option(min=1, help="Measure also what a decoder cache of so many centroids costs.", show_default=False),
    ] = None,
    id_range: Annotated[
        int | None,
        typer.Option(min=1, help="Take IDs modulo this, 10000000 for Terabyte.", show_default=False),
    ] = None,
    rows: Annotated[int | None, typer.Option(min=1, help="Read no more rows of each log.", show_default=False)] = None,
    device: Annotated[Literal["cpu", "cuda"], typer.Option(help="Where to train.")] = "cpu",
    threads: Annotated[
        int | None, typer.Option(min=1, help="Of the CPU; left out, as many as PyTorch takes.", show_default=False)
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Model file to write; left out, FILE of --model is changed.", show_default=False
        ),
    ] = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="Overwrite FILE of --out if it is there and not that of --model.")
    ] = False,
) -> None:
    """Train each representation on a click log and write accuracy, AUC and log loss into the model file.

    The log is split in time: the last rows are for testing. Intervals are Student-t, 95%, over seeds, which draw
    weights and the order of the rows: they say nothing about another log. Needs PyTorch: pip install
    'mprec-sim[calibrate]'.
    """
    from datetime import UTC, datetime

    from sim.calibrate.accuracy.from_log import prepare, read_log, source_text
    from sim.calibrate.accuracy.model_file import write_model_file
    from sim.calibrate.accuracy.results import result_lines
    from sim.calibrate.accuracy.trained_model import find_trained_model
    from sim.calibrate.pytorch import require_pytorch
    from sim.spec.problems import Problem, SpecError

    if test and test_share is not None:
        message = "--test and --test-share exclude each other: the rows to test on are those of the test log"
        raise SpecError([Problem(message)])
    require_pytorch("mprec calibrate accuracy")
    from sim.calibrate.accuracy.campaign import Campaign, prepare_device, run_campaign, shape_for
    from sim.calibrate.accuracy.training import TrainingSettings

    prepare_device(device, threads)
    chosen = find_trained_model(model, representation, out, replace_there=replace)
    read = [read_log(path, log_format, rows) for path in logs]
    tests = [read_log(path, log_format, rows) for path in test or []]
    prepared = prepare(chosen.shape, read, tests, _SHARE if test_share is None else test_share, id_range)
    files = [file for log in [*read, *tests] for file in log.files]
    del read, tests
    settings = TrainingSettings(epochs, batch, learning_rate, table_learning_rate, last_activation, device)
    campaign = Campaign(chosen.representations, tuple(range(1, seeds + 1)), settings, centroids)
    typer.echo(
        f"{len(prepared.training):,} rows to train, {len(prepared.test):,} to test, "
        f"{prepared.test.labels.mean():.2%} of these clicked; {sum(prepared.table_rows):,} IDs"
    )
    shape = shape_for(chosen.shape, prepared.table_rows)
    with _shown_progress(len(campaign.representations) * seeds * epochs * len(prepared.training)) as progress:
        results = run_campaign(shape, prepared.training, prepared.test, campaign, progress)
    typer.echo("\n".join(result_lines(results, centroids)))
    source = source_text(prepared, files, settings.in_words(), datetime.now(UTC).date().isoformat())
    with told_if_unwritable():
        write_model_file(chosen.out, chosen.text, results, source, centroids)
    typer.echo(f"wrote {chosen.out}")


def click_log(
    out: Annotated[Path, typer.Argument(metavar="FILE", help="Log to write, in Criteo's format.")],
    rows: Annotated[int, typer.Option(min=1, help="Impressions.")] = 20_000,
    seed: Annotated[int, typer.Option(help="The same seed gives the same file.")] = 1,
    replace: Annotated[bool, typer.Option("--replace", help="Overwrite FILE if it is there.")] = False,
) -> None:
    """Draw a small synthetic click log: clicks depend on IDs and a count in a known way.

    It says how well a model that knew everything would do. Nothing that is trained on it says anything about real
    clicks.
    """
    from sim.calibrate.accuracy.scores import score
    from sim.calibrate.accuracy.synthetic import write_click_log
    from sim.spec.problems import Problem, SpecError

    if out.exists() and not replace:
        raise SpecError([Problem(f"{out} is there already; give --replace, or take another name")])
    with told_if_unwritable():
        log = write_click_log(out, rows, seed)
    typer.echo(f"wrote {out}: {rows:,} rows, {log.labels.mean():.2%} clicked")
    if 0 < log.labels.sum() < rows:
        best = score(log.labels, log.probabilities)
        typer.echo(
            f"who knew every probability: accuracy {best.accuracy:.2%}, AUC {best.auc:.4f}, "
            f"log loss {best.log_loss:.4f}"
        )


@contextmanager
def _shown_progress(total: int) -> Iterator[Callable[[str, int], None] | None]:
    """Show a progress bar over all rows of all trainings on stderr, where that is a terminal."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("training", total=total)
        yield lambda what, rows: bar.update(task, advance=rows, description=what)
