"""The PyTorch models: bytes and FLOPs equal the formulae, outputs equal what is worked by hand."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch.utils._python_dispatch import TorchDispatchMode  # noqa: E402
from torch.utils.flop_counter import FlopCounterMode  # noqa: E402

from sim.calibrate.models.dlrm import Activations, Dlrm  # noqa: E402
from sim.calibrate.models.embeddings import DheStacks  # noqa: E402
from sim.calibrate.models.ids import draw_dense, draw_ids  # noqa: E402
from sim.profile.dlrm import DheShape, DlrmShape, RepresentationName, dlrm_representation  # noqa: E402
from sim.profile.library import find_dlrm_shape, find_model  # noqa: E402
from sim.workload.popularity import UniformPopularity  # noqa: E402

REPRESENTATIONS: tuple[RepresentationName, ...] = ("table", "dhe", "select", "hybrid")
SMALL = DlrmShape(
    embedding_dim=4,
    table_rows=(3, 50, 7, 20),
    bottom_mlp=(5, 8, 4),
    top_mlp=(6, 1),
    dhe=DheShape(k=8, hidden=(6, 5)),
    select_dhe_features=2,
)


class ArithmeticCount(TorchDispatchMode):
    """Counts one operation per element that an arithmetic operator or a conversion writes."""

    NAMES = ("mul", "add", "sub", "div", "remainder", "_to_copy")

    def __init__(self) -> None:
        super().__init__()
        self.operations = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if func.overloadpacket.__name__.rstrip("_") in self.NAMES or func.overloadpacket.__name__ == "_to_copy":
            self.operations += result.numel()
        return result


def shape_of(model: str) -> DlrmShape:
    shape = find_dlrm_shape(model)
    assert shape is not None
    return shape


def query(shape: DlrmShape, samples: int, seed: int = 0) -> tuple[Any, Any]:
    random = np.random.default_rng(seed)
    return draw_dense(shape, samples, random), draw_ids(shape, samples, UniformPopularity(), random)


@pytest.mark.parametrize("name", REPRESENTATIONS)
@pytest.mark.parametrize("model", ["dlrm-kaggle", "dlrm-terabyte"])
def test_parameter_bytes_equal_the_formula(model: str, name: RepresentationName) -> None:
    built = Dlrm(shape_of(model), name, device="meta")
    assert built.parameter_bytes == find_model(model).representations[name].bytes


@pytest.mark.parametrize("name", REPRESENTATIONS)
@pytest.mark.parametrize("interaction", ["cat", "dot"])
@pytest.mark.parametrize("ids_per_feature", [1, 3])
@pytest.mark.parametrize("model", ["dlrm-kaggle", "dlrm-terabyte"])
def test_flops_of_each_stage_equal_the_formula(
    model: str, name: RepresentationName, interaction: Any, ids_per_feature: int
) -> None:
    shape = replace(shape_of(model), interaction=interaction, ids_per_feature=ids_per_feature)
    built = Dlrm(shape, name, device="meta")
    samples = 2
    activations = Activations(
        torch.empty((samples, shape.bottom_mlp[0]), device="meta"),
        torch.empty((samples, len(shape.table_rows), ids_per_feature), dtype=torch.int64, device="meta"),
    )
    described = dlrm_representation(shape, name, accuracy=1.0, accuracy_evidence="assumed")
    assert built.stages == tuple(stage.name for stage in described.stages)
    for stage in described.stages:
        with FlopCounterMode(display=False) as products, ArithmeticCount() as elements:
            built.run_stage(stage.name, activations)
        counted = elements.operations if stage.name == "encoder" else products.get_total_flops()
        assert counted == stage.flops_per_sample * samples, stage.name


def test_dhe_vector_by_hand() -> None:
    """Two features, two hashes, no hidden layer: 2 x 2 numbers that a pocket calculator gives."""
    stacks = DheStacks(2, DheShape(k=2, hidden=()), 1, "sigmoid", torch.device("cpu"), torch.Generator().manual_seed(1))
    stacks.factors = torch.tensor([[3, 500_000], [7, 999_999]])
    stacks.offsets = torch.tensor([[1, 2], [999_997, 5]])
    ids = torch.tensor([[10], [2]])
    hashes = [[31, (500_000 * 10 + 2) % 1_000_003], [(14 + 999_997) % 1_000_003, (999_999 * 2 + 5) % 1_000_003]]
    assert hashes == [[31, 999_990], [8, 1_000_000]]
    hashes[1][1] = 0  # 1,000,000 mod 1,000,000
    expected = torch.tensor([[[2 * h / 999_999 - 1 for h in row]] for row in hashes])
    encoded = stacks.encode(ids)
    torch.testing.assert_close(encoded, expected)
    stacks.weights = [torch.tensor([[[0.5], [-1.0]], [[2.0], [0.25]]])]
    stacks.biases = [torch.tensor([[[0.1]], [[0.0]]])]
    first = 0.5 * (62 / 999_999 - 1) - 1.0 * (2 * 999_990 / 999_999 - 1) + 0.1
    second = 2.0 * (16 / 999_999 - 1) - 0.25
    wanted = [1 / (1 + math.exp(-first)), 1 / (1 + math.exp(-second))]
    torch.testing.assert_close(stacks.decode(encoded).flatten(), torch.tensor(wanted))


def test_neighbouring_features_alone_give_what_they_give_together() -> None:
    stacks = DheStacks(4, DheShape(k=6, hidden=(5,)), 3, "mish", torch.device("cpu"), torch.Generator().manual_seed(3))
    ids = torch.arange(12).reshape(4, 3)
    together = stacks.decode(stacks.encode(ids))
    alone = stacks.decode(stacks.encode(ids[1:3], first=1), first=1)
    torch.testing.assert_close(alone, together[1:3])


@pytest.mark.parametrize("transform", ["uniform", "gaussian"])
def test_transformed_hashes_follow_their_law(transform: Any) -> None:
    """Kolmogorov-Smirnov over 40,000 hashes of distinct IDs, false alarms 1e-6."""
    from scipy.stats import kstest

    stacks = DheStacks(
        1, DheShape(k=2, hidden=(), transform=transform), 1, "mish", torch.device("cpu"), torch.Generator()
    )
    values = stacks.encode(torch.arange(20_000)[None]).numpy()[0]
    for column in values.T:
        law = ("uniform", (-1, 2)) if transform == "uniform" else ("norm", ())
        assert kstest(column, *law).pvalue > 1e-6
    if transform == "gaussian":
        assert abs(np.corrcoef(values.T)[0, 1]) < 5 / math.sqrt(20_000)


def test_a_gaussian_transform_of_an_odd_number_of_hashes_is_refused() -> None:
    with pytest.raises(ValueError, match="pairs; k is 3"):
        DheStacks(1, DheShape(3, (), "gaussian"), 1, "mish", torch.device("cpu"), torch.Generator())


def test_dot_interaction_by_hand() -> None:
    """Three vectors of length 2: the dense one beside the products of 1-0, 2-0 and 2-1."""
    shape = DlrmShape(
        embedding_dim=2, table_rows=(2, 2), bottom_mlp=(2, 2), top_mlp=(1,), interaction="dot", ids_per_feature=2
    )
    model = Dlrm(shape, "table")
    activations = Activations(torch.zeros(1, 2), torch.tensor([[[0, 1], [1, 1]]]))
    model.tables.weights = [torch.tensor([[1.0, 2.0], [3.0, 5.0]]), torch.tensor([[0.0, 0.0], [-1.0, 0.5]])]
    model.run_stage("table", activations)
    assert activations.table_vectors is not None
    assert activations.table_vectors.tolist() == [[[4.0, 7.0], [-2.0, 1.0]]]
    activations.bottom = torch.tensor([[10.0, 1.0]])
    model.run_stage("interaction", activations)
    assert activations.joined is not None
    assert activations.joined.tolist() == [[10.0, 1.0, 47.0, -19.0, -1.0]]


@pytest.mark.parametrize("name", REPRESENTATIONS)
@pytest.mark.parametrize("interaction", ["cat", "dot"])
def test_ids_of_a_feature_are_summed(name: RepresentationName, interaction: Any) -> None:
    """Vectors of two IDs looked up together are the sum of the vectors of each alone."""
    one = Dlrm(replace(SMALL, interaction=interaction), name, seed=5)
    both = Dlrm(replace(SMALL, interaction=interaction, ids_per_feature=2), name, seed=5)
    dense, ids = query(both.shape, 6)
    together = both.forward(dense, ids)
    parts = [one.forward(dense, ids[:, :, [which]]) for which in (0, 1)]
    for field in ("table_vectors", "dhe_vectors"):
        whole = getattr(together, field)
        if whole is not None:
            torch.testing.assert_close(whole, getattr(parts[0], field) + getattr(parts[1], field))


def test_select_gives_dhe_to_the_features_with_most_rows() -> None:
    model = Dlrm(SMALL, "select")
    assert (model.table_features, model.dhe_features) == ((0, 2), (1, 3))
    assert [len(table) for table in model.tables.weights] == [3, 7]


@pytest.mark.parametrize("name", REPRESENTATIONS)
def test_weights_follow_from_the_seed(name: RepresentationName) -> None:
    dense, ids = query(SMALL, 9)
    first, again, other = (Dlrm(SMALL, name, seed=seed).serve(dense, ids) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert first.shape == (9,)
    assert bool(((first > 0) & (first < 1)).all())


def test_a_shape_without_dhe_has_tables_only() -> None:
    shape = DlrmShape(embedding_dim=2, table_rows=(2,), bottom_mlp=(2, 2), top_mlp=(1,))
    with pytest.raises(ValueError, match="needs the shape of a DHE stack"):
        Dlrm(shape, "hybrid")
