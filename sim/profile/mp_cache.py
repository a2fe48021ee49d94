"""What MP-Cache (ASPLOS 2023) changes of a representation: its memory, and the stages of its forward pass.

The encoder cache holds the embeddings of hot IDs: a hit skips encoder and decoder. The decoder cache holds so many
centroids of encoder outputs with their embeddings, for each feature: the nearest by normalised dot product stands in
for the decoder, which takes 2Nk FLOPs an ID for N centroids of length k.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from sim.profile.model import DheStacks, Representation, Stage
from sim.profile.stage_times import ENCODER_CACHE, decoder_cache_stage

__all__ = [
    "SPARE_IDS_ON_GPU",
    "centroid_bytes",
    "centroid_flops_per_id",
    "entry_bytes",
    "padded_batches",
    "with_caches",
]

_PADDING = 1 / 8
"""How much of a batched product over features may be padding before another product is cheaper."""

SPARE_IDS_ON_GPU = 4096
"""A GPU takes about half a millisecond to be told of another batch, in which an H200 works on so many IDs (measured:
11 ms for 106,496 of dlrm-kaggle)."""

_FP32 = 4
_KEY_BYTES = 8
# Product, greatest, and taking its embedding.
_SEARCH_OPERATORS = 3


def entry_bytes(stacks: DheStacks) -> int:
    """Memory of an entry of the encoder cache: an embedding and the ID that it belongs to, a 64-bit key."""
    return _FP32 * stacks.embedding_dim + _KEY_BYTES


def centroid_bytes(stacks: DheStacks, centroids: int) -> int:
    """Memory of the decoder cache: the centroids of every feature, and the embedding of each."""
    return _FP32 * len(stacks.features) * centroids * (stacks.k + stacks.embedding_dim)


def centroid_flops_per_id(stacks: DheStacks, centroids: int) -> int:
    """Arithmetic of the search among centroids, which are kept normalised, for one ID."""
    return 2 * centroids * stacks.k


def with_caches(representation: Representation, *, encoder_bytes: int = 0, centroids: int = 0) -> Representation:
    """Return a representation as it is with caches: with their memory, and with their stages at full work.

    Parameters
    ----------
    representation : Representation
        With `dhe`.
    encoder_bytes : int
        Memory of the encoder cache; 0 is none. The stage "encoder cache" looks up every ID, and copies the embedding.
    centroids : int
        Of the decoder cache; 0 is none. Its stage, "decoder cache N", stands in the place of the decoder, which stays
        in memory to fill the cache again.

    Raises
    ------
    ValueError
        If the representation has no deep hash embedding.
    """
    stacks = representation.dhe
    if stacks is None or representation.bytes is None:
        raise ValueError(f"{representation.name} has no deep hash embedding to cache")
    stages: list[Stage] = []
    for stage in representation.stages:
        if stage.name == "encoder" and encoder_bytes:
            stages.append(_encoder_cache(stacks))
        stages.append(_decoder_cache(stacks, centroids) if stage.name == "decoder" and centroids else stage)
    return replace(
        representation,
        bytes=representation.bytes + encoder_bytes + (centroid_bytes(stacks, centroids) if centroids else 0),
        stages=tuple(stages),
    )


def _encoder_cache(stacks: DheStacks) -> Stage:
    return Stage(
        name=ENCODER_CACHE,
        unit="gather",
        rows_per_sample=stacks.lookups_per_sample,
        row_bytes=entry_bytes(stacks),
        stream_bytes_per_sample=_FP32 * stacks.embedding_dim * stacks.lookups_per_sample,
        operators=len(stacks.features),
    )


def _decoder_cache(stacks: DheStacks, centroids: int) -> Stage:
    # The product reads k and writes N, the greatest is found in these, an embedding is read and written.
    stream = stacks.k + 2 * centroids + 2 * stacks.embedding_dim
    return Stage(
        name=decoder_cache_stage(centroids),
        unit="matrix",
        flops_per_sample=centroid_flops_per_id(stacks, centroids) * stacks.lookups_per_sample,
        weight_bytes=_FP32 * len(stacks.features) * centroids * stacks.k,
        stream_bytes_per_sample=_FP32 * stacks.lookups_per_sample * stream,
        operators=_SEARCH_OPERATORS * len(stacks.features),
    )


def padded_batches(misses: Sequence[float], spare: float = 0.0) -> list[tuple[int, int]]:
    """Divide features into runs of neighbours that a padded product can take at once.

    Neighbours, because a run is then a view of the weights: to copy weights together costs a CPU as much as decoding
    some twenty IDs does. Without spare padding features without misses are in no run.

    Parameters
    ----------
    misses : sequence of float
        IDs to encode, per feature.
    spare : float
        IDs of padding that a run may have in any case.

    Returns
    -------
    list of tuple of int
        First feature of each run, and the one after its last.
    """
    runs: list[tuple[int, int]] = []
    for feature, count in enumerate(misses):
        if count == 0:
            continue
        if runs and (spare > 0 or runs[-1][1] == feature):
            first = runs[-1][0]
            own = misses[first : feature + 1]
            if max(own) * len(own) <= (1 + _PADDING) * sum(own) + spare:
                runs[-1] = (first, feature + 1)
                continue
        runs.append((feature, feature + 1))
    return runs
