"""Device profiles, models and measured interference as text."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

import numpy as np

from sim.profile.device import Device
from sim.profile.interference import InterferenceProfile
from sim.profile.model import Model
from sim.profile.service import Service, ServiceTable
from sim.spec.units import format_bytes

__all__ = ["device_text", "interference_text", "model_text"]

SHOWN_SIZES = (1, 10, 32, 100, 128, 256, 500, 1000, 1024, 4096)
SHOWN_LEVELS = (0.5, 0.99)


def device_text(device: Device, models: Sequence[Model]) -> str:
    """Return everything about a device: what it is, where its numbers come from, and its service times."""
    lines = [
        f"{device.name}: {device.description}" if device.description else device.name,
        f"  kind       {device.kind}",
        f"  evidence   {device.evidence}",
        f"  memory     {_bytes(device.memory_bytes)}",
        f"  lanes      {device.lanes}",
        f"  power      {_known(device.busy_w, 'W busy')}, {_known(device.idle_w, 'W idle')}",
        f"  price      {_known(device.price_usd_per_h, 'US$/h')}",
        *_spell_lines(device),
        f"  hash       {device.content_hash[:16]}",
        "  provenance",
        *_indented(device.provenance or "not given"),
    ]
    for model in models:
        for representation in device.representations(model):
            service = device.service(model, representation)
            if service is not None:
                lines += ["", f"  {model.name}, {representation}: service time in ms", *_service_lines(service)]
                profile = device.profiles.get((model.name, representation))
                if profile is not None and profile.stages is not None:
                    lines.append(f"    stages: {', '.join(profile.stages.stages)}")
                lines += _aftereffect_lines(device, model, representation)
    return "\n".join(lines)


def _aftereffect_lines(device: Device, model: Model, representation: str) -> list[str]:
    lines = []
    size = device.after_size(model, representation)
    for idle in device.after_idle(model, representation):
        each = idle.per_sample_ns or (0,) * len(idle.idle_ns)
        said = ", ".join(
            f"+{extra_ns / 1e3:.4g} us{f' and {each_ns / 1e3:.4g} us a sample' if each_ns else ''} "
            f"({idle_ns / 1e6:.4g} ms)"
            for idle_ns, extra_ns, each_ns in zip(idle.idle_ns, idle.extra_ns, each, strict=True)
        )
        carried = f"; {idle.carry:.0%} of the idle time counts again for the next" if idle.carry else ""
        lines.append(f"    after idle time: {said}{carried}")
    if size is not None:
        points = zip(size.size, size.extra_ns, strict=True)
        said = ", ".join(f"+{extra_ns / 1e3:.4g} us ({samples})" for samples, extra_ns in points)
        held = f", {size.typical_ns / 1e3:.4g} us of it in the times above" if size.typical_ns else ""
        carried = f"; {size.carry:.0%} of the samples count again for the next" if size.carry else ""
        lines.append(f"    after samples: {said}{held}{carried}")
    return lines


def _spell_lines(device: Device) -> list[str]:
    if device.spells is None:
        return []
    parts = zip(device.spells.share, device.spells.services, strict=True)
    said = ", ".join(f"{share:.0%} of the variance for {services:g} services" for share, services in parts)
    return [f"  spells     {said}"]


def _indented(text: str) -> list[str]:
    return [
        part
        for line in text.splitlines()
        for part in textwrap.wrap(line, 100, initial_indent="    ", subsequent_indent="      ")
    ]


def _service_lines(service: Service) -> list[str]:
    low = service.min_size or 1
    high = service.max_size or max(SHOWN_SIZES)
    sizes = sorted({low, high, *(size for size in SHOWN_SIZES if low <= size <= high)})
    lines = [f"    {'samples':>8}  {'mean':>10}" + "".join(f"  {f'p{level * 100:g}':>10}" for level in SHOWN_LEVELS)]
    for size in sizes:
        values = [float(service.mean_at(size)), *(float(service.quantile_at(size, level)) for level in SHOWN_LEVELS)]
        lines.append(f"    {size:>8}" + "".join(f"  {value / 1e6:>10.4g}" for value in values))
    if isinstance(service, ServiceTable):
        beyond = "an error" if service.beyond == "refuse" else "extended linearly"
        lines.append(
            f"    {service.sizes.size} sizes x {service.levels.size} quantiles; "
            f"outside {int(np.min(service.sizes))} to {int(np.max(service.sizes))}: {beyond}"
        )
    return lines


def model_text(model: Model) -> str:
    """Return everything about a model: accuracy, bytes and FLOPs of its representations."""
    lines = [f"{model.name}: {model.description}" if model.description else model.name]
    lines.append(f"  {'representation':<15} {'accuracy':>9}  {'evidence':<9} {'memory':>12}  {'MFLOP/sample':>12}")
    for name, representation in model.representations.items():
        flops = representation.flops_per_sample
        lines.append(
            f"  {name:<15} {representation.accuracy:>9.2%}  {representation.accuracy_evidence:<9} "
            f"{_bytes(representation.bytes):>12}  {'unknown' if flops is None else f'{flops / 1e6:.4g}':>12}"
        )
        if representation.accuracy_source:
            lines.append(f"  {'':<15} accuracy: {representation.accuracy_source}")
    return "\n".join(lines)


def interference_text(interference: InterferenceProfile) -> str:
    """Return everything about a measured interference: where it comes from, and the factors by busy lanes."""
    name, description = interference.name, interference.description
    lines = [
        f"{name}: {description}" if description else name,
        f"  evidence   {interference.evidence}",
        f"  hash       {interference.content_hash[:16]}",
        "  provenance",
        *_indented(interference.provenance),
        "",
        f"  {'busy lanes':>10}  {'slowdown':>8}",
    ]
    lines += [f"  {busy:>10}  {factor:>8.4f}" for busy, factor in enumerate(interference.slowdown, start=1)]
    return "\n".join(lines)


def _bytes(value: int | None) -> str:
    if value is None:
        return "unknown"
    exact = format_bytes(value)
    return exact if len(exact) <= 8 else f"{value / 1e6:,.1f} MB"


def _known(value: float | None, unit: str) -> str:
    return f"unknown {unit}" if value is None else f"{value:g} {unit}"
