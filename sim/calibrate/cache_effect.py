"""The effect of MP-Cache on service times: composed of stages by the simulator, against a measurement with caches."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sim.calibrate.about_samples import NOTED_CACHE, NOTED_IDS
from sim.calibrate.measure.cache_setting import NO_CACHE, CacheSetting, parse_cache, parse_popularity
from sim.profile.device import Device
from sim.profile.model import Model
from sim.profile.service import ServiceTable
from sim.serving.cache import DeviceCache, cached_path, find_cache
from sim.serving.findings import Findings
from sim.spec.binding import bind
from sim.spec.cache import CacheSpec
from sim.spec.popularity import PopularitySpec, UniformPopularitySpec, ZipfPopularitySpec
from sim.spec.problems import Problem, SpecError
from sim.spec.source import parse_yaml

__all__ = ["WITHIN", "CacheEffect", "cache_effects", "effect_lines"]

WITHIN = 0.10
"""How far a predicted effect may be from the measured one."""


@dataclass(frozen=True, eq=False)
class CacheEffect:
    """Effect of a cache on one path: mean service time with it over that without, by size.

    Attributes
    ----------
    model, representation : str
    hit_rate : float
        Of the encoder cache, by the popularity law.
    sizes : int64, shape (N,)
        Measured both ways.
    predicted, measured : float64, shape (N,)
    notes : tuple of str
        What the prediction took for granted.
    """

    model: str
    representation: str
    hit_rate: float
    sizes: NDArray[np.int64]
    predicted: NDArray[np.float64]
    measured: NDArray[np.float64]
    notes: tuple[str, ...] = ()

    @property
    def errors(self) -> NDArray[np.float64]:
        """Predicted over measured effect, less 1; float64 (N,)."""
        return self.predicted / self.measured - 1.0


def cache_effects(plain: Device, cached: Device, models: Sequence[Model], written: str) -> list[CacheEffect]:
    """Predict the effect of a cache from stages that were measured without it, and set it against the measured one.

    Parameters
    ----------
    plain : Device
        Measured without caches, with stages.
    cached : Device
        The same hardware, measured with the caches on.
    models : sequence of Model
        Those that may have been measured.
    written : str
        The cache, as an experiment writes it.

    Returns
    -------
    list of CacheEffect
        One for each model and representation that both devices have and that has something to cache.

    Raises
    ------
    SpecError
        If the cache is written badly, the devices are one, the notes of one say that it was measured with another cache
        or other IDs, or there is nothing to compare.
    """
    node = parse_yaml(written, "--cache")
    findings = Findings(node)
    cache = find_cache(bind(node, CacheSpec), (), Path(), findings)
    findings.stop_if_broken()
    assert cache is not None
    problems = _contradictions(plain, cached, cache.spec)
    if problems:
        raise SpecError(problems)
    effects = []
    for model in models:
        for name in model.representations:
            effect = _effect(plain, cached, model, name, cache, findings)
            if effect is not None:
                effects.append(effect)
    findings.stop_if_broken()
    if not effects:
        message = (
            f"{plain.name} and {cached.name} have no representation in common that has a deep hash embedding, sizes in "
            "common, and stages in the first"
        )
        raise SpecError([Problem(message)])
    return effects


def _contradictions(plain: Device, cached: Device, spec: CacheSpec) -> list[Problem]:
    """What the devices' notes say against comparing them, where they are as `mprec calibrate measure` writes them."""
    if plain.content_hash == cached.content_hash:
        return [Problem(f"{plain.name} and {cached.name} are one profile: there is no effect to measure")]
    problems = []
    asked = CacheSetting(spec.encoder or 0, spec.decoder_centroids or 0)
    for device, wanted in ((plain, NO_CACHE), (cached, asked)):
        written, setting = _measured_cache(device)
        if setting is not None and setting != wanted:
            needed = "one without is compared" if device is plain else "--cache says another"
            problems.append(Problem(f"{device.name} was measured with MP-Cache: {written}; {needed}"))
    ids = _stated(cached, NOTED_IDS)
    if ids is not None and spec.popularity is not None and _other_ids(ids, spec.popularity):
        problems.append(Problem(f"{cached.name} was measured with IDs drawn by {ids}; --cache says another popularity"))
    return problems


def _measured_cache(device: Device) -> tuple[str, CacheSetting | None]:
    written = _stated(device, NOTED_CACHE)
    if written is None or written == "none":
        return "none", None if written is None else NO_CACHE
    try:
        return written, parse_cache(written, "notes")
    except SpecError:
        return written, None


def _stated(device: Device, pattern: str) -> str | None:
    """What all that was measured of a device has in its notes; None where it says nothing, or several things."""
    found = set(re.findall(pattern, device.provenance))
    return found.pop() if len(found) == 1 else None


def _other_ids(written: str, popularity: PopularitySpec) -> bool:
    try:
        exponent = parse_popularity(written) or 0.0
    except SpecError:
        return False
    if isinstance(popularity, UniformPopularitySpec):
        return exponent != 0.0
    return isinstance(popularity, ZipfPopularitySpec) and popularity.exponent != exponent


def _effect(
    plain: Device, cached: Device, model: Model, name: str, cache: DeviceCache, findings: Findings
) -> CacheEffect | None:
    without, with_cache = plain.service(model, name), cached.service(model, name)
    if not isinstance(without, ServiceTable) or not isinstance(with_cache, ServiceTable):
        return None
    sizes = np.intersect1d(without.sizes, with_cache.sizes)
    path = cached_path(cache, plain, model, model.representations[name], without, findings)
    if path is None or sizes.size == 0:
        return None
    mean_ns = without.mean_at(sizes)
    return CacheEffect(
        model.name,
        name,
        path.hit_rate,
        sizes,
        path.service.mean_at(sizes) / mean_ns,
        with_cache.mean_at(sizes) / mean_ns,
        path.notes,
    )


def effect_lines(effects: Sequence[CacheEffect]) -> list[str]:
    """Report the effects size by size, and in how many of them the prediction is within the limit."""
    lines = []
    for effect in effects:
        lines.append(f"{effect.model}, {effect.representation}: hit rate {effect.hit_rate:.1%}")
        lines += [f"  {note}" for note in effect.notes]
        lines.append(f"  {'size':>6} {'predicted':>10} {'measured':>10} {'error':>8}")
        for size, predicted, measured, error in zip(
            effect.sizes, effect.predicted, effect.measured, effect.errors, strict=True
        ):
            lines.append(f"  {size:>6} {predicted:>10.3f} {measured:>10.3f} {error:>+8.1%}")
    errors = np.abs(np.concatenate([effect.errors for effect in effects]))
    inside = int(np.sum(errors <= WITHIN))
    lines.append(
        f"service time with the cache over without: {inside} of {errors.size} predicted within {WITHIN:.0%}; error "
        f"{np.median(errors):.1%} in the median, {errors.max():.1%} at worst"
    )
    return lines
