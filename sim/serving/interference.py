"""Interference: how much slower the busy lanes of a device make each other."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["FULL_SPEED", "lane_speeds"]

FULL_SPEED = 1 << 20
"""Speed of a lane that nothing slows, in the units in which engines count work."""


def lane_speeds(lanes: int, slowdown: Sequence[float]) -> NDArray[np.int64]:
    """Return the speed of a lane when 1, 2, ..., `lanes` lanes of its device are busy.

    Parameters
    ----------
    lanes : int
    slowdown : sequence of float
        Factor on service times when 1, 2, ... lanes are busy; more lanes than factors are slowed by the last one.

    Returns
    -------
    int64, shape (lanes,)
        In units of 1 / `FULL_SPEED`, rounded to the nearest.
    """
    factors = np.array([slowdown[min(busy, len(slowdown) - 1)] for busy in range(lanes)])
    return np.maximum(np.rint(FULL_SPEED / factors), 1).astype(np.int64)
