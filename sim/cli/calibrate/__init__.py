"""``mprec calibrate``: profiles from real runs, one module a command."""

from __future__ import annotations

import typer

from sim.cli.calibrate import accuracy, cache_effect, fit, import_runs, measure, observe, roofline

__all__ = ["app"]

app = typer.Typer(no_args_is_help=True, help="Make profiles from measurements, and hold predictions against real runs.")
app.command("accuracy")(accuracy.accuracy)
app.command("cache-effect")(cache_effect.cache_effect)
app.command("click-log")(accuracy.click_log)
app.command("fit")(fit.fit)
app.command("import")(import_runs.import_runs)
app.command("measure")(measure.measure)
app.command("observe")(observe.observe)
app.command("roofline")(roofline.roofline)
