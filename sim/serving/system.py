"""The simulated system as arrays: nodes, devices, lanes, eligible paths and packed services."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sim.serving.aftereffects import Aftereffects, pack_aftereffects
from sim.serving.clients import Clients, build_clients
from sim.serving.interference import device_speeds
from sim.serving.lookup import PackedServices, pack_services
from sim.serving.mapping import Candidate, resident_bytes
from sim.serving.paths import Plan, is_named
from sim.serving.policies import POLICIES, Choose
from sim.serving.policies.user import load_function
from sim.serving.queueing import Order, Shed
from sim.serving.remapping import Remapping, build_remapping
from sim.serving.scaling import Scaling, build_scaling
from sim.serving.spells import NormalScore, PackedSpells, pack_spells
from sim.spec.experiment import (
    Experiment,
    LateBindingSpec,
    LeastBacklogRouterSpec,
    SplittingSpec,
    UserPolicySpec,
)

__all__ = ["System", "build_system"]


@dataclass(frozen=True, slots=True)
class System:
    """What an engine needs to know, and nothing of how it was described.

    Nodes, devices and lanes are numbered through the cell: the devices of node n are
    ``node_device[n]:node_device[n + 1]``, the lanes of device d ``device_lane[d]:device_lane[d + 1]``.

    Attributes
    ----------
    class_sla_ns : int64[classes]
        Latency limit of each class of queries; a system without classes has one.
    class_priority : int64[classes]
        Least first, where the order of the queues is by priority.
    class_model : int64[classes]
        The model that each class asks.
    node_group : int64[nodes]
    node_device : int64[nodes + 1]
    device_lane : int64[devices + 1]
    device_limit : int64[devices]
        Most parts that may wait; -1 is unbounded.
    device_splits : bool[devices]
        Whether a query that is bound to this device is cut into parts.
    group_path : int64[groups * models + 1]
        The eligible paths of group g for model m are ``group_path[g * models + m]:group_path[g * models + m + 1]``.
    node_path : int64[nodes + 1]
        Paths of every node, one node after the other: those of node n, of all models, are
        ``node_path[n]:node_path[n + 1]``.
    paths : int64[paths, 2]
        Slot of the device on its node and row of the service, by eligible path.
    path_accuracy : float64[paths]
    serving_nodes : tuple of int64[nodes], one a model
        The nodes that hold an eligible path for it.
    services : PackedServices
    choose : Choose
        The policy's choice.
    compiles : bool
        Whether `choose` is one of ours, which numba compiles; a user's function is called as it is.
    policy_parameters : float64[classes, k]
    uses_estimates, sees_queue, knows_service : bool
        Whether the choice reads expectations at all; whether these include the queue; and whether the queue is
        known by true service times rather than by their means.
    router : object
        The router's description, see `sim.serving.routers`.
    late_lanes : int64[lanes] or None
        Late binding: the lanes that may serve, in preference order; None is early binding.
    late_limit : int
        Late binding: most parts that may wait centrally; -1 is unbounded.
    part_size : int
        Largest part of a query; 0 does not split.
    split_by_part : bool
        Whether the policy binds each part on its own (over devices).
    order, shed : int
        An `Order` and a `Shed` of `sim.serving.queueing`.
    batch_queries, batch_samples, batch_timeout_ns : int64[devices]
        Most parts and samples in a batch, and how long one that is not full waits for more. 0 queries is no
        batching, 0 samples is no limit.
    knowledge_delay_ns : int
        How old the state is that routers see.
    path_overhead_ns : int64[paths]
        Extra service time for each part of a batch after its first.
    idle_costs, size_costs : Aftereffects
        Extra service time by path and its curves, and by how long the lane stood idle or by the samples of what it
        served before.
    spells : PackedSpells
        How the service times of a lane depend on those before, by device. Where there are any, the last of the units
        of `services` is the normal score.
    routers : int
        Routers that share the queries; where there are several each sees only what it sent itself.
    has_network : bool
        Whether there is a delay between router and nodes.
    way_back_ns : int
        Mean delay of an answer, which policies and shedding reckon with; 0 without a network.
    lane_speed : int64[lanes]
        Speed of each lane of device d when k lanes of it are busy, at ``device_lane[d] + k - 1``; see
        `sim.serving.interference`.
    controls_lanes : bool
        Whether service may change its pace or be cut off once it has begun.
    has_faults : bool
        Whether devices may go down, close or slow down.
    scaling : tuple of Scaling
        Rules of the groups whose nodes come and go.
    remapping : Remapping or None
        When nodes change their representations, and to which.
    clients : Clients or None
        Timeouts, retries and hedges; None where queries have one attempt and all the time in the world.
    """

    class_sla_ns: NDArray[np.int64]
    class_priority: NDArray[np.int64]
    class_model: NDArray[np.int64]
    node_group: NDArray[np.int64]
    node_device: NDArray[np.int64]
    device_lane: NDArray[np.int64]
    device_limit: NDArray[np.int64]
    device_splits: NDArray[np.bool_]
    group_path: NDArray[np.int64]
    node_path: NDArray[np.int64]
    paths: NDArray[np.int64]
    path_accuracy: NDArray[np.float64]
    serving_nodes: tuple[NDArray[np.int64], ...]
    services: PackedServices
    choose: Choose
    compiles: bool
    policy_parameters: NDArray[np.float64]
    uses_estimates: bool
    sees_queue: bool
    knows_service: bool
    router: Any
    late_lanes: NDArray[np.int64] | None
    late_limit: int
    part_size: int
    split_by_part: bool
    order: int
    shed: int
    batch_queries: NDArray[np.int64]
    batch_samples: NDArray[np.int64]
    batch_timeout_ns: NDArray[np.int64]
    path_overhead_ns: NDArray[np.int64]
    idle_costs: Aftereffects
    size_costs: Aftereffects
    spells: PackedSpells
    knowledge_delay_ns: int
    routers: int
    has_network: bool
    way_back_ns: int
    clients: Clients | None
    lane_speed: NDArray[np.int64]
    controls_lanes: bool
    has_faults: bool
    scaling: tuple[Scaling, ...]
    remapping: Remapping | None

    @property
    def models(self) -> int:
        """Number of models that are served."""
        return len(self.serving_nodes)

    @property
    def path_model(self) -> NDArray[np.int64]:
        """The model of each eligible path, shape (paths,)."""
        cells = len(self.group_path) - 1
        return np.repeat(np.arange(cells) % self.models, np.diff(self.group_path)).astype(np.int64)

    @property
    def batches(self) -> bool:
        """Whether any device batches."""
        return bool(np.any(self.batch_queries > 0))


ORDERS = {
    "fifo": Order.FIFO,
    "smallest-first": Order.SMALLEST_FIRST,
    "earliest-deadline": Order.EARLIEST_DEADLINE,
    "priority": Order.PRIORITY,
}
SHEDS = {"never": Shed.NEVER, "late": Shed.LATE, "hopeless": Shed.HOPELESS}


def _starts(counts: list[int]) -> NDArray[np.int64]:
    return np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)


def _splits(splitting: SplittingSpec | None, group: str, device: str) -> bool:
    if splitting is None or splitting.over == "devices":
        return False
    return is_named(splitting.devices, group, device)


def _limit(own: int | None, common: int | None) -> int:
    """Return the bound of a device's queue: its own, else the common one, else -1."""
    limit = common if own is None else own
    return -1 if limit is None else limit


def _late_lanes(plan: Plan, node_device: NDArray[np.int64], device_lane: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the lanes that may serve, by preferred kind of device, then node by node."""
    lanes: list[int] = []
    for group_index, slot in plan.preference:
        first_node = sum(group.count for group in plan.groups[:group_index])
        for node in range(first_node, first_node + plan.groups[group_index].count):
            device = int(node_device[node]) + slot
            lanes.extend(range(int(device_lane[device]), int(device_lane[device + 1])))
    return np.array(lanes, dtype=np.int64)


def load_bytes(plan: Plan, g: int) -> int:
    """Return what a new node of the group has to load: the representations of all its devices."""
    total = 0
    for m, planned in enumerate(plan.models):
        for slot in range(len(plan.groups[g].devices)):
            held = [
                planned.model.representations[path.representation]
                for path in plan.mapped
                if (path.group, path.model, path.slot) == (g, m, slot)
                and (not plan.rungs or (g, slot, path.representation) in plan.rungs[0])
            ]
            total += resident_bytes(
                [Candidate("", 0.0, one.bytes or 0, one.table_bytes or 0, 0.0) for one in held],
                shared_tables=planned.mapping.shared_tables,
            )
    return total


def build_system(experiment: Experiment, plan: Plan) -> System:
    """Lay the planned fleet of `experiment` out as arrays.

    Parameters
    ----------
    experiment : Experiment
        The validated scenario.
    plan : Plan
        Its devices and paths, see `sim.serving.plan.plan_fleet`.
    """
    policy = POLICIES[experiment.policy.kind]
    choose = policy.choose
    if isinstance(experiment.policy, UserPolicySpec):
        choose = load_function(experiment.policy.function)
    assert choose is not None
    queue = getattr(experiment.policy, "queue", "expected")
    by_group = [group for index, group in enumerate(plan.groups) for _ in range(group.count)]
    node_device = _starts([len(group.devices) for group in by_group])
    devices = [(group, device) for group in by_group for device in group.devices]
    device_lane = _starts([device.lanes for _, device in devices])
    node_group = np.repeat(np.arange(len(plan.groups)), [group.count for group in plan.groups]).astype(np.int64)
    eligible = plan.eligible
    models = len(plan.models)
    cells = Counter((path.group, path.model) for path in eligible)
    group_path = _starts([cells[g, m] for g in range(len(plan.groups)) for m in range(models)])
    binding = experiment.binding
    late = isinstance(binding, LateBindingSpec)
    queue_spec = experiment.queue
    limit = None if queue_spec is None else queue_spec.limit
    late_limit = binding.queue_limit if isinstance(binding, LateBindingSpec) else None
    if late_limit is None:
        late_limit = limit
    batching = experiment.batching
    batching_devices = np.array(
        [batching is not None and is_named(batching.devices, group.name, device.name) for group, device in devices],
        dtype=np.int64,
    )
    speeds = device_speeds(experiment, plan)
    spells = pack_spells([device.profile.spells for _, device in devices])
    clients = build_clients(experiment)
    has_faults = experiment.faults is not None
    return System(
        class_sla_ns=np.array([one.sla_ns for one in plan.classes], dtype=np.int64),
        class_priority=np.array([one.priority for one in plan.classes], dtype=np.int64),
        class_model=np.array([one.model for one in plan.classes], dtype=np.int64),
        node_group=node_group,
        node_device=node_device,
        device_lane=device_lane,
        device_limit=np.array(
            [_limit(device.queue_limit, limit) for _, device in devices],
            dtype=np.int64,
        ),
        device_splits=np.array(
            [_splits(experiment.splitting, group.name, device.name) for group, device in devices],
            dtype=np.bool_,
        ),
        group_path=group_path,
        node_path=_starts(np.diff(group_path[::models])[node_group].tolist()),
        paths=np.array([(path.slot, row) for row, path in enumerate(eligible)], dtype=np.int64).reshape(-1, 2),
        path_accuracy=np.array([path.accuracy for path in eligible], dtype=np.float64),
        serving_nodes=tuple(
            np.flatnonzero(np.diff(group_path)[node_group * models + m] > 0).astype(np.int64) for m in range(models)
        ),
        services=pack_services([path.service for path in eligible], [NormalScore()] if spells else []),
        choose=choose,
        compiles=policy.choose is not None and policy.uses_estimates,
        policy_parameters=np.array(
            [policy.parameters(experiment.policy, one.sla_ns) for one in plan.classes], dtype=np.float64
        ),
        uses_estimates=policy.uses_estimates,
        sees_queue=queue != "ignored" and not late,
        knows_service=queue == "actual",
        router=experiment.router or LeastBacklogRouterSpec(kind="least-backlog", measure="queries"),
        late_lanes=_late_lanes(plan, node_device, device_lane) if late else None,
        late_limit=-1 if late_limit is None else late_limit,
        part_size=experiment.splitting.part if experiment.splitting else 0,
        split_by_part=experiment.splitting is not None and experiment.splitting.over == "devices",
        order=ORDERS[queue_spec.order] if queue_spec else Order.FIFO,
        shed=SHEDS[queue_spec.shed] if queue_spec else Shed.NEVER,
        batch_queries=batching_devices * (batching.queries if batching else 0),
        batch_samples=batching_devices * ((batching.samples or 0) if batching else 0),
        batch_timeout_ns=batching_devices * (batching.timeout if batching else 0),
        knowledge_delay_ns=(experiment.knowledge.delay or 0) if experiment.knowledge else 0,
        routers=(experiment.knowledge.routers or 1) if experiment.knowledge else 1,
        has_network=experiment.network is not None,
        way_back_ns=0 if experiment.network is None else experiment.network.delay,
        clients=clients,
        lane_speed=np.concatenate(
            [
                speeds[index, slot]
                for index, group in enumerate(plan.groups)
                for _ in range(group.count)
                for slot in range(len(group.devices))
            ]
        ),
        controls_lanes=has_faults
        or experiment.interference is not None
        or (clients is not None and clients.stops_running),
        has_faults=has_faults,
        remapping=build_remapping(experiment, plan, plan.mean_sizes[0]),
        scaling=build_scaling(experiment, [load_bytes(plan, g) for g in range(len(plan.groups))]),
        path_overhead_ns=np.array(
            [plan.groups[path.group].devices[path.slot].profile.per_query_overhead_ns for path in eligible],
            dtype=np.int64,
        ),
        idle_costs=pack_aftereffects([path.after_idle for path in eligible]),
        size_costs=pack_aftereffects([() if path.after_size is None else (path.after_size,) for path in eligible]),
        spells=spells,
    )
