"""DLRMs that serve queries and time each stage; importing this needs PyTorch."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple, TypeAlias, cast

import numpy as np
import torch
from torch import Tensor

from sim.calibrate.measure.cache_setting import NO_CACHE, CacheSetting
from sim.calibrate.measure.dlrm_setup import DlrmSetup
from sim.calibrate.measure.subject import Served, Subject, Subjects
from sim.calibrate.measure.visits import queries_behind_cache
from sim.calibrate.models.dlrm import Activations, DheForward, Dlrm
from sim.calibrate.models.embeddings import DheStacks
from sim.calibrate.models.ids import draw_dense, draw_ids, hottest_ids_of_law
from sim.calibrate.models.mp_cache import CachedDhe, DecoderCache, EncoderCache
from sim.profile.dlrm import RepresentationName
from sim.profile.stage_times import (
    ENCODER_CACHE,
    OTHER_STAGES,
    REST_BEHIND_CACHES,
    by_feature,
    decoder_cache_stage,
)
from sim.workload.popularity import Popularity, UniformPopularity, ZipfPopularity

__all__ = ["CpuSubject", "CudaSubject", "load_subjects"]

ACCESSES = 524_288
"""Samples whose encoder outputs are clustered for a decoder cache; what is looked up are others."""

TRIES = 4096
"""Queries among which one is drawn in proportion to the features of which it misses an ID."""

Inputs: TypeAlias = tuple[Tensor, Tensor]


class CacheStage(NamedTuple):
    """A stage that is timed apart from the queries: its name, and what to do with the IDs of the stacks.

    `prepare` returns what `work` works on, and what share of all features that is; the time is for all. `behind` is how
    the queries before it go through the stacks, where that is not as for the other stages.
    """

    name: str
    prepare: Callable[[Tensor], tuple[Any, float]]
    work: Callable[[Any], object]
    behind: DheForward | None = None


@dataclass(frozen=True)
class Apart:
    """What is timed apart from queries.

    Attributes
    ----------
    stages : tuple of CacheStage
    behind : DheForward or None
        How IDs go through the stacks behind these caches; None without any.
    """

    stages: tuple[CacheStage, ...] = ()
    behind: DheForward | None = None


NOTHING_APART = Apart()


class _Pool:
    """Samples that queries are cut from one after the other; drawn anew for each block."""

    def __init__(self, setup: DlrmSetup, lane: int, pinned: bool) -> None:
        self._setup = setup
        self._lane = lane
        self._pinned = pinned
        self._block: int | None = None
        self._next = 0
        self._dense = torch.empty(0)
        self._ids = torch.empty(0, dtype=torch.int64)

    def renew(self, block: int) -> None:
        if block == self._block:
            return
        self._dense, self._ids = drawn_inputs(self._setup, self._setup.pool_samples, ("pool", self._lane, block))
        if self._pinned:
            self._dense, self._ids = self._dense.pin_memory(), self._ids.pin_memory()
        self._block, self._next = block, 0

    def take(self, size: int) -> Inputs:
        if self._next + size > len(self._ids):
            self._next = 0
        chosen = slice(self._next, self._next + size)
        self._next += size
        return self._dense[chosen], self._ids[chosen]


def drawn_inputs(setup: DlrmSetup, samples: int, key: tuple[str, int, int]) -> Inputs:
    """Draw dense inputs and IDs; the same key gives the same."""
    law = _popularity(setup)
    words = np.random.SeedSequence(setup.seed, spawn_key=(*key[0].encode(), key[1], key[2] + 1))
    random = np.random.Generator(np.random.Philox(words))
    return draw_dense(setup.shape, samples, random), draw_ids(setup.shape, samples, law, random)


def _popularity(setup: DlrmSetup) -> Popularity:
    return UniformPopularity() if setup.zipf_exponent is None else ZipfPopularity(setup.zipf_exponent)


class CpuSubject:
    """A representation on the cores of this process.

    Parameters
    ----------
    model : Dlrm
    pool : _Pool
        Shared by the representations of a lane.
    apart : Apart
    clock : callable
        Nanoseconds that do not run backwards.
    """

    def __init__(
        self,
        model: Dlrm,
        pool: _Pool,
        apart: Apart = NOTHING_APART,
        clock: Callable[[], int] = time.perf_counter_ns,
    ) -> None:
        self.stages = model.stages
        self.apart = () if apart.behind is None else (REST_BEHIND_CACHES, *(stage.name for stage in apart.stages))
        self._model = model
        self._pool = pool
        self._cache_stages = apart.stages
        self._behind = apart.behind
        self._clock = clock

    def renew(self, block: int) -> None:
        """Draw the inputs of a block anew."""
        self._pool.renew(block)

    def take(self, size: int) -> Inputs:
        """Copy the inputs of a query out of the pool, as they would come off the network."""
        dense, ids = self._pool.take(size)
        return dense.clone(), ids.clone()

    def serve(self, inputs: Inputs) -> Served:
        """Serve a query."""
        clock, run_stage = self._clock, self._model.run_stage
        marks = [clock()]
        with torch.inference_mode():
            activations = Activations(*inputs)
            for stage in self._model.stages:
                run_stage(stage, activations)
                marks.append(clock())
        ended = clock()
        return Served(ended - marks[0], [after - before for before, after in pairwise(marks)])

    def time_apart(self, inputs: Inputs) -> list[int]:
        """Time what an MP-Cache would take, each part after queries that one has served.

        Such queries work on few features, and leave more of what they need in the CPU's own caches than queries
        without an MP-Cache, which go through the weights of all features.
        """
        if self._behind is None:
            return []
        clock, size = self._clock, len(inputs[0])
        queries = queries_behind_cache(size)
        last = zip(self.stages, self._serve_behind(self._behind, size, queries), strict=True)
        durations = [sum(took for stage, took in last if stage in OTHER_STAGES)]
        for apart in self._cache_stages:
            own = apart.behind is not None
            self._serve_behind(apart.behind or self._behind, size, queries if own else 1)
            with torch.inference_mode():
                values, share = apart.prepare(self._model.stack_ids(inputs[1]))
                started = clock()
                apart.work(values)
                durations.append(round((clock() - started) / share))
        return durations

    def _serve_behind(self, behind: DheForward, size: int, queries: int) -> Sequence[int]:
        """Serve queries behind caches, and return the times of the stages of the last one."""
        without, self._model.dhe_forward = self._model.dhe_forward, behind
        try:
            return [self.serve(self.take(size)).stage_ns for _ in range(queries)][-1]
        finally:
            self._model.dhe_forward = without


class CudaSubject:
    """A representation on a GPU: inputs come from pinned memory, the answer goes back there.

    Stages are timed by events of the GPU's stream, which cost the query nothing; the whole query by the host's clock,
    from the first copy until the answer is there.
    """

    def __init__(self, model: Dlrm, pool: _Pool, largest_size: int, apart: Apart = NOTHING_APART) -> None:
        self.stages = ("transfer in", *model.stages, "transfer out")
        self.apart = tuple(stage.name for stage in apart.stages)
        self._model = model
        self._pool = pool
        self._cache_stages = apart.stages
        self._stream = torch.cuda.Stream()
        self._answer = torch.empty(largest_size, dtype=torch.float32, pin_memory=True)
        count = len(model.stages) + 3
        self._marks = [_timing_event() for _ in range(count)]
        self._around = [(_timing_event(), _timing_event()) for _ in apart.stages]

    def renew(self, block: int) -> None:
        """Draw the inputs of a block anew."""
        self._pool.renew(block)

    def take(self, size: int) -> Inputs:
        """Return a part of the pool, which is pinned."""
        return self._pool.take(size)

    def serve(self, inputs: Inputs) -> Served:
        """Serve a query and wait for its answer."""
        model, marks, device = self._model, self._marks, self._model.device
        started = time.perf_counter_ns()
        with torch.inference_mode(), torch.cuda.stream(self._stream):
            marks[0].record()
            activations = Activations(*(part.to(device, non_blocking=True) for part in inputs))
            marks[1].record()
            for number, stage in enumerate(model.stages):
                model.run_stage(stage, activations)
                marks[number + 2].record()
            assert activations.probabilities is not None
            self._answer[: len(inputs[0])].copy_(activations.probabilities, non_blocking=True)
            marks[-1].record()
            self._stream.synchronize()
        total = time.perf_counter_ns() - started
        return Served(total, [_elapsed_ns(before, after) for before, after in pairwise(marks)])

    def time_apart(self, inputs: Inputs) -> list[int]:
        """Look up the caches that do not serve."""
        model = self._model
        if not self._cache_stages:
            return []
        with torch.inference_mode(), torch.cuda.stream(self._stream):
            ids = inputs[1].to(model.device)
            for (before, after), apart in zip(self._around, self._cache_stages, strict=True):
                values, _ = apart.prepare(model.stack_ids(ids))
                before.record()
                apart.work(values)
                after.record()
            self._stream.synchronize()
        return [_elapsed_ns(before, after) for before, after in self._around]


def load_subjects(setup: DlrmSetup, representations: Sequence[str], lane: int) -> Subjects:
    """Load representations on the device of the setup, with as many threads as it says.

    Every lane has weights of the same seed, and inputs of its own.
    """
    torch.set_num_threads(setup.threads)
    pool = _Pool(setup, lane, pinned=setup.device == "cuda")
    loaded: dict[str, Subject] = {}
    for name in representations:
        representation = cast("RepresentationName", name)
        model = Dlrm(setup.shape, representation, seed=setup.seed, device=setup.device, drawn_on=setup.device)
        _put_caches(setup, model)
        apart = _apart(setup, model, pool)
        if setup.device == "cuda":
            loaded[name] = CudaSubject(model, pool, setup.largest_size, apart)
        else:
            loaded[name] = CpuSubject(model, pool, apart)
    if setup.device == "cuda":
        # Caches are filled on another stream than queries are served on.
        torch.cuda.synchronize()
    return loaded


def _accesses(setup: DlrmSetup, model: Dlrm) -> Tensor:
    return model.stack_ids(drawn_inputs(setup, ACCESSES, ("accesses", 0, 0))[1].to(model.device))


def _caches(setup: DlrmSetup, model: Dlrm, setting: CacheSetting) -> tuple[EncoderCache | None, DecoderCache | None]:
    if model.stacks is None or setting == NO_CACHE:
        return None, None
    encoder = decoder = None
    with torch.inference_mode():
        if setting.encoder_bytes:
            # By the law itself: a table whose last IDs no sample of accesses has seen would never be held whole, and
            # a feature with one miss a query costs as much as one with several.
            entries = setting.entries(setup.shape.embedding_dim)
            hot = hottest_ids_of_law(setup.shape, model.dhe_features, entries, _popularity(setup))
            encoder = EncoderCache(model.stacks, hot)
        if setting.centroids:
            decoder = DecoderCache.fitted(model.stacks, _accesses(setup, model), setting.centroids)
    return encoder, decoder


def _put_caches(setup: DlrmSetup, model: Dlrm) -> None:
    encoder, decoder = _caches(setup, model, setup.cache)
    if model.stacks is not None and (encoder is not None or decoder is not None):
        model.dhe_forward = CachedDhe(model.stacks, encoder, decoder)


def _apart(setup: DlrmSetup, model: Dlrm, pool: _Pool) -> Apart:
    """What the simulator composes a cached service time of, at the full number of IDs.

    Behind an encoder cache features have different numbers of misses; a CPU works on them one by one, a GPU in a few
    padded batches, which take what the batch of a smaller query takes.
    """
    setting, stacks = setup.cache_stages, model.stacks
    encoder, decoder = _caches(setup, model, setting)
    if stacks is None or setting == NO_CACHE:
        return NOTHING_APART
    stages = []
    # A cache of embeddings may be combined with either.
    decoders: dict[str, tuple[Callable[..., Tensor], DecoderCache | None]] = {"decoder": (stacks.decode, None)}
    if decoder is not None:
        decoders[decoder_cache_stage(setting.centroids)] = (decoder.decode, decoder)
    if encoder is not None:
        handled = CachedDhe(_NoWork(stacks), encoder)
        stages.append(CacheStage(ENCODER_CACHE, _as_they_are, lambda ids: handled.decode(handled.encode(ids))))
        if setup.device == "cpu":
            missing = _FeaturesThatMiss(encoder, lambda size: model.stack_ids(pool.take(size)[1]), setup.seed)
            stages.append(CacheStage(by_feature("encoder"), missing.ids, _one_by_one(stacks.encode)))
            # What is needed by one of the decoders is not in the CPU's own caches where queries used the other one.
            stages += [
                CacheStage(
                    by_feature(name), missing.encoded_by(stacks), _one_by_one(decode), CachedDhe(stacks, encoder, used)
                )
                for name, (decode, used) in decoders.items()
            ]
    if decoder is not None:
        # The last: it goes through the centroids of all features, and leaves nothing of what queries left there.
        name = decoder_cache_stage(setting.centroids)
        stages.append(CacheStage(name, lambda ids: (stacks.encode(ids), 1.0), decoder.decode))
    return Apart(tuple(stages), CachedDhe(stacks, encoder, decoder))


class _NoWork(DheStacks):
    """Stacks whose work takes no time: what is left is what an encoder cache takes itself."""

    def __init__(self, stacks: DheStacks) -> None:
        self._nothing = torch.zeros(1, device=stacks.factors.device)
        self._widths = (stacks.factors.shape[-1], stacks.weights[-1].shape[-1])

    def encode(self, ids: Tensor, *, first: int = 0) -> Tensor:
        return self._nothing.expand(*ids.shape, self._widths[0])

    def decode(self, encoded: Tensor, *, first: int = 0) -> Tensor:
        return self._nothing.expand(*encoded.shape[:2], self._widths[1])


class _FeaturesThatMiss:
    """The features that a CPU works on behind an encoder cache, each by itself.

    Those of which a query misses an ID. Their weights are in the CPU's own caches as the queries before left them. Of
    the others they would come from memory: a feature all of whose IDs are held is never worked on.

    Queries are drawn in proportion to the number of these features. So each feature counts as often as it is worked on,
    where the mean of all queries would favour the features of those that work on few: they are always the same, and
    nearer than others.

    Parameters
    ----------
    encoder : EncoderCache
    more : callable
        Returns the IDs of another query of a size.
    seed : int
    """

    def __init__(self, encoder: EncoderCache, more: Callable[[int], Tensor], seed: int) -> None:
        self._encoder = encoder
        self._more = more
        self._random = np.random.Generator(np.random.Philox(seed))

    def ids(self, ids: Tensor) -> tuple[list[tuple[int, Tensor]], float]:
        """Return these features with IDs for each, and their share of all; all of them where no query misses an ID."""
        features, size = ids.shape
        for _ in range(TRIES):
            missing = (~self._encoder.look_up(ids)[0]).any(dim=1).nonzero()[:, 0].tolist()
            if self._random.random() * features < len(missing):
                break
            ids = self._more(size)
        else:
            missing = list(range(features))
        return list(zip(missing, _unequal(ids[missing]), strict=True)), len(missing) / features

    def encoded_by(self, stacks: DheStacks) -> Callable[[Tensor], tuple[list[tuple[int, Tensor]], float]]:
        """Return what does as `ids` does, with encoder outputs instead of IDs."""

        def encoded(ids: Tensor) -> tuple[list[tuple[int, Tensor]], float]:
            chosen, share = self.ids(ids)
            return [(feature, stacks.encode(own, first=feature)) for feature, own in chosen], share

        return encoded


def _as_they_are(ids: Tensor) -> tuple[Tensor, float]:
    return ids, 1.0


def _unequal(ids: Tensor) -> list[Tensor]:
    """Give features unequal numbers of IDs, from 3/4 to 5/4 of n, that add up to all.

    (features, n) to one (1, own n) a feature. Misses come in any number, and matrix products favour round ones: three
    IDs take longer than four.
    """
    features, count = ids.shape
    most = min(count - 1, max(1, count // 4))
    pairs = features // 2
    taken = [count] * features
    for pair in range(pairs):
        off = round(most * (pair + 1) / pairs)
        taken[pair] += off
        taken[features - 1 - pair] -= off
    twice = torch.cat((ids, ids), dim=1)
    return [twice[feature : feature + 1, :own].contiguous() for feature, own in enumerate(taken)]


def _one_by_one(work: Callable[..., Tensor]) -> Callable[[Sequence[tuple[int, Tensor]]], None]:
    """Let features be worked on one after the other."""

    def run(values: Sequence[tuple[int, Tensor]]) -> None:
        for feature, own in values:
            work(own, first=feature)

    return run


def _timing_event() -> Any:
    return torch.cuda.Event(enable_timing=True)


def _elapsed_ns(before: Any, after: Any) -> int:
    # Milliseconds, with a resolution of about half a microsecond.
    return round(float(before.elapsed_time(after)) * 1e6)
