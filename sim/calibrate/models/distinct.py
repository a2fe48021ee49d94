"""DHE of each distinct ID of a batch once: the same vectors and gradients as for every look-up, for less arithmetic.

Training uses it. Serving does not: what a query's duplicates cost there is part of what is measured.
"""

from __future__ import annotations

import torch
from torch import Tensor

from sim.calibrate.models.embeddings import DheStacks
from sim.profile.mp_cache import padded_batches

__all__ = ["DistinctDhe", "DistinctEncoded"]


class DistinctEncoded:
    """Encoder outputs of distinct IDs, and which look-up is which of them.

    Attributes
    ----------
    groups : list of tuple
        First feature and encoder outputs, (features, distinct IDs, k), of neighbouring features.
    places : Tensor
        int64, (features, IDs): the row of each look-up among all decoded vectors.
    """

    def __init__(self, groups: list[tuple[int, Tensor]], places: Tensor) -> None:
        self.groups = groups
        self.places = places


class DistinctDhe:
    """Takes the place of `Dlrm.dhe_forward`.

    Parameters
    ----------
    stacks : DheStacks
    """

    def __init__(self, stacks: DheStacks) -> None:
        self.stacks = stacks

    def encode(self, ids: Tensor) -> DistinctEncoded:
        """Hash each distinct ID of each feature, (features, IDs)."""
        found = [torch.unique(row, return_inverse=True) for row in ids]
        counts = [len(distinct) for distinct, _ in found]
        places = torch.empty_like(ids)
        groups = []
        start = 0
        for first, last in padded_batches(counts):
            width = max(counts[first:last])
            padded = ids.new_zeros((last - first, width))
            for feature in range(first, last):
                distinct, inverse = found[feature]
                padded[feature - first, : len(distinct)] = distinct
                places[feature] = inverse + start + (feature - first) * width
            groups.append((first, self.stacks.encode(padded, first=first)))
            start += padded.numel()
        return DistinctEncoded(groups, places)

    def decode(self, encoded: DistinctEncoded) -> Tensor:
        """Return vectors, (features, IDs, dim)."""
        decoded = [self.stacks.decode(outputs, first=first).flatten(0, 1) for first, outputs in encoded.groups]
        # index_select, because the gradients of a plain index are added up in no fixed order.
        chosen = torch.cat(decoded).index_select(0, encoded.places.flatten())
        vectors: Tensor = chosen.unflatten(0, tuple(encoded.places.shape))
        return vectors
