"""What service costs extra because of what its lane did before: stood idle, or served many samples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

__all__ = ["Aftereffect", "Aftereffects", "counted", "extra_ns", "pack_aftereffects"]


class Aftereffect(Protocol):
    """Extra service times of one path, as a profile gives them; see `sim.profile.aftereffects`."""

    @property
    def at(self) -> tuple[int, ...]:
        """Points, in ns of idle time or in samples, which increase."""

    @property
    def extra_ns(self) -> tuple[int, ...]:
        """Extra service time at each."""

    @property
    def per_sample_ns(self) -> tuple[int, ...]:
        """Extra service time at each for every sample that is served; empty where there is none."""

    @property
    def carry(self) -> float:
        """Share of what counted for what the lane served last that counts again; whatever that was."""

    @property
    def typical_ns(self) -> int:
        """What the service time of the path holds of it already."""


@dataclass(frozen=True, slots=True)
class Aftereffects:
    """The extra service times of all paths, of one kind. A path may have several curves, which are added up.

    Attributes
    ----------
    curves : int
        The most that a path has, at least 1. Curve k of path p has the row ``k * paths + p``.
    first : int64[curves * paths + 1]
        The points of row r are ``first[r]:first[r + 1]``; a row without any costs nothing extra.
    at, extra_ns, per_sample_ns : int64[points]
    typical_ns : int64[curves * paths]
        See `Aftereffect`; 0 where there is none.
    carries : float64[carries]
        The different carries of all rows, at least one: by each of them a lane counts what it did, whatever it serves.
    carry_of : int64[curves * paths]
        Which of them is that of the row; any where the row is without points.
    """

    curves: int
    first: NDArray[np.int64]
    at: NDArray[np.int64]
    extra_ns: NDArray[np.int64]
    per_sample_ns: NDArray[np.int64]
    typical_ns: NDArray[np.int64]
    carries: NDArray[np.float64]
    carry_of: NDArray[np.int64]

    def __bool__(self) -> bool:
        """Whether any path costs extra."""
        return len(self.at) > 0


def pack_aftereffects(paths: Sequence[Sequence[Aftereffect]]) -> Aftereffects:
    """Lay out the extra service times, all first curves path by path, then all second ones, and so on."""
    curves = max((len(path) for path in paths), default=1) or 1
    rows = [path[curve] if curve < len(path) else None for curve in range(curves) for path in paths]
    points = [
        () if one is None else tuple(zip(one.at, one.extra_ns, one.per_sample_ns or (0,) * len(one.at), strict=True))
        for one in rows
    ]
    carries = sorted({one.carry for one in rows if one is not None}) or [0.0]
    flat = np.array([point for one in points for point in one], dtype=np.int64).reshape(-1, 3)
    return Aftereffects(
        curves,
        np.array([0, *accumulate(len(one) for one in points)], dtype=np.int64),
        np.ascontiguousarray(flat[:, 0]),
        np.ascontiguousarray(flat[:, 1]),
        np.ascontiguousarray(flat[:, 2]),
        np.array([0 if one is None else one.typical_ns for one in rows], dtype=np.int64),
        np.array(carries, dtype=np.float64),
        np.array([0 if one is None else carries.index(one.carry) for one in rows], dtype=np.int64),
    )


def counted(since: int, counted_before: int, carry: float) -> int:
    """Return what counts for a service: what there was just before it, and what is carried over of what counted then.

    Parameters
    ----------
    since : int
        How long the lane was idle since it ended what it served last, in ns; or the samples of that.
    counted_before : int
        What counted for that; 0 of a lane that has served nothing yet.
    carry : float
        See `Aftereffect`.
    """
    return since + int(carry * counted_before)


def extra_ns(
    count: int,
    row: int,
    samples: int,
    first: Sequence[int] | NDArray[np.int64],
    points: Sequence[int] | NDArray[np.int64],
    extras_ns: Sequence[int] | NDArray[np.int64],
    per_sample_ns: Sequence[int] | NDArray[np.int64],
) -> int:
    """Return what service takes longer when so much counts, in ns, by a curve of its path.

    Parameters
    ----------
    count : int
        As `counted`; 0 costs nothing.
    row : int
        As in `Aftereffects`.
    samples : int
        Those that are served.
    first, points, extras_ns, per_sample_ns : sequence of int
        As in `Aftereffects`.
    """
    start, end = first[row], first[row + 1]
    if count <= 0 or start == end:
        return 0
    before, before_extra_ns = 0, 0
    for point in range(start, end):
        at, at_extra_ns = points[point], extras_ns[point] + samples * per_sample_ns[point]
        if count <= at:
            share = (count - before) / (at - before)
            return before_extra_ns + round(share * (at_extra_ns - before_extra_ns))
        before, before_extra_ns = at, at_extra_ns
    return before_extra_ns
