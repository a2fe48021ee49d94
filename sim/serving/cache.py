"""MP-Cache on the devices of a fleet: hit rates from the popularity of IDs, and what is left of the service time.

What it means is in docs/model.md; that each query takes the mean over the numbers of misses, too.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sim.profile.device import Device
from sim.profile.model import DheStacks, Model, Representation
from sim.profile.mp_cache import SPARE_IDS_ON_GPU, centroid_flops_per_id, entry_bytes, padded_batches, with_caches
from sim.profile.roofline import GRID, Roofline, roofline_seconds
from sim.profile.service import Service, ServiceTable
from sim.profile.stage_times import (
    ENCODER_CACHE,
    OTHER_STAGES,
    REST_BEHIND_CACHES,
    StageTimes,
    by_feature,
    decoder_cache_stage,
)
from sim.serving.findings import Findings
from sim.spec.cache import CacheSpec
from sim.spec.problems import SpecError
from sim.spec.source import KeyPath
from sim.workload.id_files import FeatureLaws, popularity_laws
from sim.workload.popularity import Popularity

__all__ = ["CachedPath", "DeviceCache", "Misses", "cached_path", "find_cache", "hot_entries"]

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class DeviceCache:
    """The cache of a device as it is asked for, with the popularity laws that were read for it.

    Attributes
    ----------
    spec : CacheSpec
    laws : FeatureLaws or None
        None without an encoder cache.
    path : key path
        Where it is written, for problems.
    """

    spec: CacheSpec
    laws: FeatureLaws | None
    path: KeyPath


@dataclass(frozen=True)
class CachedPath:
    """A path with its cache.

    Attributes
    ----------
    service : ServiceTable
    bytes : int
        Memory of the representation with its caches.
    accuracy : float
        With what the decoder cache takes off.
    hit_rate : float
        Share of the IDs of the deep hash embeddings that hit the encoder cache; 0 without one.
    entries : int
        IDs that the encoder cache holds.
    notes : tuple of str
        What was taken for granted.
    """

    service: ServiceTable
    bytes: int
    accuracy: float
    hit_rate: float
    entries: int
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Misses:
    """How much of the work of encoder and decoder is left.

    Parameters
    ----------
    hit_rates : tuple of float
        By feature, from 0 to 1.
    ids_per_feature : int
        IDs looked up per feature and sample.
    """

    hit_rates: tuple[float, ...]
    ids_per_feature: int = 1

    @property
    def share(self) -> float:
        """Share of the IDs that miss."""
        return 1.0 - math.fsum(self.hit_rates) / len(self.hit_rates)

    def mean_ns(self, times: StageTimes, stage: str, size: ArrayLike) -> Floats:
        """Mean time of a stage that works on misses only, in ns.

        Parameters
        ----------
        times : StageTimes
            Times of the stage where every ID of every feature is worked on.
        stage : str
        size : integers, shape (S,)
            Samples of a query.

        Returns
        -------
        float64, shape (S,)

        Notes
        -----
        The features share the time of a stage equally, and each takes what its own misses take: nothing where a query
        has none. IDs are independent, so a query of n IDs has m misses of a feature with the probability of the
        binomial law, and this is the mean over it: with few misses the time is no line in their number.
        """
        means = []
        for samples in np.asarray(size).tolist():
            features = _features_by_misses(self.hit_rates, round(samples * self.ids_per_feature))
            misses = np.arange(1, len(features) + 1)
            means.append(float(features @ times.mean_at(stage, misses / self.ids_per_feature)))
        return np.array(means) / len(self.hit_rates)

    def batched_ns(self, times: StageTimes, stage: str, size: ArrayLike) -> Floats:
        """Return what `mean_ns` does, of a stage that works on misses in a few padded batches, as a GPU does.

        Notes
        -----
        A batch takes what the batch of a query takes that has as many IDs in all, and one is needed unless every ID
        hits. Which features share one goes by the mean number of their misses, where a query is as likely to have some
        as not.
        """
        samples = np.asarray(size, dtype=np.float64)
        return np.array([self._batched_ns(times, stage, float(one)) for one in samples])

    def _batched_ns(self, times: StageTimes, stage: str, samples: float) -> float:
        ids = samples * self.ids_per_feature
        hits = np.array([rate**ids for rate in self.hit_rates])
        if np.all(hits == 1.0):
            return 0.0
        usual = hits <= max(0.5, float(hits.min()))
        misses = np.where(usual, ids * (1.0 - np.array(self.hit_rates)) / np.maximum(1.0 - hits, 1e-300), 0.0).tolist()
        total = 0.0
        for first, last in padded_batches(misses, SPARE_IDS_ON_GPU):
            padded = (last - first) * max(misses[first:last])
            total += float(times.mean_at(stage, padded / len(misses) / self.ids_per_feature))
        return total * (1.0 - float(np.prod(hits)))


@lru_cache(maxsize=256)
def _features_by_misses(hit_rates: tuple[float, ...], ids: int) -> Floats:
    """Return how many features have 1, 2, ... misses, on average over queries that look up `ids` in each."""
    from scipy.special import gammaln, xlogy

    rates, features = np.unique(np.array(hit_rates), return_counts=True)
    misses = np.arange(1, ids + 1)
    ways = gammaln(ids + 1) - gammaln(misses + 1) - gammaln(ids - misses + 1)
    chances = np.exp(ways + xlogy(misses, 1.0 - rates[:, None]) + xlogy(ids - misses, rates[:, None]))
    counts = np.asarray(features @ chances, dtype=np.float64)
    counts.setflags(write=False)
    return counts


def find_cache(spec: CacheSpec | None, path: KeyPath, base_dir: Path, findings: Findings) -> DeviceCache | None:
    """Read the popularity that a cache is given; problems go to `findings`, at `path`."""
    if spec is None:
        return None
    if spec.popularity is None:
        return DeviceCache(spec, None, path)
    try:
        return DeviceCache(spec, popularity_laws(spec.popularity, base_dir), path)
    except SpecError as error:
        for problem in error.problems:
            if problem.position is None:
                findings.report((*path, "popularity", "file"), problem.message)
            else:
                findings.problems.append(problem)
        return None


def hot_entries(
    laws: Sequence[Popularity], rows: Sequence[int], entries: int, sharing: str = "by-frequency"
) -> tuple[int, ...]:
    """Return how many IDs of each feature a cache holds.

    Parameters
    ----------
    laws, rows : sequences, one entry a feature
        Popularity and number of the IDs; every feature is looked up equally often.
    entries : int
        That the cache has.
    sharing : {"by-frequency", "evenly"}
        The IDs that are looked up most often of all, or as many of each feature; what a small table does not need goes
        to the others.

    Notes
    -----
    By frequency: the threshold of the probability from which on an ID is held is found by bisection; IDs at the
    threshold itself go to the first features until the cache is full.
    """
    if sum(rows) <= entries:
        return tuple(rows)
    if sharing == "evenly":
        return _water_level(rows, entries)

    def held(log_probability: float) -> list[int]:
        probability = math.exp(log_probability)
        return [law.ids_at_least(probability, n) for law, n in zip(laws, rows, strict=True)]

    low, high = -140.0, 1.0
    most = held(low)
    if sum(most) <= entries:
        return tuple(most)
    few = held(high)
    for _ in range(64):
        middle = (low + high) / 2
        counts = held(middle)
        if sum(counts) <= entries:
            high, few = middle, counts
        else:
            low, most = middle, counts
    left = entries - sum(few)
    chosen = []
    for fewer, more in zip(few, most, strict=True):
        extra = min(more - fewer, left)
        left -= extra
        chosen.append(fewer + extra)
    return tuple(chosen)


def _water_level(rows: Sequence[int], entries: int) -> tuple[int, ...]:
    chosen = [0] * len(rows)
    left, waiting = entries, len(rows)
    for feature in sorted(range(len(rows)), key=lambda f: (rows[f], f)):
        chosen[feature] = min(rows[feature], left // waiting)
        left -= chosen[feature]
        waiting -= 1
    return tuple(chosen)


def cached_path(
    cache: DeviceCache,
    device: Device,
    model: Model,
    representation: Representation,
    service: Service,
    findings: Findings,
) -> CachedPath | None:
    """Return a path with its cache; None where the representation has nothing to cache, or has no stages.

    Parameters
    ----------
    cache : DeviceCache
    device : Device
    model : Model
    representation : Representation
        One of the model's.
    service : Service
        Its service time on the device, without a cache.
    findings : Findings
        Gets the problems: no room for an entry, features without a popularity, stages that do not add up.
    """
    stacks = representation.dhe
    spec = cache.spec
    if stacks is None:
        return None
    profile = device.profiles.get((model.name, representation.name))
    times = None if profile is None else profile.stages
    if device.roofline is None and (times is None or not {"encoder", "decoder"} <= set(times.stages)):
        return None
    entries, misses = _misses(cache, stacks, findings)
    if misses is None:
        return None
    changed = with_caches(representation, encoder_bytes=spec.encoder or 0, centroids=spec.decoder_centroids or 0)
    notes: list[str] = []
    table: ServiceTable | None
    if device.roofline is not None:
        table = _roofline_table(device.roofline, changed, misses)
    else:
        assert times is not None
        assert isinstance(service, ServiceTable)
        table = _measured_table(
            cache, times, stacks, misses, service, representation.name, findings, notes, in_batches=device.kind == "gpu"
        )
    if table is None:
        return None
    accuracy = representation.accuracy - (spec.decoder_accuracy_cost or 0.0)
    if accuracy <= 0:
        message = f"more than the accuracy of {representation.name}, {representation.accuracy:.2%}"
        findings.report((*cache.path, "decoder_accuracy_cost"), message)
        return None
    assert changed.bytes is not None
    return CachedPath(table, changed.bytes, accuracy, 1.0 - misses.share, entries, tuple(notes))


def _misses(cache: DeviceCache, stacks: DheStacks, findings: Findings) -> tuple[int, Misses | None]:
    """Return the IDs that the encoder cache holds, and what it leaves to do; None after reporting a problem."""
    spec = cache.spec
    if cache.laws is None or spec.encoder is None:
        return 0, Misses((0.0,) * len(stacks.features), stacks.ids_per_feature)
    entries = spec.encoder // entry_bytes(stacks)
    if entries < 1:
        findings.report(
            (*cache.path, "encoder"), "holds no entry", allowed=f"at least {entry_bytes(stacks)} bytes, which one takes"
        )
        return 0, None
    laws = [cache.laws.of(feature) for feature in stacks.features]
    lacking = [str(f) for f, law in zip(stacks.features, laws, strict=True) if law is None]
    if lacking:
        few = ", ".join(lacking[:8]) + (" and others" if len(lacking) > 8 else "")
        findings.report(
            (*cache.path, "popularity", "file"),
            f"has nothing for the features {few} (from 0, in the order of table_rows)",
            allowed="every feature with a deep hash embedding, or no column of features",
        )
        return 0, None
    known = [law for law in laws if law is not None]
    held = hot_entries(known, stacks.rows, entries, spec.sharing or "by-frequency")
    rates = tuple(law.top_mass(n, rows) for law, n, rows in zip(known, held, stacks.rows, strict=True))
    return sum(held), Misses(rates, stacks.ids_per_feature)


def _roofline_table(roofline: Roofline, changed: Representation, misses: Misses) -> ServiceTable | None:
    """Service times of a modelled device: every part as the roofline says, encoder and decoder on misses only."""
    parts = [seconds for size in GRID if (seconds := roofline_seconds(roofline, changed, size)) is not None]
    if len(parts) < len(GRID):
        return None
    sizes = np.array(GRID, dtype=np.int64)
    total = np.zeros(len(GRID))
    for name in parts[0]:
        part_ns = np.array([seconds[name] * 1e9 for seconds in parts])
        if name in ("encoder", "decoder") or name.startswith("decoder cache "):
            part_ns = misses.mean_ns(StageTimes({name: (sizes, part_ns)}), name, sizes)
        total += part_ns
    return ServiceTable(
        sizes=sizes,
        levels=np.array([0.5]),
        service_ns=np.maximum(np.rint(total), 1.0)[:, None],
        beyond="linear",
        evidence="modelled",
    )


def _measured_table(
    cache: DeviceCache,
    times: StageTimes,
    stacks: DheStacks,
    misses: Misses,
    service: ServiceTable,
    name: str,
    findings: Findings,
    notes: list[str],
    *,
    in_batches: bool,
) -> ServiceTable | None:
    """Service times of a measured path, scaled at each size by what the caches save of the mean.

    Where all stages were timed behind caches, too, by the ratio of the two sums: a difference would be as far off as
    the stages and the table, smoothed each by itself, are from each other, which is much of what is left.
    """
    sizes, centroids = service.sizes, cache.spec.decoder_centroids

    def left_ns(stage: str) -> Floats:
        apart = by_feature(stage)
        if cache.spec.encoder and apart in times.stages:
            return misses.mean_ns(times, apart, sizes)
        return (misses.batched_ns if in_batches else misses.mean_ns)(times, stage, sizes)

    without = times.mean_at("encoder", sizes) + times.mean_at("decoder", sizes)
    with_cache = left_ns("encoder")
    if centroids is None:
        with_cache = with_cache + left_ns("decoder")
    elif decoder_cache_stage(centroids) in times.stages:
        with_cache = with_cache + left_ns(decoder_cache_stage(centroids))
    else:
        ratio = centroid_flops_per_id(stacks, centroids) / stacks.decoder_flops_per_id
        with_cache = with_cache + ratio * left_ns("decoder")
        notes.append(f"the search among {centroids} centroids takes its FLOPs at the rate of the measured decoder")
    if cache.spec.encoder is not None:
        if ENCODER_CACHE in times.stages:
            with_cache = with_cache + times.mean_at(ENCODER_CACHE, sizes)
        else:
            notes.append("handling the encoder cache is taken to cost nothing: it was not measured")
    if REST_BEHIND_CACHES in times.stages:
        without = without + sum(times.mean_at(stage, sizes) for stage in OTHER_STAGES if stage in times.stages)
        with_cache = with_cache + times.mean_at(REST_BEHIND_CACHES, sizes)
        factor = with_cache / without
    else:
        factor = 1.0 - (without - with_cache) / service.mean_ns
    if np.any(factor <= 0):
        worst = int(sizes[np.argmin(factor)])
        findings.report(
            cache.path,
            f"at size {worst} it would save more than the whole service time of {name}: the stages of the profile do "
            "not go with its table",
        )
        return None
    return replace(service, service_ns=service.service_ns * factor[:, None], evidence="modelled")
