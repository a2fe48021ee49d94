"""Precision as it is written: which intervals have to be how narrow, and after how many replications it is given up."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, InstanceOf, PlainSerializer, WithJsonSchema

from sim.spec.binding import SpecModel
from sim.spec.units import format_duration_ns, format_fraction, parse_duration_ns, parse_fraction

__all__ = ["HalfWidth", "PrecisionSpec"]

WRITTEN = "a half width is written as a share of the value (2%), a time for a latency (0.5ms), or a plain number"


@dataclass(frozen=True, slots=True)
class HalfWidth:
    """Half the width of an interval.

    Attributes
    ----------
    amount : float
        A share of the value; milliseconds; or a number in the metric's own unit.
    of : str
        Which of the three.
    """

    amount: float
    of: Literal["share", "ms", "number"]

    def __post_init__(self) -> None:
        if self.amount <= 0:
            raise ValueError("a half width has to be more than 0")


def parse_half_width(written: object) -> object:
    """Return a half width written ``"2%"``, ``"0.5ms"`` or ``0.001``."""
    if isinstance(written, bool) or not isinstance(written, str | int | float):
        return written
    text = str(written).strip()
    if text.endswith("%"):
        return HalfWidth(parse_fraction(text), "share")
    try:
        number = float(text)
    except ValueError:
        try:
            duration_ns = parse_duration_ns(text)
        except ValueError as error:
            raise ValueError(WRITTEN) from error
        return HalfWidth(duration_ns / 1e6, "ms")
    if not math.isfinite(number):
        raise ValueError(WRITTEN)
    return HalfWidth(number, "number")


def format_half_width(half_width: HalfWidth) -> str | float:
    """Return `half_width` as it is written."""
    if half_width.of == "share":
        return format_fraction(half_width.amount)
    if half_width.of == "ms":
        return format_duration_ns(round(half_width.amount * 1e6))
    return half_width.amount


def _metrics(written: object) -> object:
    return (written,) if isinstance(written, str) else written


class PrecisionSpec(SpecModel):
    """Replications are added until the interval is narrow enough."""

    metric: Annotated[
        tuple[str, ...],
        BeforeValidator(_metrics),
        WithJsonSchema(
            {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}, "minItems": 1}]},
        ),
    ] = Field(
        min_length=1, description="Metric, or list of metrics, whose interval has to be narrow, as in metrics.csv."
    )
    half_width: Annotated[
        InstanceOf[HalfWidth],
        BeforeValidator(parse_half_width),
        PlainSerializer(format_half_width),
        WithJsonSchema({"type": ["string", "number"], "examples": ["2%", "0.5ms", 0.001]}),
    ] = Field(
        description="Half the width that the interval may have: a share of the value (2%), a time for latencies "
        "(0.5ms), or a plain number in the metric's own unit."
    )
    max_replications: int = Field(200, ge=2, le=100_000, description="Most replications of a scenario.")
