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
    def carry(self) -> float:
        """Share of what counted for what the lane served last that counts again."""

    @property
    def typical_ns(self) -> int:
        """What the service time of the path holds of it already."""


@dataclass(frozen=True, slots=True)
class Aftereffects:
    """The extra service times of all paths, of one kind.

    Attributes
    ----------
    first : int64[paths + 1]
        The points of path p are ``first[p]:first[p + 1]``; a path without any costs nothing extra.
    at, extra_ns : int64[points]
    carry : float64[paths]
    typical_ns : int64[paths]
        See `Aftereffect`; 0 of a path without any.
    """

    first: NDArray[np.int64]
    at: NDArray[np.int64]
    extra_ns: NDArray[np.int64]
    carry: NDArray[np.float64]
    typical_ns: NDArray[np.int64]

    def __bool__(self) -> bool:
        """Whether any path costs extra."""
        return len(self.at) > 0


def pack_aftereffects(paths: Sequence[Aftereffect | None]) -> Aftereffects:
    """Lay out the extra service times, path by path."""
    points = [() if one is None else tuple(zip(one.at, one.extra_ns, strict=True)) for one in paths]
    flat = np.array([point for one in points for point in one], dtype=np.int64).reshape(-1, 2)
    return Aftereffects(
        np.array([0, *accumulate(len(one) for one in points)], dtype=np.int64),
        np.ascontiguousarray(flat[:, 0]),
        np.ascontiguousarray(flat[:, 1]),
        np.array([0.0 if one is None else one.carry for one in paths], dtype=np.float64),
        np.array([0 if one is None else one.typical_ns for one in paths], dtype=np.int64),
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
        Of the path that serves now, see `Aftereffect`.
    """
    return since + int(carry * counted_before)


def extra_ns(
    count: int,
    path: int,
    first: Sequence[int] | NDArray[np.int64],
    points: Sequence[int] | NDArray[np.int64],
    extras_ns: Sequence[int] | NDArray[np.int64],
) -> int:
    """Return what service on a path takes longer when so much counts, in ns.

    Parameters
    ----------
    count : int
        As `counted`; 0 costs nothing.
    path : int
    first, points, extras_ns : sequence of int
        As in `Aftereffects`.
    """
    start, end = first[path], first[path + 1]
    if count <= 0 or start == end:
        return 0
    before, before_extra_ns = 0, 0
    for point in range(start, end):
        at, at_extra_ns = points[point], extras_ns[point]
        if count <= at:
            share = (count - before) / (at - before)
            return before_extra_ns + round(share * (at_extra_ns - before_extra_ns))
        before, before_extra_ns = at, at_extra_ns
    return before_extra_ns
