"""The experiment file as frozen, validated objects: what a user may write, and nothing else."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, field_validator, model_validator

from sim.spec.binding import Contradiction, Name, SpecModel, inline_or_name
from sim.spec.cache import CacheSpec
from sim.spec.classes import ClassSpec
from sim.spec.clients import HedgingSpec, RetriesSpec, TimeoutSpec
from sim.spec.device import DeviceSpec, SpellsSpec
from sim.spec.faults import FaultsSpec
from sim.spec.interference import InterferenceSpec
from sim.spec.mapping import ExplicitMappingSpec, MappingSpec, MostAccurateFirstSpec, Representation
from sim.spec.model import NamedModel
from sim.spec.network import KnowledgeSpec, NetworkSpec
from sim.spec.optimise import OptimiseSpec
from sim.spec.precision import PrecisionSpec
from sim.spec.queueing import BatchingSpec, QueueSpec
from sim.spec.remapping import RemappingSpec
from sim.spec.scaling import ScalingSpec
from sim.spec.units import Bytes, DurationNs
from sim.spec.workload import WorkloadSpec

__all__ = [
    "BindingSpec",
    "ClassSpec",
    "DeviceUseSpec",
    "EarlyBindingSpec",
    "Experiment",
    "ExplicitMappingSpec",
    "FastestPolicySpec",
    "LateBindingSpec",
    "LeastBacklogRouterSpec",
    "LeastExpectedCompletionRouterSpec",
    "MappingSpec",
    "MostAccurateFirstSpec",
    "MpRecPolicySpec",
    "NodeGroupSpec",
    "PolicySpec",
    "PowerOfDRouterSpec",
    "RandomRouterSpec",
    "ReportSpec",
    "RoundRobinRouterSpec",
    "RouterSpec",
    "SizeThresholdPolicySpec",
    "SplittingSpec",
    "StaticPolicySpec",
    "SwitchPolicySpec",
    "UserPolicySpec",
]

Queue = Literal["ignored", "expected", "actual"]
MOST_INTERVALS = 10_000
FIRST_REPLICATIONS = 5
"""Fewest replications that a sequential rule begins with."""

QUEUE_DESCRIPTION = (
    "What the policy knows of a device's queue: nothing (ignored), the backlog by the profiles' mean service "
    "times (expected), or the backlog by the service times that will really happen (actual)."
)


NamedDevice = Annotated[
    Annotated[str, Tag("name")] | Annotated[DeviceSpec, Tag("inline")], Discriminator(inline_or_name)
]


class DeviceUseSpec(SpecModel):
    """A device of a node: a profile by name or inline, and what this fleet changes of it."""

    profile: NamedDevice = Field(description="Device profile, by name, by the path of its file, or inline.")
    memory: Bytes | None = Field(None, description="Memory for representations; the profile's by default.")
    lanes: int | None = Field(None, ge=1, le=4096, description="Queries served at once; the profile's by default.")
    queue_limit: int | None = Field(
        None,
        ge=0,
        lt=2**53,
        description="Most parts that may wait; a query that finds no room is dropped. Unbounded by default.",
    )
    data_loading: bool = Field(False, description="Add the measured data-loading time to the service time.")
    beyond: Literal["refuse", "linear"] | None = Field(
        None, description="Outside the measured sizes: an error, or the last segment extended; as the profile says."
    )
    size_step: Literal["linear", "ceil"] | None = Field(
        None, description="Between measured sizes: interpolate, or take the next size's times; as the profile says."
    )
    round_to: DurationNs | None = Field(
        None, description="Round service times to multiples of this; as the profile says by default."
    )
    spells: SpellsSpec | None = Field(
        None, description="How the service times of a lane depend on those before; as the profile says by default."
    )
    cache: CacheSpec | None = Field(None, description="MP-Cache of the paths that compute embeddings; off by default.")


def _device_tag(value: Any) -> str:
    if isinstance(value, str):
        return "name"
    if isinstance(value, DeviceSpec):
        return "inline"
    if isinstance(value, dict) and "profile" not in value and ("service" in value or "roofline" in value):
        return "inline"
    return "use"


Device = Annotated[
    Annotated[str, Tag("name")] | Annotated[DeviceSpec, Tag("inline")] | Annotated[DeviceUseSpec, Tag("use")],
    Discriminator(_device_tag),
]


class NodeGroupSpec(SpecModel):
    """Equal nodes, each holding the same devices."""

    name: Name = Field(description="Name of the group, used in tables and in policies.")
    count: int = Field(1, ge=1, le=1_000_000, description="Number of equal nodes.")
    devices: dict[str, Device] = Field(min_length=1, description="Devices of a node, by a name of your own.")
    rack_size: int | None = Field(
        None,
        ge=1,
        description="Nodes in a rack: rack r holds the nodes from r x rack_size on, the last maybe fewer. No racks by "
        "default.",
    )


# -- policy: which path serves a query -----------------------------------------------------------------


class StaticPolicySpec(SpecModel):
    """Always the same path: the first on the node that matches."""

    kind: Literal["static"]
    representation: Representation = Field(description="The representation that serves every query.")
    device: str | None = Field(None, description="Device name; the first that holds the representation by default.")


class FastestPolicySpec(SpecModel):
    """The path with the least expected completion, whatever its accuracy."""

    kind: Literal["fastest"]
    queue: Queue = Field("expected", description=QUEUE_DESCRIPTION)


class SwitchPolicySpec(SpecModel):
    """One representation on whichever device has the least expected completion."""

    kind: Literal["switch"]
    representation: Representation = Field(description="The representation that serves every query.")
    queue: Queue = Field("expected", description=QUEUE_DESCRIPTION)


class SizeThresholdPolicySpec(SpecModel):
    """Queries at or above a size go to one device, smaller ones to another (DeepRecSys)."""

    kind: Literal["size-threshold"]
    threshold: int = Field(ge=1, description="Smallest size, in samples, that goes to the large device.")
    small: str = Field(description="Device for queries below the threshold.")
    large: str = Field(description="Device for queries at or above the threshold.")
    representation: Representation = Field("table", description="The representation that serves every query.")


class MpRecPolicySpec(SpecModel):
    """The most accurate path expected within the SLA, else the fastest (MP-Rec)."""

    kind: Literal["mp-rec"]
    queue: Queue = Field("expected", description=QUEUE_DESCRIPTION)
    margin: float = Field(
        0.0,
        ge=0.0,
        lt=1.0,
        description="Share of the SLA kept free: a path qualifies within (1 - margin) x SLA.",
    )
    tie_break: Literal["fastest", "first"] = Field(
        "fastest",
        description="Between devices that offer the same accuracy within the SLA: least expected completion, or the "
        "first in the order of the fleet.",
    )
    when_none_fits: Literal["fastest", "drop"] = Field(
        "fastest", description="What happens to a query that no path is expected to serve within the SLA."
    )


class UserPolicySpec(SpecModel):
    """Your own function, from an installed module or from a --plugins folder."""

    kind: Literal["user"]
    function: str = Field(
        pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$",
        description="module:function; see docs/recipes.md for its arguments.",
    )
    queue: Queue = Field("expected", description=QUEUE_DESCRIPTION)
    parameters: tuple[float, ...] = Field((), description="Numbers handed to the function as they are.")


PolicySpec = Annotated[
    StaticPolicySpec
    | FastestPolicySpec
    | SwitchPolicySpec
    | SizeThresholdPolicySpec
    | MpRecPolicySpec
    | UserPolicySpec,
    Field(discriminator="kind"),
]

# -- binding and router: which node gets a query -------------------------------------------------------


class EarlyBindingSpec(SpecModel):
    """The router picks a node and the policy a path at arrival; the query waits in that device's queue."""

    kind: Literal["early"]


class LateBindingSpec(SpecModel):
    """Queries wait in one central queue; the first free lane in preference order takes the oldest."""

    kind: Literal["late"]
    preference: tuple[str, ...] = Field(
        (), description="Devices, as group/device, in the order tried; the order of the fleet by default."
    )
    queue_limit: int | None = Field(
        None, ge=0, lt=2**53, description="Most queries that may wait centrally; one that finds no room is dropped."
    )


BindingSpec = Annotated[EarlyBindingSpec | LateBindingSpec, Field(discriminator="kind")]


class RandomRouterSpec(SpecModel):
    """A node uniformly at random."""

    kind: Literal["random"]


class RoundRobinRouterSpec(SpecModel):
    """The nodes in turn."""

    kind: Literal["round-robin"]


class LeastBacklogRouterSpec(SpecModel):
    """The node with the fewest unfinished queries per lane, or the least expected work per lane."""

    kind: Literal["least-backlog"]
    measure: Literal["queries", "work"] = Field(
        "queries", description="Count unfinished parts, or their mean work; of those in service, what is left of it."
    )


class PowerOfDRouterSpec(SpecModel):
    """The least backlog among d nodes drawn at random without replacement."""

    kind: Literal["power-of-d"]
    d: int = Field(2, ge=1, le=64, description="Nodes drawn for each query.")
    measure: Literal["queries", "work"] = Field(
        "queries", description="Count unfinished parts, or their mean work; of those in service, what is left of it."
    )


class LeastExpectedCompletionRouterSpec(SpecModel):
    """The node on which some path of the policy completes this query first, by expected backlog and service."""

    kind: Literal["least-expected-completion"]


RouterSpec = Annotated[
    RandomRouterSpec
    | RoundRobinRouterSpec
    | LeastBacklogRouterSpec
    | PowerOfDRouterSpec
    | LeastExpectedCompletionRouterSpec,
    Field(discriminator="kind"),
]


class SplittingSpec(SpecModel):
    """A query larger than `part` is cut into as few parts as that allows, nearly equal ones; it ends with its last."""

    part: int = Field(ge=1, lt=2**53, description="Largest part, in samples.")
    over: Literal["lanes", "devices"] = Field(
        "lanes",
        description="lanes: all parts go to the device that the policy picks for the query. devices: the policy "
        "picks a path for each part of the query in turn.",
    )
    devices: tuple[str, ...] | None = Field(
        None, min_length=1, description="With over: lanes, split only on these devices; on all by default."
    )


class ReportSpec(SpecModel):
    """What is reported, and against what."""

    baseline: str | dict[str, Any] | None = Field(
        None, description="Label of the baseline on a labelled sweep axis; gains are reported against it."
    )
    percentile: Literal["p50", "p90", "p95", "p99", "p999"] = Field(
        "p99", description="The latency percentile that has to meet the SLA."
    )
    confidence: float = Field(0.95, gt=0.5, le=0.999999999, description="Confidence of every interval.")
    timeline: DurationNs | None = Field(
        None, description="Length of the intervals of timeline.csv, metrics over time; none by default."
    )
    queries: Literal["auto", "always", "never"] = Field(
        "auto",
        description="Keep per-query records in queries.npz; auto keeps them up to 500,000 queries, all scenarios and "
        "replications together.",
    )


class Experiment(SpecModel):
    """One scenario, or several by `sweep`: the whole experiment file."""

    name: str = Field(min_length=1, description="One line that says what the experiment is about.")
    model: NamedModel = Field(description="The recommendation model, by name, by the path of its file, or inline.")
    sla: DurationNs = Field(description="Latency limit, from scheduled arrival to response.")
    workload: WorkloadSpec = Field(description="The query load.")
    fleet: tuple[NodeGroupSpec, ...] = Field(min_length=1, description="Groups of equal nodes.")
    cells: int = Field(
        1,
        ge=1,
        le=100_000,
        description="So many equal cells share the nodes of every group and the load, each with a router of its own.",
    )
    mapping: MappingSpec = Field(
        MostAccurateFirstSpec(kind="most-accurate-first"),
        description="Which representations live on which device.",
    )
    policy: PolicySpec = Field(MpRecPolicySpec(kind="mp-rec"), description="Which path serves a query.")
    binding: BindingSpec = Field(EarlyBindingSpec(kind="early"), description="When a query is bound to a device.")
    router: RouterSpec | None = Field(None, description="Which node gets a query; least-backlog by default.")
    knowledge: KnowledgeSpec | None = Field(None, description="What the router knows; the present by default.")
    network: NetworkSpec | None = Field(None, description="Delay between router and nodes; none by default.")
    splitting: SplittingSpec | None = Field(None, description="Cut large queries into parts; off by default.")
    queue: QueueSpec | None = Field(None, description="Order, bound and shedding of the queues; first in, first out.")
    batching: BatchingSpec | None = Field(None, description="Serve what waits on a device together; off by default.")
    classes: tuple[ClassSpec, ...] | None = Field(
        None, min_length=1, description="Classes of queries, with limits, priorities, models and loads of their own."
    )
    faults: FaultsSpec | None = Field(None, description="What fails or is maintained, and when; nothing by default.")
    autoscaling: tuple[ScalingSpec, ...] | None = Field(
        None, min_length=1, description="Groups whose nodes come and go with the load; none by default."
    )
    remapping: RemappingSpec | None = Field(
        None, description="Run the offline mapping again as load and fleet change; off by default."
    )
    interference: InterferenceSpec | None = Field(None, description="Busy lanes slow each other; off by default.")
    timeout: TimeoutSpec | None = Field(None, description="How long clients wait; for ever by default.")
    retries: RetriesSpec | None = Field(None, description="Send queries again that failed; off by default.")
    hedging: HedgingSpec | None = Field(None, description="Send slow queries to a second node; off by default.")
    replications: int = Field(10, ge=1, le=100_000, description="Independent runs of each scenario.")
    precision: PrecisionSpec | None = Field(
        None,
        description="Add replications until intervals are narrow enough; `replications` are the first. Off by default.",
    )
    seed: int = Field(1, ge=0, lt=2**63, description="Seed of every draw.")
    service_seed: int | None = Field(
        None,
        ge=0,
        lt=2**63,
        description="Other draws of service times, for the same queries; those of `seed` by default.",
    )
    report: ReportSpec = Field(ReportSpec(), description="What is reported, and against what.")

    @field_validator("fleet")
    @classmethod
    def _unique_groups(cls, fleet: tuple[NodeGroupSpec, ...]) -> tuple[NodeGroupSpec, ...]:
        names = [group.name for group in fleet]
        repeated = sorted({name for name in names if names.count(name) > 1})
        if repeated:
            raise ValueError(f"group names must differ; repeated: {', '.join(repeated)}")
        return fleet

    @model_validator(mode="after")
    def _router_has_a_use(self) -> Experiment:
        if self.router is not None and isinstance(self.binding, LateBindingSpec):
            raise Contradiction(("router",), "router has no effect with binding: {kind: late}; leave one of them out")
        return self

    @model_validator(mode="after")
    def _batches_are_bound_early(self) -> Experiment:
        if self.batching is not None and isinstance(self.binding, LateBindingSpec):
            raise Contradiction(
                ("batching",),
                "batching needs early binding: parts in a central queue have no representation to be batched by",
            )
        return self

    @model_validator(mode="after")
    def _timeline_has_an_end(self) -> Experiment:
        interval, duration = self.report.timeline, self.workload.duration
        if interval is None:
            return self
        if duration is None:
            raise Contradiction(
                ("report", "timeline"),
                "report.timeline needs workload.duration: replications of so many queries end at any time",
            )
        if not interval <= duration <= MOST_INTERVALS * interval:
            raise Contradiction(
                ("report", "timeline"),
                f"report.timeline cuts the duration into 1 to {MOST_INTERVALS} intervals; choose it accordingly",
            )
        return self

    @model_validator(mode="after")
    def _precision_has_a_beginning(self) -> Experiment:
        if self.precision is None:
            return self
        if self.replications < FIRST_REPLICATIONS:
            raise Contradiction(
                ("replications",),
                f"precision begins with at least {FIRST_REPLICATIONS} replications: fewer do not show how wide "
                "an interval will be",
            )
        if self.precision.max_replications < self.replications:
            raise Contradiction(
                ("precision", "max_replications"),
                f"max_replications {self.precision.max_replications} is below replications {self.replications}",
            )
        return self

    @model_validator(mode="after")
    def _one_limit(self) -> Experiment:
        binding = self.binding
        if (
            isinstance(binding, LateBindingSpec)
            and binding.queue_limit is not None
            and self.queue is not None
            and self.queue.limit is not None
        ):
            raise Contradiction(
                ("queue", "limit"), "queue.limit and binding.queue_limit bound the same queue; leave one of them out"
            )
        return self


class ExperimentFile(Experiment):
    """An experiment file as it is written: a scenario, what it extends, and what is swept."""

    extends: str | None = Field(None, description="Another experiment file that this one starts from.")
    sweep: dict[str, list[Any] | dict[str, Any]] | None = Field(
        None,
        min_length=1,
        description="Key path to its values, or to labels with values; all combinations are run.",
    )
    optimise: OptimiseSpec | None = Field(None, description="A search over designs, done by mprec optimise.")
