"""What commands that run for long share: progress and messages on stderr, what they say and return when they fail."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from sim.study.study import Progress

__all__ = ["ends_told", "progress_bar", "say"]

FAILED = 1
BAD_INPUT = 2
INTERRUPTED = 130


@contextmanager
def ends_told(what: str, again: str | None = None) -> Iterator[None]:
    """Say why something that runs for long did not come to its end, and exit with the code for that.

    Parameters
    ----------
    what : str
        What is not to be used where the simulator broke a law: "run", "search".
    again : str, optional
        What becomes of that which is finished; by default as `sim.study.checkpoint.Checkpoint.kept` noted it.
    """
    from sim.engine.audit import InvariantError
    from sim.report.rundir import RunDirectoryError
    from sim.serving.policies.user import PolicyError
    from sim.study.checkpoint import KEPT, CheckpointMismatch
    from sim.study.cluster import BadClusterAddress, ClusterError
    from sim.study.interrupts import interrupts_remembered
    from sim.study.runs import DirectoryInUse
    from sim.study.workers import WorkerLost

    def with_kept(said: object, error: BaseException) -> str:
        kept = KEPT if again is None and KEPT in getattr(error, "__notes__", ()) else again
        return str(said) if kept is None else f"{said}; {kept}"

    try:
        with interrupts_remembered():
            yield
    except (DirectoryInUse, CheckpointMismatch, BadClusterAddress) as error:
        say(error)
        raise typer.Exit(BAD_INPUT) from error
    except InvariantError as error:
        say(f"the simulator broke one of its own laws, and this {what} is not to be used:\n{error}")
        raise typer.Exit(FAILED) from error
    except (ClusterError, PolicyError) as error:
        say(error)
        raise typer.Exit(FAILED) from error
    except (WorkerLost, RunDirectoryError, OSError) as error:
        say(with_kept(error, error))
        raise typer.Exit(FAILED) from error
    except KeyboardInterrupt as error:
        say(with_kept("interrupted", error))
        raise typer.Exit(INTERRUPTED) from error


def say(message: object) -> None:
    """Print a line to stderr, where everything goes that is no result."""
    print(message, file=sys.stderr)


@contextmanager
def progress_bar(quiet: bool) -> Iterator[Progress | None]:
    """Show a progress bar with the time left on stderr, where that is a terminal."""
    if quiet or not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("replications", total=None)

        def update(finished: int, total: int, what: str) -> None:
            bar.update(task, completed=finished, total=total, description=what)

        yield update
