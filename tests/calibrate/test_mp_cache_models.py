"""The MP-Cache of the PyTorch models: it changes time, and where it should it changes no output."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from sim.calibrate.models.dlrm import Dlrm  # noqa: E402
from sim.calibrate.models.embeddings import DheStacks  # noqa: E402
from sim.calibrate.models.ids import draw_dense, draw_ids, hottest_ids_of_law  # noqa: E402
from sim.calibrate.models.mp_cache import (  # noqa: E402
    CachedDhe,
    DecoderCache,
    EncodedMisses,
    EncoderCache,
)
from sim.profile.dlrm import DheShape, DlrmShape, RepresentationName  # noqa: E402
from sim.workload.popularity import UniformPopularity, ZipfPopularity  # noqa: E402

SHAPE = DlrmShape(
    embedding_dim=4,
    table_rows=(3, 50, 7, 20, 4000),
    bottom_mlp=(5, 8, 4),
    top_mlp=(6, 1),
    dhe=DheShape(k=8, hidden=(6, 5)),
    select_dhe_features=3,
)


def stacks_of(features: int) -> DheStacks:
    shape = DheShape(k=8, hidden=(6,))
    return DheStacks(features, shape, 3, "mish", torch.device("cpu"), torch.Generator().manual_seed(4))


def test_a_cache_knows_an_id_by_its_feature() -> None:
    stacks = stacks_of(2)
    cache = EncoderCache(stacks, [torch.tensor([5]), torch.tensor([9, 2])])
    hit, positions = cache.look_up(torch.tensor([[5, 2, 9], [5, 2, 9]]))
    assert hit.tolist() == [[True, False, False], [False, True, True]]
    assert cache.hit_rate(torch.tensor([[5, 2, 9], [5, 2, 9]])) == 0.5
    whole = stacks.decode(stacks.encode(torch.tensor([[5, 2, 9], [5, 2, 9]])))
    torch.testing.assert_close(cache.vectors[positions][hit], whole[hit])
    assert cache.cache_bytes == 3 * (8 + 3 * 4)


@pytest.mark.parametrize("name", ["dhe", "select", "hybrid"])
@pytest.mark.parametrize("ids_per_feature", [1, 3])
@pytest.mark.parametrize("entries", [0, 1, 10, 60, 10_000])
def test_the_encoder_cache_changes_no_output(name: RepresentationName, ids_per_feature: int, entries: int) -> None:
    random = np.random.default_rng(entries)
    model = Dlrm(replace(SHAPE, ids_per_feature=ids_per_feature), name)
    assert model.stacks is not None
    ids = draw_ids(model.shape, 64, ZipfPopularity(1.05), random)
    dense = draw_dense(model.shape, 64, random)
    plain = model.serve(dense, ids)
    hot = hottest_ids_of_law(model.shape, model.dhe_features, entries, ZipfPopularity(1.05))
    cache = EncoderCache(model.stacks, hot)
    model.dhe_forward = CachedDhe(model.stacks, cache)
    torch.testing.assert_close(model.serve(dense, ids), plain)
    # As on a GPU: in one batch, padded.
    model.dhe_forward._spare = 10_000
    torch.testing.assert_close(model.serve(dense, ids), plain)
    hit_rate = cache.hit_rate(model.stack_ids(ids))
    assert (hit_rate == 0) == (entries == 0)
    assert (hit_rate == 1) == (entries == 10_000)


def test_a_hit_skips_encoder_and_decoder(monkeypatch: pytest.MonkeyPatch) -> None:
    stacks = stacks_of(3)
    ids = torch.tensor([[1, 2, 3, 4], [1, 2, 3, 4], [1, 2, 3, 4]])
    cached = CachedDhe(
        stacks, EncoderCache(stacks, [torch.tensor([1, 3]), torch.tensor([1, 2, 3, 4]), torch.tensor([4])])
    )
    encoded: list[tuple[int, list[list[int]]]] = []
    encode = stacks.encode
    monkeypatch.setattr(
        stacks, "encode", lambda ids, first=0: (encoded.append((first, ids.tolist())), encode(ids, first=first))[1]
    )
    through = cached.encode(ids)
    assert isinstance(through, EncodedMisses)
    assert encoded == [(0, [[2, 4]]), (2, [[1, 2, 3]])]
    torch.testing.assert_close(cached.decode(through), stacks.decode(encode(ids)))


def test_centroids_that_are_the_encoder_outputs_reproduce_them() -> None:
    stacks = stacks_of(3)
    ids = torch.tensor([[1, 2, 3], [4, 5, 6], [7, 8, 9]])
    encoded = stacks.encode(ids)
    cache = DecoderCache(stacks, encoded)
    torch.testing.assert_close(cache.decode(encoded), stacks.decode(encoded))
    # The length of a vector does not choose its centroid.
    torch.testing.assert_close(cache.decode(3 * encoded), stacks.decode(encoded))
    torch.testing.assert_close(cache.decode(encoded[1:2], first=1), stacks.decode(encoded)[1:2])
    assert cache.cache_bytes == 3 * 3 * (8 + 3) * 4


def test_nearest_centroid_by_hand() -> None:
    """(1, 2) lies nearer to (0, 10) than to (1, 0), though its product with (100, 0) is greater than with (0, 10)."""
    shape = DheShape(k=2, hidden=())
    stacks = DheStacks(1, shape, 2, "sigmoid", torch.device("cpu"), torch.Generator().manual_seed(1))
    stacks.weights = [torch.eye(2)[None]]
    cache = DecoderCache(stacks, torch.tensor([[[100.0, 0.0], [0.0, 10.0]]]))
    answer = cache.decode(torch.tensor([[[1.0, 2.0]]]))
    torch.testing.assert_close(answer, torch.sigmoid(torch.tensor([[[0.0, 10.0]]])))


def test_fitted_centroids_keep_few_ids_and_cluster_many() -> None:
    stacks = stacks_of(2)
    random = np.random.default_rng(3)
    few = torch.from_numpy(random.integers(0, 5, 400))
    many = torch.from_numpy(ZipfPopularity(1.05).draw(300, random.random(400)))
    accesses = torch.stack((few, many))
    encoded = stacks.encode(accesses)
    exact = stacks.decode(encoded)

    def errors(centroids: int) -> Any:
        answered = DecoderCache.fitted(stacks, accesses, centroids).decode(encoded)
        return ((answered - exact) ** 2).mean(dim=(1, 2))

    assert errors(8)[0] < 1e-10
    assert errors(4)[1] > errors(32)[1] > errors(300)[1]
    assert errors(300)[1] < 1e-10


def test_rounds_of_clustering_bring_centroids_nearer() -> None:
    """Eight directions, ten IDs around each: k-means from the eight hottest IDs, which share a direction."""
    stacks = stacks_of(1)
    random = torch.Generator().manual_seed(7)
    directions = torch.nn.functional.normalize(torch.randn(8, 8, generator=random), dim=-1)
    points = (directions[:, None] + 0.01 * torch.randn(8, 10, 8, generator=random)).reshape(80, 8)
    stacks.encode = lambda ids, first=0: points[ids]  # type: ignore[method-assign]
    accesses = torch.cat((torch.arange(80), torch.arange(8)))[None]

    def distance(iterations: int) -> float:
        cache = DecoderCache.fitted(stacks, accesses, 8, iterations)
        return 1 - float(
            (torch.nn.functional.normalize(points, dim=-1) @ cache.directions[0]).max(dim=-1).values.mean()
        )

    assert distance(10) < distance(1) < distance(0)


def test_both_caches_together_answer_hits_exactly_and_misses_by_centroid() -> None:
    stacks = stacks_of(2)
    ids = torch.tensor([[1, 2, 3], [1, 2, 3]])
    exact = stacks.decode(stacks.encode(ids))
    near = DecoderCache(stacks, stacks.encode(torch.tensor([[2], [3]])))
    both = CachedDhe(stacks, EncoderCache(stacks, [torch.tensor([1]), torch.tensor([1])]), near)
    answered = both.decode(both.encode(ids))
    torch.testing.assert_close(answered[:, 0], exact[:, 0])
    torch.testing.assert_close(answered[0, 1:], exact[0, [1, 1]])
    torch.testing.assert_close(answered[1, 1:], exact[1, [2, 2]])


@pytest.mark.parametrize("entries", [0, 1, 30, 200, 5000])
def test_the_hottest_ids_of_a_law_are_hit_as_often_as_it_says(entries: int) -> None:
    """The share of 200,000 look-ups a feature that hit, within five standard errors (false alarms 6e-7 each)."""
    law = ZipfPopularity(1.05)
    features = (1, 3, 4)
    hot = hottest_ids_of_law(SHAPE, features, entries, law)
    rows = [SHAPE.table_rows[feature] for feature in features]
    assert sum(len(ids) for ids in hot) == min(entries, sum(rows))
    ids = draw_ids(SHAPE, 200_000, law, np.random.default_rng(11))
    for number, feature in enumerate(features):
        expected = law.top_mass(len(hot[number]), rows[number])
        hits = float(torch.isin(ids[:, feature, 0], hot[number]).double().mean())
        assert abs(hits - expected) <= 5 * (expected * (1 - expected) / 200_000) ** 0.5
    # No ID outside is more popular than one inside.
    mass = [[law.top_mass(n + 1, count) - law.top_mass(n, count) for n in range(count)] for count in rows]
    inside = [mass[number][n] for number in range(3) for n in range(len(hot[number]))]
    outside = [mass[number][n] for number in range(3) for n in range(len(hot[number]), rows[number])]
    assert min(inside, default=1.0) >= max(outside, default=0.0) * (1 - 1e-9)


def test_equally_popular_ids_fill_a_cache_as_far_as_it_goes() -> None:
    hot = hottest_ids_of_law(SHAPE, (1, 3), 33, UniformPopularity())
    assert sum(len(ids) for ids in hot) == 33


def test_a_centroid_of_several_ids_stands_for_the_mean_of_their_embeddings() -> None:
    """One centroid, ID 5 looked up three times as often as ID 8."""
    stacks = stacks_of(1)
    cache = DecoderCache.fitted(stacks, torch.tensor([[5, 8, 5, 5]]), 1)
    five, eight = stacks.decode(stacks.encode(torch.tensor([[5, 8]])))[0]
    torch.testing.assert_close(cache.outputs[0, 0], (3 * five + eight) / 4)
