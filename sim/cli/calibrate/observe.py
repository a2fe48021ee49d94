"""``mprec calibrate observe``: an experiment served for real on this machine, to hold predictions against."""

from __future__ import annotations

import shlex
import sys
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from shutil import get_terminal_size
from typing import TYPE_CHECKING, Annotated

import typer

from sim.cli.options import (
    ExperimentArgument,
    OverridesOption,
    PluginsOption,
    SeedOption,
    add_plugins,
)

if TYPE_CHECKING:
    from sim.workload.popularity import Popularity

__all__ = ["observe"]

FAILED = 1
BAD_INPUT = 2
INTERRUPTED = 130


class WaitingName(StrEnum):
    """How workers wait, as the command line says it."""

    POLL = "poll"
    BLOCK = "block"


def observe(
    experiment: ExperimentArgument,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Run directory, new or empty.")],
    overrides: OverridesOption = None,
    loads: Annotated[
        str | None,
        typer.Option(
            metavar="LIST",
            help="Loads to observe, as in 0.3,0.5,0.7: shares of what the lanes serve on their fastest paths, as "
            "calibrated. Left out: the experiment's own rates.",
        ),
    ] = None,
    waiting: Annotated[
        WaitingName, typer.Option(help="Workers spin while there is nothing to do, or sleep.")
    ] = WaitingName.POLL,
    cores: Annotated[
        str | None, typer.Option(metavar="LIST", help="The dispatcher's core, then one for each lane, as in 0,1.")
    ] = None,
    calibration: Annotated[
        str, typer.Option(metavar="TIME", help="How long each calibration block takes, about.")
    ] = "4s",
    ids: Annotated[str, typer.Option(help="Popularity of IDs: zipf:EXPONENT or uniform.")] = "zipf:1.05",
    rehearse: Annotated[
        bool,
        typer.Option(
            "--rehearse", help="Busy loops as long as the experiment's own profile says, instead of models. No PyTorch."
        ),
    ] = False,
    share_cores: Annotated[
        bool, typer.Option("--share-cores", help="Pin nothing, on machines with too few cores; never fit to judge by.")
    ] = False,
    seed: SeedOption = None,
    replications: Annotated[
        int | None, typer.Option("--replications", min=1, help="Observed blocks of a scenario, instead of the file's.")
    ] = None,
    plugins: PluginsOption = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing of what is going on.")] = False,
) -> None:
    """Serve an experiment for real: calibrated, observed, and with a run directory like that of `mprec run`.

    Worker processes stand for the lanes, pinned to cores, and serve real models. The dispatcher runs the simulator's
    own router and policy, and lets the drawn queries arrive on schedule, whether the server keeps up or not. Blocks of
    calibration and of observation take turns; disturbed blocks are set aside by a fixed rule, and a session with too
    many of them is called unfit and ends with exit code 1. DIR/experiment.yaml holds the profile that was calibrated:

      mprec run DIR/experiment.yaml --out PREDICTED

      mprec compare PREDICTED DIR

    Needs PyTorch, but for --rehearse: pip install 'mprec-sim[calibrate]'.
    """
    from sim.calibrate.measure.host import gpu_name, host_text
    from sim.calibrate.observe.outcome import write_session
    from sim.calibrate.observe.session import SessionRequest, run_session
    from sim.calibrate.observe.worker import WorkerFailed
    from sim.calibrate.pytorch import require_pytorch
    from sim.engine.audit import InvariantError
    from sim.report.rundir import RunDirectoryError, check_writable
    from sim.report.table import render
    from sim.serving.policies.user import PolicyError
    from sim.study.variation import Variable

    add_plugins(plugins)
    calibration_ns = _positive(calibration, "--calibration")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        _say(f"{out} {'is not empty' if out.is_dir() else 'is a file'}; choose another --out")
        raise typer.Exit(BAD_INPUT)
    if not rehearse:
        require_pytorch("mprec calibrate observe")
    started = datetime.now(UTC)
    command = shlex.join(["mprec", *sys.argv[1:]])
    provenance: dict[str, str | int] = {
        "source": "own measurement" if not rehearse else "rehearsal: busy loops, no model",
        "host": host_text("cpu" if gpu_name() is None else "cuda"),
        "date": started.date().isoformat(),
        "command": command,
        "notes": f"on a real server, workers that {waiting.value} for work, three of five passes back to back and "
        f"two with pauses; the cost of dispatch is part of every time; popularity of IDs {ids}",
    }
    request = SessionRequest(
        loads=_loads(loads),
        cores=_cores(cores),
        waiting=waiting.value,
        calibration_ns=calibration_ns,
        law=_law(ids),
        rehearse=rehearse,
        share_cores=share_cores,
        provenance=provenance,
    )
    variable = Variable(experiment, tuple(overrides or ()), seed, replications)
    try:
        # A session cannot be resumed: better to know before it than after it.
        check_writable(out)
        session = run_session(variable, request, _tell_nobody if quiet else _say)
        report = write_session(
            out,
            variable,
            session,
            provenance=provenance,
            waiting=waiting.value,
            manifest={
                "command": ["mprec", *sys.argv[1:]],
                "started": started.isoformat(timespec="seconds"),
                "finished": datetime.now(UTC).isoformat(timespec="seconds"),
                "host": provenance["host"],
            },
        )
    except (WorkerFailed, InvariantError, PolicyError, RunDirectoryError) as error:
        _say(error)
        raise typer.Exit(FAILED) from error
    except KeyboardInterrupt as error:
        _say("interrupted; a session cannot be resumed, nothing was written")
        raise typer.Exit(INTERRUPTED) from error
    encoding = (sys.stdout.encoding or "ascii").lower()
    print(render(report, get_terminal_size((100, 24)).columns, unicode="utf" in encoding))
    for reason in session.fitness.unfit:
        _say(f"unfit: {reason}")
    if session.fitness.unfit:
        raise typer.Exit(FAILED)


def _say(message: object) -> None:
    print(message, file=sys.stderr)


def _tell_nobody(_message: object) -> None:
    pass


def _positive(text: str, option: str) -> int:
    from sim.spec.units import parse_duration_ns

    try:
        duration_ns = parse_duration_ns(text)
    except ValueError as error:
        raise typer.BadParameter(f"{error} (got {text!r})", param_hint=option) from error
    if duration_ns <= 0:
        raise typer.BadParameter(f"{text}: a duration above zero is needed", param_hint=option)
    return duration_ns


def _loads(text: str | None) -> tuple[float, ...]:
    if text is None:
        return ()
    try:
        loads = tuple(float(part) for part in text.split(","))
    except ValueError:
        loads = ()
    if not loads or len(set(loads)) < len(loads) or not all(0 < load < 1 for load in loads):
        raise typer.BadParameter(
            f"{text!r}: expected different loads between 0 and 1, as in 0.3,0.5", param_hint="--loads"
        )
    return loads


def _cores(text: str | None) -> tuple[int, ...] | None:
    if text is None:
        return None
    parts = text.split(",")
    if not all(part.isascii() and part.isdigit() for part in parts):
        raise typer.BadParameter(f"{text!r}: expected numbers of cores, as in 0,1", param_hint="--cores")
    return tuple(int(part) for part in parts)


def _law(text: str) -> Popularity:
    from sim.calibrate.measure.cache_setting import parse_popularity
    from sim.workload.popularity import UniformPopularity, ZipfPopularity

    exponent = parse_popularity(text)
    return UniformPopularity() if exponent is None else ZipfPopularity(exponent)
