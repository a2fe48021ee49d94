"""``mprec calibrate``: profiles from real runs, one module a command."""

from __future__ import annotations

import typer

from sim.cli.calibrate import fit, import_runs, roofline

__all__ = ["app"]

app = typer.Typer(no_args_is_help=True, help="Make profiles from measurements, and hold predictions against real runs.")
app.command("import")(import_runs.import_runs)
app.command("fit")(fit.fit)
app.command("roofline")(roofline.roofline)
