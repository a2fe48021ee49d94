"""A DLRM to measure: its shape, device, inputs and caches, and the memory that it takes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from sim.calibrate.measure.cache_setting import NO_CACHE, CacheSetting
from sim.calibrate.measure.memory import MemoryNeed
from sim.profile.dlrm import DlrmShape, RepresentationName, dlrm_representation

__all__ = ["DlrmSetup"]

_FP32 = 4
_INT64 = 8
POOL_SAMPLES = 65_536
"""Samples of which queries are cut: more IDs than any CPU cache holds rows of."""


@dataclass(frozen=True)
class DlrmSetup:
    """A DLRM as it is measured, under any representation.

    Attributes
    ----------
    shape : DlrmShape
    device : {"cpu", "cuda"}
    threads : int
        Of a lane.
    largest_size : int
        Largest query that will be taken.
    zipf_exponent : float or None
        Popularity of the IDs; None: uniform.
    seed : int
        Of weights and inputs.
    cache : CacheSetting
        What serves the queries.
    cache_stages : CacheSetting
        Caches that are looked up apart from the queries, after each of them.
    """

    shape: DlrmShape
    device: Literal["cpu", "cuda"]
    threads: int
    largest_size: int
    zipf_exponent: float | None
    seed: int
    cache: CacheSetting = NO_CACHE
    cache_stages: CacheSetting = NO_CACHE

    @property
    def pool_samples(self) -> int:
        """Samples in the pool that queries are cut from."""
        return max(POOL_SAMPLES, 4 * self.largest_size)

    def memory_need(self, representation: RepresentationName, lanes: int) -> MemoryNeed:
        """Memory of all lanes that serve this representation: parameters, inputs, and the largest query's activations.

        All that the operators read and write stands for these: most of it is the 64-bit hashes and the floats
        made of them, which are there at the same time.
        """
        described = dlrm_representation(self.shape, representation, accuracy=1.0, accuracy_evidence="assumed")
        activations = round(described.traffic_bytes_per_sample or 0)
        kept = (described.bytes or 0) + self._pool_bytes
        return MemoryNeed(lanes * kept, lanes * self.largest_size * activations)

    @property
    def _pool_bytes(self) -> int:
        ids = len(self.shape.table_rows) * self.shape.ids_per_feature
        return self.pool_samples * (_INT64 * ids + _FP32 * self.shape.bottom_mlp[0])
