"""The MP-Cache: hot IDs keep their final embedding, and the nearest of N centroids stands in for the decoder MLP.

MP-Rec (ASPLOS 2023). An ID found in the encoder cache skips encoder and decoder. The decoder cache holds, per feature,
N centroids of encoder outputs and what the decoder makes of them; the one with the greatest normalised dot product
answers. Either cache can be had without the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from sim.calibrate.models.embeddings import DheStacks
from sim.profile.mp_cache import SPARE_IDS_ON_GPU, padded_batches

__all__ = ["CachedDhe", "DecoderCache", "EncodedMisses", "EncoderCache"]

_FEATURE_BITS = 40
"""An ID of a feature is looked up as feature * 2^40 + ID."""

_MOST_CLUSTERED = 8192
"""The encoder outputs of more IDs than this are not held at once: the most frequent ones are clustered."""


class EncoderCache:
    """Final embeddings of hot IDs.

    Parameters
    ----------
    stacks : DheStacks
        What makes the embeddings.
    hot_ids : sequence of Tensor
        int64, IDs of each feature.
    """

    def __init__(self, stacks: DheStacks, hot_ids: Sequence[Tensor]) -> None:
        device = stacks.factors.device
        keys, vectors = [], []
        for feature, ids in enumerate(hot_ids):
            ordered = torch.sort(ids).values.to(device)
            keys.append(ordered + (feature << _FEATURE_BITS))
            # In pieces: the encoder output of an ID is much larger than its embedding.
            for piece in ordered.split(4096):
                vectors.append(stacks.decode(stacks.encode(piece[None], first=feature), first=feature)[0].detach())
        self.keys = torch.cat(keys)
        dim = stacks.weights[-1].shape[-1]
        self.vectors = torch.cat(vectors) if vectors else torch.empty((0, dim), device=device)
        self._owners = (torch.arange(len(hot_ids), device=device) << _FEATURE_BITS)[:, None]

    def look_up(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        """Say which IDs are there, and which of `vectors` is theirs.

        Parameters
        ----------
        ids : Tensor
            int64, (features, IDs).

        Returns
        -------
        tuple of Tensor
            bool and int64, both (features, IDs); the second means nothing where the first is false.
        """
        if not len(self.keys):
            return torch.zeros_like(ids, dtype=torch.bool), torch.zeros_like(ids)
        wanted = (ids + self._owners).contiguous()
        positions = torch.searchsorted(self.keys, wanted).clamp_(max=len(self.keys) - 1)
        return self.keys[positions] == wanted, positions

    def hit_rate(self, ids: Tensor) -> float:
        """Share of look-ups, int64 (features, IDs), that the cache answers."""
        return float(self.look_up(ids)[0].double().mean())

    @property
    def cache_bytes(self) -> int:
        """Memory of keys and embeddings."""
        return sum(part.numel() * part.element_size() for part in (self.keys, self.vectors))


class DecoderCache:
    """Centroids of encoder outputs, and the embedding that stands for each.

    Parameters
    ----------
    stacks : DheStacks
        Whose decoders are stood in for.
    centroids : Tensor
        float32, (features, N, k).
    outputs : Tensor, optional
        float32, (features, N, dim); by default what the decoder makes of the centroids.
    """

    def __init__(self, stacks: DheStacks, centroids: Tensor, outputs: Tensor | None = None) -> None:
        self.outputs = stacks.decode(centroids).detach() if outputs is None else outputs
        # An encoder output is not normalised: its length changes no comparison between centroids.
        self.directions = torch.nn.functional.normalize(centroids, dim=-1).transpose(1, 2).contiguous()

    @classmethod
    def fitted(cls, stacks: DheStacks, accesses: Tensor, centroids: int, iterations: int = 10) -> DecoderCache:
        """Cluster what was looked up: k-means by normalised dot product, weighted by frequency.

        It starts from the encoder outputs of the most frequent IDs. A feature with fewer IDs than centroids keeps
        each of them, so its embeddings stay as they are. A centroid of several IDs stands for the mean of their
        embeddings: what the decoder makes of a mean of hashes, which it never saw in training, is far off.

        Parameters
        ----------
        stacks : DheStacks
            Whose decoders are stood in for.
        accesses : Tensor
            int64, (features, accesses): IDs as they were looked up.
        centroids : int
            N, for each feature.
        iterations : int
            Rounds of k-means.
        """
        fitted = [_clustered(stacks, feature, row, centroids, iterations) for feature, row in enumerate(accesses)]
        return cls(stacks, torch.stack([centres for centres, _ in fitted]), torch.stack([means for _, means in fitted]))

    def decode(self, encoded: Tensor, *, first: int = 0) -> Tensor:
        """Return the output of the nearest centroid, (features, IDs, k) to (features, IDs, dim).

        Parameters
        ----------
        encoded : Tensor
            Of neighbouring features, from `first` on.
        first : int
            Number of the feature that the first of them belongs to.
        """
        last = first + len(encoded)
        nearest = torch.bmm(encoded, self.directions[first:last]).argmax(dim=-1)
        dim = self.outputs.shape[-1]
        return self.outputs[first:last].gather(1, nearest[:, :, None].expand(-1, -1, dim))

    @property
    def cache_bytes(self) -> int:
        """Memory of centroids and outputs."""
        return sum(part.numel() * part.element_size() for part in (self.directions, self.outputs))


@dataclass
class EncodedMisses:
    """What the encoder leaves for the decoder where the encoder cache has answered the rest.

    Attributes
    ----------
    vectors : Tensor
        float32, (features, IDs, dim); those of misses are still to be filled in.
    groups : list
        Per group of neighbouring features: its first feature, encoder outputs (features, IDs, k) padded to the
        feature with most misses, and three index tensors: rows and columns of the misses in them, and their places
        in `vectors` when its features and IDs are one axis.
    """

    vectors: Tensor
    groups: list[tuple[int, Tensor, Tensor, Tensor, Tensor]]


class CachedDhe:
    """DHE stacks behind an MP-Cache; takes the place of `Dlrm.dhe_forward`.

    Parameters
    ----------
    stacks : DheStacks
        What answers where the caches do not.
    encoder_cache : EncoderCache or None
    decoder_cache : DecoderCache or None
    """

    def __init__(
        self, stacks: DheStacks, encoder_cache: EncoderCache | None = None, decoder_cache: DecoderCache | None = None
    ) -> None:
        self.stacks = stacks
        self.encoder_cache = encoder_cache
        self.decoder = stacks if decoder_cache is None else decoder_cache
        on_gpu = encoder_cache is not None and encoder_cache.keys.device.type == "cuda"
        self._spare = SPARE_IDS_ON_GPU if on_gpu else 0

    def encode(self, ids: Tensor) -> Tensor | EncodedMisses:
        """Answer what the encoder cache holds, and hash the rest; IDs are (features, IDs)."""
        if self.encoder_cache is None:
            return self.stacks.encode(ids)
        hit, positions = self.encoder_cache.look_up(ids)
        held = self.encoder_cache.vectors
        vectors = held[positions] if len(held) else held.new_empty((*ids.shape, held.shape[1]))
        features, columns = (~hit).nonzero(as_tuple=True)
        misses = torch.bincount(features, minlength=len(ids)).tolist()
        groups = []
        start = 0
        for first, last in padded_batches(misses, self._spare):
            end = start + sum(misses[first:last])
            own, places = features[start:end] - first, columns[start:end]
            counts = torch.tensor(misses[first:last], device=ids.device)
            ranks = torch.arange(end - start, device=ids.device) - (counts.cumsum(0) - counts)[own]
            padded = ids.new_zeros((last - first, max(misses[first:last])))
            padded[own, ranks] = ids[features[start:end], places]
            encoded = self.stacks.encode(padded, first=first)
            groups.append((first, encoded, own, ranks, features[start:end] * ids.shape[1] + places))
            start = end
        return EncodedMisses(vectors, groups)

    def decode(self, encoded: Tensor | EncodedMisses) -> Tensor:
        """Return vectors, (features, IDs, dim)."""
        if isinstance(encoded, Tensor):
            return self.decoder.decode(encoded)
        flat = encoded.vectors.flatten(0, 1)
        for first, outputs, rows, columns, places in encoded.groups:
            flat[places] = self.decoder.decode(outputs, first=first)[rows, columns]
        return encoded.vectors


def _clustered(
    stacks: DheStacks, feature: int, accesses: Tensor, centroids: int, iterations: int
) -> tuple[Tensor, Tensor]:
    """Return mean encoder outputs, (centroids, k), and mean embeddings, (centroids, dim), of one feature's IDs."""
    ids, counts = torch.unique(accesses, return_counts=True)
    order = torch.argsort(counts, descending=True, stable=True)[: max(centroids, _MOST_CLUSTERED)]
    ids, weights = ids[order], counts[order].to(torch.float32)
    points = stacks.encode(ids[None], first=feature)
    embeddings = stacks.decode(points, first=feature)[0].detach()
    points = points[0]
    centres = points[:centroids]
    if len(ids) <= centroids:
        # Repeats of the last one fill up what is left: they change no nearest centroid.
        filled = torch.arange(centroids, device=points.device).clamp_(max=len(ids) - 1)
        return points[filled], embeddings[filled]
    for _ in range(iterations):
        centres = _means(_nearest(points, centres), points, weights, centres)
    return centres, _means(_nearest(points, centres), embeddings, weights, embeddings[:centroids])


def _nearest(points: Tensor, centres: Tensor) -> Tensor:
    return (points @ torch.nn.functional.normalize(centres, dim=-1).T).argmax(dim=-1)


def _means(nearest: Tensor, values: Tensor, weights: Tensor, kept: Tensor) -> Tensor:
    """Weighted means of the values of each centre, and what is `kept` for a centre without any."""
    sums = torch.zeros_like(kept).index_add_(0, nearest, values * weights[:, None])
    mass = torch.zeros(len(kept), device=values.device).index_add_(0, nearest, weights)[:, None]
    return torch.where(mass > 0, sums / mass.clamp(min=1), kept)
