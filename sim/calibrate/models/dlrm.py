"""A DLRM under one embedding representation, run stage by stage so that each stage can be timed.

The stages have the names and the order of `sim.profile.model.Stage`. Nothing here times anything.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Protocol

import torch
from torch import Tensor

from sim.calibrate.models.embeddings import DheStacks, EmbeddingTables, LastActivation, filled_normal
from sim.profile.dlrm import DlrmShape, RepresentationName, dlrm_representation

__all__ = ["Activations", "DheForward", "Dlrm", "UncachedDhe", "features_of"]


class DheForward(Protocol):
    """How IDs go through DHE stacks: in full, or past an MP-Cache."""

    def encode(self, ids: Tensor) -> Any:
        """Start with IDs, int64 (features, IDs); what is returned is for `decode`."""

    def decode(self, encoded: Any) -> Tensor:
        """Return vectors, float32 (features, IDs, dim)."""


class UncachedDhe:
    """Every ID goes through encoder and decoder."""

    def __init__(self, stacks: DheStacks) -> None:
        self.stacks = stacks

    def encode(self, ids: Tensor) -> Tensor:
        """Hash the IDs, (features, IDs) to (features, IDs, k)."""
        return self.stacks.encode(ids)

    def decode(self, encoded: Tensor) -> Tensor:
        """Run the decoder MLPs, (features, IDs, k) to (features, IDs, dim)."""
        return self.stacks.decode(encoded)


@dataclass
class Activations:
    """What one query carries from stage to stage.

    Attributes
    ----------
    dense : Tensor
        float32, (samples, dense inputs).
    ids : Tensor
        int64, (samples, features, IDs a feature).
    table_vectors, dhe_vectors : Tensor or None
        float32, (samples, features that have them, dim).
    encoded : object
        What the encoder hands to the decoder.
    bottom : Tensor or None
        float32, (samples, dim).
    joined : Tensor or None
        float32, (samples, inputs of the top MLP).
    logits, probabilities : Tensor or None
        float32, (samples,).
    """

    dense: Tensor
    ids: Tensor
    table_vectors: Tensor | None = None
    encoded: Any = None
    dhe_vectors: Tensor | None = None
    bottom: Tensor | None = None
    joined: Tensor | None = None
    logits: Tensor | None = None
    probabilities: Tensor | None = None


class Dlrm:
    """A DLRM with table, DHE, select or hybrid embeddings.

    Parameters
    ----------
    shape : DlrmShape
        Of a model file (`sim.profile.library.find_dlrm_shape`).
    representation : {"table", "dhe", "select", "hybrid"}
        "select" gives DHE to the features with most rows and tables to the rest; "hybrid" gives both to every feature.
    seed : int
        The same seed gives the same weights, on any device if they are drawn on the same.
    device : str
        "cpu", "cuda", or "meta", which allocates nothing.
    last_activation : {"mish", "sigmoid"}
        Of the DHE decoders.
    drawn_on : {"cpu", "cuda"}
        Where the weights are drawn: a GPU draws gigabytes in a moment, a CPU the same ones everywhere.

    Attributes
    ----------
    stages : tuple of str
        Names of the stages, in the order in which they run.
    dhe_forward : DheForward or None
        How IDs go through the DHE stacks; replaced to put an MP-Cache before them.
    """

    def __init__(
        self,
        shape: DlrmShape,
        representation: RepresentationName,
        *,
        seed: int = 1,
        device: str = "cpu",
        last_activation: LastActivation = "mish",
        drawn_on: str = "cpu",
    ) -> None:
        # Refuses a representation that the shape does not have.
        described = dlrm_representation(shape, representation, accuracy=1.0, accuracy_evidence="assumed")
        self.shape = shape
        self.representation = representation
        self.device = torch.device(device)
        self.stages = tuple(stage.name for stage in described.stages)
        self.table_features, self.dhe_features = features_of(shape, representation)
        random = torch.Generator(drawn_on).manual_seed(seed)
        self.bottom = _Mlp(shape.bottom_mlp, self.device, random)
        vectors = len(self.table_features) + len(self.dhe_features) + 1
        dim = shape.embedding_dim
        inputs = vectors * dim if shape.interaction == "cat" else dim + vectors * (vectors - 1) // 2
        self.top = _Mlp((inputs, *shape.top_mlp), self.device, random)
        self.tables = EmbeddingTables(
            [shape.table_rows[feature] for feature in self.table_features], dim, self.device, random
        )
        self.stacks: DheStacks | None = None
        self.dhe_forward: DheForward | None = None
        if self.dhe_features:
            assert shape.dhe is not None
            self.stacks = DheStacks(len(self.dhe_features), shape.dhe, dim, last_activation, self.device, random)
            self.dhe_forward = UncachedDhe(self.stacks)
        self.sparse_gradients = False
        self._table_index = torch.tensor(self.table_features, dtype=torch.int64, device=self.device)
        self._dhe_index = torch.tensor(self.dhe_features, dtype=torch.int64, device=self.device)
        self._pairs = torch.tril_indices(vectors, vectors, offset=-1, device=self.device)
        self._stage_functions = {
            "table": self._look_up,
            "encoder": self._encode,
            "decoder": self._decode,
            "bottom MLP": self._run_bottom,
            "interaction": self._interact,
            "top MLP": self._run_top,
        }

    def run_stage(self, name: str, activations: Activations) -> None:
        """Run one stage; its inputs must be there, its output is added to `activations`."""
        self._stage_functions[name](activations)

    def forward(self, dense: Tensor, ids: Tensor) -> Activations:
        """Run all stages.

        Parameters
        ----------
        dense : Tensor
            float32, (samples, dense inputs).
        ids : Tensor
            int64, (samples, features, IDs a feature); those of one feature are summed.
        """
        activations = Activations(dense, ids)
        for name in self.stages:
            self.run_stage(name, activations)
        return activations

    def serve(self, dense: Tensor, ids: Tensor) -> Tensor:
        """Answer a query: click probabilities, (samples,), without keeping anything for gradients."""
        with torch.inference_mode():
            probabilities = self.forward(dense, ids).probabilities
        assert probabilities is not None
        return probabilities

    def stack_ids(self, ids: Tensor) -> Tensor:
        """Return the IDs of the features that have a DHE stack, (samples, features, m) to (stacks, samples m)."""
        chosen = ids if len(self.dhe_features) == ids.shape[1] else ids.index_select(1, self._dhe_index)
        return chosen.permute(1, 0, 2).reshape(len(self.dhe_features), -1)

    @property
    def dense_parameters(self) -> list[Tensor]:
        """Everything that is trained, but for embedding tables."""
        stacks = [] if self.stacks is None else self.stacks.parameters
        return [*self.bottom.parameters, *self.top.parameters, *stacks]

    @property
    def parameter_bytes(self) -> int:
        """Memory of all parameters, those of the hashes included."""
        constants = [] if self.stacks is None else self.stacks.constants
        every = [*self.dense_parameters, *self.tables.parameters, *constants]
        return sum(tensor.numel() * tensor.element_size() for tensor in every)

    def _look_up(self, activations: Activations) -> None:
        ids = activations.ids
        chosen = ids if len(self.table_features) == ids.shape[1] else ids.index_select(1, self._table_index)
        activations.table_vectors = self.tables.look_up(chosen, sparse_gradients=self.sparse_gradients)

    def _encode(self, activations: Activations) -> None:
        assert self.dhe_forward is not None
        activations.encoded = self.dhe_forward.encode(self.stack_ids(activations.ids))

    def _decode(self, activations: Activations) -> None:
        assert self.dhe_forward is not None
        vectors = self.dhe_forward.decode(activations.encoded)
        samples, _, several = activations.ids.shape
        if several > 1:
            vectors = vectors.unflatten(1, (samples, several)).sum(dim=2)
        activations.dhe_vectors = vectors.transpose(0, 1)

    def _run_bottom(self, activations: Activations) -> None:
        activations.bottom = self.bottom.run(activations.dense, last_is_linear=False)

    def _interact(self, activations: Activations) -> None:
        assert activations.bottom is not None
        parts = [activations.bottom[:, None]]
        parts += [part for part in (activations.table_vectors, activations.dhe_vectors) if part is not None]
        vectors = torch.cat(parts, dim=1)
        if self.shape.interaction == "cat":
            activations.joined = vectors.flatten(1)
            return
        products = torch.bmm(vectors, vectors.transpose(1, 2))
        activations.joined = torch.cat((activations.bottom, products[:, self._pairs[0], self._pairs[1]]), dim=1)

    def _run_top(self, activations: Activations) -> None:
        assert activations.joined is not None
        activations.logits = self.top.run(activations.joined, last_is_linear=True).squeeze(1)
        activations.probabilities = torch.sigmoid(activations.logits)


class _Mlp:
    """Linear layers with ReLU between them, initialised as the upstream DLRM does."""

    def __init__(self, widths: tuple[int, ...], device: torch.device, random: torch.Generator) -> None:
        self.weights = [
            filled_normal((outputs, inputs), math.sqrt(2 / (inputs + outputs)), device, random)
            for inputs, outputs in pairwise(widths)
        ]
        self.biases = [filled_normal((outputs,), math.sqrt(1 / outputs), device, random) for outputs in widths[1:]]

    def run(self, values: Tensor, *, last_is_linear: bool) -> Tensor:
        for number, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            values = torch.nn.functional.linear(values, weight, bias)
            if not (last_is_linear and number + 1 == len(self.weights)):
                values = torch.nn.functional.relu(values)
        return values

    @property
    def parameters(self) -> list[Tensor]:
        return [*self.weights, *self.biases]


def features_of(shape: DlrmShape, representation: RepresentationName) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the features that have a table, and those that have a DHE stack, by number."""
    every = tuple(range(len(shape.table_rows)))
    if representation == "table":
        return every, ()
    if representation == "dhe":
        return (), every
    if representation == "hybrid":
        return every, every
    by_rows = sorted(every, key=lambda feature: shape.table_rows[feature])
    tables = max(0, len(every) - shape.select_dhe_features)
    return tuple(sorted(by_rows[:tables])), tuple(sorted(by_rows[tables:]))
