"""Embedding tables and DHE stacks: what turns sparse IDs into vectors.

A deep hash embedding (DHE) hashes an ID k times with universal hashes ((a x + b) mod p) mod m, transforms the hashes
to [-1, 1] or to a Gaussian, and decodes them with an MLP; so MP-Rec defines it (ASPLOS 2023, github samhsia/MP-Rec-AE).
The stacks of all features are one batch of matrices: a layer is one batched product, whatever the number of features.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Literal, TypeAlias

import torch
from torch import Tensor

from sim.profile.dlrm import DheShape

__all__ = ["HASH_BUCKETS", "HASH_PRIME", "DheStacks", "EmbeddingTables", "LastActivation", "filled_normal"]

HASH_BUCKETS = 1_000_000
HASH_PRIME = 1_000_003
"""The first prime above the number of buckets."""

LastActivation: TypeAlias = Literal["mish", "sigmoid"]


def filled_normal(shape: tuple[int, ...], deviation: float, device: torch.device, random: torch.Generator) -> Tensor:
    """Draw a float32 tensor of normal weights on the device of the generator, and put it where it is kept.

    On the meta device nothing is allocated and nothing is drawn.
    """
    if device.type == "meta":
        return torch.empty(shape, device=device)
    return torch.empty(shape, device=random.device).normal_(0.0, deviation, generator=random).to(device)


class EmbeddingTables:
    """One float32 table a feature.

    Parameters
    ----------
    rows : sequence of int
        Rows of each table.
    dim : int
        Length of a vector.
    device, random
        Where they are kept, and what they are drawn from: uniform on +-1/sqrt(rows), as the upstream DLRM does.
    """

    def __init__(self, rows: Sequence[int], dim: int, device: torch.device, random: torch.Generator) -> None:
        self.weights: list[Tensor] = []
        for count in rows:
            table = torch.empty((count, dim), device=device if device.type == "meta" else random.device)
            if device.type != "meta":
                table.uniform_(-1 / math.sqrt(count), 1 / math.sqrt(count), generator=random)
            self.weights.append(table.to(device))

    def look_up(self, ids: Tensor, *, sparse_gradients: bool = False) -> Tensor:
        """Sum the rows of each feature's IDs.

        Parameters
        ----------
        ids : Tensor
            int64, (samples, tables, IDs a feature).
        sparse_gradients : bool
            Whether a backward pass touches the looked-up rows only.

        Returns
        -------
        Tensor
            float32, (samples, tables, dim).
        """
        vectors = [
            torch.nn.functional.embedding_bag(ids[:, number], table, mode="sum", sparse=sparse_gradients)
            for number, table in enumerate(self.weights)
        ]
        return torch.stack(vectors, dim=1)

    @property
    def parameters(self) -> list[Tensor]:
        """Everything that is trained."""
        return self.weights


class DheStacks:
    """DHE stacks, one a feature, as one batch.

    Parameters
    ----------
    features : int
        How many.
    shape : DheShape
        Hashes, widths of the decoder, transform.
    dim : int
        Length of a vector.
    last_activation : {"mish", "sigmoid"}
        After the last layer; ReLU is between layers. The artifact has both.
    device, random
        Where they are kept, and what they are drawn from.

    Raises
    ------
    ValueError
        For a Gaussian transform of an odd number of hashes: Box-Muller takes pairs.
    """

    def __init__(
        self,
        features: int,
        shape: DheShape,
        dim: int,
        last_activation: LastActivation,
        device: torch.device,
        random: torch.Generator,
    ) -> None:
        if shape.transform == "gaussian" and shape.k % 2:
            raise ValueError(f"a Gaussian transform takes hashes in pairs; k is {shape.k}")
        self.features = features
        self.transform = shape.transform
        self.last_activation = last_activation
        hashes = (features, shape.k)
        if device.type == "meta":
            self.factors = torch.empty(hashes, dtype=torch.int64, device=device)
            self.offsets = torch.empty(hashes, dtype=torch.int64, device=device)
        else:
            self.factors = torch.randint(1, HASH_PRIME, hashes, generator=random, device=random.device).to(device)
            self.offsets = torch.randint(0, HASH_PRIME, hashes, generator=random, device=random.device).to(device)
        self.weights: list[Tensor] = []
        self.biases: list[Tensor] = []
        for inputs, outputs in pairwise((shape.k, *shape.hidden, dim)):
            # ReLU halves the variance of what it passes on (He et al. 2015).
            self.weights.append(filled_normal((features, inputs, outputs), math.sqrt(2 / inputs), device, random))
            self.biases.append(torch.zeros((features, 1, outputs), device=device))

    def encode(self, ids: Tensor, *, first: int = 0) -> Tensor:
        """Hash IDs and transform the hashes.

        Parameters
        ----------
        ids : Tensor
            int64, (features, IDs): of neighbouring features, from `first` on.
        first : int
            Number of the feature that the first row of `ids` belongs to.

        Returns
        -------
        Tensor
            float32, (features, IDs, k).
        """
        last = first + len(ids)
        hashes = ids[:, :, None] * self.factors[first:last, None]
        hashes += self.offsets[first:last, None]
        hashes.remainder_(HASH_PRIME).remainder_(HASH_BUCKETS)
        values = hashes.to(torch.float32)
        if self.transform == "uniform":
            return values.div_(HASH_BUCKETS - 1).mul_(2.0).sub_(1.0)
        half = values.shape[-1] // 2
        # In (0, 1], because 0 has no logarithm.
        radius = values[..., :half].add(1.0).div_(HASH_BUCKETS).log_().mul_(-2.0).sqrt_()
        angle = values[..., half:].mul(2 * math.pi / HASH_BUCKETS)
        return torch.cat((radius * angle.cos(), radius * angle.sin()), dim=-1)

    def decode(self, encoded: Tensor, *, first: int = 0) -> Tensor:
        """Take encoder outputs through the decoder MLPs, one batched product a layer.

        Parameters
        ----------
        encoded : Tensor
            float32, (features, IDs, k): of neighbouring features, from `first` on.
        first : int
            Number of the feature that the first of them belongs to.

        Returns
        -------
        Tensor
            float32, (features, IDs, dim).
        """
        last = first + len(encoded)
        values = encoded
        for number, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            values = torch.baddbmm(bias[first:last], values, weight[first:last])
            if number + 1 < len(self.weights):
                values = torch.nn.functional.relu(values, inplace=not values.requires_grad)
        if self.last_activation == "mish":
            return torch.nn.functional.mish(values)
        return torch.sigmoid(values)

    @property
    def parameters(self) -> list[Tensor]:
        """Everything that is trained."""
        return [*self.weights, *self.biases]

    @property
    def constants(self) -> list[Tensor]:
        """Parameters of the hashes, which are drawn and never trained."""
        return [self.factors, self.offsets]
