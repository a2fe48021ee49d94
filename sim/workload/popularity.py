"""Popularity of the IDs of an embedding table: what share of the look-ups the hottest IDs take, and drawing IDs.

IDs are numbered by falling popularity: 0 is the hottest. `scattered` spreads them over the table, as real IDs are.
A further law is a class here with the three methods of `Popularity`, and a spec class in `sim.spec.popularity`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = [
    "MeasuredPopularity",
    "Popularity",
    "UniformPopularity",
    "ZipfPopularity",
    "measured_counts",
    "measured_stream",
    "scattered",
]

Floats = NDArray[np.float64]
Ids = NDArray[np.int64]

_HEAD = 4096
"""Ranks that are summed one by one; behind them the Euler-Maclaurin sum is exact to the last digits."""
_MOST_CORRECTIONS = 8
"""The integral is a rank or two off; more is needed only where H no longer tells neighbours apart."""


class Popularity(Protocol):
    """A law of the IDs that are looked up in a table."""

    def draw(self, rows: int, uniforms: Floats) -> Ids:
        """Return the IDs, from 0 to rows - 1 and the hottest 0, at `uniforms` in [0, 1), int64 of the same shape."""

    def top_mass(self, n: int, rows: int) -> float:
        """Return the share of the look-ups in a table of `rows` that go to its `n` hottest IDs, from 0 to 1."""

    def ids_at_least(self, probability: float, rows: int) -> int:
        """Return how many IDs of a table of `rows` are looked up with at least this probability."""


@dataclass(frozen=True, slots=True)
class UniformPopularity:
    """Every row is looked up as often as any other."""

    def draw(self, rows: int, uniforms: Floats) -> Ids:  # noqa: D102
        _check(rows, uniforms)
        return np.minimum((np.asarray(uniforms) * rows).astype(np.int64), rows - 1)

    def top_mass(self, n: int, rows: int) -> float:  # noqa: D102
        return min(max(n, 0), rows) / rows

    def ids_at_least(self, probability: float, rows: int) -> int:  # noqa: D102
        return rows if probability * rows <= 1.0 else 0


@dataclass(frozen=True, slots=True)
class ZipfPopularity:
    """The ID of rank r (from 1) is looked up in proportion to r^-exponent, over a finite number of rows.

    Parameters
    ----------
    exponent : float
        From 0 (uniform) up; at 1 the classical law of Zipf.

    Raises
    ------
    ValueError
        If the exponent is negative or not finite.

    Notes
    -----
    No array of the length of the table is made. The generalised harmonic number H(n) is a sum over the first 4096
    ranks, and behind them the Euler-Maclaurin formula from midpoint to midpoint with two correction terms, whose
    error is below 1e-16 of H. The inverse starts from the integral and is corrected by whole ranks until
    H(r - 1) <= u H(rows) < H(r), so a draw is exact but for the rounding of H: where a rank has less than 1e-15 of the
    look-ups, any of its neighbours may be drawn for it.
    """

    exponent: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.exponent) and self.exponent >= 0):
            raise ValueError(f"the exponent of a Zipf law must be finite and at least 0, got {self.exponent}")

    def draw(self, rows: int, uniforms: Floats) -> Ids:  # noqa: D102
        _check(rows, uniforms)
        head = _head(self.exponent)
        target = np.asarray(uniforms, dtype=np.float64) * self._harmonic(np.array(rows))
        ranks = np.searchsorted(head[1 : min(rows, _HEAD) + 1], target, side="right").astype(np.int64) + 1
        behind = ranks > _HEAD
        if rows > _HEAD and np.any(behind):
            ranks[behind] = self._ranks_behind_head(target[behind], rows)
        return np.minimum(ranks, rows) - 1

    def top_mass(self, n: int, rows: int) -> float:  # noqa: D102
        _check_rows(rows)
        held = min(max(n, 0), rows)
        return float(self._harmonic(np.array(held)) / self._harmonic(np.array(rows)))

    def ids_at_least(self, probability: float, rows: int) -> int:  # noqa: D102
        if probability <= 0:
            return rows
        # r^-s / H >= p  <=>  s ln r <= -ln(p H)
        bound = -math.log(probability * float(self._harmonic(np.array(rows))))
        if bound < 0:
            return 0
        if bound >= self.exponent * math.log(rows):
            return rows
        return min(rows, int(math.exp(bound / self.exponent) * (1 + 1e-12)))

    def _harmonic(self, n: NDArray[np.int64]) -> Floats:
        """Sum of r^-exponent over the ranks 1 to n, float64 of the shape of `n` (int64)."""
        head = _head(self.exponent)
        summed = head[np.minimum(n, _HEAD)]
        far = np.maximum(n, _HEAD)
        return np.asarray(np.where(n > _HEAD, summed + self._behind_head(far), summed), dtype=np.float64)

    def _behind_head(self, n: NDArray[np.int64]) -> Floats:
        """Sum over the ranks after the head up to n, by Euler-Maclaurin between midpoints."""
        s = self.exponent
        low, high = _HEAD + 0.5, n + 0.5
        span = np.log(high / low)
        integral = low ** (1 - s) * span * _expm1_over(np.asarray((1 - s) * span))
        first = -s * (high ** (-s - 1) - low ** (-s - 1))
        third = -s * (s + 1) * (s + 2) * (high ** (-s - 3) - low ** (-s - 3))
        return np.asarray(integral - first / 24 + 7 / 5760 * third)

    def _ranks_behind_head(self, target: Floats, rows: int) -> Ids:
        """Least rank r with H(r) > target, where that lies behind the head."""
        s = self.exponent
        low = _HEAD + 0.5
        area = (target - _head(s)[_HEAD]) * low ** (s - 1)
        # The integral reaches `area` at low * exp(span); the cut keeps the logarithm real beyond the last row.
        span = area if s == 1 else np.log1p(np.maximum((1 - s) * area, -1 + 1e-15)) / (1 - s)
        ranks = np.clip(np.rint(low * np.exp(np.minimum(span, 50.0))), _HEAD + 1, rows).astype(np.int64)
        for _ in range(_MOST_CORRECTIONS):
            up = (self._harmonic(ranks) <= target) & (ranks < rows)
            down = (self._harmonic(ranks - 1) > target) & (ranks > _HEAD + 1)
            if not (np.any(up) or np.any(down)):
                break
            ranks = ranks + up - (down & ~up)
        return np.asarray(ranks, dtype=np.int64)


@dataclass(frozen=True, eq=False)
class MeasuredPopularity:
    """Popularity as it was counted.

    A table with fewer rows than IDs were counted has the law of so many of the hottest ones.

    Parameters
    ----------
    ids : int64, shape (G,)
        IDs in each group of equal ones, at least 1; a group is a single ID where these were counted one by one.
    expected : float64, shape (G,)
        Probability of one ID of the group, as whoever fills a cache knows it; not increasing.
    mass : float64, shape (G,)
        Share of the look-ups that go to one ID of the group. It differs from `expected` where the IDs that are hot
        were found in one stretch of a stream and are looked up in the next.

    Raises
    ------
    ValueError
        If the shapes differ, something is negative or nothing is looked up, or `expected` rises.
    """

    ids: Ids
    expected: Floats
    mass: Floats

    def __post_init__(self) -> None:
        if not (self.ids.ndim == 1 and self.ids.shape == self.expected.shape == self.mass.shape and self.ids.size):
            raise ValueError("ids, expected and mass must be one-dimensional, of one length, and not empty")
        if np.any(self.ids < 1) or np.any(self.expected < 0) or np.any(self.mass < 0):
            raise ValueError("groups hold at least one ID, and no probability is negative")
        if np.any(np.diff(self.expected) > 0):
            raise ValueError("groups must be ordered by falling expected popularity")
        if not np.sum(self.ids * self.mass) > 0:
            raise ValueError("no look-up was counted")

    @cached_property
    def _edges(self) -> Ids:
        """IDs up to and with each group, int64 (G + 1,)."""
        return np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(self.ids)])

    @cached_property
    def _cumulative(self) -> Floats:
        """Share of the look-ups up to and with each group, float64 (G + 1,)."""
        return np.concatenate([[0.0], np.cumsum(self.ids * self.mass)])

    def draw(self, rows: int, uniforms: Floats) -> Ids:  # noqa: D102
        _check(rows, uniforms)
        target = np.asarray(uniforms, dtype=np.float64) * self._below(rows)
        group = np.clip(np.searchsorted(self._cumulative, target, side="right") - 1, 0, self.ids.size - 1)
        into = (target - self._cumulative[group]) / np.where(self.mass[group] > 0, self.mass[group], 1.0)
        drawn = self._edges[group] + np.minimum(into.astype(np.int64), self.ids[group] - 1)
        return np.minimum(drawn, rows - 1)

    def top_mass(self, n: int, rows: int) -> float:  # noqa: D102
        _check_rows(rows)
        whole = self._below(rows)
        return self._below(min(max(n, 0), rows)) / whole if whole > 0 else 0.0

    def ids_at_least(self, probability: float, rows: int) -> int:  # noqa: D102
        # As the mass, relative to what such a table holds.
        groups_held = int(np.searchsorted(self._edges, rows))
        whole = float(np.sum(self.expected[:groups_held] * self.ids[:groups_held]))
        groups = int(np.searchsorted(-self.expected, -probability * whole, side="right"))
        return min(int(self._edges[groups]), rows)

    def _below(self, n: int) -> float:
        """Share of the look-ups that go to the first n IDs."""
        group = int(np.searchsorted(self._edges, n, side="right")) - 1
        if group >= self.ids.size:
            return float(self._cumulative[-1])
        return float(self._cumulative[group] + (n - self._edges[group]) * self.mass[group])


def measured_counts(counts: ArrayLike, ids: ArrayLike | None = None) -> MeasuredPopularity:
    """Return the popularity of IDs that were counted.

    Parameters
    ----------
    counts : floats, shape (G,)
        Look-ups of one ID, in any order; IDs without any may be left out.
    ids : integers, shape (G,), optional
        How many IDs have that count each; one by default.
    """
    count = np.asarray(counts, dtype=np.float64)
    number = np.ones(count.shape, dtype=np.int64) if ids is None else np.asarray(ids, dtype=np.int64)
    order = np.argsort(-count, kind="stable")
    count, number = count[order], number[order]
    share = count / np.sum(count * number)
    return MeasuredPopularity(number, share, share)


def measured_stream(ids: ArrayLike) -> MeasuredPopularity:
    """Return the popularity of a stream of IDs: the first half says which IDs are hot, the second what they are worth.

    One half for both would call IDs hot that were seen once, and credit the cache with that very look-up.

    Parameters
    ----------
    ids : integers, shape (look-ups,)
        At least two, in the order in which they were looked up.

    Raises
    ------
    ValueError
        If there are fewer than two.
    """
    stream = np.asarray(ids, dtype=np.int64)
    if stream.size < 2:
        raise ValueError("a stream needs at least two look-ups, for its two halves")
    first, second = stream[: stream.size // 2], stream[stream.size // 2 :]
    names, inverse = np.unique(stream, return_inverse=True)
    seen = np.bincount(inverse[: first.size], minlength=names.size)
    later = np.bincount(inverse[first.size :], minlength=names.size)
    order = np.argsort(-seen, kind="stable")
    return MeasuredPopularity(np.ones(names.size, dtype=np.int64), seen[order] / first.size, later[order] / second.size)


def scattered(ids: Ids, rows: int, key: int = 0) -> Ids:
    """Spread IDs that are numbered by popularity over a table, one to one, as if their order said nothing.

    Parameters
    ----------
    ids : int64, any shape
        From 0 to rows - 1.
    rows : int
        Rows of the table, at most 2^31.
    key : int
        Another key, another order.

    Returns
    -------
    int64, the shape of `ids`
        (a id + b) mod rows, with a near rows times the golden ratio and without a common divisor, so that neighbours
        lie far apart.
    """
    _check_rows(rows)
    if rows > 2**31:
        raise ValueError(f"at most 2^31 rows can be scattered, got {rows}")
    step = max(int(rows * 0.6180339887498949) - key % 97, 1)
    while math.gcd(step, rows) != 1:
        step += 1
    return np.asarray((np.asarray(ids, dtype=np.int64) * step + key % rows) % rows, dtype=np.int64)


@lru_cache(maxsize=64)
def _head(exponent: float) -> Floats:
    """H(0) to H(4096) of an exponent, float64 (4097,)."""
    powers = np.arange(1, _HEAD + 1, dtype=np.float64) ** -exponent
    # Added up in extended precision where there is one; a running sum in doubles loses three digits.
    summed = np.concatenate([[0.0], np.cumsum(powers, dtype=np.longdouble).astype(np.float64)])
    summed.flags.writeable = False
    return summed


def _expm1_over(t: Floats) -> Floats:
    """(exp(t) - 1) / t, 1 at 0."""
    safe = np.where(t == 0, 1.0, t)
    return np.where(t == 0, 1.0, np.expm1(safe) / safe)


def _check_rows(rows: int) -> None:
    if rows < 1:
        raise ValueError(f"a table has at least one row, got {rows}")


def _check(rows: int, uniforms: Floats) -> None:
    _check_rows(rows)
    if not np.all((np.asarray(uniforms) >= 0) & (np.asarray(uniforms) < 1)):
        raise ValueError("uniforms must lie in [0, 1)")
