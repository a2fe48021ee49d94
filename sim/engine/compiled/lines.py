"""Lines: parts that wait for a device, in the order of joining and, where another order goes, as a pairing heap.

A device that batches has a line for each path, others have one; under late binding the first device has the central
one.
"""

from __future__ import annotations

from sim.engine.compiled.calendar import wake
from sim.engine.compiled.memory import ints, words
from sim.engine.compiled.tables import NONE, World, devices, lanes, lines, parts
from sim.serving.compiled import jit_inner, jit_once
from sim.serving.queueing import Order

__all__ = [
    "append",
    "fits",
    "has_room",
    "idle",
    "next_of",
    "ready_line",
    "remove",
    "retire",
    "wake_if_ready",
    "wake_waiting",
]

FIFO = int(Order.FIFO)


# -- the order of a line ----------------------------------------------------------------------------------------


@jit_inner
def _meld(w: World, a: int, b: int) -> int:
    """Return the root of two heaps in one; the root has no brothers."""
    if a == NONE:
        return b
    if b == NONE:
        return a
    table = parts(w)
    if table[b].key < table[a].key or (table[b].key == table[a].key and table[b].serial < table[a].serial):
        a, b = b, a
    top, below = table[a], table[b]
    below.brother = top.child
    below.elder = a
    if top.child != NONE:
        table[top.child].elder = b
    top.child = b
    return a


@jit_inner
def _children_in_one(w: World, part: int) -> int:
    """Take the children of a part and return the root of their heap: in pairs from the first, then from the last."""
    table = parts(w)
    paired = NONE
    child = table[part].child
    table[part].child = NONE
    while child != NONE:
        first = child
        second = table[first].brother
        child = NONE if second == NONE else table[second].brother
        table[first].brother = NONE
        if second != NONE:
            table[second].brother = NONE
        pair = _meld(w, first, second)
        table[pair].brother = paired
        paired = pair
    root = NONE
    while paired != NONE:
        following = table[paired].brother
        table[paired].brother = NONE
        root = _meld(w, root, paired)
        paired = following
    if root != NONE:
        table[root].elder = NONE
    return root


@jit_inner
def next_of(w: World, line: int) -> int:
    """Return the part of a line that is to be served next."""
    return int(lines(w)[line].first if w.order == FIFO else lines(w)[line].root)


@jit_inner
def append(w: World, part: int) -> None:
    """Add a part to its line."""
    table = parts(w)
    p = table[part]
    d = devices(w)[p.device if w.late == 0 else 0]
    of_line = lines(w)[p.line]
    if of_line.born < 0:
        of_line.born = d.added
    p.serial = d.added
    d.added += 1
    d.waiting += 1
    of_line.parts += 1
    of_line.samples += p.size
    p.before = of_line.last
    p.after = NONE
    if of_line.last == NONE:
        of_line.first = part
    else:
        table[of_line.last].after = part
    of_line.last = part
    if w.order != FIFO:
        p.child = NONE
        p.brother = NONE
        p.elder = NONE
        of_line.root = _meld(w, of_line.root, part)


@jit_inner
def remove(w: World, part: int) -> None:
    """Take a part out of its line, wherever it stands."""
    table = parts(w)
    p = table[part]
    of_line = lines(w)[p.line]
    devices(w)[p.device if w.late == 0 else 0].waiting -= 1
    of_line.parts -= 1
    of_line.samples -= p.size
    if p.before == NONE:
        of_line.first = p.after
    else:
        table[p.before].after = p.after
    if p.after == NONE:
        of_line.last = p.before
    else:
        table[p.after].before = p.before
    if w.order != FIFO:
        if of_line.root == part:
            of_line.root = _children_in_one(w, part)
        else:
            if table[p.elder].child == part:
                table[p.elder].child = p.brother
            else:
                table[p.elder].brother = p.brother
            if p.brother != NONE:
                table[p.brother].elder = p.elder
            p.brother = NONE
            p.elder = NONE
            of_line.root = _meld(w, of_line.root, _children_in_one(w, part))


# -- batches ----------------------------------------------------------------------------------------------------


@jit_once
def _is_ready(w: World, device: int, line: int) -> bool:
    """Whether a line that is not empty is full or overdue."""
    d = devices(w)[device]
    of_line = lines(w)[line]
    if of_line.parts >= d.batch_queries or d.batch_timeout_ns == 0:
        return True
    if d.batch_samples > 0 and of_line.samples >= d.batch_samples:
        return True
    return bool(parts(w)[of_line.first].enqueue_ns + d.batch_timeout_ns <= w.now)


@jit_inner
def ready_line(w: World, device: int) -> int:
    """Return the line of a device to serve now; `NONE` if there is none."""
    d = devices(w)[device]
    table = parts(w)
    found = NONE
    for line in range(d.first_line, d.first_line + d.lines):
        if lines(w)[line].parts == 0:
            continue
        if d.batch_queries == 0:
            return line
        if _is_ready(w, device, line):
            if found != NONE:
                a, b = table[next_of(w, line)], table[next_of(w, found)]
                if b.key < a.key or (b.key == a.key and b.serial < a.serial):
                    continue
            found = line
    return found


@jit_once
def fits(w: World, device: int, line: int, count: int, samples: int) -> bool:
    """Whether the next part of a line fits in a batch that holds so many parts and samples already."""
    d = devices(w)[device]
    if lines(w)[line].parts == 0 or count >= d.batch_queries:
        return False
    return bool(d.batch_samples == 0 or samples + parts(w)[next_of(w, line)].size <= d.batch_samples)


# -- lanes that stand idle --------------------------------------------------------------------------------------


@jit_inner
def has_room(w: World, device: int) -> bool:
    """Whether one more part may join: what idle lanes are about to take needs no place to wait."""
    d = devices(w)[device]
    if d.limit < 0:
        return True
    return bool(d.waiting < d.limit + d.idle * max(d.batch_queries, 1))


@jit_once
def idle(w: World, lane: int) -> None:
    """Let a lane stand among the idle ones of its queue."""
    table = lanes(w)
    d = devices(w)[table[lane].device if w.late == 0 else 0]
    heap = words(w.idle_heap_at)
    hole = d.idle
    d.idle += 1
    table[lane].idle = True
    while hole > 0:
        above = (hole - 1) >> 1
        if table[heap[d.idle_at + above]].rank < table[lane].rank:
            break
        heap[d.idle_at + hole] = heap[d.idle_at + above]
        hole = above
    heap[d.idle_at + hole] = lane


@jit_inner
def _take_idle(w: World, device: int, place: int) -> int:
    """Take the idle lane at a place of the heap out of it."""
    table = lanes(w)
    d = devices(w)[device]
    heap = ints(w.idle_heap_at, w.idle_heap_room)
    taken = heap[d.idle_at + place]
    table[taken].idle = False
    d.idle -= 1
    last = heap[d.idle_at + d.idle]
    if place == d.idle:
        return int(taken)
    hole = place
    while hole > 0:
        above = (hole - 1) >> 1
        if table[heap[d.idle_at + above]].rank < table[last].rank:
            break
        heap[d.idle_at + hole] = heap[d.idle_at + above]
        hole = above
    while True:
        child = 2 * hole + 1
        if child >= d.idle:
            break
        if child + 1 < d.idle and table[heap[d.idle_at + child + 1]].rank < table[heap[d.idle_at + child]].rank:
            child += 1
        if table[last].rank < table[heap[d.idle_at + child]].rank:
            break
        heap[d.idle_at + hole] = heap[d.idle_at + child]
        hole = child
    heap[d.idle_at + hole] = last
    return int(taken)


@jit_once
def retire(w: World, lane: int) -> None:
    """Let a lane that was idle, or not, stand idle no more."""
    of_lane = lanes(w)[lane]
    if not of_lane.idle:
        return
    device = of_lane.device if w.late == 0 else 0
    d = devices(w)[device]
    heap = words(w.idle_heap_at)
    for place in range(d.idle):
        if heap[d.idle_at + place] == lane:
            _take_idle(w, device, place)
            return


@jit_once
def _wake_first(w: World, device: int) -> None:
    lane = _take_idle(w, device, 0)
    lanes(w)[lane].resting = False
    wake(w, lane)


@jit_inner
def wake_if_ready(w: World, device: int) -> None:
    """Wake the most preferred idle lane if a line of a batching device is ready."""
    if devices(w)[device].idle > 0 and ready_line(w, device) != NONE:
        _wake_first(w, device)


@jit_inner
def wake_waiting(w: World, device: int) -> None:
    """Wake idle lanes, the most preferred first, as many as there are parts for."""
    d = devices(w)[device]
    for _ in range(min(d.waiting, d.idle)):
        _wake_first(w, device)
