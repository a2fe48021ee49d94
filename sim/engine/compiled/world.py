"""The world: a system laid out in tables, and tables made longer where they get too short."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sim.engine.compiled.choice import CHOICES, ROUTES, entry_point
from sim.engine.compiled.memory import Memory
from sim.engine.compiled.plain import is_plain, lay_out_flows, set_levels
from sim.engine.compiled.side_by_side import EIGHT
from sim.engine.compiled.tables import (
    ATTEMPT,
    CHANGE,
    DEVICE,
    EVENT,
    LANE,
    LINE,
    NODE,
    NONE,
    PART,
    QUERY,
    SCALER,
    WORLD,
    empty,
)
from sim.engine.rows import ATTEMPT_ROW, PART_ROW, QUERY_ROW, SPAN_ROW
from sim.serving.clients import DropReason
from sim.serving.faults import FaultSchedule, slowdowns
from sim.serving.interference import FULL_SPEED
from sim.serving.queueing import Shed
from sim.serving.state import State
from sim.serving.system import System

__all__ = ["Draws", "grow", "lay_out"]

FIRST_ROOM = 1024


@dataclass(frozen=True, slots=True)
class Draws:
    """How many draws a query comes with: service draws and router draws of each attempt."""

    parts: int
    choices: int


def lay_out(system: System, draws: Draws, faults: FaultSchedule | None) -> tuple[Memory, tuple[object, ...]]:
    """Return the world of a system, and what has to be kept alive as long as it is used.

    Parameters
    ----------
    system : System
    draws : Draws
    faults : FaultSchedule, optional

    Raises
    ------
    NotCompilable
        If the policy is a function that numba cannot compile.
    """
    world = Memory(WORLD)
    alive = _set_policy(world, system)
    set_levels(world, system)
    _set_queues_and_router(world, system)
    _lay_out_fleet(world, system)
    _lay_out_state(world, system)
    _lay_out_services(world, system)
    _lay_out_clients(world, system, draws)
    _lay_out_faults(world, system, faults)
    _lay_out_scaling(world, system)
    _lay_out_remapping(world, system)
    _lay_out_scratch(world, system, draws)
    if is_plain(system):
        lay_out_flows(world, system)
    _lay_out_rooms(world, system, draws)
    return world, alive


def _set(world: Memory, **numbers: Any) -> None:
    for name, value in numbers.items():
        world.set(name, int(value))


def _set_policy(world: Memory, system: System) -> tuple[object, ...]:
    numbers = np.ascontiguousarray(system.policy_parameters, dtype=np.float64)
    world.put("policy_numbers", numbers.ravel())
    _set(
        world,
        policy_parameters=numbers.shape[1],
        uses_estimates=system.uses_estimates,
        sees_queue=system.sees_queue,
        knows_service=system.knows_service,
    )
    if system.choose in CHOICES:
        _set(world, policy=CHOICES.index(system.choose))
        return ()
    entry = entry_point(system.choose)
    _set(world, policy=len(CHOICES), choice_at=entry.address)
    return (entry,)


def _set_queues_and_router(world: Memory, system: System) -> None:
    late = system.late_lanes is not None
    _set(
        world,
        late=late,
        order=system.order,
        shed=system.shed,
        sheds=system.shed != Shed.NEVER or late or system.clients is not None,
        part_size=system.part_size,
        split_by_part=system.split_by_part,
        router=ROUTES.index(system.router.kind),
        by_work=getattr(system.router, "measure", "queries") == "work",
        routers=system.routers,
        rotates=system.routers > 1 and system.router.kind == "least-backlog",
        has_network=system.has_network,
        way_back_ns=system.way_back_ns,
        knowledge_delay_ns=system.knowledge_delay_ns,
        controls_lanes=system.controls_lanes,
        has_faults=system.has_faults,
    )


def _lay_out_fleet(world: Memory, system: System) -> None:
    nodes, devices, lanes = len(system.node_group), len(system.device_lane) - 1, int(system.device_lane[-1])
    groups = (len(system.group_path) - 1) // system.models
    _set(
        world,
        models=system.models,
        nodes=nodes,
        devices=devices,
        lanes=lanes,
        groups=groups,
        node_paths=system.node_path[-1],
        paths=len(system.paths),
        classes=len(system.class_sla_ns),
    )
    for name in ("node_group", "node_device", "device_lane", "group_path", "node_path", "path_overhead_ns"):
        world.put(name, np.ascontiguousarray(getattr(system, name), dtype=np.int64))
    for name in ("class_sla_ns", "class_priority", "class_model", "lane_speed"):
        world.put(name, np.ascontiguousarray(getattr(system, name), dtype=np.int64))
    idle, size = system.idle_costs, system.size_costs
    _set(world, idle_points=len(idle.at), idle_curves=idle.curves, size_points=len(size.at))
    _set(world, idle_carries=len(idle.carries), size_carries=len(size.carries))
    for kind, costs in (("idle", idle), ("size", size)):
        points = {"first": costs.first, "marks": costs.at, "extra_ns": costs.extra_ns}
        for name, values in {**points, "per_sample_ns": costs.per_sample_ns}.items():
            world.put(f"{kind}_{name}", np.ascontiguousarray(values, dtype=np.int64))
        world.put(f"{kind}_carry", np.ascontiguousarray(costs.carries, dtype=np.float64))
        world.put(f"{kind}_carry_of", np.ascontiguousarray(costs.carry_of, dtype=np.int64))
        world.put(f"{kind}_counted", np.zeros(lanes * len(costs.carries), dtype=np.int64))
    world.put("size_typical_ns", np.ascontiguousarray(size.typical_ns, dtype=np.int64))
    spells = system.spells
    _set(world, spell_components=spells.most)
    world.put("spell_first", spells.first)
    for name, numbers in (("spell_own", spells.own), ("spell_decay", spells.decay), ("spell_weight", spells.weight)):
        world.put(name, np.ascontiguousarray(numbers, dtype=np.float64))
    world.put("path_accuracy", np.ascontiguousarray(system.path_accuracy, dtype=np.float64))
    world.put("path_slot", np.append(system.paths[:, 0], np.zeros(EIGHT)).astype(np.int64))
    world.put("path_slot_service", np.ascontiguousarray(system.paths, dtype=np.int64))
    _lay_out_nodes(world, system)
    _lay_out_devices(world, system)
    _lay_out_lanes(world, system)


def _lay_out_nodes(world: Memory, system: System) -> None:
    nodes = len(system.node_group)
    table = empty(NODE, nodes)
    table["first_device"], table["end_device"] = system.node_device[:-1], system.node_device[1:]
    table["group"] = system.node_group
    table["first_place"] = system.node_path[:-1]
    for number, rule in enumerate(system.scaling):
        table["scaler"][rule.first_node : rule.first_node + rule.nodes] = number
    world.put("node", table)
    taking = np.zeros((system.models, nodes + 1), dtype=np.int64)
    routable = np.zeros((system.models, nodes), dtype=np.bool_)
    for model, serving in enumerate(system.serving_nodes):
        taking[model, 0] = len(serving)
        taking[model, 1 : len(serving) + 1] = serving
        routable[model][serving] = True
    world.put("nodes_taking", taking)
    world.put("routable", routable)
    world.put("turns", np.arange(system.routers, dtype=np.int64) * nodes // system.routers)
    world.put("held_paths", np.ones(int(system.node_path[-1]), dtype=np.bool_))


def _lay_out_devices(world: Memory, system: System) -> None:
    devices = len(system.device_lane) - 1
    table = empty(DEVICE, devices)
    for name in ("busy", "downs", "closes", "touched"):
        table[name] = 0
    table["node"] = np.repeat(np.arange(len(system.node_group)), np.diff(system.node_device))
    table["first_lane"], table["end_lane"] = system.device_lane[:-1], system.device_lane[1:]
    table["limit"] = system.device_limit
    table["splits"] = system.device_splits
    for name in ("batch_queries", "batch_samples", "batch_timeout_ns"):
        table[name] = getattr(system, name)
    table["speed"], table["slowdown"] = FULL_SPEED, 1.0
    if system.late_lanes is not None:
        table["limit"][0] = system.late_limit
        table["lines"][0] = 1
        world.put("line", _lines(1))
    else:
        # A device that batches has a line for each path that a node of its group has on it.
        slot = np.arange(devices) - np.repeat(system.node_device[:-1], np.diff(system.node_device))
        group = system.node_group[table["node"]]
        of_kind = {
            (int(g), int(s)): int(np.sum((_group_of_path(system) == g) & (system.paths[:, 0] == s)))
            for g, s in set(zip(group.tolist(), slot.tolist(), strict=True))
        }
        paths = np.array([of_kind[g, s] for g, s in zip(group.tolist(), slot.tolist(), strict=True)], dtype=np.int64)
        table["lines"] = np.where(table["batch_queries"] > 0, np.maximum(paths, 1), 1)
        table["first_line"] = np.cumsum(table["lines"]) - table["lines"]
        table["idle_at"] = table["first_lane"]
        world.put("line", _lines(int(table["lines"].sum())))
    world.put("device", table)
    world.put("path_line", _rank_on_device(system))
    world.put("idle_heap", np.zeros(int(system.device_lane[-1]), dtype=np.int64))


def _lines(count: int) -> NDArray[np.void]:
    table = empty(LINE, count)
    table["parts"] = 0
    table["born"] = NONE
    return table


def _group_of_path(system: System) -> NDArray[np.int64]:
    cells = len(system.group_path) - 1
    return np.repeat(np.arange(cells) // system.models, np.diff(system.group_path)).astype(np.int64)


def _rank_on_device(system: System) -> NDArray[np.int64]:
    """Return the number of each path among those of its kind of device."""
    group, slot = _group_of_path(system).tolist(), system.paths[:, 0].tolist()
    kinds = list(zip(group, slot, strict=True))
    return np.array([kinds[:path].count(kind) for path, kind in enumerate(kinds)], dtype=np.int64)


def _lay_out_lanes(world: Memory, system: System) -> None:
    lanes = int(system.device_lane[-1])
    table = empty(LANE, lanes)
    device = np.repeat(np.arange(len(system.device_lane) - 1), np.diff(system.device_lane))
    table["device"] = device
    table["node"] = world["device"]["node"][device]
    table["rank"] = np.arange(lanes)
    if system.late_lanes is not None:
        table["rank"][system.late_lanes] = np.arange(len(system.late_lanes))
    table["completion"] = NONE
    table["takes"] = True
    world.put("lane", table)
    world.put("wake", np.zeros(lanes + 1, dtype=np.int64))


def _lay_out_state(world: Memory, system: System) -> None:
    true, seen = State.empty(system), State.empty(system)
    names = ("idle_lanes", "waiting_parts", "waiting_work_ns", "lane_until_ns", "unfinished_parts")
    # Lanes report themselves idle when they begin to rest.
    true.idle_lanes[:] = 0
    for name in names:
        world.put(name, getattr(true, name))
        world.put(f"seen_{name}", getattr(seen if system.knowledge_delay_ns else true, name))
    if system.routers > 1:
        world.put("seen_unfinished_parts", np.zeros(system.routers * len(system.node_group), dtype=np.int64))
    world.put("usable_paths", true.usable_paths)
    world.put("totals", np.zeros(6, dtype=np.int64))


def _lay_out_services(world: Memory, system: System) -> None:
    services = system.services
    world.put("service_index", np.ascontiguousarray(services.index, dtype=np.int64))
    world.put("service_grid", np.ascontiguousarray(services.grid, dtype=np.float64))
    world.put("path_unit", np.ascontiguousarray(services.unit_of_service, dtype=np.int64))
    world.put("mean_ns", np.zeros(0, dtype=np.int64))
    world.put("fixed_ns", np.zeros(0, dtype=np.int64))
    _set(world, grid=len(services.grid), units=len(services.units), tabulated_sizes=0)


def _lay_out_clients(world: Memory, system: System, draws: Draws) -> None:
    clients = system.clients
    attempts = 1 if clients is None else clients.most_attempts
    _set(
        world,
        attempts=attempts,
        attempt_parts=draws.parts,
        draws=attempts * draws.parts,
        choices=draws.choices,
        has_clients=clients is not None,
        latencies=0,
    )
    backoff_ns = () if clients is None else clients.backoff_ns
    window = 0 if clients is None else clients.hedge_window
    world.put("backoff_ns", np.array([*backoff_ns, 0], dtype=np.int64))
    world.put("retried", np.array(clients.retried if clients else [False] * len(DropReason), dtype=np.bool_))
    world.put("latency_ring", np.zeros(window + 1, dtype=np.int64))
    world.put("latency_sorted", np.zeros(window + 2, dtype=np.int64))
    if clients is None:
        return
    _set(
        world,
        timeout_ns=clients.timeout_ns,
        timeout_cancel=clients.timeout_cancel,
        retries=len(backoff_ns),
        budget_tokens=clients.budget_tokens,
        burst_tokens=clients.burst_tokens,
        tokens=clients.burst_tokens,
        past_deadline=clients.past_deadline,
        hedges=clients.hedges,
        hedge_after_ns=clients.hedge_after_ns,
        hedge_rank=clients.hedge_rank,
        hedge_window=clients.hedge_window,
        hedge_cancel=clients.hedge_cancel,
    )


def _lay_out_faults(world: Memory, system: System, faults: FaultSchedule | None) -> None:
    schedule = FaultSchedule.empty() if faults is None else faults
    world.put("fault_ns", np.ascontiguousarray(schedule.time_ns, dtype=np.int64))
    world.put("fault_device", np.ascontiguousarray(schedule.device, dtype=np.int64))
    world.put("fault_change", schedule.change.astype(np.int64))
    world.put("fault_slowdown", slowdowns(schedule))
    _set(world, fault_rows=len(schedule.time_ns))
    devices = len(system.device_lane) - 1
    world.put("since_ns", np.zeros(2 * devices, dtype=np.int64))
    world.put("since_order", np.full(2 * devices, NONE, dtype=np.int64))


def _lay_out_scaling(world: Memory, system: System) -> None:
    table = np.zeros(len(system.scaling), dtype=SCALER)
    for row, rule in zip(table, system.scaling, strict=True):
        for name in ("first_node", "nodes", "fewest", "most", "every_ns", "ready_ns", "cooldown_ns", "measure"):
            row[name] = getattr(rule, name)
        for name in ("target", "tolerance", "scale_in_above", "step"):
            row[name] = getattr(rule, name)
        first, end = system.node_device[rule.first_node], system.node_device[rule.first_node + 1]
        row["lanes_of_node"] = system.device_lane[end] - system.device_lane[first]
        row["last_change_ns"] = -rule.cooldown_ns
    world.put("scaler", table)
    _set(world, has_scalers=len(table) > 0, scalers=len(table))


def _lay_out_remapping(world: Memory, system: System) -> None:
    rule = system.remapping
    nodes, paths = len(system.node_group), len(system.paths)
    world.put("remap_nodes", np.zeros(nodes, dtype=np.int64))
    in_force = np.ones((1, paths), dtype=np.bool_) if rule is None else rule.in_force
    world.put("in_force", np.ascontiguousarray(in_force))
    world.put("load_ns", np.zeros(paths, dtype=np.int64) if rule is None else np.ascontiguousarray(rule.load_ns))
    world.put("lane_rate_per_s", np.zeros(paths) if rule is None else np.ascontiguousarray(rule.lane_rate_per_s))
    _set(world, mappings=len(in_force))
    if rule is not None:
        _set(
            world,
            remaps=1,
            remap_every_ns=rule.every_ns,
            remap_on_fault=rule.on_fault,
            remap_at_once=rule.at_once,
        )
        world.record["remap_target"] = rule.target


def _lay_out_scratch(world: Memory, system: System, draws: Draws) -> None:
    nodes, devices = len(system.node_group), len(system.device_lane) - 1
    most = int(np.max(np.diff(system.group_path), initial=1))
    for name in ("service_out", "wait_out", "rows_out"):
        world.put(name, np.zeros(most, dtype=np.int64))
    world.put("accuracy_out", np.zeros(most))
    world.put("candidates", np.zeros(nodes + 1, dtype=np.int64))
    world.put("best", np.zeros(max(nodes, devices), dtype=np.int64))
    world.put("picks", np.zeros(max(draws.choices, world.get("mappings"), 1), dtype=np.int64))
    world.put("draws_out", np.zeros(draws.choices))
    world.put("touched", np.zeros(devices, dtype=np.int64))


def _lay_out_rooms(world: Memory, system: System, draws: Draws) -> None:
    """Make the tables that grow, and reckon how much the next step may need of each."""
    attempts, columns = world.get("attempts"), world.get("draws")
    for name in ("free_query", "free_attempt", "free_part"):
        world.set(name, NONE)
    world.put("query", empty(QUERY, FIRST_ROOM))
    world.put("attempt", empty(ATTEMPT, FIRST_ROOM))
    world.put("part", empty(PART, FIRST_ROOM * draws.parts))
    world.put("query_u", np.zeros((FIRST_ROOM, columns)))
    world.put("query_multiplier", np.zeros((FIRST_ROOM, columns * world.get("units"))))
    world.put("query_router_u", np.zeros((FIRST_ROOM, attempts * draws.choices)))
    world.put("query_network_ns", np.zeros((FIRST_ROOM, attempts * 2 * system.has_network), dtype=np.int64))
    lanes_a_device = int(np.max(np.diff(system.device_lane)))
    batch = int(np.max(system.batch_queries, initial=1))
    retimed = lanes_a_device + 1 if system.controls_lanes else 2
    _set(
        world,
        row_margin=batch + 4,
        event_margin=64 + 4 * draws.parts + (batch * columns + 2) * retimed,
        change_margin=64 + 10 * lanes_a_device,
        busy_lanes_margin=int(system.device_lane[-1]) * retimed,
    )
    world.put("event", np.zeros(FIRST_ROOM, dtype=EVENT))
    world.put("change", np.zeros(FIRST_ROOM, dtype=CHANGE))
    world.put("query_row", np.zeros(FIRST_ROOM, dtype=QUERY_ROW))
    world.put("part_row", np.zeros(FIRST_ROOM, dtype=PART_ROW))
    world.put("attempt_row", np.zeros(FIRST_ROOM, dtype=ATTEMPT_ROW))
    world.put("span_row", np.zeros(4 * (len(system.device_lane) - 1) + FIRST_ROOM, dtype=SPAN_ROW))


def grow(world: Memory) -> None:
    """Make every table longer that may be too short for what comes next. Its rows have been handed on."""
    get = world.get
    if get("free_query") == NONE and get("queries_used") == get("query_room"):
        for name in ("query", "query_u", "query_multiplier", "query_router_u", "query_network_ns"):
            world.grow(name, 2 * get("queries_used"))
    if get("attempts_used") >= get("attempt_room"):
        world.grow("attempt", 2 * get("attempt_room"))
    if get("parts_used") + get("attempt_parts") > get("part_room"):
        world.grow("part", 2 * (get("part_room") + get("attempt_parts")))
    over = get("row_margin") + get("queries_used") + get("waiting")
    needed = {
        "event": get("event_count") + get("event_margin") + over + get("busy_lanes_margin"),
        "query_row": over,
        "attempt_row": over * get("attempts"),
        "part_row": over * get("draws"),
        "span_row": 4 * get("devices"),
    }
    for name, room in needed.items():
        if room > get(f"{name}_room"):
            world.grow(name, 2 * room)
    changes = get("change_count") + get("change_margin") + 10 * (over * get("draws") + get("lanes"))
    if get("knowledge_delay_ns") and changes > get("change_room"):
        # The ring is laid straight first, so that what is new comes after what is there.
        world.put("change", np.roll(world["change"], -get("change_first")))
        world.set("change_first", 0)
        world.grow("change", 2 * changes)
