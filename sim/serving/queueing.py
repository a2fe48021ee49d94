"""Queue disciplines: which waiting part goes next, and which are no longer worth serving."""

from __future__ import annotations

from enum import IntEnum

from sim.serving.compiled import jit_inline

__all__ = ["Order", "Shed", "order_key", "sheds"]


class Order(IntEnum):
    """Which waiting part is served next; equal keys go first come, first served."""

    FIFO = 0
    SMALLEST_FIRST = 1
    EARLIEST_DEADLINE = 2
    PRIORITY = 3


class Shed(IntEnum):
    """Which queries are dropped when a lane would take them."""

    NEVER = 0
    LATE = 1
    HOPELESS = 2


FIFO, SMALLEST_FIRST, PRIORITY = int(Order.FIFO), int(Order.SMALLEST_FIRST), int(Order.PRIORITY)
NEVER_SHED, LATE = int(Shed.NEVER), int(Shed.LATE)


@jit_inline
def order_key(order: int, size: int, deadline_ns: int, priority: int) -> int:
    """Return what a part is sorted by in its queue, least first."""
    if order == FIFO:
        return 0
    if order == PRIORITY:
        return priority
    return size if order == SMALLEST_FIRST else deadline_ns


@jit_inline
def sheds(shed: int, now_ns: int, deadline_ns: int, expected_ns: int) -> bool:
    """Whether a part with this deadline and expected service time is dropped instead of started now."""
    if shed == NEVER_SHED:
        return False
    return now_ns > deadline_ns if shed == LATE else now_ns + expected_ns > deadline_ns
