"""What service costs extra after its lane stood idle: caches have gone cold and the core has slowed down meanwhile."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

from sim.profile.after_idle import AfterIdle

__all__ = ["IdleCosts", "counted_idle_ns", "extra_ns", "pack_idle_costs"]


@dataclass(frozen=True, slots=True)
class IdleCosts:
    """The extra service times of all paths.

    Attributes
    ----------
    first : int64[paths + 1]
        The points of path p are ``first[p]:first[p + 1]``; a path without any costs nothing extra.
    idle_ns, extra_ns : int64[points]
    carry : float64[paths]
        See `sim.profile.after_idle.AfterIdle`; 0 of a path without any.
    """

    first: NDArray[np.int64]
    idle_ns: NDArray[np.int64]
    extra_ns: NDArray[np.int64]
    carry: NDArray[np.float64]

    def __bool__(self) -> bool:
        """Whether any path costs extra."""
        return len(self.idle_ns) > 0


def pack_idle_costs(paths: Sequence[AfterIdle | None]) -> IdleCosts:
    """Lay out the extra service times, path by path."""
    points = [() if one is None else tuple(zip(one.idle_ns, one.extra_ns, strict=True)) for one in paths]
    flat = np.array([point for one in points for point in one], dtype=np.int64).reshape(-1, 2)
    first = np.array([0, *accumulate(len(one) for one in points)], dtype=np.int64)
    carry = np.array([0.0 if one is None else one.carry for one in paths], dtype=np.float64)
    return IdleCosts(first, np.ascontiguousarray(flat[:, 0]), np.ascontiguousarray(flat[:, 1]), carry)


def counted_idle_ns(idle_ns: int, counted_before_ns: int, carry: float) -> int:
    """Return the idle time that counts for a service: that before it, and what is carried over of that before the last.

    Parameters
    ----------
    idle_ns : int
        How long the lane was idle since it ended what it served last.
    counted_before_ns : int
        What counted for that; 0 of a lane that has served nothing yet.
    carry : float
        Of the path that serves now, see `sim.profile.after_idle.AfterIdle`.
    """
    return idle_ns + int(carry * counted_before_ns)


def extra_ns(
    idle_ns: int,
    path: int,
    first: Sequence[int] | NDArray[np.int64],
    points_ns: Sequence[int] | NDArray[np.int64],
    extras_ns: Sequence[int] | NDArray[np.int64],
) -> int:
    """Return what service on a path takes longer on a lane that was idle for so long, in ns.

    Parameters
    ----------
    idle_ns : int
        As counted (`counted_idle_ns`); 0 costs nothing.
    path : int
    first, points_ns, extras_ns : sequence of int
        As in `IdleCosts`.
    """
    start, end = first[path], first[path + 1]
    if idle_ns <= 0 or start == end:
        return 0
    before_ns, before_extra_ns = 0, 0
    for point in range(start, end):
        at_ns, at_extra_ns = points_ns[point], extras_ns[point]
        if idle_ns <= at_ns:
            share = (idle_ns - before_ns) / (at_ns - before_ns)
            return before_extra_ns + round(share * (at_extra_ns - before_extra_ns))
        before_ns, before_extra_ns = at_ns, at_extra_ns
    return before_extra_ns
