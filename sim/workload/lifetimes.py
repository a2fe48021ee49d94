"""When a component fails and is up again: alternating times up and down, drawn from its own stream."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sim.workload.streams import Stream

__all__ = ["LifetimeLaw", "alternate"]

FOREVER_NS = 2.0**62
"""146 years: longer times are cut to this, so that they are 64-bit integers."""

MOST_CYCLES = 4096
"""Times up and down that are drawn at once, at most."""


@dataclass(frozen=True, slots=True)
class LifetimeLaw:
    """Independent Weibull times up and exponential or fixed times down.

    A component ages only while it is up: `mtbf_ns` is the mean of the times up, so that the long-run share of the time
    that it is up is ``mtbf / (mtbf + mttr)`` whatever the laws are.

    Attributes
    ----------
    mtbf_ns, mttr_ns : int
        Mean times up and down.
    shape : float
        Weibull shape k of the times up; the scale is ``mtbf / Gamma(1 + 1/k)``. 1 is exponential.
    fixed_repair : bool
        Whether every time down is `mttr_ns`.
    """

    mtbf_ns: int
    mttr_ns: int
    shape: float = 1.0
    fixed_repair: bool = False

    def up_ns(self, u: NDArray[np.float64]) -> NDArray[np.int64]:
        """Return the times up at the uniforms `u`, of any shape: whole ns, at least 1."""
        scale = self.mtbf_ns / math.gamma(1 + 1 / self.shape)
        return _whole(scale * (-np.log1p(-u)) ** (1 / self.shape))

    def down_ns(self, u: NDArray[np.float64]) -> NDArray[np.int64]:
        """Return the times down at the uniforms `u`, of any shape: whole ns, at least 1."""
        return _whole(np.full(u.shape, float(self.mttr_ns)) if self.fixed_repair else -np.log1p(-u) * self.mttr_ns)


def _whole(duration_ns: NDArray[np.float64]) -> NDArray[np.int64]:
    return np.rint(np.clip(duration_ns, 1.0, FOREVER_NS)).astype(np.int64)


def alternate(law: LifetimeLaw, stream: Stream, until_ns: int) -> NDArray[np.int64]:
    """Return the times at which a component that is up at 0 changes, up to and with `until_ns`.

    Every time up and every time down takes one uniform of `stream`, in turn; a fixed repair takes one as well, so that
    the law of the repairs does not change the times up. A later `until_ns` only adds changes at the end.

    Returns
    -------
    int64, shape (changes,)
        Ascending; failures at even places, repairs at odd ones.
    """
    cycles = min(int(until_ns / (law.mtbf_ns + law.mttr_ns)) + 2, MOST_CYCLES)
    changes: list[int] = []
    now = 0
    while True:
        u = stream.uniforms(2 * cycles).reshape(cycles, 2)
        durations = np.stack([law.up_ns(u[:, 0]), law.down_ns(u[:, 1])], axis=1)
        # Python's integers: a few times of 146 years add up to more than 64 bits hold.
        for duration in durations.ravel().tolist():
            now += duration
            if now > until_ns:
                return np.array(changes, dtype=np.int64)
            changes.append(now)
