"""The ``mprec`` command and what it says when something is wrong."""

from __future__ import annotations

import errno
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import typer
from typer.core import TyperGroup

from sim._version import __version__
from sim.cli import calibrate, capacity, compare, optimise, plot, profiles, report, run, schema, validate
from sim.cli.terminal import say
from sim.spec.problems import SpecError

__all__ = ["app", "run_command"]

BAD_INPUT = 2
INTERRUPTED = 130


@contextmanager
def _interruption_told() -> Iterator[None]:
    """Say that Ctrl-C was pressed; Typer ends without a word."""
    try:
        yield
    except KeyboardInterrupt as error:
        say("interrupted")
        raise typer.Exit(INTERRUPTED) from error


class _Commands(TyperGroup):
    def make_context(self, *arguments: Any, **options: Any) -> Any:
        with _interruption_told():
            return super().make_context(*arguments, **options)

    def invoke(self, ctx: Any) -> Any:
        with _interruption_told():
            return super().invoke(ctx)


app = typer.Typer(
    name="mprec",
    cls=_Commands,
    help="Simulate recommendation inference at datacenter scale: what-if experiments from a YAML file.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command("run")(run.run)
app.command("validate")(validate.validate)
app.command("plot")(plot.plot)
app.command("capacity")(capacity.capacity)
app.command("compare")(compare.compare)
app.command("optimise")(optimise.optimise)
app.command("report")(report.report)
app.add_typer(profiles.app, name="profiles")
app.command("schema")(schema.schema)
app.add_typer(calibrate.app, name="calibrate")


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"mprec-sim {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: bool = typer.Option(
        False, "--version", help="Print the version and exit.", callback=_print_version, is_eager=True
    ),
) -> None:
    pass


def run_command() -> None:
    """Run what the command line asks for; bad input ends with exit code 2 and one line a problem."""
    try:
        app()
    except SpecError as error:
        count = len(error.problems)
        print(error, file=sys.stderr)
        found = f"{count} problem{'s' if count > 1 else ''} found"
        if error.more:
            found = f"these are the first {count} problems, there may be more"
        print(f"{found}; nothing was run", file=sys.stderr)
        sys.exit(BAD_INPUT)
    except OSError as error:
        # Any argument that names a file or a folder may be a name that no system has.
        if error.errno != errno.ENAMETOOLONG:
            raise
        print(f"{error.filename}: {error.strerror}", file=sys.stderr)
        sys.exit(BAD_INPUT)
