"""Mean times of the stages of a forward pass over query size, of whole and of fractional queries."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = [
    "ENCODER_CACHE",
    "KNOWN_STAGES",
    "OTHER_STAGES",
    "REST_BEHIND_CACHES",
    "StageTimes",
    "by_feature",
    "decoder_cache_stage",
    "is_known_stage",
]

ENCODER_CACHE = "encoder cache"
REST_BEHIND_CACHES = "rest behind caches"
OTHER_STAGES = ("table", "bottom MLP", "interaction", "top MLP")
"""What an MP-Cache does not touch."""
KNOWN_STAGES = (
    "table",
    "encoder",
    "decoder",
    "bottom MLP",
    "interaction",
    "top MLP",
    "transfer in",
    "transfer out",
    ENCODER_CACHE,
    "encoder by feature",
    "decoder by feature",
    REST_BEHIND_CACHES,
)
"""Stages that may be measured, besides `decoder cache N` and the same `by feature`: the search among N centroids.

By feature: each feature worked on by itself, as it is where misses differ, and not all in one batched operator. The
encoder cache is all that handling it takes: looking IDs up, gathering misses, putting embeddings in their places. The
rest behind caches is everything but encoder and decoder in queries that an MP-Cache serves: a CPU's own caches then
hold more of it.
"""

_DECODER_CACHE = re.compile(r"decoder cache [1-9][0-9]*( by feature)?")


def decoder_cache_stage(centroids: int) -> str:
    """Name of the stage that searches the nearest of so many centroids and takes its embedding."""
    return f"decoder cache {centroids}"


def by_feature(stage: str) -> str:
    """Name of a stage where each feature is worked on by itself."""
    return f"{stage} by feature"


def is_known_stage(name: str) -> bool:
    """Whether a stage may have this name."""
    return name in KNOWN_STAGES or _DECODER_CACHE.fullmatch(name) is not None


@dataclass(frozen=True, eq=False)
class StageTimes:
    """Mean times of stages, interpolated linearly over size.

    Parameters
    ----------
    measured : mapping of str to (sizes, mean_ns)
        By stage: sizes, int64 (S,), at least 1 and increasing, and mean times in ns, float64 (S,), not negative.

    Raises
    ------
    ValueError
        If a stage has no sizes, sizes do not increase, or a time is negative or not finite.
    """

    measured: Mapping[str, tuple[NDArray[np.int64], NDArray[np.float64]]]

    def __post_init__(self) -> None:
        for stage, (sizes, mean_ns) in self.measured.items():
            if sizes.ndim != 1 or sizes.size == 0 or sizes.shape != mean_ns.shape:
                raise ValueError(f"{stage}: sizes and times must be one-dimensional, of one length, and not empty")
            if sizes[0] < 1 or np.any(np.diff(sizes) <= 0):
                raise ValueError(f"{stage}: sizes must be at least 1 and increase")
            if not np.all(np.isfinite(mean_ns)) or np.any(mean_ns < 0):
                raise ValueError(f"{stage}: times must be finite and not negative")

    @property
    def stages(self) -> tuple[str, ...]:
        """Names of the stages."""
        return tuple(self.measured)

    def bounds(self, stage: str) -> tuple[int, int]:
        """Least and greatest size of a stage."""
        sizes, _ = self.measured[stage]
        return int(sizes[0]), int(sizes[-1])

    def mean_at(self, stage: str, size: ArrayLike) -> NDArray[np.float64]:
        """Mean time in ns of a stage for work of `size` samples, float64 of the same shape.

        Parameters
        ----------
        stage : str
            One of `stages`.
        size : floats
            Samples, at least 0, and possibly a fraction: work that caches have taken a part of.

        Notes
        -----
        Below the least size and above the greatest the outermost segment is extended, where it rises, and never
        below 0: the work of half a sample costs what its line says, and not half of what one sample costs.
        """
        sizes, mean_ns = self.measured[stage]
        asked = np.asarray(size, dtype=np.float64)
        inside = np.interp(asked, sizes, mean_ns)
        if sizes.size == 1:
            return np.asarray(inside)
        first = max((mean_ns[1] - mean_ns[0]) / (sizes[1] - sizes[0]), 0.0)
        last = max((mean_ns[-1] - mean_ns[-2]) / (sizes[-1] - sizes[-2]), 0.0)
        below = np.minimum(asked - sizes[0], 0.0) * first
        above = np.maximum(asked - sizes[-1], 0.0) * last
        return np.asarray(np.maximum(inside + below + above, 0.0))
