"""MP-Cache on a device, as it is written: hot embeddings kept, and decoders replaced by centroids."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from sim.spec.binding import Contradiction, SpecModel
from sim.spec.popularity import PopularitySpec
from sim.spec.units import Bytes, FractionOrZero

__all__ = ["CacheSpec"]


class CacheSpec(SpecModel):
    """Caches of every path of a device that computes embeddings (dhe, select, hybrid); MP-Cache of MP-Rec."""

    encoder: Bytes | None = Field(
        None, description="Memory for the embeddings of hot IDs, which skip encoder and decoder; none by default."
    )
    popularity: PopularitySpec | None = Field(None, description="How often the IDs are looked up; with encoder.")
    sharing: Literal["by-frequency", "evenly"] | None = Field(
        None,
        description="The encoder cache holds the IDs that are looked up most often over all features (by-frequency, "
        "the default), or as many of each feature (evenly).",
    )
    decoder_centroids: int | None = Field(
        None,
        ge=1,
        le=1_000_000,
        description="The embedding of the nearest of so many centroids stands in for the decoder; off by default.",
    )
    decoder_accuracy_cost: FractionOrZero | None = Field(
        None, description="What the centroids take off the accuracy, in absolute terms; assumed to be none by default."
    )

    @model_validator(mode="after")
    def _parts_have_a_use(self) -> CacheSpec:
        if self.encoder is None and self.decoder_centroids is None:
            raise ValueError("a cache without encoder and decoder_centroids does nothing")
        if self.encoder is not None and self.popularity is None:
            raise ValueError("the hit rate of encoder needs popularity")
        for key in ("popularity", "sharing"):
            if self.encoder is None and getattr(self, key) is not None:
                raise Contradiction((key,), "has no effect without encoder")
        if self.decoder_centroids is None and self.decoder_accuracy_cost is not None:
            raise Contradiction(("decoder_accuracy_cost",), "has no effect without decoder_centroids")
        return self
