"""``mprec calibrate measure``: service times of real models on this machine."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from sim.calibrate.measure.campaign import Progress

__all__ = ["measure"]

FAILED = 1
INTERRUPTED = 130


def measure(
    model: Annotated[str, typer.Option(help="Model that ships, or a model file with a dlrm shape.")],
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="Profile folder; hwprofiles is found by mprec run.")],
    representation: Annotated[
        str, typer.Option(metavar="LIST", help="Of table, dhe, select, hybrid; all are measured in turn, interleaved.")
    ] = "table,dhe,select,hybrid",
    device: Annotated[Literal["cpu", "cuda"], typer.Option(help="Where the model runs.")] = "cpu",
    sizes: Annotated[
        str, typer.Option(metavar="SIZES", help="1..4096 is the powers of two in it and its ends; or a list.")
    ] = "1..4096",
    lanes: Annotated[int, typer.Option(min=1, help="Pinned processes that are measured at the same time.")] = 1,
    threads: Annotated[int, typer.Option(min=1, help="Threads, each on a core of its own, of a lane.")] = 1,
    repeats: Annotated[int, typer.Option(min=1, help="Of each size, on each lane; p99 takes 1000.")] = 1000,
    blocks: Annotated[
        int, typer.Option(min=1, help="Stretches over which the repeats are spread, each with every size.")
    ] = 10,
    quantile: Annotated[str, typer.Option(help="Highest quantile that the repeats must carry: ten beyond it.")] = "p99",
    load: Annotated[float, typer.Option(help="Share of time in service; 1 is back-to-back, less has idle gaps.")] = 1.0,
    waiting: Annotated[
        Literal["poll", "block"], typer.Option(help="In gaps: look at the clock, or sleep (cores may sleep, too).")
    ] = "poll",
    ids: Annotated[str, typer.Option(help="Popularity of IDs: zipf:EXPONENT or uniform.")] = "zipf:1.05",
    cache: Annotated[
        str | None, typer.Option(metavar="SIZES", help="Serve with MP-Cache: encoder=2MB,decoder=256, or one of them.")
    ] = None,
    cache_stages: Annotated[
        str | None, typer.Option(metavar="SIZES", help="Serve without; time its look-ups apart, as stages.")
    ] = None,
    cache_effect: Annotated[
        str | None,
        typer.Option(
            metavar="SIZES", help="Both, block by block in turn, as two profiles: NAME, and NAME-mp-cache behind it."
        ),
    ] = None,
    cell_limit: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="Sizes whose repeats take longer, as in 60s, are left out or get fewer."),
    ] = None,
    fewest_repeats: Annotated[
        int | None, typer.Option(min=1, help="Leave out sizes that would get fewer; as --repeats, if left out.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="Of the profile; left out, after the hardware.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of weights, IDs and order.")] = 1,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the measurement that was interrupted.")] = False,
    keep_unfit: Annotated[
        bool, typer.Option("--keep-unfit", help="Save a disturbed measurement, too, marked as unfit.")
    ] = False,
    replace: Annotated[bool, typer.Option("--replace", help="Overwrite what was measured of this model.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress bar.")] = False,
) -> None:
    """Measure how long this machine takes to serve a model, by representation and query size.

    Blocks that were disturbed (steal time, waiting for a core, clock drift, disagreement) are set aside by a fixed rule
    and said; with too many of them the measurement is unfit, nothing is saved and the exit code is 1. Leaves
    FOLDER/devices/NAME.yaml, its tables, and all samples. A second model under the same name completes the profile.
    With --cache-effect there are two profiles, none if one is unfit, and `mprec calibrate cache-effect` compares
    the service times of the one with what is composed of the stages of the other.
    Ctrl-C loses no finished block; --resume goes on. Needs PyTorch: pip install 'mprec-sim[calibrate]'.
    """
    from sim.calibrate.measure.cache_setting import NO_CACHE, parse_cache
    from sim.calibrate.measure.lanes import LaneFailed
    from sim.calibrate.measure.measuring import MeasureRequest, Unfit
    from sim.calibrate.measure.measuring import measure as measured
    from sim.calibrate.measure.settings import (
        MeasureSettings,
        parse_cell_limit,
        parse_level,
        parse_load,
        parse_sizes,
    )
    from sim.report.rundir import RunDirectoryError

    settings = MeasureSettings(
        model=model,
        representations=tuple(dict.fromkeys(part.strip() for part in representation.split(","))),
        device=device,
        sizes=parse_sizes(sizes),
        lanes=lanes,
        threads=threads,
        repeats=repeats,
        blocks=blocks,
        level=parse_level(quantile),
        style=waiting,
        load=parse_load(load),
        ids=ids,
        cache=cache or "",
        cache_stages=cache_stages or "",
        cell_limit_ns=None if cell_limit is None else parse_cell_limit(cell_limit),
        fewest_repeats=fewest_repeats,
        seed=seed,
    )
    request = MeasureRequest(
        settings=settings,
        cache=NO_CACHE if cache is None else parse_cache(cache, "--cache"),
        cache_stages=NO_CACHE if cache_stages is None else parse_cache(cache_stages, "--cache-stages"),
        folder=out,
        name=name,
        command=shlex.join(["mprec", *sys.argv[1:]]),
        resume=resume,
        keep_unfit=keep_unfit,
        replace=replace,
    )
    requests = [request] if cache_effect is None else request.without_and_with(cache_effect)
    again = "what is finished is kept: run the same command with --resume to go on"
    try:
        with _progress(quiet) as progress:
            written = measured(requests, progress, _say)
    except Unfit as error:
        _say(error)
        raise typer.Exit(FAILED) from error
    except (LaneFailed, RunDirectoryError) as error:
        _say(f"{error}; {again}")
        raise typer.Exit(FAILED) from error
    except KeyboardInterrupt as error:
        _say(f"interrupted; {again}")
        raise typer.Exit(INTERRUPTED) from error
    for file in written:
        typer.echo(f"wrote {file}")


def _say(message: object) -> None:
    print(message, file=sys.stderr)


@contextmanager
def _progress(quiet: bool) -> Iterator[Progress]:
    """Show blocks and the time left on stderr, where that is a terminal."""
    if quiet or not sys.stderr.isatty():
        yield lambda _done, _total, _what: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True, refresh_per_second=1) as bar:
        task = bar.add_task("blocks", total=None)

        def update(finished: int, total: int, what: str) -> None:
            bar.update(task, completed=finished, total=total, description=what)

        yield update
