"""Tables: what the compiled engine keeps of queries, attempts, parts, lanes, devices, lines and events.

A row of a table is a record; rows refer to each other by number, and `NONE` refers to nothing. Rows of queries,
attempts and parts are used again when their query is over (`sim.engine.compiled.slots`). `WORLD` is the record that
every compiled function gets: settings, counters and the addresses of all tables.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba.core import cgutils
from numpy.typing import NDArray

from sim.engine.compiled.memory import WorldType, machine_code, table_of
from sim.engine.rows import ATTEMPT_ROW, PART_ROW, QUERY_ROW, SERVED_ROW, SPAN_ROW

__all__ = [
    "ATTEMPT",
    "CALENDAR_FULL",
    "DEVICE",
    "EVENT",
    "FLOW",
    "KEPT",
    "LANE",
    "LATER",
    "LINE",
    "NODE",
    "NONE",
    "NO_ROOM_FOR_ROWS",
    "NO_SUCH_PATH",
    "PART",
    "POLICY_RAISED",
    "QUERY",
    "SCALER",
    "SERVICE_TOO_LONG",
    "TABLE_FULL",
    "WORLD",
    "World",
    "attempt_rows",
    "attempts",
    "devices",
    "events",
    "lanes",
    "later",
    "lines",
    "nodes",
    "part_rows",
    "parts",
    "pending_rows",
    "queries",
    "query_rows",
    "scalers",
    "served_rows",
    "span_rows",
    "world_at",
]

NONE = -1

CALENDAR_FULL, TABLE_FULL, NO_ROOM_FOR_ROWS, SERVICE_TOO_LONG, NO_SUCH_PATH, POLICY_RAISED = range(1, 7)
"""What `WORLD.error` says; 0 is nothing."""

World = Any
"""A record of dtype `WORLD`, as compiled functions see it."""

KINDS = {"ints": np.int64, "refs": np.int64, "reals": np.float64, "truths": np.bool_}
"""All numbers are of one width: a function that is called with two widths is compiled twice."""


def _table(**fields: str) -> np.dtype[Any]:
    """Return a dtype whose fields are given by kind, each a string of names; `refs` refer to nothing at first."""
    names = [(name, KINDS[kind]) for kind, names in fields.items() for name in names.split()]
    metadata = {"refs": tuple(fields.get("refs", "").split())}
    return np.dtype(np.dtype(names, align=True), metadata=metadata)


QUERY = _table(
    ints="query arrival_ns start_ns finish_ns drop_ns deadline_ns generation",
    reals="correct",
    refs="size query_class model node path answered_by router sent retries live active first_attempt last_attempt next "
    "drop_reason",
    truths="ended",
)
"""A query that is not over. `live` attempts are waited for; `active` counts why it is not over: that it has not ended,
its parts that wait or are served, and its attempts that are under way."""

ATTEMPT = _table(
    ints="sent_ns end_ns back_ns serial generation",
    reals="correct",
    refs="query number node left size path first_part last_part next cause end",
    truths="wanted dead",
)
"""An attempt; `next` is the next one at its query, in the order of sending."""

PART = _table(
    ints="enqueue_ns start_ns finish_ns service_ns expected_ns key serial batch batch_samples record",
    reals="u",
    refs="attempt query size draw path device line lane sibling before after child brother elder companion",
    truths="queued started serving cut leads",
)
"""A part. `sibling` is the next part of its attempt, `before` and `after` stand next to it in the order of joining its
line, `child`, `brother` and `elder` in the heap of its line, `companion` is the next part of its batch."""

LANE = _table(
    ints="left completion ended_ns last_size",
    refs="device node rank first_part phase",
    truths="takes resting idle",
)
"""A lane. `phase` says where it goes on (`sim.engine.compiled.lanes`); `idle` whether it stands among the idle ones of
its queue; `completion` is the order of the event that ends what it serves, where that may change; `ended_ns` is when it
ended what it served last."""

DEVICE = _table(
    ints="limit batch_queries batch_samples batch_timeout_ns waiting added since_ns speed first_line lines idle_at "
    "idle",
    reals="slowdown",
    refs="node first_lane end_lane busy downs closes touched",
    truths="splits was_up was_open",
)
"""A device, its queue and its pace. Under late binding the first device has the central queue."""

LINE = _table(ints="samples born", refs="path first last root parts")
"""Parts that wait, in the order of joining (`first`, `last`) and as a heap (`root`) where another order goes."""

NODE = _table(
    ints="off_since_ns off_order start",
    refs="first_device end_device group first_place scaler phase",
    truths="restricted",
)
"""A node. `first_place` is where its paths stand among the paths of all nodes."""

KEPT = 8
"""Parts of a device of one lane that are kept where they are told by their number: the last ones to join."""

_ENDS = " ".join(f"end_{k}_ns" for k in range(KEPT))
_EXPECTED = " ".join(f"until_{k}_ns work_{k}_ns" for k in range(KEPT))
FLOW = _table(ints=f"{_ENDS} {_EXPECTED}")
"""A device of one lane of a plain system, in three lines of the cache; routers look at the first one alone.

Of the last `KEPT` parts that joined, in the places that the lowest bits of their numbers say: when each ends; when it
is expected to, and what is expected of all parts up to it together. How many parts have joined each device is in
`joined`, how many have not ended besides the last `KEPT` in `older_parts`, the last of these in `last_older`; what
comes after it in the table of later parts is the first of them."""

PLAIN_NODE = _table(ints="next_ns unfinished lanes first_device end_device first_cell unused also_unused")
"""A node of a plain system: when it has to be looked at next; how many parts of its devices of several lanes have not
ended; where the paths of its group stand for the first model."""

LATER = _table(ints="start_ns finish_ns expected_ns until_ns work_ns lane", refs="next")
"""A part of a plain system that has not ended; when it starts and ends is known. The first row is none."""

SCALER = _table(
    ints="first_node nodes fewest most every_ns ready_ns cooldown_ns measure lanes_of_node busy busy_integral "
    "busy_at_ns unfinished unfinished_integral unfinished_at_ns ended in_time last_change_ns",
    reals="target tolerance scale_in_above step",
)
"""The rule of a group whose nodes come and go, and what it measures."""

EVENT = _table(ints="time_ns order second", refs="kind first")
"""Something that happens at `time_ns`, among others of this time by `order`; `first` and `second` say to what."""

SETTINGS = (
    # The fleet.
    "models groups nodes devices lanes paths node_paths classes "
    # Queues, splitting, batches.
    "late order shed sheds part_size split_by_part one_lane node_devices idle_points idle_curves size_points "
    "idle_carries size_carries "
    "spell_components "
    # Policy, router, and what they know.
    "policy policy_parameters has_levels drops_late choice_at uses_estimates sees_queue knows_service "
    "router by_work choices routers rotates "
    "knowledge_delay_ns has_network way_back_ns keeps_state "
    # Services and draws.
    "grid units tabulated_sizes largest_mean_ns attempts attempt_parts draws "
    # Clients.
    "has_clients timeout_ns timeout_cancel retries budget_tokens burst_tokens past_deadline hedges hedge_after_ns "
    "hedge_rank hedge_window hedge_cancel "
    # Devices and nodes that change.
    "controls_lanes has_faults fault_rows has_scalers scalers remaps remap_every_ns remap_on_fault remap_at_once "
    "mappings "
    # The most that one step may need.
    "row_margin event_margin change_margin busy_lanes_margin"
)
COUNTERS = (
    # The clock, the queries at hand, and the integrals over time.
    "now serial arrival_order chunk chunk_next query stop_ns final fault_next counted_ns in_system waiting ended "
    "in_time "
    # What was numbered.
    "starts part_records attempt_records off_order span_order "
    # Rows of tables in use, and the first of those that are free.
    "free_query free_attempt free_part free_later queries_used attempts_used parts_used later_used "
    "event_count wake_first wake_count change_first change_count "
    "query_row_count part_row_count attempt_row_count span_row_count served_row_count pending_row_count "
    # Of clients, of re-mapping, of plain systems.
    "tokens latencies latency_first mapping remap_round remap_offered remap_known remap_count remap_next "
    "sum_in_system sum_waited "
    "error"
)
ARRAYS = (
    # The state that routers and policies read (`sim.serving.state.State`), as it is and as routers see it.
    "idle_lanes waiting_parts waiting_work_ns lane_until_ns unfinished_parts usable_paths "
    "seen_idle_lanes seen_waiting_parts seen_waiting_work_ns seen_lane_until_ns seen_unfinished_parts "
    # The system (`sim.serving.system.System`).
    "node_group node_device device_lane group_path node_path path_slot_service path_accuracy path_level class_limit_ns "
    "path_overhead_ns idle_counted idle_first idle_marks idle_extra_ns idle_per_sample_ns idle_carry idle_carry_of "
    "size_first size_marks size_extra_ns size_per_sample_ns size_carry size_carry_of size_counted size_typical_ns "
    "spell_first spell_own spell_decay spell_weight spell_past "
    "path_slot path_line path_unit class_sla_ns class_priority class_model policy_numbers service_index service_grid "
    "mean_ns fixed_ns lane_speed routable nodes_taking turns backoff_ns retried latency_ring latency_sorted "
    "held_paths in_force load_ns lane_rate_per_s remap_nodes "
    "fault_ns fault_device fault_change fault_slowdown since_ns since_order "
    # Plain systems.
    "busy_until_ns free_ns lane_order first_waiting last_waiting changes_ns joined older_parts last_older drawn "
    # Sums, and room for what is worked out.
    "totals picks candidates draws_out service_out wait_out accuracy_out rows_out best touched "
    # Draws, of queries that are not over and of the queries at hand.
    "query_u query_multiplier query_router_u query_network_ns "
    "arrival_ns size query_class service_u multiplier router_u router_of network_ns"
)
TABLES = "lane device line node plain_node scaler idle_heap"
GROWING = (
    "query attempt part event wake change flow later query_row part_row attempt_row span_row served_row pending_row"
)

WORLD = _table(
    ints=" ".join(
        (
            SETTINGS,
            COUNTERS,
            *(f"{name}_at" for name in f"{ARRAYS} {TABLES} {GROWING}".split()),
            *(f"{name}_room" for name in f"{TABLES} {GROWING}".split()),
        )
    ),
    reals="remap_target remap_rate_per_s",
)
"""Everything: settings, counters, addresses of arrays and tables (``NAME_at``), and the lengths of tables
(``NAME_room``)."""

CHANGE = _table(ints="time_ns which index value")
"""A change of what routers see, to come."""


CONSTANT = frozenset({*SETTINGS.split(), *(name for name in WORLD.names or () if name.endswith(("_at", "_room")))})
"""What only Python writes, between two calls of compiled functions."""

_WORLD_TYPE = WorldType(WORLD, CONSTANT)


@machine_code
def world_at(_typing: Any, address: Any) -> Any:
    """Return the record of dtype `WORLD` at an address."""

    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return builder.inttoptr(arguments[0], cgutils.voidptr_t)

    return _WORLD_TYPE(address), generate


queries = table_of("query_at", QUERY)
"""``queries(w)``: the table of queries."""


attempts = table_of("attempt_at", ATTEMPT)
"""``attempts(w)``: the table of attempts."""


parts = table_of("part_at", PART)
"""``parts(w)``: the table of parts."""


lanes = table_of("lane_at", LANE)
"""``lanes(w)``: the table of lanes."""


devices = table_of("device_at", DEVICE)
"""``devices(w)``: the table of devices."""


lines = table_of("line_at", LINE)
"""``lines(w)``: the table of lines."""


nodes = table_of("node_at", NODE)
"""``nodes(w)``: the table of nodes."""


scalers = table_of("scaler_at", SCALER)
"""``scalers(w)``: the table of scalers."""


events = table_of("event_at", EVENT)
"""``events(w)``: the events to come, a heap by time and order."""


changes = table_of("change_at", CHANGE)
"""``changes(w)``: the ring of changes that routers have not seen yet."""


query_rows = table_of("query_row_at", QUERY_ROW)
"""``query_rows(w)``: the rows of queries that are to be handed on."""


part_rows = table_of("part_row_at", PART_ROW)
"""``part_rows(w)``: the rows of parts that are to be handed on."""


attempt_rows = table_of("attempt_row_at", ATTEMPT_ROW)
"""``attempt_rows(w)``: the rows of attempts that are to be handed on."""


span_rows = table_of("span_row_at", SPAN_ROW)
"""``span_rows(w)``: the rows of spans that are to be handed on."""


plain_nodes = table_of("plain_node_at", PLAIN_NODE)
"""``plain_nodes(w)``: the table of nodes of a plain system."""


later = table_of("later_at", LATER)
"""``later(w)``: the table of other parts of a plain system that have not ended."""


served_rows = table_of("served_row_at", SERVED_ROW)
"""``served_rows(w)``: the rows of served queries that are to be handed on."""


pending_rows = table_of("pending_row_at", SERVED_ROW)
"""``pending_rows(w)``: the rows of queries that are yet to end."""


def empty(dtype: np.dtype[Any], count: int) -> NDArray[np.void]:
    """Return a table whose references refer to nothing and whose numbers are 0."""
    table = np.zeros(count, dtype=dtype)
    assert dtype.metadata is not None
    for name in dtype.metadata["refs"]:
        table[name] = NONE
    return table
