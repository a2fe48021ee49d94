"""``mprec profiles``: the device profiles, models and interference profiles that are found by name."""

from __future__ import annotations

from typing import Annotated

import typer

__all__ = ["app"]

app = typer.Typer(
    help="List or show device, model and interference profiles: those that ship, and those in ./hwprofiles.",
    no_args_is_help=True,
)


@app.command("list")
def list_profiles() -> None:
    """List every device profile, model and interference profile."""
    from sim.profile.library import (
        find_device,
        find_interference,
        find_model,
        list_devices,
        list_interference,
        list_models,
    )

    models = [find_model(name) for name in list_models()]
    typer.echo("devices")
    for name in list_devices():
        device = find_device(name)
        known = [model.name for model in models if device.representations(model)]
        evidence = device.standing
        typer.echo(f"  {name:<23} {device.kind:<4} {evidence:<15} {', '.join(known)}")
    typer.echo("models")
    for model in models:
        typer.echo(f"  {model.name:<23} {', '.join(model.representations)}")
    typer.echo("interference")
    for name in list_interference():
        interference = find_interference(name)
        most = len(interference.slowdown)
        typer.echo(
            f"  {name:<23} {interference.evidence:<9} 1 to {most} busy lanes, up to {max(interference.slowdown)}"
        )


@app.command("show")
def show(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME",
            help="A device profile, a model or an interference profile, by name or by the path of its file.",
        ),
    ],
) -> None:
    """Show where a profile's numbers come from, and the numbers."""
    from sim.profile.library import (
        find_device,
        find_interference,
        find_model,
        list_devices,
        list_interference,
        list_models,
        profile_folder_of,
    )
    from sim.report.profiles import device_text, interference_text, model_text
    from sim.spec.files import is_yaml
    from sim.spec.problems import Problem, SpecError, nearest_name

    folder = profile_folder_of(name)
    if folder == "devices":
        typer.echo(device_text(find_device(name), [find_model(model) for model in list_models()]))
    elif folder == "models":
        typer.echo(model_text(find_model(name)))
    elif folder == "interference":
        typer.echo(interference_text(find_interference(name)))
    else:
        message = "no such profile" + (": there is no such file" if is_yaml(name) else "")
        names = [*list_devices(), *list_models(), *list_interference()]
        raise SpecError([Problem(message, value=name, allowed=", ".join(names), nearest=nearest_name(name, names))])
