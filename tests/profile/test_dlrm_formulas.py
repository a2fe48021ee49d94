"""Bytes and FLOPs of the shipped DLRMs equal the figures computed from the MP-Rec artifact."""

from __future__ import annotations

import pytest

from sim.profile.dlrm import DheShape, DlrmShape, dlrm_representation
from sim.profile.library import find_model

# Whole model (MLPs included), MB = 1e6 bytes, with the printed digits as tolerance.
PUBLISHED = [
    ("dlrm-kaggle", "table", "2162.8", "1.015"),
    ("dlrm-kaggle", "dhe", "126.08", "63.00"),
    ("dlrm-kaggle", "select", "62.3", "12.93"),
    ("dlrm-kaggle", "hybrid", "2287.7", "63.42"),
    ("dlrm-terabyte", "table", "12582.1", "2.865"),
    ("dlrm-terabyte", "dhe", "131.06", "65.48"),
    ("dlrm-terabyte", "select", "587.7", "14.91"),
    ("dlrm-terabyte", "hybrid", "12710.8", "67.19"),
]


def printed(value: float, like: str) -> str:
    return f"{value:.{len(like.split('.')[1])}f}"


@pytest.mark.parametrize(("model", "name", "megabytes", "megaflops"), PUBLISHED)
def test_bytes_and_flops(model: str, name: str, megabytes: str, megaflops: str) -> None:
    representation = find_model(model).representations[name]
    assert representation.bytes is not None
    assert representation.flops_per_sample is not None
    assert printed(representation.bytes / 1e6, megabytes) == megabytes
    assert printed(representation.flops_per_sample / 1e6, megaflops) == megaflops


@pytest.mark.parametrize(
    ("model", "rows", "table_bytes", "largest_share"),
    [
        ("dlrm-kaggle", 33_762_577, 2_160_804_928, 0.983),
        ("dlrm-terabyte", 49_126_297, 12_576_332_032, 0.956),
    ],
)
def test_table_bytes(model: str, rows: int, table_bytes: int, largest_share: float) -> None:
    representations = find_model(model).representations
    assert representations["table"].table_bytes == table_bytes
    assert representations["hybrid"].table_bytes == table_bytes
    assert representations["dhe"].table_bytes == 0
    assert table_bytes % (4 * rows) == 0
    select = representations["select"].table_bytes
    assert select is not None
    assert 1 - select / table_bytes == pytest.approx(largest_share, abs=5e-4)


def test_bytes_split_into_tables_and_weights() -> None:
    for model in ("dlrm-kaggle", "dlrm-terabyte"):
        for representation in find_model(model).representations.values():
            assert representation.table_bytes is not None
            assert representation.weight_bytes is not None
            assert representation.bytes == representation.table_bytes + representation.weight_bytes


def small(**changes: object) -> DlrmShape:
    values: dict[str, object] = {
        "embedding_dim": 2,
        "table_rows": (10, 3),
        "bottom_mlp": (4, 2),
        "top_mlp": (1,),
        "dhe": DheShape(k=3, hidden=(5,)),
        "select_dhe_features": 1,
    }
    return DlrmShape(**(values | changes))  # type: ignore[arg-type]


def rep(shape: DlrmShape, name: str):  # type: ignore[no-untyped-def]
    return dlrm_representation(shape, name, accuracy=0.8, accuracy_evidence="assumed")  # type: ignore[arg-type]


def test_small_model_by_hand() -> None:
    table = rep(small(), "table")
    # Tables 13 rows x 2 x 4 B; bottom (4+1)x2, top (6+1)x1 parameters of 4 B.
    assert table.bytes == 104 + 40 + 28
    assert table.flops_per_sample == 2 * 8 + 2 * 6
    assert table.input_bytes_per_sample == 4 * 4 + 2 * 8
    dhe = rep(small(), "dhe")
    # Encoder 16nk; decoder 4n((3+1)5 + (5+1)2); FLOPs 8nk + 2n(3x5 + 5x2).
    assert dhe.bytes == 16 * 2 * 3 + 4 * 2 * 32 + 40 + 28
    assert dhe.flops_per_sample == 8 * 2 * 3 + 2 * 2 * 25 + 16 + 12
    # The largest table goes; 3 rows stay.
    assert rep(small(), "select").table_bytes == 3 * 8
    # Hybrid joins 2 x 2 + 1 vectors.
    assert rep(small(), "hybrid").bytes == 104 + 96 + 256 + 40 + 4 * 11


def test_dot_interaction_and_gaussian_transform_and_many_ids() -> None:
    dot = rep(small(interaction="dot"), "table")
    # Three vectors: 2 x 9 x 2 FLOPs of products, top input 2 + 3.
    assert dot.flops_per_sample == 16 + 36 + 2 * 5
    gaussian = rep(small(dhe=DheShape(k=3, hidden=(5,), transform="gaussian")), "dhe")
    assert gaussian.flops_per_sample - rep(small(), "dhe").flops_per_sample == 6 * 2 * 3
    many = rep(small(ids_per_feature=4), "dhe")
    assert many.flops_per_sample == 4 * (48 + 100) + 28
    assert many.bytes == rep(small(), "dhe").bytes


def test_dhe_needs_a_shape() -> None:
    with pytest.raises(ValueError, match="DHE"):
        rep(small(dhe=None), "hybrid")
