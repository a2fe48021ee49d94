"""Whether the caches of a fleet have something to cache, and what they take for granted."""

from __future__ import annotations

from collections.abc import Sequence

from sim.serving.cache import DeviceCache
from sim.serving.classes import PlannedModel
from sim.serving.findings import Findings
from sim.serving.paths import Path, PlannedDevice, PlannedGroup
from sim.spec.units import format_bytes

__all__ = ["cache_assumptions", "check_caches"]


def check_caches(
    found: Sequence[Sequence[PlannedDevice | None]], models: Sequence[PlannedModel], findings: Findings
) -> None:
    """Report every cache on a device that has no service times of a representation that could use it."""
    for device in (one for group in found for one in group if one is not None):
        if device.cache is None:
            continue
        cacheable = [
            (planned.model, name)
            for planned in models
            for name, representation in planned.model.representations.items()
            if representation.dhe is not None
            and device.profile.service(planned.model, name, data_loading=device.data_loading) is not None
        ]
        if not cacheable:
            findings.report(
                device.cache.path,
                f"{device.profile.name} serves no representation with a deep hash embedding",
                allowed="dhe, select or hybrid of a model with a dlrm shape",
            )
        elif device.profile.roofline is None and not any(
            _has_stages(device, model.name, name) for model, name in cacheable
        ):
            named = ", ".join(name for _, name in cacheable)
            findings.report(
                device.cache.path,
                f"profile {device.profile.name} has no times of the encoder and the decoder of {named}",
                allowed="a profile with stages: FILE.csv beside table: FILE.csv, or with a roofline",
            )


def _has_stages(device: PlannedDevice, model: str, representation: str) -> bool:
    profile = device.profile.profiles.get((model, representation))
    return profile is not None and profile.stages is not None and {"encoder", "decoder"} <= set(profile.stages.stages)


def cache_assumptions(groups: Sequence[PlannedGroup], mapped: Sequence[Path], eligible: Sequence[Path]) -> list[str]:
    """Return what the caches of the fleet stand on, and which of them serve nothing."""
    lines: dict[str, None] = {}
    for g, group in enumerate(groups):
        for slot, device in enumerate(group.devices):
            if device.cache is None:
                continue
            where = f"{group.name}/{device.name}" if len(groups) > 1 else device.name
            if not any(path.cached for path in mapped if (path.group, path.slot) == (g, slot)):
                lines[f"the cache of {where} serves nothing: no path with a deep hash embedding is mapped there"] = None
            mine = [path for path in eligible if (path.group, path.slot) == (g, slot)]
            lines.update(dict.fromkeys(_lines(where, device, device.cache, mine)))
    return list(lines)


def _lines(where: str, device: PlannedDevice, cache: DeviceCache, paths: Sequence[Path]) -> list[str]:
    """Return what the cache of a device stands on; `paths` are those of the device that the policy may use."""
    with_cache = [(path, path.cached) for path in paths if path.cached is not None]
    if not with_cache:
        return []
    lines = []
    if cache.laws is not None and cache.spec.encoder is not None:
        rates: dict[str, list[str]] = {}
        for path, cached in with_cache:
            rates.setdefault(f"{cached.hit_rate:.1%}", []).append(path.name.partition("@")[0])
        hits = " and ".join(f"{rate} ({', '.join(names)})" for rate, names in rates.items())
        size = format_bytes(cache.spec.encoder)
        lines.append(f"an encoder cache of {size} on {where} hits {hits} of the IDs, {cache.laws.described}")
    if cache.spec.decoder_centroids is not None:
        cost = cache.spec.decoder_accuracy_cost
        what = f"the decoder cache of {cache.spec.decoder_centroids} centroids on {where}"
        lines.append(
            f"{what} is assumed to cost no accuracy"
            if cost is None
            else f"{what} takes {cost * 100:g} points off the accuracy, as the experiment says"
        )
    if device.profile.roofline is None:
        named = ", ".join(path.name for path, _ in with_cache)
        lines.append(f"service times of {named} are composed of measured stages, not measured with the cache")
    lines += [f"{path.name}: {note}" for path, cached in with_cache for note in cached.notes]
    lines += [
        f"{path.name} is served without the cache: the times of its encoder and decoder are not known"
        for path in paths
        if path.cached is None and path.representation in ("dhe", "select", "hybrid")
    ]
    return lines
