"""The query load as it is written: arrivals, sizes, how long."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, model_validator

from sim.spec.binding import Contradiction, SpecModel, inline_or_name
from sim.spec.units import DurationNs, DurationOrAuto, DurationOrZeroNs, RateOrZeroPerS, RatePerS

__all__ = [
    "ArrivalsSpec",
    "FixedSizesSpec",
    "GammaSpec",
    "IntegerPoissonMsSpec",
    "LognormalSizesSpec",
    "MixturePartSpec",
    "MixtureSizesSpec",
    "NamedSizes",
    "NormalSizesSpec",
    "PiecewiseRateSpec",
    "PoissonSpec",
    "QuantileSizesSpec",
    "RateStepSpec",
    "SizesSpec",
    "TraceArrivalsSpec",
    "TraceSizesSpec",
    "UniformSizesSpec",
    "WeibullSpec",
    "WorkloadSpec",
]

Size = Annotated[int, Field(ge=1, le=10_000_000)]


class PoissonSpec(SpecModel):
    """A Poisson process: independent exponential gaps."""

    kind: Literal["poisson"]
    rate: RatePerS = Field(description="Mean arrival rate.")


class GammaSpec(SpecModel):
    """Independent gamma-distributed gaps; the CV sets how bursty they are (1 is Poisson)."""

    kind: Literal["gamma"]
    rate: RatePerS = Field(description="Mean arrival rate.")
    cv: float = Field(ge=0.01, le=100.0, description="Coefficient of variation of the gaps.")


class WeibullSpec(SpecModel):
    """Independent Weibull-distributed gaps; the CV sets how bursty they are (1 is Poisson)."""

    kind: Literal["weibull"]
    rate: RatePerS = Field(description="Mean arrival rate.")
    cv: float = Field(ge=0.01, le=20.0, description="Coefficient of variation of the gaps.")


class IntegerPoissonMsSpec(SpecModel):
    """Gaps that are Poisson counts of milliseconds, as DeepRecSys, RecPipe, Ribbon and Kairos draw them.

    This is not a Poisson process: its gaps have a CV of 1/sqrt(mean gap in ms) and are far smoother. It exists to
    reproduce those works.
    """

    kind: Literal["integer-poisson-ms"]
    rate: RatePerS = Field(description="Mean arrival rate.")


class RateStepSpec(SpecModel):
    """From `at` on, the rate is `rate`."""

    at: DurationOrZeroNs = Field(description="Start of the step within the period.")
    rate: RateOrZeroPerS = Field(description="Arrival rate from then on; 0 for none.")


class PiecewiseRateSpec(SpecModel):
    """A Poisson process whose rate changes with time: steps of your own, or a shape scaled to a mean rate."""

    kind: Literal["piecewise-rate"]
    steps: tuple[RateStepSpec, ...] | None = Field(None, min_length=1, description="Rates from given times on.")
    shape: str | tuple[Annotated[float, Field(ge=0, le=1e12)], ...] | None = Field(
        None, description="Relative rates of equal windows: the name of a shape that ships, or a list."
    )
    rate: RatePerS | None = Field(None, description="Mean rate of a shape.")
    period: DurationNs | None = Field(
        None, description="Length of the pattern, which then repeats; the whole run by default."
    )

    @model_validator(mode="after")
    def _one_form(self) -> PiecewiseRateSpec:
        if (self.steps is None) == (self.shape is None):
            raise ValueError("give either steps or a shape")
        if self.shape is not None and self.rate is None:
            raise ValueError("a shape needs a mean rate")
        if self.steps is not None:
            if self.rate is not None:
                raise Contradiction(("rate",), "steps have rates of their own: leave rate out")
            times = [step.at for step in self.steps]
            if times[0] != 0 or any(b <= a for a, b in pairwise(times)):
                raise ValueError("steps have to start at 0s and follow each other in time")
            if self.period is not None and times[-1] >= self.period:
                raise ValueError("the last step starts after the period ends")
            if not any(step.rate > 0 for step in self.steps):
                raise ValueError("at least one step needs a rate above zero")
        elif not isinstance(self.shape, str) and (not self.shape or not any(value > 0 for value in self.shape)):
            raise ValueError("a shape needs at least one value above zero")
        return self


class TraceArrivalsSpec(SpecModel):
    """The arrival times of a CSV file, replayed."""

    kind: Literal["trace"]
    file: str = Field(description="CSV file with a column of time stamps: relative to the experiment file, or to here.")
    column: str | None = Field(None, description="Column of the time stamps; found by itself where it is the only one.")
    unit: Literal["s", "ms", "us", "ns"] = Field("s", description="Unit of time stamps that are numbers.")
    rate: RatePerS | None = Field(None, description="Stretch or squeeze the trace to this mean rate.")
    repeat: bool = Field(False, description="Start again when the trace is over.")
    gaps: Literal["recorded", "exponential"] = Field(
        "recorded",
        description="exponential puts a Poisson process of the trace's mean rate in its place, to compare with.",
    )


ArrivalsSpec = Annotated[
    PoissonSpec | GammaSpec | WeibullSpec | IntegerPoissonMsSpec | PiecewiseRateSpec | TraceArrivalsSpec,
    Field(discriminator="kind"),
]


class FixedSizesSpec(SpecModel):
    """Every query has the same size."""

    kind: Literal["fixed"]
    size: Size


class UniformSizesSpec(SpecModel):
    """Whole numbers from `min` to `max`, all equally likely."""

    kind: Literal["uniform"]
    min: Size
    max: Size

    @model_validator(mode="after")
    def _ordered(self) -> UniformSizesSpec:
        if self.max < self.min:
            raise ValueError("max is less than min")
        return self


class LognormalSizesSpec(SpecModel):
    """Lognormal sizes, rounded to whole samples, conditioned on these being within [min, max]."""

    kind: Literal["lognormal"]
    mean: float | None = Field(None, gt=0, description="Mean before the bounds, in samples.")
    mu: float | None = Field(None, description="Mean of the logarithm, instead of the mean.")
    sigma: float = Field(gt=0, le=10, description="Standard deviation of the logarithm.")
    min: Size = 1
    max: Size

    @model_validator(mode="after")
    def _one_location(self) -> LognormalSizesSpec:
        if (self.mean is None) == (self.mu is None):
            raise ValueError("give either mean or mu")
        if self.max < self.min:
            raise ValueError("max is less than min")
        return self


class NormalSizesSpec(SpecModel):
    """Normal sizes, rounded to whole samples, conditioned on these being within [min, max]."""

    kind: Literal["normal"]
    mean: float = Field(description="Mean before the bounds, in samples.")
    sd: float = Field(gt=0, description="Standard deviation before the bounds, in samples.")
    min: Size = 1
    max: Size

    @model_validator(mode="after")
    def _ordered(self) -> NormalSizesSpec:
        if self.max < self.min:
            raise ValueError("max is less than min")
        return self


class QuantileSizesSpec(SpecModel):
    """Equally likely sizes, as MLPerf inference lists those of DLRM-v2."""

    kind: Literal["quantiles"]
    values: tuple[Size, ...] = Field(min_length=1)


class MixturePartSpec(SpecModel):
    """A component of a mixture."""

    weight: float = Field(ge=1e-12, le=1e12, description="Relative weight.")
    sizes: SizesSpec


class MixtureSizesSpec(SpecModel):
    """Sizes from one of several distributions, by weight."""

    kind: Literal["mixture"]
    parts: tuple[MixturePartSpec, ...] = Field(min_length=1)


class TraceSizesSpec(SpecModel):
    """The sizes of a CSV file, in their order."""

    kind: Literal["trace"]
    file: str = Field(description="CSV file with a column of sizes: relative to the experiment file, or to here.")
    column: str | None = Field(None, description="Column of the sizes; found by itself where it is the only one.")
    repeat: bool = Field(False, description="Start again when the trace is over.")


SizesSpec = Annotated[
    FixedSizesSpec
    | UniformSizesSpec
    | LognormalSizesSpec
    | NormalSizesSpec
    | QuantileSizesSpec
    | MixtureSizesSpec
    | TraceSizesSpec,
    Field(discriminator="kind"),
]
MixturePartSpec.model_rebuild()

NamedSizes = Annotated[Annotated[str, Tag("name")] | Annotated[SizesSpec, Tag("inline")], Discriminator(inline_or_name)]


class WorkloadSpec(SpecModel):
    """The query load of one scenario."""

    arrivals: ArrivalsSpec = Field(description="When queries arrive.")
    sizes: NamedSizes = Field("mlperf-dlrm-v2", description="Candidates per query, by name or inline.")
    duration: DurationNs | None = Field(None, description="Length of the arrival period.")
    queries: int | None = Field(None, ge=1, le=10**10, description="Number of queries, instead of a duration.")
    warmup: DurationOrAuto = Field("auto", description="Time that is left out at the start; auto finds it by MSER-5.")
    drain: DurationOrAuto = Field(
        "auto", description="Time the clock runs on after the last arrival; auto is ten SLAs."
    )

    @model_validator(mode="before")
    @classmethod
    def _one_length(cls, data: Any) -> Any:
        if isinstance(data, dict) and (data.get("duration") is None) == (data.get("queries") is None):
            raise ValueError("give either duration or queries")
        return data

    @model_validator(mode="after")
    def _something_is_left(self) -> WorkloadSpec:
        if self.duration is not None and self.warmup != "auto" and self.warmup >= self.duration:
            raise Contradiction(("warmup",), "a warm-up as long as the run leaves nothing to measure")
        return self
