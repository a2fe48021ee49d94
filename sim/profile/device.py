"""Devices: hardware with memory, lanes, power and price, and the service time of each model it knows."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from sim.profile.aftereffects import AfterIdle, AfterSize, after_idle, after_size
from sim.profile.model import Model
from sim.profile.roofline import Roofline, roofline_table
from sim.profile.service import Beyond, Evidence, ParametricService, Service, ServiceTable, SizeStep
from sim.profile.spells import Spells, spells
from sim.profile.stage_file import parse_stage_csv
from sim.profile.stage_times import StageTimes
from sim.profile.table_file import parse_service_csv
from sim.spec.binding import problem_at
from sim.spec.device import (
    SPELLS_NEED_TABLES,
    DeviceSpec,
    InlineTableSpec,
    ParametricSpec,
    RooflineSpec,
    TableFileSpec,
)
from sim.spec.files import find_file
from sim.spec.problems import Problem, SpecError
from sim.spec.source import Node

__all__ = ["QUEUEING", "UNFIT", "Device", "Profile", "build_device"]

UNFIT = "UNFIT: "
"""Stands in the notes of a measured profile before the reason why the measurement is not fit to be relied on."""

QUEUEING = "They include waiting for other queries"
"""How the notes of a profile say that its times are no service times."""


@dataclass(frozen=True, slots=True)
class Profile:
    """Service times of one representation of one model: computing alone, with the data loaded first, and by stage.

    `after_idle` and `after_size` are what service takes longer on a lane that stood idle or served many samples before.
    """

    service: Service
    with_loading: Service | None = None
    stages: StageTimes | None = None
    after_idle: tuple[AfterIdle, ...] = ()
    after_size: AfterSize | None = None


@dataclass(frozen=True, eq=False)
class Device:
    """A kind of hardware.

    Attributes
    ----------
    name : str
        Name of the profile.
    kind : str
        "cpu", "gpu", "tpu", "ipu" or "other".
    memory_bytes : int or None
        What mapping may fill; None: no limit.
    lanes : int
        Queries it serves at once.
    idle_w, busy_w, price_usd_per_h : float or None
        Power in W and price in US$ per hour, where known.
    evidence : {"measured", "published", "modelled"}
        Of its service times.
    spells : Spells or None
        How the service times of a lane depend on those before; None where they do not.
    provenance : str
        Where the numbers come from, for people.
    content_hash : str
        SHA-256 over the description and the bytes of every table file, hexadecimal.
    """

    name: str
    kind: Literal["cpu", "gpu", "tpu", "ipu", "other"]
    memory_bytes: int | None
    lanes: int
    idle_w: float | None
    busy_w: float | None
    price_usd_per_h: float | None
    evidence: Evidence
    provenance: str
    content_hash: str
    description: str = ""
    profiles: Mapping[tuple[str, str], Profile] = field(default_factory=dict, repr=False)
    any_model: Profile | None = field(default=None, repr=False)
    roofline: Roofline | None = None
    per_query_overhead_ns: int = 0
    spells: Spells | None = None

    @property
    def unfit(self) -> bool:
        """Whether the machine was disturbed while it was measured, by the rule of whoever measured it."""
        return UNFIT in self.provenance

    @property
    def standing(self) -> str:
        """Its evidence, and whether it is unfit, in words."""
        return self.evidence + (", unfit" if self.unfit else "")

    @property
    def includes_waiting(self) -> bool:
        """Whether its service times were taken from latencies that include waiting."""
        return QUEUEING in self.provenance

    def service(self, model: Model, representation: str, *, data_loading: bool = False) -> Service | None:
        """Service times of a representation on one lane of this device.

        Parameters
        ----------
        model : Model
            The model; its name is looked up, or its stages are timed by the roofline.
        representation : str
            Name of one of its representations.
        data_loading : bool
            Include the time to load the input data, where the profile measured it apart.

        Returns
        -------
        Service or None
            None if this device has no profile of that pair, or none with data loading where asked.
        """
        if representation not in model.representations:
            return None
        if self.roofline is not None:
            return None if data_loading else roofline_table(self.roofline, model.representations[representation])
        if self.any_model is not None:
            return None if data_loading else self.any_model.service
        profile = self.profiles.get((model.name, representation))
        if profile is None:
            return None
        return profile.with_loading if data_loading else profile.service

    def after_idle(self, model: Model, representation: str) -> tuple[AfterIdle, ...]:
        """Extra service times of a representation after idle time, added up; none where the profile gives none."""
        profile = self.any_model or self.profiles.get((model.name, representation))
        return () if profile is None else profile.after_idle

    def after_size(self, model: Model, representation: str) -> AfterSize | None:
        """Extra service time of a representation after many samples; None where the profile gives none."""
        profile = self.any_model or self.profiles.get((model.name, representation))
        return None if profile is None else profile.after_size

    def representations(self, model: Model) -> tuple[str, ...]:
        """Names of the model's representations that this device has a profile of, in the model's order."""
        return tuple(name for name in model.representations if self.service(model, name) is not None)

    def with_overrides(
        self,
        *,
        name: str | None = None,
        memory_bytes: int | None = None,
        lanes: int | None = None,
        price_usd_per_h: float | None = None,
        beyond: Beyond | None = None,
        round_to_ns: int | None = None,
        size_step: SizeStep | None = None,
        spells: Spells | None = None,
    ) -> Device:
        """Return this device with some settings replaced; what is left out stays.

        `beyond`, `round_to_ns` and `size_step` apply to every table (see `ServiceTable`), not to parametric
        services. The content hash changes with the settings.

        Raises
        ------
        ValueError
            If a table cannot be read that way: `beyond="linear"` with a single size. If there are to be spells where
            not all service times are tables.
        """
        given = {
            key: value
            for key, value in {
                "memory_bytes": memory_bytes,
                "lanes": lanes,
                "price_usd_per_h": price_usd_per_h,
                "beyond": beyond,
                "round_to_ns": round_to_ns,
                "size_step": size_step,
                "spells": None if spells is None else spells.text(),
            }.items()
            if value is not None
        }
        services = [one.service for one in (*self.profiles.values(), self.any_model) if one is not None]
        if spells is not None and not (services and all(isinstance(one, ServiceTable) for one in services)):
            raise ValueError(SPELLS_NEED_TABLES)

        def read(service: Service) -> Service:
            if isinstance(service, ServiceTable):
                return service.with_options(beyond=beyond, round_to_ns=round_to_ns, size_step=size_step)
            return service

        def read_profile(profile: Profile) -> Profile:
            with_loading = profile.with_loading
            return replace(
                profile,
                service=read(profile.service),
                with_loading=None if with_loading is None else read(with_loading),
            )

        return replace(
            self,
            name=self.name if name is None else name,
            memory_bytes=self.memory_bytes if memory_bytes is None else memory_bytes,
            lanes=self.lanes if lanes is None else lanes,
            price_usd_per_h=self.price_usd_per_h if price_usd_per_h is None else price_usd_per_h,
            profiles={key: read_profile(profile) for key, profile in self.profiles.items()},
            any_model=None if self.any_model is None else read_profile(self.any_model),
            spells=self.spells if spells is None else spells,
            content_hash=_digest({"profile": self.content_hash, **given}, []) if given else self.content_hash,
        )


def build_device(
    spec: DeviceSpec,
    *,
    folder: Path | None = None,
    or_here: bool = False,
    node: Node | None = None,
    name: str | None = None,
) -> Device:
    """Make a device from its specification, reading the table files it names.

    Parameters
    ----------
    spec : DeviceSpec
        From a device file, or inline in an experiment.
    folder : Path, optional
        Where relative table files are looked for; the working directory if left out.
    or_here : bool
        Whether they are looked for in the working directory, too, as are other files that an experiment names.
    node : Node, optional
        The parsed YAML of `spec`, so that problems say where they are.
    name : str, optional
        Name where the specification gives none.

    Raises
    ------
    SpecError
        With every missing table file and every problem inside the table files.
    """
    builder = _Builder(Path() if folder is None else folder, or_here, node, spec.evidence)
    profiles: dict[tuple[str, str], Profile] = {}
    any_model: Profile | None = None
    if isinstance(spec.service, dict):
        for model, representations in spec.service.items():
            for representation, entry in representations.items():
                profile = builder.profile(entry, ("service", model, representation))
                if profile is not None:
                    profiles[model, representation] = profile
    elif spec.service is not None:
        any_model = builder.profile(spec.service, ("service",))
    if builder.problems:
        raise SpecError(builder.problems)
    provenance = spec.provenance
    return Device(
        name=spec.name or name or "inline",
        kind=spec.kind,
        memory_bytes=spec.memory,
        lanes=spec.lanes,
        idle_w=None if spec.power is None else spec.power.idle,
        busy_w=None if spec.power is None else spec.power.busy,
        price_usd_per_h=spec.price,
        evidence=spec.evidence,
        provenance=(
            "" if provenance is None else "\n".join(f"{key}: {value}" for key, value in provenance if value is not None)
        ),
        content_hash=_digest(spec.model_dump(mode="json"), builder.contents),
        description=spec.description,
        profiles=profiles,
        any_model=any_model,
        roofline=None if spec.roofline is None else _roofline(spec.roofline),
        per_query_overhead_ns=spec.per_query_overhead,
        spells=spells(spec.spells),
    )


class _Builder:
    """Turns service entries into services and gathers the problems and the bytes that were read."""

    def __init__(self, folder: Path, or_here: bool, node: Node | None, evidence: Evidence) -> None:
        self.folder = folder
        self.or_here = or_here
        self.node = node
        self.evidence: Evidence = evidence
        self.problems: list[Problem] = []
        self.contents: list[bytes] = []

    def profile(self, entry: TableFileSpec | InlineTableSpec | ParametricSpec, path: tuple[str, ...]) -> Profile | None:
        if isinstance(entry, ParametricSpec):
            return Profile(
                ParametricService(entry.distribution, mean_ns=entry.mean, per_sample_ns=entry.per_sample, cv=entry.cv),
                after_idle=after_idle(entry.after_idle),
                after_size=after_size(entry.after_size),
            )
        if isinstance(entry, InlineTableSpec):
            return Profile(
                ServiceTable(
                    sizes=np.array(entry.sizes, dtype=np.int64),
                    levels=np.array(entry.quantiles, dtype=np.float64),
                    service_ns=np.array(entry.service, dtype=np.float64),
                    beyond=entry.beyond,
                    round_to_ns=entry.round_to,
                    size_step=entry.size_step,
                    evidence=self.evidence,
                ),
                after_idle=after_idle(entry.after_idle),
                after_size=after_size(entry.after_size),
            )
        service = self._file(entry, entry.table, (*path, "table"))
        loading = None
        if entry.data_loading is not None:
            loading = self._file(entry, entry.data_loading, (*path, "data_loading"))
        if service is None:
            return None
        stages = None if entry.stages is None else self._stages(entry.stages, service, (*path, "stages"))
        return Profile(service, loading, stages, after_idle(entry.after_idle), after_size(entry.after_size))

    def _place(self, file: str) -> Path:
        found = find_file(file, self.folder) if self.or_here else None
        return self.folder / file if found is None else found

    def _read(self, file: str, what: str, path: tuple[str, ...]) -> bytes | None:
        try:
            content = self._place(file).read_bytes()
        except (OSError, ValueError) as error:
            why = error.strerror if isinstance(error, OSError) else error
            self._report(path, f"cannot read the {what} file: {why}", file)
            return None
        self.contents.append(content)
        return content

    def _stages(self, file: str, table: ServiceTable, path: tuple[str, ...]) -> StageTimes | None:
        content = self._read(file, "stage", path)
        if content is None:
            return None
        try:
            times = parse_stage_csv(content, str(self._place(file)))
        except SpecError as error:
            self.problems.extend(error.problems)
            return None
        first, last = int(table.sizes[0]), int(table.sizes[-1])
        for stage in times.stages:
            low, high = times.bounds(stage)
            if low > first or high < last:
                message = f"{stage} is given for the sizes {low} to {high}, and the table goes from {first} to {last}"
                self._report(path, message, file)
        return times

    def _file(self, entry: TableFileSpec, file: str, path: tuple[str, ...]) -> ServiceTable | None:
        content = self._read(file, "table", path)
        if content is None:
            return None
        try:
            data = parse_service_csv(content, str(self._place(file)))
        except SpecError as error:
            self.problems.extend(error.problems)
            return None
        try:
            return ServiceTable(
                sizes=data.sizes,
                levels=data.levels,
                service_ns=data.service_ns.astype(np.float64),
                beyond=entry.beyond,
                round_to_ns=entry.round_to,
                size_step=entry.size_step,
                evidence=self.evidence,
            )
        except ValueError as error:
            self._report(path, str(error), file)
            return None

    def _report(self, path: tuple[str, ...], message: str, value: str) -> None:
        if self.node is not None:
            self.problems.append(problem_at(self.node, path, message))
            return
        self.problems.append(
            Problem(
                message=message,
                position=None,
                key_path=".".join(path),
                value=value,
                allowed=None,
                nearest=None,
            )
        )


def _roofline(spec: RooflineSpec) -> Roofline:
    return Roofline(
        peak_flops_per_s=spec.peak,
        vector_peak_flops_per_s=spec.vector_peak,
        bandwidth_bytes_per_s=spec.bandwidth,
        chips=spec.chips,
        chip_memory_bytes=spec.chip_memory,
        on_chip_memory_bytes=spec.on_chip_memory,
        on_chip_bandwidth_bytes_per_s=spec.on_chip_bandwidth,
        streaming_bandwidth_bytes_per_s=spec.streaming_bandwidth,
        interconnect_bytes_per_s=spec.interconnect,
        host_link_bytes_per_s=spec.host_link,
        overhead_ns=spec.overhead,
        operator_overhead_ns=spec.operator_overhead,
        compute_efficiency=spec.compute_efficiency,
        bandwidth_efficiency=spec.bandwidth_efficiency,
        gather_efficiency=spec.gather_efficiency,
        small_batch=spec.small_batch,
        line_bytes=spec.line,
        sharded_dense=spec.sharded_dense,
    )


def _digest(described: dict[str, Any], contents: list[bytes]) -> str:
    """SHA-256 over canonical JSON and the digests of the files that belong to it, in order."""
    digest = hashlib.sha256(json.dumps(described, sort_keys=True, separators=(",", ":")).encode())
    for content in contents:
        digest.update(hashlib.sha256(content).digest())
    return digest.hexdigest()
