"""Query size distributions over whole numbers of samples, with their exact moments.

A further distribution is a spec class in `sim.spec.workload` and a function here, registered in `DISTRIBUTIONS`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter

from sim.spec.binding import SpecModel
from sim.spec.problems import Problem, SpecError
from sim.spec.workload import (
    FixedSizesSpec,
    LognormalSizesSpec,
    MixtureSizesSpec,
    NormalSizesSpec,
    QuantileSizesSpec,
    SizesSpec,
    TraceSizesSpec,
    UniformSizesSpec,
    WorkloadSpec,
)
from sim.workload.inverse import InverseTable
from sim.workload.shapes import find_sizes
from sim.workload.traces import find_trace, read_sizes

__all__ = ["DISTRIBUTIONS", "DiscreteSizes", "SizeDistribution", "TraceSizes", "size_distribution"]

Floats = NDArray[np.float64]


class SizeDistribution(Protocol):
    """Sizes of queries, in samples."""

    @property
    def values(self) -> NDArray[np.int64]:
        """The sizes that occur, increasing."""

    @property
    def probabilities(self) -> Floats:
        """The probability of each of `values`."""

    @property
    def bounds(self) -> tuple[int, int]:
        """Least and greatest size."""

    @property
    def mean(self) -> float:
        """Exact mean."""

    @property
    def variance(self) -> float:
        """Exact variance."""

    def draw(self, u: Floats, number: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the sizes at the uniforms `u` of the queries with the ascending numbers; fewer where a trace ends."""


@dataclass(frozen=True)
class DiscreteSizes:
    """Independent sizes of one law.

    Attributes
    ----------
    values : int64, shape (sizes,)
        Increasing.
    probabilities : float64, shape (sizes,)
    """

    values: NDArray[np.int64]
    probabilities: Floats

    @cached_property
    def _inverse(self) -> InverseTable:
        cumulative = np.cumsum(self.probabilities)
        return InverseTable(cumulative / cumulative[-1])

    @property
    def bounds(self) -> tuple[int, int]:  # noqa: D102
        return int(self.values[0]), int(self.values[-1])

    @property
    def mean(self) -> float:  # noqa: D102
        return math.fsum((self.values * self.probabilities).tolist())

    @property
    def variance(self) -> float:  # noqa: D102
        return math.fsum(((self.values - self.mean) ** 2 * self.probabilities).tolist())

    def draw(self, u: Floats, number: NDArray[np.int64]) -> NDArray[np.int64]:  # noqa: D102
        return self.values[self._inverse.rows(u)]


@dataclass(frozen=True, slots=True)
class TraceSizes:
    """Given sizes, in their order."""

    sizes: NDArray[np.int64]
    repeat: bool

    @property
    def values(self) -> NDArray[np.int64]:  # noqa: D102
        return np.unique(self.sizes)

    @property
    def probabilities(self) -> Floats:  # noqa: D102
        return np.asarray(np.unique(self.sizes, return_counts=True)[1] / len(self.sizes), dtype=np.float64)

    @property
    def bounds(self) -> tuple[int, int]:  # noqa: D102
        return int(self.sizes.min()), int(self.sizes.max())

    @property
    def mean(self) -> float:  # noqa: D102
        return float(self.sizes.mean())

    @property
    def variance(self) -> float:  # noqa: D102
        return float(self.sizes.var())

    def draw(self, u: Floats, number: NDArray[np.int64]) -> NDArray[np.int64]:  # noqa: D102
        if self.repeat:
            return self.sizes[number % len(self.sizes)]
        return self.sizes[number[number < len(self.sizes)]]


def _discrete(weights: dict[int, float]) -> DiscreteSizes:
    values = np.array(sorted(weights), dtype=np.int64)
    probabilities = np.array([weights[value] for value in values.tolist()], dtype=np.float64)
    return DiscreteSizes(values, probabilities / math.fsum(probabilities.tolist()))


def _rounded(cdf: Callable[[Floats], Floats], low: int, high: int) -> DiscreteSizes:
    """Return a continuous law conditioned on [low - 1/2, high + 1/2) and rounded to whole numbers."""
    edges = np.arange(low, high + 2, dtype=np.float64) - 0.5
    weights = np.diff(cdf(edges))
    total = math.fsum(weights.tolist())
    if not total > 0:
        message = f"the distribution has no probability between {low} and {high}"
        raise SpecError([Problem(message, key_path="workload.sizes", allowed="bounds nearer to the mean")])
    return DiscreteSizes(np.arange(low, high + 1, dtype=np.int64), weights / total)


Builder = Callable[[Any, Path], "DiscreteSizes | TraceSizes"]


def _fixed(spec: FixedSizesSpec, _base_dir: Path) -> DiscreteSizes:
    return _discrete({spec.size: 1.0})


def _uniform(spec: UniformSizesSpec, _base_dir: Path) -> DiscreteSizes:
    values = np.arange(spec.min, spec.max + 1, dtype=np.int64)
    return DiscreteSizes(values, np.full(len(values), 1.0 / len(values)))


def _lognormal(spec: LognormalSizesSpec, _base_dir: Path) -> DiscreteSizes:
    from scipy.special import ndtr

    mu = spec.mu if spec.mean is None else math.log(spec.mean) - spec.sigma**2 / 2

    def cdf(x: Floats) -> Floats:
        return np.asarray(ndtr((np.log(x) - mu) / spec.sigma), dtype=np.float64)

    return _rounded(cdf, spec.min, spec.max)


def _normal(spec: NormalSizesSpec, _base_dir: Path) -> DiscreteSizes:
    from scipy.special import ndtr

    def cdf(x: Floats) -> Floats:
        return np.asarray(ndtr((x - spec.mean) / spec.sd), dtype=np.float64)

    return _rounded(cdf, spec.min, spec.max)


def _quantiles(spec: QuantileSizesSpec, _base_dir: Path) -> DiscreteSizes:
    return _discrete({value: float(spec.values.count(value)) for value in set(spec.values)})


def _mixture(spec: MixtureSizesSpec, base_dir: Path) -> DiscreteSizes:
    weights: dict[int, float] = {}
    for part in spec.parts:
        component = _distribution(part.sizes, base_dir)
        for value, probability in zip(component.values.tolist(), component.probabilities.tolist(), strict=True):
            weights[value] = weights.get(value, 0.0) + part.weight * probability
    return _discrete(weights)


def _trace(spec: TraceSizesSpec, base_dir: Path) -> TraceSizes:
    return TraceSizes(read_sizes(find_trace(spec.file, base_dir, "workload.sizes.file"), spec.column), spec.repeat)


DISTRIBUTIONS: dict[str, Builder] = {
    "fixed": _fixed,
    "uniform": _uniform,
    "lognormal": _lognormal,
    "normal": _normal,
    "quantiles": _quantiles,
    "mixture": _mixture,
    "trace": _trace,
}
"""Every size distribution by the `kind` that an experiment file names."""


def _distribution(spec: Any, base_dir: Path) -> SizeDistribution:
    return DISTRIBUTIONS[spec.kind](spec, base_dir)


def size_distribution(spec: WorkloadSpec, base_dir: Path) -> SizeDistribution:
    """Return the size distribution of a workload.

    Raises
    ------
    SpecError
        If a trace or a name cannot be found, or a trace is over before the run.
    """
    if isinstance(spec.sizes, SpecModel):
        sizes = _distribution(spec.sizes, base_dir)
    else:
        adapter: TypeAdapter[Any] = TypeAdapter(SizesSpec)
        sizes = _distribution(adapter.validate_python(find_sizes(spec.sizes).plain()), base_dir)
    if isinstance(sizes, TraceSizes) and not sizes.repeat and (spec.queries or 0) > len(sizes.sizes):
        message = f"the trace of sizes is over after {len(sizes.sizes)} queries; shorten the run or repeat the trace"
        raise SpecError([Problem(message, key_path="workload.queries", value=spec.queries)])
    return sizes
