"""Pace: lanes whose service can be slowed, sped up again and cut off while it goes on.

Work is counted in units of 2**-20 ns of undisturbed service, and speed in such units a nanosecond, so that however
often the speed changes no work is lost to rounding and every completion falls on a whole nanosecond.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Sequence

import simpy

from sim.engine.instant import Clock, Rank, after, trigger
from sim.engine.ledger import Ledger
from sim.engine.station import Lane
from sim.serving.interference import FULL_SPEED, slowed_speed

__all__ = ["Pace"]


class Pace:
    """The busy lanes of one device and the speed that they share.

    Parameters
    ----------
    env : Clock
    ledger : Ledger
    speeds : sequence of int
        Speed of each lane when 1, 2, ... lanes of the device are busy, in units of 2**-20.

    Attributes
    ----------
    slowdown : float
        Product of the factors by which the device is slowed now.
    """

    def __init__(self, env: Clock, ledger: Ledger, speeds: Sequence[int]) -> None:
        self.env = env
        self.ledger = ledger
        self.speeds = speeds
        self.slowdown = 1.0
        self.busy: list[Lane] = []
        self.speed = FULL_SPEED
        self.since_ns = 0

    def start(self, lane: Lane, service_ns: int) -> simpy.Event:
        """Start service on the lane; the event returned has the value True when it ends, False when it is cut off."""
        self.settle()
        lane.left = service_ns * FULL_SPEED
        lane.done = simpy.Event(self.env)
        insort(self.busy, lane, key=_number)
        if not self.follow():
            self.schedule(lane)
        return lane.done

    def cut(self, lane: Lane) -> None:
        """Stop service on the lane, unfinished."""
        self.settle()
        self.free(lane)
        trigger(self.env, lane.done, False)

    def slow(self, slowdown: float) -> None:
        """Slow every lane by this factor from now on."""
        self.settle()
        self.slowdown = slowdown
        self.follow()

    def settle(self) -> None:
        """Take the work that was done since the last change off what is left."""
        now = self.env.now
        done = (now - self.since_ns) * self.speed
        self.since_ns = now
        if done:
            for lane in self.busy:
                lane.left -= done

    def follow(self) -> bool:
        """Change to the speed that busy lanes and slowdown ask for; True if it changed, and the completions with it."""
        if not self.busy:
            return False
        speed = slowed_speed(self.speeds[len(self.busy) - 1], self.slowdown)
        if speed == self.speed:
            return False
        self.speed = speed
        for lane in self.busy:
            self.schedule(lane)
        return True

    def schedule(self, lane: Lane) -> None:
        """Schedule the completion of what the lane serves; one that was scheduled before is void."""
        delay_ns = max(-(-lane.left // self.speed), 0)
        self.ledger.retime(lane, self.env.now + delay_ns)
        completion = after(self.env, delay_ns, Rank.COMPLETION, lambda: self.complete(lane, completion))
        lane.completion = completion

    def complete(self, lane: Lane, completion: simpy.Event) -> None:
        """End service on the lane, unless `completion` is void."""
        if lane.completion is completion:
            self.settle()
            self.free(lane)
            trigger(self.env, lane.done, True)

    def free(self, lane: Lane) -> None:
        """Take the lane from the busy ones; the others speed up."""
        lane.completion = None
        lane.serving = ()
        self.busy.remove(lane)
        self.follow()


def _number(lane: Lane) -> int:
    return lane.number
