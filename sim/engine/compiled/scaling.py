"""Scaling: nodes that are started when a rule asks for them, and drained and switched off when it does not.

The compiled counterpart of `sim.engine.scaling`.
"""

from __future__ import annotations

from sim.engine.compiled.availability import change_node
from sim.engine.compiled.calendar import TIMER, Kind, schedule
from sim.engine.compiled.ledger import add_span, bring_to_now, switch_off
from sim.engine.compiled.memory import words
from sim.engine.compiled.tables import World, nodes, scalers
from sim.engine.record import Span
from sim.engine.scaling import Phase
from sim.serving.compiled import jit, jit_once
from sim.serving.faults import Change
from sim.serving.scaling import Measure, mean_load, nodes_for_attainment, nodes_for_load

__all__ = ["begin", "decide", "ready"]

SCALE, READY = int(Kind.SCALE), int(Kind.READY)
OFF, STARTING, UP, DRAINING = int(Phase.OFF), int(Phase.STARTING), int(Phase.UP), int(Phase.DRAINING)
UTILISATION, BACKLOG = int(Measure.UTILISATION), int(Measure.BACKLOG)
CLOSE, OPEN = int(Change.CLOSE), int(Change.OPEN)
WAS_OFF = int(Span.OFF)

_mean_load, _for_load, _for_attainment = jit(mean_load), jit(nodes_for_load), jit(nodes_for_attainment)


@jit_once
def begin(w: World, scaler: int, initial: int) -> None:
    """Set the nodes of a group out as they are at first, and decide from then on."""
    s = scalers(w)[scaler]
    for node in range(s.first_node, s.first_node + s.nodes):
        if node < s.first_node + initial:
            nodes(w)[node].phase = UP
        else:
            change_node(w, node, CLOSE)
            switch_off(w, node)
    schedule(w, s.every_ns, TIMER, SCALE, scaler, 0)


@jit_once
def _asked(w: World, scaler: int, current: int) -> int:
    """Return the nodes that the rule asks for, within its limits."""
    s = scalers(w)[scaler]
    asked = current
    if s.measure == UTILISATION:
        integral = s.busy_integral + (w.now - s.busy_at_ns) * s.busy
        s.busy_at_ns = w.now
        s.busy_integral = 0
        asked = _for_load(_mean_load(integral, s.every_ns, s.lanes_of_node), s.target, s.tolerance, current)
    elif s.measure == BACKLOG:
        integral = s.unfinished_integral + (w.now - s.unfinished_at_ns) * s.unfinished
        s.unfinished_at_ns = w.now
        s.unfinished_integral = 0
        asked = _for_load(_mean_load(integral, s.every_ns, 1), s.target, s.tolerance, current)
    else:
        ended = w.ended - s.ended
        in_time = w.in_time - s.in_time
        s.ended = w.ended
        s.in_time = w.in_time
        if ended > 0:
            asked = _for_attainment(in_time / ended, s.target, s.scale_in_above, s.step, current)
    return int(min(max(asked, s.fewest), s.most))


@jit_once
def decide(w: World, scaler: int) -> None:
    """Start nodes, or drain some, as the rule asks."""
    bring_to_now(w)
    s = scalers(w)[scaler]
    table = nodes(w)
    current = 0
    for node in range(s.first_node, s.first_node + s.nodes):
        if table[node].phase == STARTING or table[node].phase == UP:
            current += 1
    asked = _asked(w, scaler, current)
    if asked > current:
        _scale_out(w, scaler, asked - current)
    elif asked < current and w.now - s.last_change_ns >= s.cooldown_ns:
        _scale_in(w, scaler, current - asked)
    schedule(w, s.every_ns, TIMER, SCALE, scaler, 0)


@jit_once
def _scale_out(w: World, scaler: int, count: int) -> None:
    """Take draining nodes back, the first ones first; then start ones that are off."""
    s = scalers(w)[scaler]
    table = nodes(w)
    for node in range(s.first_node, s.first_node + s.nodes):
        if count > 0 and table[node].phase == DRAINING:
            table[node].phase = UP
            change_node(w, node, OPEN)
            count -= 1
    for node in range(s.first_node, s.first_node + s.nodes):
        if count > 0 and table[node].phase == OFF:
            n = table[node]
            n.phase = STARTING
            for device in range(n.first_device, n.end_device):
                add_span(w, device, WAS_OFF, n.off_since_ns, w.now)
            n.start = schedule(w, s.ready_ns, TIMER, READY, node, 0)
            count -= 1
    s.last_change_ns = w.now


@jit_once
def ready(w: World, node: int, order: int) -> None:
    """A node is ready: it is up, unless it was given up before."""
    n = nodes(w)[node]
    if n.phase == STARTING and n.start == order:
        bring_to_now(w)
        n.phase = UP
        change_node(w, node, OPEN)


@jit_once
def _scale_in(w: World, scaler: int, count: int) -> None:
    """Give up nodes that are starting, the last ones first; then drain ones that are up."""
    s = scalers(w)[scaler]
    table = nodes(w)
    for back in range(1, s.nodes + 1):
        node = s.first_node + s.nodes - back
        if count > 0 and table[node].phase == STARTING:
            switch_off(w, node)
            count -= 1
    for back in range(1, s.nodes + 1):
        node = s.first_node + s.nodes - back
        if count > 0 and table[node].phase == UP:
            table[node].phase = DRAINING
            change_node(w, node, CLOSE)
            if words(w.unfinished_parts_at)[node] == 0:
                switch_off(w, node)
            count -= 1
    s.last_change_ns = w.now
