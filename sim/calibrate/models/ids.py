"""Sparse IDs and dense inputs of queries: how often an ID is asked follows a popularity law, where it lies does not."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from sim.profile.dlrm import DlrmShape
from sim.serving.cache import hot_entries
from sim.workload.popularity import Popularity, scattered

__all__ = ["draw_dense", "draw_ids", "hottest_ids_of_law"]


def draw_ids(shape: DlrmShape, samples: int, law: Popularity, random: np.random.Generator) -> Tensor:
    """Draw the sparse IDs of one query.

    Popular IDs are scattered over the table, as they are where IDs are hashed or numbered in the order of their
    appearance: popular rows that lie side by side would be kinder to a CPU's caches than production is.

    Parameters
    ----------
    shape : DlrmShape
        Rows of each feature and IDs looked up per feature.
    samples : int
        Size of the query.
    law : Popularity
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
        ranks = law.draw(rows, random.random((samples, shape.ids_per_feature)))
        drawn[:, feature] = scattered(ranks, rows, key=feature)
    return torch.from_numpy(drawn)


def draw_dense(shape: DlrmShape, samples: int, random: np.random.Generator) -> Tensor:
    """Draw the dense inputs of one query, float32 (samples, dense inputs), uniform on [0, 1)."""
    return torch.from_numpy(random.random((samples, shape.bottom_mlp[0]), dtype=np.float32))


def hottest_ids_of_law(shape: DlrmShape, features: Sequence[int], entries: int, law: Popularity) -> list[Tensor]:
    """Return the most popular IDs of `draw_ids`, over several features together, as an encoder cache holds them.

    Parameters
    ----------
    shape : DlrmShape
        Rows of each feature.
    features : sequence of int
        Features that have a DHE stack (`Dlrm.dhe_features`).
    entries : int
        IDs that the cache holds in all; fewer are returned where the tables have fewer rows.
    law : Popularity
        How popular the IDs of a feature are.

    Returns
    -------
    list of Tensor
        int64, IDs of each of `features`.
    """
    rows = [shape.table_rows[feature] for feature in features]
    held = hot_entries([law] * len(rows), rows, entries)
    return [
        torch.from_numpy(scattered(np.arange(number), count, key=feature))
        for number, count, feature in zip(held, rows, features, strict=True)
    ]
