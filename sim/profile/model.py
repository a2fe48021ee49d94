"""Models: representations with an accuracy, a byte size and the work that one sample takes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, TypeAlias

__all__ = ["AccuracyEvidence", "DheStacks", "Model", "Representation", "Stage"]

AccuracyEvidence: TypeAlias = Literal["recalled", "assumed", "published", "measured"]


@dataclass(frozen=True, slots=True)
class Stage:
    """A step of a model's forward pass, as work that a roofline can time.

    Attributes
    ----------
    name : str
        "table", "encoder", "decoder", "bottom MLP", "interaction" or "top MLP".
    unit : {"matrix", "vector", "gather"}
        Whether the arithmetic is matrix products, element by element, or none (a random look-up).
    flops_per_sample : float
        Arithmetic per sample.
    weight_bytes : int
        Parameters read once per query, whatever its size.
    stream_bytes_per_sample : float
        Activations read and written per sample: each operator reads its input and writes its output.
    rows_per_sample, row_bytes : int
        Embedding rows fetched per sample at random, and bytes of one.
    operators : int
        Operators launched per query.
    """

    name: str
    unit: Literal["matrix", "vector", "gather"]
    flops_per_sample: float = 0.0
    weight_bytes: int = 0
    stream_bytes_per_sample: float = 0.0
    rows_per_sample: int = 0
    row_bytes: int = 0
    operators: int = 0


@dataclass(frozen=True, slots=True)
class DheStacks:
    """The deep hash embeddings of a representation: what a cache of their embeddings has to know.

    Attributes
    ----------
    features, rows : tuple of int
        The features that have a stack, by their place in the model file from 0, and the IDs that each has.
    ids_per_feature : int
        IDs looked up per feature and sample.
    k, embedding_dim : int
        Length of what an encoder gives, and of an embedding.
    decoder_flops_per_id : int
    """

    features: tuple[int, ...]
    rows: tuple[int, ...]
    ids_per_feature: int
    k: int
    embedding_dim: int
    decoder_flops_per_id: int

    @property
    def lookups_per_sample(self) -> int:
        """IDs that are encoded and decoded per sample."""
        return len(self.features) * self.ids_per_feature


@dataclass(frozen=True, slots=True)
class Representation:
    """One way to represent a model's embeddings.

    Attributes
    ----------
    name : str
        "table", "dhe", "select", "hybrid", or a user's own.
    accuracy : float
        Fraction of correct predictions, in (0, 1].
    accuracy_evidence : {"recalled", "assumed", "published", "measured"}
        Where the accuracy comes from.
    accuracy_source : str
        The same in words.
    bytes : int or None
        Memory of all parameters; None where it is not known.
    table_bytes : int or None
        The part of `bytes` that is embedding tables (what sharding spreads over chips).
    flops_per_sample : float or None
        Arithmetic of one sample; None where it is not known.
    traffic_bytes_per_sample : float or None
        Memory traffic per sample apart from the weights: embedding rows and activations.
    weight_bytes : int or None
        Parameters read once per query.
    input_bytes_per_sample, exchange_bytes_per_sample : float
        Inputs sent to the device, and embedding vectors that cross between chips when tables are sharded.
    stages : tuple of Stage
        The forward pass; empty for a model that is opaque.
    dhe : DheStacks or None
        None where no feature has a deep hash embedding, or for a model that is opaque.
    """

    name: str
    accuracy: float
    accuracy_evidence: AccuracyEvidence
    accuracy_source: str = ""
    bytes: int | None = None
    table_bytes: int | None = None
    flops_per_sample: float | None = None
    traffic_bytes_per_sample: float | None = None
    weight_bytes: int | None = None
    input_bytes_per_sample: float = 0.0
    exchange_bytes_per_sample: float = 0.0
    stages: tuple[Stage, ...] = ()
    dhe: DheStacks | None = None


@dataclass(frozen=True, slots=True)
class Model:
    """A recommendation model with its representations.

    Attributes
    ----------
    name : str
        Its name; device profiles are looked up by it.
    representations : dict
        Representations by name, in the order of the model file.
    content_hash : str
        SHA-256 of everything that describes the model, hexadecimal.
    description, family : str
        For people.
    """

    name: str
    representations: dict[str, Representation] = field(hash=False)
    content_hash: str
    description: str = ""
    family: str = ""
