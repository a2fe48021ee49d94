"""Popularity of the IDs that are looked up, as it is written."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from sim.spec.binding import SpecModel

__all__ = [
    "CountsPopularitySpec",
    "PopularitySpec",
    "StreamPopularitySpec",
    "UniformPopularitySpec",
    "ZipfPopularitySpec",
]


class UniformPopularitySpec(SpecModel):
    """Every row of a table is looked up as often as any other."""

    kind: Literal["uniform"]


class ZipfPopularitySpec(SpecModel):
    """The ID of rank r is looked up in proportion to r^-exponent."""

    kind: Literal["zipf"]
    exponent: float = Field(ge=0.0, le=20.0, description="0 is uniform; larger is more skewed.")


class CountsPopularitySpec(SpecModel):
    """IDs that were counted."""

    kind: Literal["counts"]
    file: str = Field(
        min_length=1,
        description="CSV file, relative to the experiment file or to here: columns id and count, or ids and count (so "
        "many IDs have that count each), and feature where the features of the model differ.",
    )


class StreamPopularitySpec(SpecModel):
    """IDs in the order in which they were looked up: the first half says which are hot, the second is served."""

    kind: Literal["stream"]
    file: str = Field(
        min_length=1,
        description="CSV file, relative to the experiment file or to here: a column id, and feature where the features "
        "of the model differ.",
    )


PopularitySpec = Annotated[
    UniformPopularitySpec | ZipfPopularitySpec | CountsPopularitySpec | StreamPopularitySpec,
    Field(discriminator="kind"),
]
