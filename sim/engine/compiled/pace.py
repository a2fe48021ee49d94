"""Pace: lanes whose service can be slowed, sped up again and cut off while it goes on.

The compiled counterpart of `sim.engine.pace`, in the same units of work.
"""

from __future__ import annotations

from sim.engine.compiled.calendar import COMPLETION, Kind, schedule, wake
from sim.engine.compiled.knowledge import busy_until
from sim.engine.compiled.ledger import bring_to_now, end_part
from sim.engine.compiled.memory import words
from sim.engine.compiled.slots import release
from sim.engine.compiled.tables import NONE, SERVICE_TOO_LONG, World, devices, lanes, parts
from sim.serving.compiled import jit, jit_inner, jit_once
from sim.serving.interference import FULL_SPEED, slowed_speed

__all__ = ["ASLEEP", "CUT", "IDLE", "SERVING", "complete_paced", "cut", "slow", "start_paced"]

IDLE, ASLEEP, SERVING, CUT = range(4)
"""Where a lane goes on: among the idle ones, out of the way, at the end of service, where service was cut off."""

LANE_COMPLETION = int(Kind.COMPLETION)

_slowed_speed = jit(slowed_speed)

BEYOND = 1 << 42
"""Service times, in ns, whose work in the units of pace does not fit into 64 bits: more than an hour."""


@jit_inner
def _settle(w: World, device: int) -> None:
    """Take the work that was done since the last change off what is left."""
    d = devices(w)[device]
    if d.busy > 0:
        done = (w.now - d.since_ns) * d.speed
        if done > 0:
            table = lanes(w)
            for lane in range(d.first_lane, d.end_lane):
                if table[lane].phase == SERVING and table[lane].completion >= 0:
                    table[lane].left -= done
    d.since_ns = w.now


@jit_inner
def _set_end(w: World, lane: int, speed: int) -> None:
    """Schedule the end of what a lane serves; one that was scheduled before is void."""
    of_lane = lanes(w)[lane]
    delay_ns = max(-(-of_lane.left // speed), 0)
    part = of_lane.first_part
    table = parts(w)
    while part != NONE:
        table[part].finish_ns = w.now + delay_ns
        part = table[part].companion
    of_lane.completion = schedule(w, delay_ns, COMPLETION, LANE_COMPLETION, lane, 0)


@jit_inner
def _follow(w: World, device: int) -> bool:
    """Change to the speed that busy lanes and slowdown ask for; True if it changed, and the completions with it."""
    d = devices(w)[device]
    if d.busy == 0:
        return False
    speed = _slowed_speed(words(w.lane_speed_at)[d.first_lane + d.busy - 1], d.slowdown)
    if speed == d.speed:
        return False
    d.speed = speed
    table = lanes(w)
    for lane in range(d.first_lane, d.end_lane):
        if table[lane].phase == SERVING and table[lane].completion >= 0:
            _set_end(w, lane, speed)
    return True


@jit_once
def start_paced(w: World, lane: int, service_ns: int) -> None:
    """Start service that may change its pace."""
    of_lane = lanes(w)[lane]
    if service_ns >= BEYOND:
        w.error = SERVICE_TOO_LONG
        return
    device = of_lane.device
    _settle(w, device)
    of_lane.left = service_ns * FULL_SPEED
    of_lane.phase = SERVING
    # Busy from now on; its end is set below.
    of_lane.completion = 0
    devices(w)[device].busy += 1
    if not _follow(w, device):
        _set_end(w, lane, devices(w)[device].speed)


@jit_inner
def _free(w: World, lane: int) -> None:
    """Take a lane from the busy ones; the others speed up."""
    of_lane = lanes(w)[lane]
    of_lane.completion = NONE
    devices(w)[of_lane.device].busy -= 1
    _follow(w, of_lane.device)


@jit_once
def complete_paced(w: World, lane: int, order: int) -> bool:
    """End service on a lane; False if the event of this order is void."""
    if lanes(w)[lane].completion != order:
        return False
    _settle(w, lanes(w)[lane].device)
    _free(w, lane)
    return True


@jit_once
def slow(w: World, device: int, slowdown: float) -> None:
    """Slow every lane of a device by this factor from now on."""
    _settle(w, device)
    devices(w)[device].slowdown = slowdown
    _follow(w, device)


@jit_inner
def cut(w: World, lane: int) -> None:
    """Stop what a lane serves; its parts end unserved. Their attempts are the caller's to fail or to leave."""
    bring_to_now(w)
    of_lane = lanes(w)[lane]
    table = parts(w)
    part = of_lane.first_part
    while part != NONE:
        table[part].finish_ns = w.now
        table[part].cut = True
        part = table[part].companion
    busy_until(w, lane, w.now)
    _settle(w, of_lane.device)
    of_lane.phase = CUT
    _free(w, lane)
    wake(w, lane)
    part = of_lane.first_part
    of_lane.first_part = NONE
    while part != NONE:
        following = table[part].companion
        end_part(w, part)
        release(w, table[part].query)
        part = following
