"""Device-profile files: what a device is, where its numbers come from, and how long it takes."""

from __future__ import annotations

from collections.abc import Sized
from itertools import pairwise
from typing import Annotated, Any, Literal, TypeAlias, TypeVar

from pydantic import (
    Discriminator,
    Field,
    SerializerFunctionWrapHandler,
    Tag,
    ValidationInfo,
    field_validator,
    model_serializer,
    model_validator,
)

from sim.spec.binding import SpecModel
from sim.spec.units import (
    Bytes,
    BytesPerS,
    DurationNs,
    DurationOrZeroNs,
    FlopsPerS,
    Fraction,
    FractionOrZero,
    PowerW,
    PriceUsdPerH,
)

__all__ = [
    "SPELLS_NEED_TABLES",
    "AfterIdleCurves",
    "AfterIdleSpec",
    "AfterSizeSpec",
    "DeviceSpec",
    "InlineTableSpec",
    "ParametricSpec",
    "PowerSpec",
    "ProvenanceSpec",
    "RooflineSpec",
    "ServiceSpec",
    "SpellsSpec",
    "TableFileSpec",
]

Count = Annotated[int, Field(ge=1, lt=2**53)]
Level = Annotated[float, Field(ge=0, le=1)]
_Number = TypeVar("_Number", int, float)

SPELLS_NEED_TABLES = "spells need service tables: no roofline, and no distribution"


class ProvenanceSpec(SpecModel):
    """Where the numbers of a profile come from."""

    source: str = Field(min_length=1, description="Repository, paper, datasheet or own measurement.")
    citation: str | None = None
    licence: str | None = None
    host: str | None = Field(default=None, description="Machine and software versions that were measured.")
    date: str | None = None
    command: str | None = Field(default=None, description="How to get the same numbers again.")
    repeats: Count | None = Field(default=None, description="Repeats per measured cell.")
    samples: Count | None = Field(default=None, description="Measured values behind the profile.")
    sha256: str | None = Field(default=None, description="Digest of the source file.")
    checked_by: str | None = Field(default=None, description="Measurement that checked a modelled profile.")
    notes: str | None = None


class PowerSpec(SpecModel):
    """Electrical power of the whole device."""

    idle: PowerW | None = None
    busy: PowerW

    @model_validator(mode="after")
    def _ordered(self) -> PowerSpec:
        if self.idle is not None and self.idle > self.busy:
            raise ValueError("idle power exceeds busy power")
        return self


def _strictly_increasing(values: tuple[_Number, ...], unit: str = "") -> tuple[_Number, ...]:
    for before, after in pairwise(values):
        if after <= before:
            raise ValueError(f"must increase strictly: {after:.12g}{unit} follows {before:.12g}{unit}")
    return values


def _one_each(values: tuple[_Number, ...], what: str, others: Sized | None, of: str) -> tuple[_Number, ...]:
    """Refuse lists of two lengths; `others` that were refused themselves are None."""
    if others is not None and len(others) != len(values):
        raise ValueError(f"{len(values)} {what} for {len(others)} {of}")
    return values


class AfterIdleSpec(SpecModel):
    """Extra service time of what a lane serves first after it stood idle, by how long it did."""

    idle: tuple[DurationNs, ...] = Field(
        min_length=1, description="Idle times; linear between them and from 0 to the first, constant after the last."
    )
    extra: tuple[DurationOrZeroNs, ...] = Field(min_length=1, description="Extra service time after each of them.")
    per_sample: tuple[DurationOrZeroNs, ...] = Field(
        default=(), description="Further extra service time after each of them, for every sample that is served."
    )
    carry: FractionOrZero = Field(
        default=0.0,
        lt=1.0,
        description="Share of the idle time that counted for what a lane served last and counts again for the next.",
    )

    @field_validator("idle")
    @classmethod
    def _increasing(cls, values: tuple[int, ...]) -> tuple[int, ...]:
        return _strictly_increasing(values, " ns")

    @field_validator("extra")
    @classmethod
    def _one_each(cls, values: tuple[int, ...], info: ValidationInfo) -> tuple[int, ...]:
        return _one_each(values, "extra service times", info.data.get("idle"), "idle times")

    @field_validator("per_sample")
    @classmethod
    def _none_or_one_each(cls, values: tuple[int, ...], info: ValidationInfo) -> tuple[int, ...]:
        if not values:
            return values
        return _one_each(values, "extra service times per sample", info.data.get("idle"), "idle times")

    @model_serializer(mode="wrap")
    def _without_nothing(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        # As for `_ServiceOptions`: profiles from before there were these keep their hashes.
        written: dict[str, Any] = handler(self)
        for name in ("per_sample", "carry"):
            if not getattr(self, name):
                del written[name]
        return written


def _idle_kind(value: Any) -> str | None:
    if isinstance(value, dict | AfterIdleSpec):
        return "one"
    return "several" if isinstance(value, list | tuple) and value else None


AfterIdleCurves: TypeAlias = Annotated[
    Annotated[AfterIdleSpec, Tag("one")] | Annotated[tuple[AfterIdleSpec, ...], Tag("several")],
    Discriminator(
        _idle_kind,
        custom_error_type="after_idle_expected",
        custom_error_message="expected {idle: ..., extra: ...}, or a list of such, which are added up",
    ),
]


class AfterSizeSpec(SpecModel):
    """Extra service time of what a lane serves, by the samples of what it served before."""

    size: tuple[Count, ...] = Field(
        min_length=1, description="Samples; linear between them and from 0 to the first, constant after the last."
    )
    extra: tuple[DurationOrZeroNs, ...] = Field(min_length=1, description="Extra service time after each of them.")
    typical: DurationOrZeroNs = Field(
        default=0, description="What the service times hold of it already, because they were measured among others."
    )
    carry: FractionOrZero = Field(
        default=0.0,
        lt=1.0,
        description="Share of the samples that counted for what a lane served last and count again for the next.",
    )

    @field_validator("size")
    @classmethod
    def _increasing(cls, values: tuple[int, ...]) -> tuple[int, ...]:
        return _strictly_increasing(values)

    @field_validator("extra")
    @classmethod
    def _one_each(cls, values: tuple[int, ...], info: ValidationInfo) -> tuple[int, ...]:
        return _one_each(values, "extra service times", info.data.get("size"), "sizes")

    @model_validator(mode="after")
    def _typical_of_some(self) -> AfterSizeSpec:
        if self.typical > max(self.extra):
            raise ValueError("typical is more than the largest extra service time")
        return self


class SpellsSpec(SpecModel):
    """Correlation of the service times of a lane: what is slow now is slow for a while."""

    share: tuple[Fraction, ...] = Field(
        min_length=1,
        max_length=4,
        description="Shares of the variance of the normal scores of service times that last; together below 1.",
    )
    services: tuple[Annotated[float, Field(ge=0.5, le=1e5, allow_inf_nan=False)], ...] = Field(
        min_length=1, description="Services of a lane after which each share has fallen to 1/e."
    )

    @field_validator("share")
    @classmethod
    def _leaves_some(cls, values: tuple[float, ...]) -> tuple[float, ...]:
        if sum(values) >= 1:
            raise ValueError(f"the shares come to {sum(values):g}: together they must be below 1")
        return values

    @field_validator("services")
    @classmethod
    def _increasing(cls, values: tuple[float, ...], info: ValidationInfo) -> tuple[float, ...]:
        return _strictly_increasing(_one_each(values, "numbers of services", info.data.get("share"), "shares"))


class _ServiceOptions(SpecModel):
    """What can be said of any service time."""

    after_idle: AfterIdleCurves | None = Field(
        default=None,
        description="What service takes longer on a lane that stood idle before; several are added up, each with its "
        "own carry.",
    )
    after_size: AfterSizeSpec | None = Field(
        default=None, description="What service takes longer on a lane that served many samples before."
    )

    @model_serializer(mode="wrap")
    def _without_what_is_absent(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        # The hash of a profile is that of its text; one without these keeps the hash that it always had.
        written: dict[str, Any] = handler(self)
        for name in ("after_idle", "after_size", "stages"):
            if name in written and getattr(self, name) is None:
                del written[name]
        return written


class _TableOptions(_ServiceOptions):
    """How a table is read."""

    beyond: Literal["refuse", "linear"] = Field(
        default="refuse", description="Outside the measured sizes: an error, or the last segment extended."
    )
    round_to: DurationOrZeroNs = Field(default=0, description="Round drawn times to multiples of this.")
    size_step: Literal["linear", "ceil"] = Field(
        default="linear", description="Between sizes: interpolate, or take the next size's row."
    )


class TableFileSpec(_TableOptions):
    """A quantile table in a CSV file: header `size,LEVEL,...`, then one row of whole ns per size."""

    table: str = Field(min_length=1, description="CSV file, relative to the file that names it.")
    data_loading: str | None = Field(
        default=None, min_length=1, description="CSV file of the same table with the time to load the data included."
    )
    stages: str | None = Field(
        default=None,
        min_length=1,
        description="CSV file of the mean times of the table's stages, `stage,size,mean_ns`; what caches need.",
    )


class InlineTableSpec(_TableOptions):
    """A quantile table written in place: one row of durations per size, one column per quantile level."""

    sizes: tuple[Count, ...] = Field(min_length=1)
    quantiles: tuple[Level, ...] = Field(default=(0.5,), min_length=1)
    service: tuple[tuple[DurationNs, ...], ...]

    @field_validator("sizes", "quantiles")
    @classmethod
    def _increasing(cls, values: tuple[float, ...]) -> tuple[float, ...]:
        return _strictly_increasing(values)

    @field_validator("service")
    @classmethod
    def _rows_fit(cls, rows: tuple[tuple[int, ...], ...], info: ValidationInfo) -> tuple[tuple[int, ...], ...]:
        sizes, levels = info.data.get("sizes"), info.data.get("quantiles")
        if sizes is None or levels is None:
            return rows
        if len(rows) != len(sizes):
            raise ValueError(f"{len(rows)} rows for {len(sizes)} sizes")
        for size, row in zip(sizes, rows, strict=True):
            if len(row) != len(levels):
                raise ValueError(f"the row of size {size} has {len(row)} values for {len(levels)} quantiles")
            if any(after < before for before, after in pairwise(row)):
                raise ValueError(f"the quantiles of size {size} cross: a row must not decrease")
        return rows

    @model_validator(mode="after")
    def _extendable(self) -> InlineTableSpec:
        if self.beyond == "linear" and len(self.sizes) < 2:
            raise ValueError("beyond: linear needs at least two sizes")
        return self


class ParametricSpec(_ServiceOptions):
    """A textbook service time; the mean of a query of size n is mean + per_sample x n."""

    distribution: Literal["exponential", "deterministic", "lognormal", "gamma"]
    mean: DurationOrZeroNs = 0
    per_sample: DurationOrZeroNs = 0
    cv: Annotated[float, Field(ge=1e-6, le=1e3, allow_inf_nan=False)] | None = Field(
        default=None, description="Coefficient of variation; for lognormal and gamma only."
    )

    @model_validator(mode="after")
    def _complete(self) -> ParametricSpec:
        if self.mean == 0 and self.per_sample == 0:
            raise ValueError("the mean service time is 0: give mean, per_sample or both")
        if self.distribution in ("lognormal", "gamma"):
            if self.cv is None:
                raise ValueError(f"{self.distribution} needs cv")
        elif self.cv is not None:
            raise ValueError(f"{self.distribution} has no cv to choose; leave it out")
        return self


def _service_kind(value: Any) -> str | None:
    if isinstance(value, SpecModel):
        kinds = {TableFileSpec: "file", InlineTableSpec: "inline", ParametricSpec: "parametric"}
        return kinds.get(type(value))
    if not isinstance(value, dict):
        return None
    if "distribution" in value:
        return "parametric"
    if "sizes" in value:
        return "inline"
    return "file"


def _service_or_models(value: Any) -> str | None:
    kind = _service_kind(value)
    if kind == "file" and isinstance(value, dict) and not isinstance(value.get("table"), str):
        return "models"
    return kind


_Entry = (
    Annotated[TableFileSpec, Tag("file")]
    | Annotated[InlineTableSpec, Tag("inline")]
    | Annotated[ParametricSpec, Tag("parametric")]
)
_EXPECTED = (
    "expected a service time: {table: FILE.csv}, {sizes: ..., quantiles: ..., service: ...} or "
    "{distribution: ..., mean: ...}"
)
ServiceSpec: TypeAlias = Annotated[
    _Entry,
    Discriminator(_service_kind, custom_error_type="service_expected", custom_error_message=_EXPECTED),
]
_Services = Annotated[dict[str, dict[str, ServiceSpec]], Tag("models")]


class RooflineSpec(SpecModel):
    """A datasheet, and the efficiencies assumed with it, of one lane of a device."""

    peak: FlopsPerS = Field(description="Matrix arithmetic of one chip.")
    vector_peak: FlopsPerS | None = Field(default=None, description="Element-by-element arithmetic.")
    bandwidth: BytesPerS = Field(description="Memory of one chip.")
    chips: Count = Field(default=1, description="Chips that work together on one query.")
    chip_memory: Bytes | None = Field(default=None, description="What is larger is sharded over the chips.")
    on_chip_memory: Bytes | None = Field(default=None, description="SRAM of one chip that holds parameters.")
    on_chip_bandwidth: BytesPerS | None = None
    streaming_bandwidth: BytesPerS | None = Field(
        default=None, description="Memory behind the on-chip memory, shared by all chips."
    )
    interconnect: BytesPerS | None = Field(default=None, description="From one chip to the others.")
    host_link: BytesPerS | None = Field(default=None, description="Inputs from the host.")
    overhead: DurationOrZeroNs = Field(default=0, description="Per query.")
    operator_overhead: DurationOrZeroNs = Field(default=0, description="Per operator.")
    compute_efficiency: Fraction = 0.5
    bandwidth_efficiency: Fraction = 0.75
    gather_efficiency: Fraction = 0.25
    small_batch: Annotated[float, Field(ge=0, allow_inf_nan=False)] = Field(
        default=0.0, description="Samples per chip at which half of the compute efficiency is reached."
    )
    line: Bytes = Field(default=64, description="Granularity of a random fetch.")
    sharded_dense: Literal["all-chips", "one-chip"] = "all-chips"

    @model_validator(mode="after")
    def _on_chip_pair(self) -> RooflineSpec:
        if (self.on_chip_memory is None) != (self.on_chip_bandwidth is None):
            raise ValueError("on_chip_memory and on_chip_bandwidth belong together")
        return self


class DeviceSpec(SpecModel):
    """A kind of hardware with memory, lanes, power, price and service times."""

    name: str | None = Field(default=None, min_length=1)
    kind: Literal["cpu", "gpu", "tpu", "ipu", "other"] = "other"
    description: str = ""
    evidence: Literal["measured", "published", "modelled"] = "modelled"
    memory: Bytes | None = Field(default=None, description="What mapping may fill; left out: no limit.")
    lanes: int = Field(default=1, ge=1, le=4096, description="Queries served at once.")
    per_query_overhead: DurationOrZeroNs = Field(
        default=0, description="Extra service time of a batch for each query after its first."
    )
    spells: SpellsSpec | None = Field(
        default=None, description="How the service times of a lane depend on those before; of service tables only."
    )
    power: PowerSpec | None = None
    price: PriceUsdPerH | None = None
    provenance: ProvenanceSpec | None = None
    service: (
        Annotated[
            _Entry | _Services,
            Discriminator(
                _service_or_models,
                custom_error_type="service_expected",
                custom_error_message=_EXPECTED + ", or these by model and representation",
            ),
        ]
        | None
    ) = None
    roofline: RooflineSpec | None = None

    @model_validator(mode="after")
    def _one_origin(self) -> DeviceSpec:
        if (self.service is None) == (self.roofline is None):
            raise ValueError("a device has either service or roofline")
        modelled = self.roofline is not None or isinstance(self.service, ParametricSpec)
        if modelled and self.evidence != "modelled":
            raise ValueError(f"a roofline or a parametric service is modelled, not {self.evidence}")
        if self.evidence != "modelled" and self.provenance is None:
            raise ValueError(f"evidence: {self.evidence} needs a provenance block")
        entries = (
            [one for of_model in self.service.values() for one in of_model.values()]
            if isinstance(self.service, dict)
            else [self.service]
        )
        if self.spells is not None and any(not isinstance(one, _TableOptions) for one in entries):
            raise ValueError(SPELLS_NEED_TABLES)
        return self

    @model_serializer(mode="wrap")
    def _without_what_is_absent(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        # As for `_ServiceOptions`: profiles without spells keep their hashes.
        written: dict[str, Any] = handler(self)
        if self.spells is None:
            written.pop("spells", None)
        return written
