"""Real models as subjects: what they time, on which inputs, and with which caches."""

from __future__ import annotations

import itertools
from contextlib import nullcontext
from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

from sim.calibrate.measure.cache_setting import NO_CACHE, CacheSetting  # noqa: E402
from sim.calibrate.measure.dlrm_source import DlrmSource  # noqa: E402
from sim.calibrate.measure.dlrm_subject import (  # noqa: E402
    CudaSubject,
    _apart,
    _caches,
    _FeaturesThatMiss,
    _one_by_one,
    _Pool,
    _unequal,
    drawn_inputs,
)
from sim.calibrate.models.dlrm import Activations, Dlrm  # noqa: E402
from sim.calibrate.models.mp_cache import CachedDhe, EncoderCache  # noqa: E402
from sim.profile.dlrm import DheShape, DlrmShape  # noqa: E402

SHAPE = DlrmShape(4, (50, 4000), (3, 8, 4), (6, 1), dhe=DheShape(k=16, hidden=(8,)), select_dhe_features=1)


def source(
    zipf_exponent: float | None = 1.05, cache: CacheSetting = NO_CACHE, cache_stages: CacheSetting = NO_CACHE
) -> DlrmSource:
    return DlrmSource(SHAPE, "cpu", 1, 64, zipf_exponent, 7, cache, cache_stages)


def test_a_query_is_timed_in_all_and_by_stage() -> None:
    subjects = source().load(["table", "hybrid"], lane=0)
    assert subjects["table"].stages == ("table", "bottom MLP", "interaction", "top MLP")
    assert subjects["hybrid"].stages == ("table", "encoder", "decoder", "bottom MLP", "interaction", "top MLP")
    for subject in subjects.values():
        subject.renew(0)
        served = subject.serve(subject.take(8))
        assert len(served.stage_ns) == len(subject.stages) and min(served.stage_ns) > 0
        # Stages follow each other without a gap; what is left is two readings of the clock.
        assert sum(served.stage_ns) <= served.total_ns


def test_queries_are_cut_from_a_pool_that_each_block_and_lane_draws_anew() -> None:
    first, again, other = (source().load(["table"], lane)["table"] for lane in (0, 0, 1))
    for subject in (first, again, other):
        subject.renew(3)
    dense, ids = first.take(5)
    assert dense.shape == (5, 3) and ids.shape == (5, 2, 1)
    assert torch.equal(ids, again.take(5)[1])
    assert not torch.equal(ids, first.take(5)[1])
    assert not torch.equal(ids, other.take(5)[1])
    again.renew(4)
    assert not torch.equal(ids, again.take(5)[1])


def test_ids_follow_the_popularity_that_is_asked() -> None:
    """Share of the hottest ID: 1/50 where uniform; 1/H(50) under Zipf's law. Five standard errors."""
    samples = 20_000
    for exponent, share in ((None, 1 / 50), (1.05, 1 / sum(rank**-1.05 for rank in range(1, 51)))):
        ids = drawn_inputs(source(exponent), samples, ("pool", 0, 0))[1][:, 0, 0].numpy()
        hottest = np.bincount(ids, minlength=50).max() / samples
        # The largest of 50 equal shares lies up to three standard errors above them.
        error = (share * (1 - share) / samples) ** 0.5
        assert share - 5 * error < hottest < share + 8 * error


def test_caches_serve_the_queries_and_change_no_stage_name() -> None:
    # 600 of 4000 IDs and all of the 50.
    cached = source(cache=CacheSetting(encoder_bytes=650 * 24)).load(["dhe"], 0)["dhe"]
    plain = source().load(["dhe"], 0)["dhe"]
    assert cached.stages == plain.stages
    for subject in (cached, plain):
        subject.renew(0)
        assert subject.serve(subject.take(16)).total_ns > 0


def test_caches_are_looked_up_apart_and_do_not_count_for_the_query() -> None:
    setting = CacheSetting(encoder_bytes=2400, centroids=4)
    subjects = source(cache_stages=setting).load(["table", "dhe"], lane=0)
    assert subjects["table"].apart == ()
    dhe = subjects["dhe"]
    assert dhe.apart == (
        "rest behind caches",
        "encoder cache",
        "encoder by feature",
        "decoder by feature",
        "decoder cache 4 by feature",
        "decoder cache 4",
    )
    encoder_alone = source(cache_stages=CacheSetting(encoder_bytes=2400)).load(["dhe"], lane=0)["dhe"]
    assert encoder_alone.apart == ("rest behind caches", "encoder cache", "encoder by feature", "decoder by feature")
    ticks = itertools.count(0, 100)
    dhe._clock = lambda: next(ticks)  # type: ignore[attr-defined]
    dhe.renew(0)
    served = dhe.serve(dhe.take(4))
    # Five stages and a mark at the end, of 100 ns each.
    assert served.total_ns == 600
    assert served.stage_ns == [100] * 5
    # The rest are three stages; by feature, one of two misses IDs, and what it takes is taken for both.
    assert dhe.time_apart(dhe.take(4)) == [300, 100, 200, 200, 200, 100]
    assert subjects["table"].time_apart(dhe.take(4)) == []


@pytest.mark.parametrize("centroids", [0, 4])
def test_what_is_timed_apart_is_timed_after_queries_that_the_caches_served(
    monkeypatch: pytest.MonkeyPatch, centroids: int
) -> None:
    setting = CacheSetting(encoder_bytes=2400, centroids=centroids)
    dhe = source(cache_stages=setting).load(["dhe"], lane=0)["dhe"]
    model = dhe._model  # type: ignore[attr-defined]
    plain, run_stage = model.dhe_forward, model.run_stage
    served: list[str] = []

    def noted(stage: str, activations: Activations) -> None:
        if stage == "top MLP":
            forward = model.dhe_forward
            cached = "decoder" if forward is not plain and forward.decoder is model.stacks else "centroids"
            served.append("plain" if forward is plain else cached)
        run_stage(stage, activations)

    monkeypatch.setattr(model, "run_stage", noted)
    dhe.renew(0)
    dhe.time_apart(dhe.take(4))
    # 64 samples for the rest, and for a decoder by feature, which finds in the CPU's own caches what it is going to
    # use; a query before each of the other parts.
    if centroids:
        assert dhe.apart[1:] == (
            "encoder cache",
            "encoder by feature",
            "decoder by feature",
            "decoder cache 4 by feature",
            "decoder cache 4",
        )
        assert served == ["centroids"] * (16 + 1 + 1) + ["decoder"] * 16 + ["centroids"] * (16 + 1)
    else:
        assert dhe.apart[1:] == ("encoder cache", "encoder by feature", "decoder by feature")
        assert served == ["decoder"] * (16 + 1 + 1 + 16)
    dhe.serve(dhe.take(4))
    assert served[-1] == "plain"
    served.clear()
    dhe.time_apart(dhe.take(32))
    assert len(served) == (3 + 1 + 1 + 3 if not centroids else 3 + 1 + 1 + 1 + 3 + 3)


def test_what_is_looked_up_apart_does_all_of_the_work() -> None:
    """By feature as much as in one batch; and handling the cache leaves the embeddings of hits in their places."""
    given = source(cache_stages=CacheSetting(encoder_bytes=100 * 24))
    model = Dlrm(SHAPE, "dhe", seed=7)
    stages = {stage.name: stage for stage in _apart(given, model, _Pool(given, 0, pinned=False)).stages}
    ids = model.stack_ids(drawn_inputs(given, 30, ("pool", 0, 0))[1])
    stacks = model.stacks
    assert stacks is not None
    calls: list[tuple[int, torch.Tensor]] = []

    def recorded(values: torch.Tensor, *, first: int) -> torch.Tensor:
        calls.append((first, stacks.encode(values, first=first)))
        return calls[-1][1]

    unequal = _unequal(ids)
    _one_by_one(recorded)(list(enumerate(unequal)))
    assert [first for first, _ in calls] == [0, 1]
    for feature, (own, (_, encoded)) in enumerate(zip(unequal, calls, strict=True)):
        many = min(own.shape[1], 30)
        assert torch.equal(own[0, :many], ids[feature, :many])
        torch.testing.assert_close(encoded[:, :many], stacks.encode(ids)[feature : feature + 1, :many])
    encoder, _ = _caches(given, model, given.cache_stages)
    assert encoder is not None
    handled = stages["encoder cache"].work(ids)
    whole = CachedDhe(stacks, encoder)
    expected = whole.decode(whole.encode(ids))
    hit = encoder.look_up(ids)[0]
    assert isinstance(handled, torch.Tensor) and 0 < hit.sum() < hit.numel()
    assert torch.equal(handled[hit], expected[hit])
    assert torch.equal(handled[~hit], torch.zeros_like(handled[~hit]))


def test_by_feature_those_are_worked_on_of_which_a_query_misses_an_id() -> None:
    """The weights of a feature all of whose IDs are held lie in memory, not in the CPU's own caches."""
    stacks = Dlrm(SHAPE, "dhe", seed=7).stacks
    assert stacks is not None
    encoder = EncoderCache(stacks, [torch.arange(50), torch.tensor([5])])
    hit = torch.tensor([[3, 3, 4], [5, 5, 5]])
    miss = torch.tensor([[3, 3, 4], [5, 6, 5]])
    others = [hit, hit, miss]
    missing = _FeaturesThatMiss(encoder, lambda size: others[-1], seed=1)
    # None of this query's, so those of another one.
    values, share = missing.ids(hit)
    assert [feature for feature, _ in values] == [1] and share == 0.5
    assert torch.equal(values[0][1], miss[1:])
    values, share = missing.encoded_by(stacks)(hit)
    assert [feature for feature, _ in values] == [1] and share == 0.5
    torch.testing.assert_close(values[0][1], stacks.encode(miss[1:], first=1))
    # No query misses anything: all.
    values, share = _FeaturesThatMiss(encoder, lambda size: hit, seed=1).ids(hit)
    assert [feature for feature, _ in values] == [0, 1] and share == 1.0


def test_features_are_timed_as_often_as_they_are_worked_on() -> None:
    """A query in four misses an ID of both features, the others of the second: of five features worked on, one is the
    first. Were queries drawn evenly, each for the mean of its features, it would count as one of eight."""
    stacks = Dlrm(SHAPE, "dhe", seed=7).stacks
    assert stacks is not None
    encoder = EncoderCache(stacks, [torch.tensor([3]), torch.tensor([5])])
    kinds = [torch.tensor([[4], [6]])] + [torch.tensor([[3], [6]])] * 3
    random = np.random.default_rng(2)
    missing = _FeaturesThatMiss(encoder, lambda size: kinds[random.integers(4)], seed=1)
    draws = 4000
    both = 0.0
    for _ in range(draws):
        both += missing.ids(kinds[random.integers(4)])[1] == 1.0
    # Mean time of a feature: those of queries that miss both count half a first one each.
    first = both / draws / 2
    error = (0.4 * 0.6 / draws) ** 0.5 / 2
    assert abs(first - 1 / 5) < 5 * error


@pytest.mark.parametrize("features", [1, 2, 5, 26])
@pytest.mark.parametrize("count", [1, 2, 3, 4, 128])
def test_features_get_unequal_numbers_of_ids_that_add_up_to_all(features: int, count: int) -> None:
    ids = torch.arange(features * count).reshape(features, count)
    taken = [len(own[0]) for own in _unequal(ids)]
    assert sum(taken) == features * count
    quarter = max(1, count // 4)
    assert max(count - quarter, 1) <= min(taken) and max(taken) <= count + quarter
    if count > 1 and features > 1:
        assert max(taken) - min(taken) == 2 * quarter


class StandInEvent:
    """An event that is recorded when it is reached; a microsecond lies between two of them."""

    now = 0

    def record(self) -> None:
        StandInEvent.now += 1
        self.at = StandInEvent.now

    def elapsed_time(self, other: StandInEvent) -> float:
        return (other.at - self.at) / 1000


class StandInStream:
    synchronized = 0

    def synchronize(self) -> None:
        self.synchronized += 1


def test_on_a_gpu_copies_and_stages_are_timed_by_events(monkeypatch: pytest.MonkeyPatch) -> None:
    """The path of a GPU with stand-ins for its events and streams: order, names and number of what is timed."""
    empty = torch.empty
    monkeypatch.setattr(torch, "empty", lambda *size, pin_memory=False, **more: empty(*size, **more))
    monkeypatch.setattr(torch.cuda, "Event", lambda enable_timing: StandInEvent())
    monkeypatch.setattr(torch.cuda, "Stream", StandInStream)
    monkeypatch.setattr(torch.cuda, "stream", lambda _stream: nullcontext())
    setting = CacheSetting(encoder_bytes=2400)
    model = Dlrm(SHAPE, "hybrid", seed=7)
    given = replace(source(cache_stages=setting), device="cuda")
    pool = _Pool(given, 0, pinned=False)
    subject = CudaSubject(model, pool, 64, _apart(given, model, pool))
    assert subject.stages[:2] == ("transfer in", "table")
    assert subject.stages[-1] == "transfer out"
    # Misses are worked on in padded batches, which take what the batch of a smaller query takes.
    assert subject.apart == ("encoder cache",)
    subject.renew(0)
    inputs = subject.take(8)
    served = subject.serve(inputs)
    assert served.stage_ns == [1000] * (len(model.stages) + 2) and served.total_ns > 0
    assert subject.time_apart(inputs) == [1000]
    assert torch.equal(subject._answer[:8], model.serve(*inputs))
    assert subject._stream.synchronized == 2


def test_the_first_pool_has_the_weights_of_the_seed() -> None:
    subject = source().load(["dhe"], lane=1)["dhe"]
    expected = Dlrm(SHAPE, "dhe", seed=7)
    assert all(
        torch.equal(mine, theirs)
        for mine, theirs in zip(subject._model.dense_parameters, expected.dense_parameters, strict=True)  # type: ignore[attr-defined]
    )
