"""Whether the caches of a fleet have something to cache, and what they take for granted."""

from __future__ import annotations

from collections.abc import Sequence

from sim.serving.cache import CachedPath
from sim.serving.classes import PlannedModel
from sim.serving.findings import Findings
from sim.serving.paths import Path, PlannedDevice, PlannedGroup

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
    for path in eligible:
        device = groups[path.group].devices[path.slot]
        if device.cache is None:
            continue
        if path.cached is not None:
            lines.update(dict.fromkeys(_lines(path, path.cached, device)))
        elif path.representation in ("dhe", "select", "hybrid"):
            lines[f"{path.name} is served without the cache: the times of its encoder and decoder are not known"] = None
    return list(lines)


def _lines(path: Path, cached: CachedPath, device: PlannedDevice) -> list[str]:
    assert device.cache is not None
    spec, laws = device.cache.spec, device.cache.laws
    lines = []
    if laws is not None:
        entries = f"{cached.entries:,} embeddings"
        lines.append(f"{path.name} hits {cached.hit_rate:.1%} of its IDs in a cache of {entries}, {laws.described}")
    if spec.decoder_centroids is not None:
        cost = spec.decoder_accuracy_cost
        what = f"the decoder cache of {spec.decoder_centroids} centroids on {device.name}"
        lines.append(
            f"{what} is assumed to cost no accuracy"
            if cost is None
            else f"{what} takes {cost * 100:g} points off the accuracy, as the experiment says"
        )
    if device.profile.roofline is None:
        lines.append(f"service times of {path.name} are composed of measured stages, not measured with the cache")
    return lines + [f"{path.name}: {note}" for note in cached.notes]
