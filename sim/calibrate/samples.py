"""Repeated latency measurements -> rows of a quantile table that keep the sample mean, median and p99."""

from __future__ import annotations

import csv
import hashlib
import io
import lzma
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

__all__ = ["LEVELS", "Samples", "quantile_row", "read_samples", "sums_of_all_pairs"]

LEVELS: tuple[float, ...] = (
    *(0.0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9),
    *(0.95, 0.97, 0.98, 0.99, 1.0),
)
"""Quantile levels of the shipped tables: as fine in the tails as 100 repeats can say."""

_KEPT: tuple[float, ...] = (0.0, 0.5, 0.99, 1.0)
"""Levels whose sample quantile is kept as it is: extremes, median and p99."""


@dataclass(frozen=True)
class Samples:
    """Latency samples of one measurement campaign.

    Attributes
    ----------
    sha256 : str
        Digest of the file that was read, hexadecimal.
    cells : dict
        (kind, instance, model, size) -> int64 array of latencies in ns, in the order of the repeats.
    """

    sha256: str
    cells: dict[tuple[str, str, str, int], NDArray[np.int64]]

    def sizes(self, kind: str, instance: str, model: str) -> tuple[int, ...]:
        """Measured sizes of one series, increasing."""
        return tuple(sorted(n for k, i, m, n in self.cells if (k, i, m) == (kind, instance, model)))

    def instances(self) -> tuple[str, ...]:
        """Instance types, sorted."""
        return tuple(sorted({key[1] for key in self.cells}))

    def models(self, instance: str) -> tuple[str, ...]:
        """Models measured on an instance type, sorted."""
        return tuple(sorted({key[2] for key in self.cells if key[1] == instance}))


def read_samples(path: Path) -> Samples:
    """Read a long-form CSV (optionally .xz) with columns kind, instance, model, batch, sample, latency_ms.

    Parameters
    ----------
    path : Path
        The file; repeats of a cell may come in any order, `sample` numbers them.

    Returns
    -------
    Samples
        Latencies rounded to whole ns.

    Raises
    ------
    ValueError
        On other columns, a repeat given twice, or a latency that is not positive, with the line number.
    """
    raw = path.read_bytes()
    text = (lzma.decompress(raw) if path.suffix == ".xz" else raw).decode("utf-8")
    rows = csv.reader(io.StringIO(text))
    header = next(rows, [])
    if header != ["kind", "instance", "model", "batch", "sample", "latency_ms"]:
        raise ValueError(f"{path.name}:1: unexpected columns {header}")
    found: dict[tuple[str, str, str, int], dict[int, int]] = {}
    for kind, instance, model, size, repeat, latency_ms in rows:
        latency_ns = round(float(latency_ms) * 1e6)
        if latency_ns <= 0:
            raise ValueError(f"{path.name}:{rows.line_num}: latency {latency_ms} is not positive")
        cell = found.setdefault((kind, instance, model, int(size)), {})
        if int(repeat) in cell:
            raise ValueError(f"{path.name}:{rows.line_num}: repeat {repeat} of this cell occurs twice")
        cell[int(repeat)] = latency_ns
    cells = {key: np.array([cell[repeat] for repeat in sorted(cell)], dtype=np.int64) for key, cell in found.items()}
    return Samples(sha256=hashlib.sha256(raw).hexdigest(), cells=cells)


def sums_of_all_pairs(first: NDArray[np.int64], second: NDArray[np.int64]) -> NDArray[np.int64]:
    """All sums of one value of each array, int64 shape (len(first) * len(second),).

    Two parts of a latency that were measured apart carry no pairing; all pairs are the sample of their sum
    under independence.
    """
    return np.asarray((first[:, None] + second[None, :]).ravel())


def quantile_row(samples_ns: NDArray[np.int64], levels: Sequence[float] = LEVELS) -> NDArray[np.int64]:
    """Quantiles of samples at `levels`, so that the piecewise-linear function through them keeps the mean.

    The sample quantiles are Hazen's (the i-th of n ordered values stands at (i - 1/2)/n, constant outside),
    because the integral of that function over [0, 1] is exactly the sample mean. Reading it at a few levels
    loses a little of it, most where the samples are bimodal. So every knot but the extremes, the median and
    the 99th percentile then moves by one common fraction of the way to its upper (or lower) neighbour, which
    keeps the order, until the integral is the sample mean again.

    Parameters
    ----------
    samples_ns : int64, shape (n,)
        Latencies in ns.
    levels : sequence of float
        Quantile levels in [0, 1], increasing.

    Returns
    -------
    int64, shape (len(levels),)
        Not decreasing; the mean is kept to the rounding to whole ns.
    """
    level = np.asarray(levels, dtype=np.float64)
    row = np.asarray(np.quantile(samples_ns, level, method="hazen"), dtype=np.float64)
    if level.size < 2:
        return np.asarray(np.rint(row).astype(np.int64))
    edges = np.concatenate([[0.0], (level[1:] + level[:-1]) / 2, [1.0]])
    weight = np.diff(edges)
    missing = float(np.mean(samples_ns)) - float(weight @ row)
    neighbour = np.append(row[1:], row[-1]) if missing > 0 else np.insert(row[:-1], 0, row[0])
    move = np.where(np.isin(level, _KEPT), 0.0, neighbour - row)
    reach = float(weight @ move)
    if reach != 0.0:
        row = row + min(missing / reach, 1.0) * move
    return np.asarray(np.rint(row).astype(np.int64))
