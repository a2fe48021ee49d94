"""Bytes, FLOPs and memory traffic of a DLRM under each embedding representation.

Formulae of the MP-Rec artifact (ASPLOS 2023, github samhsia/MP-Rec-AE), for n sparse features and a deep
hash embedding (DHE) stack of k hashes: encoder 16nk bytes, decoder 4n sum((d_in + 1) d_out) bytes; per
looked-up ID 4nk FLOPs of hashing, 4nk (uniform) or 10nk (Gaussian) FLOPs of transform, 2n sum(d_in d_out)
FLOPs of decoding.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, TypeAlias

from sim.profile.model import AccuracyEvidence, DheStacks, Representation, Stage

__all__ = ["DheShape", "DlrmShape", "RepresentationName", "dlrm_representation"]

RepresentationName: TypeAlias = Literal["table", "dhe", "select", "hybrid"]

_FP32 = 4
_ID_BYTES = 8
_HASH_PARAMETER_BYTES = 16
_HASH_FLOPS = 4
_TRANSFORM_FLOPS = {"uniform": 4, "gaussian": 10}
# Per feature: multiply-add, modulo, modulo, transform.
_ENCODER_OPERATORS = 4
# Matrix product with bias, activation.
_LAYER_OPERATORS = 2


@dataclass(frozen=True, slots=True)
class DheShape:
    """Shape of one DHE stack.

    Attributes
    ----------
    k : int
        Number of hashes.
    hidden : tuple of int
        Widths of the decoder between k and the embedding dimension.
    transform : {"uniform", "gaussian"}
        What the hashes are transformed to.
    """

    k: int
    hidden: tuple[int, ...]
    transform: Literal["uniform", "gaussian"] = "uniform"


@dataclass(frozen=True, slots=True)
class DlrmShape:
    """Shape of a DLRM.

    Attributes
    ----------
    embedding_dim : int
        Length of an embedding vector.
    table_rows : tuple of int
        Rows of the embedding table of each sparse feature.
    bottom_mlp : tuple of int
        Widths from the number of dense inputs to `embedding_dim`.
    top_mlp : tuple of int
        Widths after the interaction; the input width follows from the interaction.
    interaction : {"cat", "dot"}
        "cat" joins the vectors, "dot" takes their pairwise products beside the dense vector.
    dhe : DheShape or None
        None: only the table representation exists.
    select_dhe_features : int
        How many of the features with most rows use DHE under "select".
    ids_per_feature : int
        IDs looked up (and summed) per feature and sample.
    """

    embedding_dim: int
    table_rows: tuple[int, ...]
    bottom_mlp: tuple[int, ...]
    top_mlp: tuple[int, ...]
    interaction: Literal["cat", "dot"] = "cat"
    dhe: DheShape | None = None
    select_dhe_features: int = 5
    ids_per_feature: int = 1


def dlrm_representation(
    shape: DlrmShape,
    name: RepresentationName,
    *,
    accuracy: float,
    accuracy_evidence: AccuracyEvidence,
    accuracy_source: str = "",
) -> Representation:
    """Compute a representation of a DLRM from its shape.

    Parameters
    ----------
    shape : DlrmShape
        The model.
    name : {"table", "dhe", "select", "hybrid"}
        Which representation. "select" gives DHE to the features with most rows and tables to the rest;
        "hybrid" gives both to every feature, side by side in the interaction.
    accuracy, accuracy_evidence, accuracy_source
        Passed on.

    Raises
    ------
    ValueError
        If the representation needs a DHE shape and there is none.
    """
    features = len(shape.table_rows)
    by_rows = sorted(shape.table_rows)
    dhe_features = {
        "table": 0,
        "dhe": features,
        "select": min(shape.select_dhe_features, features),
        "hybrid": features,
    }[name]
    tables: list[int] = {
        "table": by_rows,
        "dhe": [],
        "select": by_rows[: features - dhe_features],
        "hybrid": by_rows,
    }[name]
    vectors = len(tables) + dhe_features + 1
    dim = shape.embedding_dim

    table_bytes = _FP32 * dim * sum(tables)
    stages: list[Stage] = []
    if tables:
        fetched = len(tables) * shape.ids_per_feature
        stages.append(
            Stage(
                name="table",
                unit="gather",
                rows_per_sample=fetched,
                row_bytes=_FP32 * dim,
                stream_bytes_per_sample=_FP32 * dim * len(tables),
                operators=len(tables),
            )
        )
    if dhe_features:
        stages += _dhe_stages(shape, dhe_features, name)
    stages.append(_mlp_stage("bottom MLP", shape.bottom_mlp))
    joined = vectors * dim
    if shape.interaction == "cat":
        top_input, interaction_flops = joined, 0
    else:
        top_input, interaction_flops = dim + vectors * (vectors - 1) // 2, 2 * vectors * vectors * dim
    stages.append(
        Stage(
            name="interaction",
            unit="matrix",
            flops_per_sample=interaction_flops,
            stream_bytes_per_sample=_FP32 * (joined + top_input),
            operators=1,
        )
    )
    stages.append(_mlp_stage("top MLP", (top_input, *shape.top_mlp)))

    weight_bytes = sum(stage.weight_bytes for stage in stages)
    return Representation(
        name=name,
        accuracy=accuracy,
        accuracy_evidence=accuracy_evidence,
        accuracy_source=accuracy_source,
        bytes=table_bytes + weight_bytes,
        table_bytes=table_bytes,
        flops_per_sample=sum(stage.flops_per_sample for stage in stages),
        traffic_bytes_per_sample=sum(
            stage.stream_bytes_per_sample + stage.rows_per_sample * stage.row_bytes for stage in stages
        ),
        weight_bytes=weight_bytes,
        input_bytes_per_sample=_FP32 * shape.bottom_mlp[0] + _ID_BYTES * features * shape.ids_per_feature,
        exchange_bytes_per_sample=_FP32 * dim * len(tables),
        stages=tuple(stages),
        dhe=_dhe_stacks(shape, dhe_features) if dhe_features else None,
    )


def _dhe_stacks(shape: DlrmShape, features: int) -> DheStacks:
    """Return the stacks of the `features` with most rows; between equal ones the last come first."""
    assert shape.dhe is not None
    by_rows = sorted(range(len(shape.table_rows)), key=lambda feature: (shape.table_rows[feature], feature))
    chosen = sorted(by_rows[len(by_rows) - features :])
    widths = (shape.dhe.k, *shape.dhe.hidden, shape.embedding_dim)
    return DheStacks(
        features=tuple(chosen),
        rows=tuple(shape.table_rows[feature] for feature in chosen),
        ids_per_feature=shape.ids_per_feature,
        k=shape.dhe.k,
        embedding_dim=shape.embedding_dim,
        decoder_flops_per_id=2 * sum(a * b for a, b in pairwise(widths)),
    )


def _dhe_stages(shape: DlrmShape, features: int, name: str) -> list[Stage]:
    if shape.dhe is None:
        raise ValueError(f"representation {name} needs the shape of a DHE stack")
    dhe = shape.dhe
    widths = (dhe.k, *dhe.hidden, shape.embedding_dim)
    looked_up = features * shape.ids_per_feature
    encoder = Stage(
        name="encoder",
        unit="vector",
        flops_per_sample=(_HASH_FLOPS + _TRANSFORM_FLOPS[dhe.transform]) * looked_up * dhe.k,
        weight_bytes=_HASH_PARAMETER_BYTES * features * dhe.k,
        # Written by the hash, read and written by the transform.
        stream_bytes_per_sample=3 * _FP32 * looked_up * dhe.k,
        operators=_ENCODER_OPERATORS * features,
    )
    decoder = Stage(
        name="decoder",
        unit="matrix",
        flops_per_sample=2 * looked_up * sum(a * b for a, b in pairwise(widths)),
        weight_bytes=_FP32 * features * _parameters(widths),
        stream_bytes_per_sample=_FP32 * looked_up * sum(a + b for a, b in pairwise(widths)),
        operators=_LAYER_OPERATORS * (len(widths) - 1) * features,
    )
    return [encoder, decoder]


def _mlp_stage(name: str, widths: tuple[int, ...]) -> Stage:
    return Stage(
        name=name,
        unit="matrix",
        flops_per_sample=2 * sum(a * b for a, b in pairwise(widths)),
        weight_bytes=_FP32 * _parameters(widths),
        stream_bytes_per_sample=_FP32 * sum(a + b for a, b in pairwise(widths)),
        operators=_LAYER_OPERATORS * (len(widths) - 1),
    )


def _parameters(widths: tuple[int, ...]) -> int:
    """Weights and biases of a chain of linear layers."""
    return sum((a + 1) * b for a, b in pairwise(widths))
