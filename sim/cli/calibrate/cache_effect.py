"""``mprec calibrate cache-effect``: how well composed service times predict a measurement with MP-Cache."""

from __future__ import annotations

from typing import Annotated

import typer

__all__ = ["cache_effect"]


def cache_effect(
    plain: Annotated[
        str,
        typer.Argument(metavar="DEVICE", help="Measured without caches, by stage: name or path.", show_default=False),
    ],
    cached: Annotated[
        str, typer.Argument(metavar="CACHED", help="The same hardware, measured with --cache.", show_default=False)
    ],
    cache: Annotated[
        str, typer.Option(metavar="YAML", help="The cache, as an experiment writes it, that CACHED was measured with.")
    ],
    model: Annotated[
        list[str] | None, typer.Option(metavar="MODEL", help="Model, by name or path; repeatable. All if left out.")
    ] = None,
) -> None:
    """Predict the effect of MP-Cache from stages measured without it, and set it against the measured effect.

    By representation and size: mean service time with the cache over that without.
    """
    from sim.calibrate.cache_effect import cache_effects, effect_lines
    from sim.profile.library import UnknownName, find_device, find_model, list_models
    from sim.spec.problems import Problem, SpecError, nearest_name

    try:
        devices = [find_device(name) for name in (plain, cached)]
        models = [find_model(name) for name in model or list_models()]
    except UnknownName as error:
        near, known = nearest_name(error.name, error.known), ", ".join(error.known)
        raise SpecError([Problem(error.problem, None, "", error.name, known, near)]) from error
    typer.echo("\n".join(effect_lines(cache_effects(devices[0], devices[1], models, cache))))
    for device in devices:
        if device.unfit:
            typer.echo(f"{device.name} was measured while something disturbed it, and is marked as unfit")
