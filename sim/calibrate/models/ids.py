"""Sparse IDs and dense inputs of queries: how often an ID is asked follows a popularity law, where it lies does not."""

from __future__ import annotations

from collections.abc import Sequence
from math import gcd
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sim.profile.dlrm import DlrmShape

__all__ = ["PopularityLaw", "draw_dense", "draw_ids", "scattered"]

# 2^64 divided by the golden ratio: multiples of it modulo anything are spread evenly (Knuth, vol. 3, 6.4).
_GOLDEN = 0x9E3779B97F4A7C15


class PopularityLaw(Protocol):
    """What `sim.workload.popularity` offers."""

    def draw(self, rows: int, uniforms: NDArray[np.float64], /) -> NDArray[np.int64]:
        """Return one ID in 0..rows-1 a uniform draw; 0 is the most popular."""


def draw_ids(shape: DlrmShape, samples: int, law: PopularityLaw, random: np.random.Generator) -> Tensor:
    """Draw the sparse IDs of one query.

    Popular IDs are scattered over the table, as they are where IDs are hashed or numbered in the order of their
    appearance: popular rows that lie side by side would be kinder to a CPU's caches than production is.

    Parameters
    ----------
    shape : DlrmShape
        Rows of each feature and IDs looked up per feature.
    samples : int
        Size of the query.
    law : PopularityLaw
        How popular the IDs of a feature are.
    random : numpy.random.Generator
        Source of the draws.

    Returns
    -------
    Tensor
        int64, (samples, features, IDs a feature).
    """
    drawn = np.empty((samples, len(shape.table_rows), shape.ids_per_feature), dtype=np.int64)
    for feature, rows in enumerate(shape.table_rows):
        uniforms = random.random(samples * shape.ids_per_feature)
        ranks = np.asarray(law.draw(rows, uniforms), dtype=np.int64)
        drawn[:, feature] = scattered(ranks, rows).reshape(samples, shape.ids_per_feature)
    return torch.from_numpy(drawn)


def scattered(ranks: NDArray[np.int64] | Sequence[int], rows: int) -> NDArray[np.int64]:
    """Return the row of each popularity rank: a fixed one-to-one map of 0..rows-1 onto itself."""
    step = max(1, _GOLDEN * rows >> 64)
    while gcd(step, rows) != 1:
        step += 1
    return (np.asarray(ranks, dtype=np.int64) * step) % rows


def draw_dense(shape: DlrmShape, samples: int, random: np.random.Generator) -> Tensor:
    """Draw the dense inputs of one query, float32 (samples, dense inputs), uniform on [0, 1)."""
    return torch.from_numpy(random.random((samples, shape.bottom_mlp[0]), dtype=np.float32))
