"""The profile that a session calibrates: samples of its undisturbed blocks, fitted, as tables and as overrides."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sim.calibrate.fit import FittedTable, fit_table, service_table
from sim.calibrate.observe.aftereffects import fit_after_idle, fit_after_size, without_after_size
from sim.calibrate.observe.calibration import CalibrationBlock
from sim.calibrate.observe.layout import LaidOut, RealDevice
from sim.calibrate.observe.spells import fit_spells
from sim.calibrate.profile_folder import DeviceText
from sim.calibrate.sample_set import TOTAL, SampleKey, SampleSet
from sim.profile.aftereffects import AfterIdle, AfterSize
from sim.profile.device import UNFIT
from sim.profile.spells import Spells
from sim.spec.experiment import DeviceUseSpec
from sim.workload.sizes import SizeDistribution

__all__ = [
    "CalibratedDevice",
    "capacity_per_s",
    "device_override",
    "fit_device",
    "idle_over_busy",
    "noted",
    "samples_of",
]


@dataclass(frozen=True, eq=False, slots=True)
class CalibratedDevice:
    """A device with the tables that were fitted for it.

    Attributes
    ----------
    device : RealDevice
    name : str
        Of the profile.
    samples : SampleSet
    tables : tuple of FittedTable
        By path, in the order of the device's paths; of queries that were served back to back, without what
        `after_size` says.
    after_idle : tuple of tuple of AfterIdle
        By path: what a query takes longer that finds its lane idle, in curves that are added up.
    after_size : tuple of AfterSize or None
        By path: what a query takes longer after many samples.
    spells : Spells or None
        How the service times of a lane depend on those before.
    """

    device: RealDevice
    name: str
    samples: SampleSet
    tables: tuple[FittedTable, ...]
    after_idle: tuple[tuple[AfterIdle, ...], ...]
    after_size: tuple[AfterSize | None, ...]
    spells: Spells | None

    def text(self, provenance: Mapping[str, str | int], lanes: int, memory_bytes: int | None) -> DeviceText:
        """Return what its file says beside its tables."""
        kind = self.device.kind if self.device.kind in ("cpu", "gpu", "tpu", "ipu") else "other"
        return DeviceText(
            name=self.name,
            kind=kind,  # type: ignore[arg-type]
            evidence="measured",
            provenance=dict(provenance),
            memory=None if memory_bytes is None else f"{memory_bytes}B",
            lanes=lanes,
            aftereffects={
                (table.rows.model, table.rows.representation): _texts(idle, size)
                for table, idle, size in zip(self.tables, self.after_idle, self.after_size, strict=True)
            },
            spells=self.spells,
        )


def _texts(idle: tuple[AfterIdle, ...], size: AfterSize | None) -> dict[str, Any]:
    """Return them as a service time of a profile has them."""
    curves = [one.text() for one in idle]
    found: dict[str, Any] = {"after_idle": curves[0] if len(curves) == 1 else curves} if curves else {}
    return found if size is None else {**found, "after_size": size.text()}


def samples_of(blocks: Sequence[CalibrationBlock], scenario: LaidOut, device: RealDevice) -> SampleSet:
    """Return the samples of a device. Even blocks are back to back, odd ones found the lane idle."""
    model = scenario.plan.models[0].model.name
    cells = {}
    for number, block in enumerate(blocks):
        for (path, size, idle), times in block.times_ns.items():
            if path in device.paths:
                representation = scenario.plan.eligible[path].representation
                cells[SampleKey(model, representation, TOTAL, size, 2 * number + idle)] = times
    return SampleSet(cells)


def fit_device(
    blocks: Sequence[CalibrationBlock], scenario: LaidOut, device: RealDevice, name: str
) -> CalibratedDevice:
    """Fit the tables of every path of a device, what service takes longer after what was before, and its spells."""
    after_size = {path: fit_after_size(blocks, path) for path in device.paths}
    # A simulation adds what comes of the samples before: tables and spells are of what is left.
    even = without_after_size(blocks, after_size)
    busy = {key: times for key, times in samples_of(even, scenario, device).cells.items() if key.block % 2 == 0}
    paths = [scenario.plan.eligible[path] for path in device.paths]
    model = scenario.plan.models[0].model.name
    return CalibratedDevice(
        device,
        name,
        samples_of(blocks, scenario, device),
        tuple(fit_table(SampleSet(busy), model, one.representation) for one in paths),
        tuple(fit_after_idle(blocks, path) for path in device.paths),
        tuple(after_size.values()),
        fit_spells(even, device.paths),
    )


def noted(
    provenance: Mapping[str, str | int], overhead_ns: Mapping[str, NDArray[np.int64]], unfit: Sequence[str]
) -> dict[str, str | int]:
    """Return a provenance with notes of what a session found out: what dispatch costs, and why it is unfit if it is."""
    overhead = {name: float(np.median(times)) / 1e3 for name, times in overhead_ns.items()}
    notes = [
        str(provenance.get("notes", "")),
        f"dispatch alone costs {overhead['back to back']:.1f} us a query back to back and {overhead['idle']:.1f} us "
        "where the server is idle (medians)",
        *(f"{UNFIT}{reason}" for reason in unfit),
    ]
    return {**provenance, "notes": "; ".join(filter(None, notes))}


def idle_over_busy(blocks: Sequence[CalibrationBlock]) -> float:
    """Return how much longer a query takes that finds the server idle: the median over path and size of the ratio."""
    means: dict[tuple[int, int, bool], list[float]] = {}
    for block in blocks:
        for cell, times in block.times_ns.items():
            means.setdefault(cell, []).append(float(times.mean()))
    ratios = [
        float(np.mean(means[path, size, True]) / np.mean(values))
        for (path, size, idle), values in means.items()
        if not idle and (path, size, True) in means
    ]
    return float(np.median(ratios))


def capacity_per_s(devices: Sequence[CalibratedDevice], sizes: SizeDistribution) -> float:
    """Return the queries that all lanes serve in a second, each on the fastest path of its device."""
    total = 0.0
    for one in devices:
        means_ns = [
            float(np.dot(sizes.probabilities, service_table(table.rows).mean_at(sizes.values))) for table in one.tables
        ]
        total += len(one.device.lanes) * 1e9 / min(means_ns)
    return total


def device_override(one: CalibratedDevice, scenario: LaidOut, provenance: Mapping[str, str | int]) -> str:
    """Return the override that puts the calibrated tables into the experiment, as they are, in the device's place."""
    group = scenario.plan.groups[one.device.group]
    planned = group.devices[one.device.slot]
    written = scenario.experiment.fleet[one.device.group].devices[one.device.name]
    use: dict[str, Any] = {}
    if isinstance(written, DeviceUseSpec):
        kept = {"memory", "lanes", "queue_limit"}
        use = written.model_dump(mode="json", by_alias=True, exclude_none=True, include=kept)
    use |= {"lanes": planned.lanes}
    if planned.memory_bytes is not None:
        use["memory"] = f"{planned.memory_bytes}B"
    service: dict[str, dict[str, Any]] = {}
    for table, idle, size in zip(one.tables, one.after_idle, one.after_size, strict=True):
        rows = table.rows
        service.setdefault(rows.model, {})[rows.representation] = {
            "sizes": rows.sizes.tolist(),
            "quantiles": rows.levels.tolist(),
            "service": [[f"{value}ns" for value in row] for row in rows.service_ns.tolist()],
            **_texts(idle, size),
        }
    use["profile"] = {
        "name": one.name,
        "kind": one.text({}, 1, None).kind,
        "evidence": "measured",
        "provenance": dict(provenance),
        "service": service,
        **({} if one.spells is None else {"spells": one.spells.text()}),
    }
    return f'fleet."{group.name}".devices."{one.device.name}"={json.dumps(use)}'
