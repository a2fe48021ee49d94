"""``mprec schema``: the JSON Schema of experiment files, for editors."""

from __future__ import annotations

import json

import typer

__all__ = ["schema"]


def schema() -> None:
    """Print the JSON Schema of experiment files, so that an editor completes and checks them."""
    from sim.spec.experiment import ExperimentFile
    from sim.spec.schema import json_schema

    typer.echo(json.dumps(json_schema(ExperimentFile), indent=2))
