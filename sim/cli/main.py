"""The ``mprec`` command and what it says when something is wrong."""

from __future__ import annotations

import sys

import typer

from sim._version import __version__
from sim.cli import calibrate, capacity, compare, optimise, plot, profiles, report, run, schema, validate
from sim.spec.problems import SpecError

__all__ = ["app", "main"]

BAD_INPUT = 2
INTERRUPTED = 130

app = typer.Typer(
    name="mprec",
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


def main() -> None:
    """Run the command line; bad input ends with exit code 2 and one line a problem."""
    try:
        app()
    except SpecError as error:
        count = len(error.problems)
        print(error, file=sys.stderr)
        print(f"{count} problem{'s' if count > 1 else ''} found; nothing was run", file=sys.stderr)
        sys.exit(BAD_INPUT)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(INTERRUPTED)
    except BrokenPipeError:
        # The reader of stdout went away (head, a closed pager): nothing is wrong here.
        sys.stderr.close()
        sys.exit(1)


if __name__ == "__main__":
    main()
