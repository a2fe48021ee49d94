"""A small click log in Criteo's format whose clicks depend on IDs and a count in a known way, for tests and trials."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sim.calibrate.accuracy.criteo import CATEGORIES, INTEGERS
from sim.report.rundir import written_whole
from sim.workload.popularity import ZipfPopularity

__all__ = ["TABLE_ROWS", "SyntheticLog", "draw_click_log", "write_click_log"]

TABLE_ROWS: tuple[int, ...] = (
    *(3, 4, 10, 15, 18, 24, 27, 50, 60, 80, 100, 120, 150, 200, 250, 300, 400, 500),
    *(600, 800, 1000, 1200, 1500, 2000, 2500, 3000),
)
"""IDs of each feature."""

_POPULARITY = ZipfPopularity(1.05)
_STRENGTH = 0.35
"""Standard deviation of an ID's effect on the log odds."""
_BIAS = -0.8
_MISSING = 0.05
"""Share of fields that are empty."""


@dataclass(frozen=True)
class SyntheticLog:
    """What is drawn.

    Attributes
    ----------
    labels : int64, (rows,)
    integers : int64, (rows, 13)
    ids : int64, (rows, 26)
        By popularity.
    missing_integers, missing_ids : bool
        Fields that are left empty, of the shapes of `integers` and `ids`.
    probabilities : float64, (rows,)
        Of a click: no model does better than to know them.
    """

    labels: NDArray[np.int64]
    integers: NDArray[np.int64]
    ids: NDArray[np.int64]
    missing_integers: NDArray[np.bool_]
    missing_ids: NDArray[np.bool_]
    probabilities: NDArray[np.float64]


def draw_click_log(rows: int, seed: int) -> SyntheticLog:
    """Draw impressions and clicks.

    The log odds of a click are a bias, a normal effect of every ID that is there, and a slope on ln(1 + x) of the first
    integer. IDs are Zipf.

    Parameters
    ----------
    rows : int
        Impressions.
    seed : int
        The same seed gives the same effects and the same rows.
    """
    effects = np.random.default_rng([seed, 0])
    random = np.random.default_rng([seed, 1])
    ids = np.stack([_POPULARITY.draw(count, random.random(rows)) for count in TABLE_ROWS], axis=1)
    integers = random.geometric(0.1, size=(rows, INTEGERS)) - 1
    missing_ids = random.random(ids.shape) < _MISSING
    missing_integers = random.random(integers.shape) < _MISSING
    odds = np.full(rows, _BIAS)
    for feature, count in enumerate(TABLE_ROWS):
        own = effects.normal(0.0, _STRENGTH, count)
        odds += np.where(missing_ids[:, feature], 0.0, own[ids[:, feature]])
    odds += 0.3 * (np.where(missing_integers[:, 0], 0.0, np.log1p(integers[:, 0])) - 2.0)
    probabilities = 1 / (1 + np.exp(-odds))
    labels = (random.random(rows) < probabilities).astype(np.int64)
    return SyntheticLog(labels, integers, ids, missing_integers, missing_ids, probabilities)


def write_click_log(path: Path, rows: int, seed: int) -> SyntheticLog:
    """Write a drawn log as Criteo's files are written; the whole file or none.

    Raises
    ------
    RunDirectoryError
        If it cannot be written.
    """
    log = draw_click_log(rows, seed)
    # An ID is the beginning of a digest of feature and rank: as in the real files it says nothing.
    names = [[_name(feature, rank) for rank in range(count)] for feature, count in enumerate(TABLE_ROWS)]
    with written_whole(path) as stream:
        for row in range(rows):
            integers = [
                "" if missing else str(value)
                for value, missing in zip(log.integers[row], log.missing_integers[row], strict=True)
            ]
            categories = [
                "" if log.missing_ids[row, feature] else names[feature][log.ids[row, feature]]
                for feature in range(CATEGORIES)
            ]
            stream.write("\t".join([str(log.labels[row]), *integers, *categories]).encode() + b"\n")
    return log


def _name(feature: int, rank: int) -> str:
    return hashlib.blake2b(f"{feature}/{rank}".encode(), digest_size=4).hexdigest()
