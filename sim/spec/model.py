"""Model files: the shape of a model and the accuracy of each of its representations."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Discriminator, Field, Tag, ValidationInfo, field_validator, model_validator

from sim.spec.binding import SpecModel, inline_or_name
from sim.spec.units import LARGEST, Bytes, Fraction

__all__ = [
    "AccuracySpec",
    "DecoderCacheScoreSpec",
    "DheSpec",
    "DlrmSpec",
    "MeasuredScoresSpec",
    "ModelSpec",
    "NamedModel",
    "RepresentationSpec",
    "ScoreSpec",
    "SelectSpec",
]

Width = Annotated[int, Field(ge=1, le=10**6)]
Rows = Annotated[int, Field(ge=1, le=10**12)]


class ScoreSpec(SpecModel):
    """A score over seeds: its mean and the ends of the 95% interval, which one seed does not give."""

    value: float
    low: float | None = None
    high: float | None = None


class DecoderCacheScoreSpec(SpecModel):
    """What so many centroids in the place of the decoders take off the accuracy, in absolute terms."""

    centroids: int = Field(ge=1)
    accuracy_cost: ScoreSpec


class MeasuredScoresSpec(SpecModel):
    """Scores of a representation that was trained on a click log, over seeds."""

    seeds: int = Field(ge=1)
    accuracy: ScoreSpec
    auc: ScoreSpec
    log_loss: ScoreSpec
    decoder_cache: DecoderCacheScoreSpec | None = None


class AccuracySpec(SpecModel):
    """Share of predictions that are correct, and how it is known."""

    value: Fraction
    evidence: Literal["recalled", "assumed", "published", "measured"]
    source: str = Field(default="", description="Where the value comes from, in words.")
    measured: MeasuredScoresSpec | None = Field(
        default=None, description="What a training measured besides, as mprec calibrate accuracy writes it."
    )


class RepresentationSpec(SpecModel):
    """One embedding representation of a model."""

    accuracy: AccuracySpec
    bytes: Bytes | None = Field(
        default=None,
        description="Memory of an opaque model; left out where unknown, or computed from a dlrm shape.",
    )


class DheSpec(SpecModel):
    """A deep hash embedding stack, one per feature."""

    k: Width = Field(description="Number of hashes.")
    decoder: tuple[Width, ...] = Field(description="Widths between k and the embedding dimension.")
    transform: Literal["uniform", "gaussian"] = "uniform"


class SelectSpec(SpecModel):
    """The select representation: DHE for the features with most rows, tables for the rest."""

    dhe_features: Width = 5


class DlrmSpec(SpecModel):
    """Shape of a DLRM, from which bytes and FLOPs of every representation follow."""

    embedding_dim: Width
    table_rows: tuple[Rows, ...] = Field(min_length=1, description="Rows per sparse feature.")
    bottom_mlp: tuple[Width, ...] = Field(min_length=2, description="From dense inputs to embedding_dim.")
    top_mlp: tuple[Width, ...] = Field(min_length=1, description="After the interaction; ends with 1.")
    interaction: Literal["cat", "dot"] = "cat"
    ids_per_feature: Width = 1
    dhe: DheSpec | None = None
    select: SelectSpec = SelectSpec()

    @field_validator("table_rows")
    @classmethod
    def _can_be_counted(cls, rows: tuple[int, ...], info: ValidationInfo) -> tuple[int, ...]:
        dim = info.data.get("embedding_dim")
        if dim is not None and 4 * dim * sum(rows) > LARGEST // 2:
            raise ValueError("tables of so many bytes cannot be counted in 64 bits")
        return rows

    @field_validator("bottom_mlp")
    @classmethod
    def _ends_with_dim(cls, widths: tuple[int, ...], info: ValidationInfo) -> tuple[int, ...]:
        dim = info.data.get("embedding_dim")
        if dim is not None and widths[-1] != dim:
            raise ValueError(f"must end with embedding_dim ({dim})")
        return widths


class ModelSpec(SpecModel):
    """A recommendation model: opaque (only profiles know its times) or a DLRM with a shape."""

    name: str | None = Field(default=None, min_length=1)
    family: str = ""
    description: str = ""
    dlrm: DlrmSpec | None = None
    representations: dict[str, RepresentationSpec] = Field(min_length=1)

    @model_validator(mode="after")
    def _representations_match_shape(self) -> ModelSpec:
        if self.dlrm is None:
            return self
        known = ("table", "dhe", "select", "hybrid")
        for name, representation in self.representations.items():
            if name not in known:
                raise ValueError(f"a dlrm has no representation {name!r} (allowed: {', '.join(known)})")
            if name != "table" and self.dlrm.dhe is None:
                raise ValueError(f"representation {name!r} needs dlrm.dhe")
            if representation.bytes is not None:
                raise ValueError(f"bytes of {name!r} follow from the dlrm shape; leave them out")
        return self


NamedModel = Annotated[Annotated[str, Tag("name")] | Annotated[ModelSpec, Tag("inline")], Discriminator(inline_or_name)]
