"""What happens to devices, as the table that engines carry out."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

__all__ = ["Change", "FaultSchedule"]


class Change(IntEnum):
    """What happens to a device; what begins as often as it ended is over."""

    DOWN = 0
    UP = 1
    SLOW = 2
    NORMAL = 3
    CLOSE = 4
    OPEN = 5


@dataclass(frozen=True, slots=True)
class FaultSchedule:
    """One row a device and change, in the order of time; all of shape (rows,)."""

    time_ns: NDArray[np.int64]
    device: NDArray[np.int64]
    change: NDArray[np.int8]
    factor: NDArray[np.float64]
