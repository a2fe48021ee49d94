"""Options that say what samples cannot: what kind of device was measured, how large it is, and what it costs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Literal

import typer

__all__ = ["Description", "Kind", "Lanes", "Memory", "Price"]


def _written(parse: Callable[[object], object]) -> Callable[[str | None], str | None]:
    """Return a callback that lets through what `parse` can read, as it is written."""

    def check(text: str | None) -> str | None:
        if text is not None:
            try:
                parse(text)
            except ValueError as error:
                raise typer.BadParameter(f"{error} (got {text!r})") from error
        return text

    return check


def _memory(text: str | None) -> str | None:
    from sim.spec.units import parse_bytes

    return _written(parse_bytes)(text)


def _price(text: str | None) -> str | None:
    from sim.spec.units import parse_price_usd_per_h

    return _written(parse_price_usd_per_h)(text)


Kind = Annotated[
    Literal["cpu", "gpu", "tpu", "ipu", "other"] | None, typer.Option(help="Kind of device; other if nothing says it.")
]
Description = Annotated[str, typer.Option(help="What the device is, in a line.")]
Memory = Annotated[str | None, typer.Option(callback=_memory, help="Memory for representations, as in 16GiB.")]
Lanes = Annotated[int | None, typer.Option(min=1, help="Queries that the device serves at once; 1 if nothing says it.")]
Price = Annotated[str | None, typer.Option(callback=_price, help="As in 0.34USD/h.")]
