"""Lanes: each takes what is next in its queue, serves it, and takes the next, or rests.

A lane of the reference engine is a process that waits at one of four places; here it has a `phase` instead, and `go_on`
does what the process does until it waits again.
"""

from __future__ import annotations

from sim.engine.compiled.calendar import COMPLETION, Kind, schedule
from sim.engine.compiled.clients import answer_attempt
from sim.engine.compiled.dispatch import is_served, look_up
from sim.engine.compiled.knowledge import IDLE as IDLE_LANES
from sim.engine.compiled.knowledge import busy_until, change
from sim.engine.compiled.ledger import bring_to_now, end_part, start_part
from sim.engine.compiled.lines import fits, idle, next_of, ready_line, remove, wake_if_ready
from sim.engine.compiled.memory import floats, ints, reals, words
from sim.engine.compiled.pace import ASLEEP, CUT, IDLE, SERVING, complete_paced, start_paced
from sim.engine.compiled.service_times import true_ns
from sim.engine.compiled.slots import release
from sim.engine.compiled.tables import NONE, World, attempts, devices, lanes, nodes, parts, scalers
from sim.serving.aftereffects import counted, extra_ns
from sim.serving.compiled import jit_inner, jit_once
from sim.serving.spells import next_level

__all__ = ["complete_lane", "go_on", "take"]

LANE_COMPLETION, ANSWER = int(Kind.COMPLETION), int(Kind.ANSWER)

_extra_ns, _counted = jit_inner(extra_ns), jit_inner(counted)


@jit_once
def go_on(w: World, lane: int) -> None:
    """Let a lane that was woken go on."""
    of_lane = lanes(w)[lane]
    if of_lane.phase == IDLE:
        change(w, IDLE_LANES, of_lane.device, -1)
    elif of_lane.phase == CUT:
        _end_of_service(w, lane)
    take(w, lane)


@jit_once
def complete_lane(w: World, lane: int, order: int) -> None:
    """End what a lane serves, unless the event of this order is void, and take the next."""
    if w.controls_lanes > 0 and not complete_paced(w, lane, order):
        return
    _end_of_service(w, lane)
    _complete_parts(w, lane)
    take(w, lane)


@jit_inner
def take(w: World, lane: int) -> None:
    """Take what is next and start it; rest if there is nothing, or if the lane may not."""
    of_lane = lanes(w)[lane]
    device = of_lane.device
    queue = device if w.late == 0 else 0
    batches = devices(w)[queue].batch_queries > 0
    while True:
        line = ready_line(w, queue)
        if line == NONE or not of_lane.takes:
            _rest(w, lane)
            return
        if batches:
            if _take_batch(w, lane, queue, line):
                return
        else:
            part = next_of(w, line)
            remove(w, part)
            if is_served(w, part, lane):
                p = parts(w)[part]
                p.companion = NONE
                p.leads = True
                p.batch_samples = p.size
                of_lane.first_part = part
                _enter_spell(w, lane, part)
                _start(w, lane, p.service_ns, p.expected_ns)
                return


@jit_once
def _take_batch(w: World, lane: int, queue: int, line: int) -> bool:
    """Take the parts of a batch and start it; False if none of them is served."""
    table = parts(w)
    first, last = NONE, NONE
    count, samples = 0, 0
    while fits(w, queue, line, count, samples):
        part = next_of(w, line)
        remove(w, part)
        if is_served(w, part, lane):
            table[part].companion = NONE
            table[part].leads = first == NONE
            if first == NONE:
                first = part
            else:
                table[last].companion = part
            last = part
            count += 1
            samples += table[part].size
    wake_if_ready(w, queue)
    if count == 0:
        return False
    lanes(w)[lane].first_part = first
    # A batch has the draw of its first part; one of a single part takes exactly what the part alone takes.
    overhead_ns = 0
    if count > 1:
        look_up(w, first, samples)
        overhead_ns = (count - 1) * words(w.path_overhead_ns_at)[table[first].path]
    part = first
    while part != NONE:
        table[part].batch_samples = samples
        part = table[part].companion
    _enter_spell(w, lane, first)
    _start(w, lane, table[first].service_ns + overhead_ns, table[first].expected_ns + overhead_ns)
    return True


@jit_inner
def _enter_spell(w: World, lane: int, part: int) -> None:
    """Let the true service time of what a lane begins with be that of the spell in which the lane is, if any."""
    if w.spell_components == 0:
        return
    of_lane = lanes(w)[lane]
    device = of_lane.device
    first = words(w.spell_first_at)[device]
    components = words(w.spell_first_at)[device + 1] - first
    if components == 0:
        return
    p = parts(w)[part]
    # The score is the last of the units.
    score = reals(w.query_multiplier_at)[(p.query * w.draws + p.draw + 1) * w.units - 1]
    level = next_level(
        score,
        floats(w.spell_past_at + 8 * lane * w.spell_components, components),
        reals(w.spell_own_at)[device],
        floats(w.spell_decay_at + 8 * first, components),
        floats(w.spell_weight_at + 8 * first, components),
    )
    p.service_ns = true_ns(w, p.path, p.batch_samples, level, 1.0)


@jit_inner
def _start(w: World, lane: int, service_ns: int, expected_ns: int) -> None:
    """Start the parts that a lane holds."""
    of_lane = lanes(w)[lane]
    busy_until(w, lane, w.now + expected_ns)
    table = parts(w)
    part = of_lane.first_part
    if w.idle_points > 0:
        service_ns += _after_idle_ns(w, lane, table[part].path, table[part].batch_samples)
    if w.size_points > 0:
        service_ns = max(service_ns + _after_size_ns(w, lane, table[part].path, table[part].batch_samples), 0)
    while part != NONE:
        start_part(w, part, lane, service_ns)
        part = table[part].companion
    w.starts += 1
    if w.controls_lanes > 0:
        start_paced(w, lane, service_ns)
    else:
        of_lane.phase = SERVING
        of_lane.completion = schedule(w, service_ns, COMPLETION, LANE_COMPLETION, lane, 0)
    if w.has_scalers > 0:
        _count_busy(w, of_lane.node, 1)


@jit_once
def _after_idle_ns(w: World, lane: int, path: int, samples: int) -> int:
    """Return what service that starts now takes longer because its lane stood idle, and let this count."""
    idle_ns = w.now - lanes(w)[lane].ended_ns
    counted_ns = ints(w.idle_counted_at + 8 * lane * w.idle_carries, w.idle_carries)
    for which in range(w.idle_carries):
        counted_ns[which] = _counted(idle_ns, counted_ns[which], floats(w.idle_carry_at, w.idle_carries)[which])
    longer_ns = 0
    for curve in range(w.idle_curves):
        row = curve * w.paths + path
        longer_ns += _extra_ns(
            counted_ns[words(w.idle_carry_of_at)[row]],
            row,
            samples,
            ints(w.idle_first_at, w.idle_curves * w.paths + 1),
            ints(w.idle_marks_at, w.idle_points),
            ints(w.idle_extra_ns_at, w.idle_points),
            ints(w.idle_per_sample_ns_at, w.idle_points),
        )
    return longer_ns


@jit_once
def _after_size_ns(w: World, lane: int, path: int, samples: int) -> int:
    """Return what service that starts now takes longer because of the samples before, and let its own count."""
    of_lane = lanes(w)[lane]
    before = of_lane.last_size
    of_lane.last_size = samples
    if before == 0:
        return 0
    counted = ints(w.size_counted_at + 8 * lane * w.size_carries, w.size_carries)
    for which in range(w.size_carries):
        counted[which] = _counted(before, counted[which], floats(w.size_carry_at, w.size_carries)[which])
    longer_ns = _extra_ns(
        counted[words(w.size_carry_of_at)[path]],
        path,
        samples,
        ints(w.size_first_at, w.paths + 1),
        ints(w.size_marks_at, w.size_points),
        ints(w.size_extra_ns_at, w.size_points),
        ints(w.size_per_sample_ns_at, w.size_points),
    )
    return longer_ns - int(words(w.size_typical_ns_at)[path])


@jit_once
def _end_of_service(w: World, lane: int) -> None:
    lanes(w)[lane].ended_ns = w.now
    if w.has_scalers > 0:
        _count_busy(w, lanes(w)[lane].node, -1)


@jit_once
def _count_busy(w: World, node: int, by: int) -> None:
    """Count the busy lanes of a scaled group."""
    scaler = nodes(w)[node].scaler
    if scaler != NONE:
        s = scalers(w)[scaler]
        s.busy_integral += (w.now - s.busy_at_ns) * s.busy
        s.busy_at_ns = w.now
        s.busy += by


@jit_once
def _rest(w: World, lane: int) -> None:
    """Stand idle until there is work, or out of the way until the lane may take parts again."""
    of_lane = lanes(w)[lane]
    of_lane.resting = True
    if of_lane.takes:
        of_lane.phase = IDLE
        change(w, IDLE_LANES, of_lane.device, 1)
        idle(w, lane)
    else:
        of_lane.phase = ASLEEP


@jit_once
def _complete_parts(w: World, lane: int) -> None:
    """End the parts of a lane, each with its attempt if it was the last part, and with its query if that waits."""
    of_lane = lanes(w)[lane]
    part = of_lane.first_part
    of_lane.first_part = NONE
    table = parts(w)
    accuracy = reals(w.path_accuracy_at)
    while part != NONE:
        p = table[part]
        following = p.companion
        query = p.query
        bring_to_now(w)
        end_part(w, part)
        a = attempts(w)[p.attempt]
        a.correct += p.size * accuracy[p.path]
        a.left -= 1
        if a.left == 0 and a.wanted:
            a.path = p.path
            a.node = of_lane.node
            if w.has_network > 0:
                schedule(w, a.back_ns, COMPLETION, ANSWER, p.attempt, a.generation)
            else:
                answer_attempt(w, p.attempt)
        release(w, query)
        part = following
