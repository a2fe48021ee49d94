"""``mprec calibrate``: profiles from real runs, one module a command."""

from __future__ import annotations

import typer

from sim.cli.calibrate import accuracy, cache_effect, fit, import_runs, measure, observe, roofline

__all__ = ["app"]

app = typer.Typer(no_args_is_help=True, help="Make profiles from measurements, and hold predictions against real runs.")
app.command("accuracy", short_help="Train on a click log, and score each representation.")(accuracy.accuracy)
app.command("cache-effect", short_help="Predict what MP-Cache saves, against a measurement.")(cache_effect.cache_effect)
app.command("click-log", short_help="Draw a small synthetic click log.")(accuracy.click_log)
app.command("fit", short_help="Fit samples to a profile, and check it on held-out sizes.")(fit.fit)
app.command("import", short_help="Read service times that were measured elsewhere.")(import_runs.import_runs)
app.command("measure", short_help="Measure how long this machine takes to serve a model.")(measure.measure)
app.command("observe", short_help="Serve an experiment for real, to hold predictions against.")(observe.observe)
app.command("roofline", short_help="Predict devices from datasheets, against measured ones.")(roofline.roofline)
