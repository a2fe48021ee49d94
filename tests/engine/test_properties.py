"""Generated scenarios over every option: whatever is combined, the laws hold and the same run comes out twice."""

from __future__ import annotations

import dataclasses
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sim.engine.audit import audit
from sim.engine.record import Outcome, RunRecord
from sim.spec.problems import SpecError
from sim.stats.measure import measure
from sim.stats.summary import ReplicationResult
from sim.stats.timeline import measure_over_time
from sim.study.replication import run_record, run_replication
from tests.harness import prepare_text

QUERIES = 150
SLOW_IS_FINE = [HealthCheck.too_slow, HealthCheck.filter_too_much]


def services() -> st.SearchStrategy[dict[str, Any]]:
    mean = st.integers(1, 2000).map(lambda us: f"{us}us")
    return st.one_of(
        st.builds(lambda m: {"distribution": "exponential", "mean": m}, mean),
        st.builds(
            lambda m, s: {"distribution": "deterministic", "mean": m, "per_sample": f"{s}ns"},
            mean,
            st.integers(0, 9000),
        ),
        st.builds(lambda m, cv: {"distribution": "gamma", "mean": m, "cv": cv}, mean, st.floats(0.2, 3)),
        st.builds(
            lambda low, spread: {
                "sizes": [1, 500],
                "quantiles": [0, 0.5, 1],
                "service": [[f"{low}us", f"{low + spread}us", f"{low + 9 * spread}us"]] * 2,
            },
            st.integers(1, 800),
            st.integers(0, 400),
        ),
    )


@st.composite
def fleets(draw: st.DrawFn) -> list[dict[str, Any]]:
    groups = []
    for g in range(draw(st.integers(1, 2))):
        devices = {}
        for name in draw(st.sampled_from([["cpu"], ["gpu"], ["cpu", "gpu"]])):
            held = draw(st.sampled_from([["table"], ["table", "dhe"], ["dhe", "table", "hybrid"]]))
            profile = {
                "kind": "cpu",
                "lanes": draw(st.integers(1, 3)),
                "service": {"m": {representation: draw(services()) for representation in held}},
            }
            use: dict[str, Any] = {"profile": profile}
            limit = draw(st.one_of(st.none(), st.integers(0, 5)))
            if limit is not None:
                use["queue_limit"] = limit
            devices[name] = use
        groups.append({"name": f"g{g}", "count": draw(st.integers(1, 3)), "devices": devices})
    rack_size = draw(st.sampled_from([None, 1, 2]))
    if rack_size is not None:
        for group in groups:
            group["rack_size"] = rack_size
    return groups


QUEUES = st.sampled_from(["ignored", "expected", "actual"])
POLICIES = st.one_of(
    st.just({"kind": "static", "representation": "table"}),
    st.builds(lambda q: {"kind": "fastest", "queue": q}, QUEUES),
    st.builds(lambda q: {"kind": "switch", "representation": "table", "queue": q}, QUEUES),
    st.builds(
        lambda t: {"kind": "size-threshold", "threshold": t, "small": "cpu", "large": "gpu"}, st.integers(1, 300)
    ),
    st.builds(
        lambda q, m, t, n: {"kind": "mp-rec", "queue": q, "margin": m, "tie_break": t, "when_none_fits": n},
        QUEUES,
        st.sampled_from([0.0, 0.25]),
        st.sampled_from(["fastest", "first"]),
        st.sampled_from(["fastest", "drop"]),
    ),
)
ROUTERS = st.sampled_from(
    [
        {"kind": "random"},
        {"kind": "round-robin"},
        {"kind": "least-backlog"},
        {"kind": "least-backlog", "measure": "work"},
        {"kind": "power-of-d", "d": 2},
        {"kind": "power-of-d", "d": 3, "measure": "work"},
        {"kind": "least-expected-completion"},
    ]
)
ARRIVALS = st.one_of(
    st.builds(lambda r: {"kind": "poisson", "rate": f"{r}/s"}, st.integers(50, 20_000)),
    st.builds(lambda r, cv: {"kind": "gamma", "rate": f"{r}/s", "cv": cv}, st.integers(50, 20_000), st.floats(0.2, 6)),
    st.builds(
        lambda r, cv: {"kind": "weibull", "rate": f"{r}/s", "cv": cv}, st.integers(50, 20_000), st.floats(0.2, 4)
    ),
    st.builds(lambda r: {"kind": "integer-poisson-ms", "rate": f"{r}/s"}, st.integers(50, 2000)),
    st.just({"kind": "piecewise-rate", "shape": [1, 0, 5], "rate": "3k/s", "period": "30ms"}),
)
SIZES = st.sampled_from(
    [
        {"kind": "fixed", "size": 100},
        {"kind": "uniform", "min": 1, "max": 500},
        {"kind": "lognormal", "mean": 128, "sigma": 1.0, "max": 500},
        "mlperf-dlrm-v2-small",
    ]
)


QUEUE_SPECS = st.fixed_dictionaries(
    {},
    optional={
        "order": st.sampled_from(["fifo", "smallest-first", "earliest-deadline"]),
        "limit": st.integers(0, 6),
        "shed": st.sampled_from(["never", "late", "hopeless"]),
    },
)
BATCHING = st.builds(
    lambda queries, samples, timeout: (
        {"queries": queries, "timeout": f"{timeout if queries > 1 else 0}us"}
        | ({"samples": samples} if samples else {})
    ),
    st.integers(1, 6),
    st.sampled_from([None, 500, 700]),
    st.sampled_from([0, 0, 50, 900]),
)

CANCEL = st.sampled_from(["none", "waiting", "running"])
TIMEOUTS = st.builds(
    lambda after, cancel: {"after": f"{after}us", "cancel": cancel}, st.sampled_from([30, 400, 3000]), CANCEL
)
RETRIES = st.builds(
    lambda limit, backoff, budget, past, multiplier: (
        {"limit": limit, "backoff": f"{backoff}us", "past_deadline": past} | budget | multiplier
    ),
    st.integers(1, 3),
    st.sampled_from([0, 0, 70, 2000]),
    st.sampled_from([{}, {}, {"budget": 0.2}, {"budget": 0.05, "burst": 1}]),
    st.booleans(),
    st.sampled_from([{}, {"multiplier": 1}, {"multiplier": 7.5}]),
)
HEDGES = st.builds(
    lambda delay, cancel: delay | {"cancel": cancel},
    st.sampled_from([{"after": "0s"}, {"after": "150us"}, {"percentile": 70, "window": 10}]),
    CANCEL,
)

SCALING = st.builds(
    lambda rule, every, provisioning, cooldown: (
        rule | {"every": f"{every}us", "provisioning": f"{provisioning}us", "cooldown": f"{cooldown}us"}
    ),
    st.sampled_from(
        [
            {"measure": "utilisation", "target": 0.4},
            {"measure": "backlog", "target": 1.5, "tolerance": 0},
            {"measure": "sla-attainment", "target": 0.9, "scale_in_above": 0.95, "step": 0.5},
        ]
    ),
    st.sampled_from([2500, 20_000]),
    st.sampled_from([0, 300]),
    st.sampled_from([0, 2000]),
)
REMAPPING = st.builds(
    lambda every, target, at_once: (
        {"every": f"{every}us", "target": target, "load_bandwidth": "1MB/s"} | ({"at_once": at_once} if at_once else {})
    ),
    st.sampled_from([4000, 20_000]),
    st.sampled_from([0.1, 0.7]),
    st.sampled_from([None, 1]),
)


@st.composite
def classes(draw: st.DrawFn, experiment: dict[str, Any]) -> list[dict[str, Any]]:
    """Classes with shares, some with a limit, a model or a workload of their own."""
    number = draw(st.integers(1, 3))
    weights = draw(st.lists(st.integers(1, 9), min_size=number, max_size=number))
    drawn: list[dict[str, Any]] = [
        {"name": f"c{i}", "share": weight / sum(weights)} for i, weight in enumerate(weights)
    ]
    if draw(st.booleans()):
        own = {"arrivals": draw(ARRIVALS), "sizes": draw(OWN_SIZES)}
        drawn.insert(draw(st.integers(0, number)), {"name": "own", "workload": own})
    for one in drawn:
        if draw(st.booleans()):
            one["sla"] = draw(st.sampled_from(["100us", "3ms", "2s"]))
    other = {**experiment["model"], "name": "o"}
    for one in drawn[1:]:
        if "remapping" not in experiment and draw(st.booleans()):
            one["model"] = other
    return drawn


OWN_SIZES = st.sampled_from([{"kind": "fixed", "size": 7}, {"kind": "uniform", "min": 1, "max": 499}])


@st.composite
def interference(draw: st.DrawFn, fleet: list[dict[str, Any]]) -> dict[str, Any] | None:
    """Interference that can act on the fleet; None where no device has two lanes."""
    several = sorted(
        f"{group['name']}/{name}"
        for group in fleet
        for name, use in group["devices"].items()
        if use["profile"]["lanes"] > 1
    )
    if not several:
        return None
    factors = st.floats(1.01, 4) | st.sampled_from([1.1, 2.0, 3.0])
    drawn: dict[str, Any] = {"slowdown": [1, draw(factors), *draw(st.lists(st.just(1.0) | factors, max_size=2))]}
    if draw(st.booleans()):
        drawn["devices"] = draw(st.lists(st.sampled_from(several), min_size=1, unique=True))
    return drawn


def times(unit: str, least: int, most: int) -> st.SearchStrategy[str]:
    """Times of the order of a run; whole numbers, so that some fall together."""
    return st.integers(least, most).map(lambda number: f"{number}{unit}")


@st.composite
def places(draw: st.DrawFn, fleet: list[dict[str, Any]]) -> dict[str, Any]:
    """The cell, a group, or nodes or racks of a group."""
    group = draw(st.sampled_from([None, *fleet]))
    if group is None:
        return {}
    count = group["count"]
    kinds: list[st.SearchStrategy[dict[str, Any]]] = [st.just({})]
    kinds.append(
        st.lists(st.integers(0, count - 1), min_size=1, unique=True).map(lambda numbers: {"nodes": sorted(numbers)})
    )
    kinds.append(st.sampled_from(["30%", "100%"]).map(lambda share: {"nodes": share}))
    if "rack_size" in group:
        kinds.append(st.integers(0, (count - 1) // group["rack_size"]).map(lambda rack: {"racks": [rack]}))
    return {"group": group["name"]} | draw(st.one_of(kinds))


def number_of_nodes(where: dict[str, Any], fleet: list[dict[str, Any]]) -> int:
    groups = [group for group in fleet if where.get("group", group["name"]) == group["name"]]
    count = sum(int(group["count"]) for group in groups)
    if "racks" in where:
        (rack,), size = where["racks"], groups[0]["rack_size"]
        return min(size, count - rack * size)
    nodes = where.get("nodes", "100%")
    return len(nodes) if isinstance(nodes, list) else -(-count * int(nodes.removesuffix("%")) // 100)


@st.composite
def moments(draw: st.DrawFn, fleet: list[dict[str, Any]]) -> dict[str, Any]:
    """Where and when something happens, to all devices or one, to the end or not."""
    where = draw(places(fleet))
    names = {name for group in fleet if where.get("group", group["name"]) == group["name"] for name in group["devices"]}
    if draw(st.booleans()):
        where["device"] = draw(st.sampled_from(sorted(names)))
    if draw(st.booleans()):
        where["for"] = draw(times("ms", 1, 20) | times("us", 1, 900))
    return where | {"at": draw(times("ms", 0, 20))}


@st.composite
def maintenance(draw: st.DrawFn, fleet: list[dict[str, Any]]) -> dict[str, Any]:
    where = draw(places(fleet))
    nodes = number_of_nodes(where, fleet)
    drawn = {"at": times("ms", 0, 20), "drain": times("ms", 0, 5), "down": times("ms", 1, 9)}
    return where | {"at_once": draw(st.integers(1, nodes))} | draw(st.fixed_dictionaries(drawn))


def lifetimes(fleet: list[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
    racks = ["rack"] if all("rack_size" in group for group in fleet) else []
    return st.builds(
        lambda each, mtbf, mttr, repair, shape: {"each": each, "mtbf": mtbf, "mttr": mttr, "repair": repair} | shape,
        st.sampled_from(["device", "node", *racks, "cell"]),
        times("ms", 1, 20),
        times("ms", 1, 9),
        st.sampled_from(["exponential", "fixed"]),
        st.sampled_from([{}, {"shape": 0.5}, {"shape": 3}]),
    )


@st.composite
def faults(draw: st.DrawFn, fleet: list[dict[str, Any]], lasts: bool) -> dict[str, Any]:
    """Crashes, slow spells and maintenance; what is drawn at random only if the run has a duration."""
    some = {"min_size": 1, "max_size": 3}
    factor = st.sampled_from([1.5, 4.0]) | st.floats(1.01, 20)
    slow = st.builds(lambda moment, f: moment | {"factor": f}, moments(fleet), factor)
    kinds: dict[str, Any] = {"crashes": moments(fleet), "slow": slow, "maintenance": maintenance(fleet)}
    if lasts:
        kinds["lifetimes"] = lifetimes(fleet)
        kinds["slow"] |= st.builds(lambda drawn, f: drawn | {"factor": f}, lifetimes(fleet), factor)
    chosen = draw(st.lists(st.sampled_from(sorted(kinds)), min_size=1, unique=True))
    return {kind: draw(st.lists(kinds[kind], **some)) for kind in chosen}


@st.composite
def experiments(draw: st.DrawFn) -> dict[str, Any]:
    document: dict[str, Any] = {
        "name": "generated",
        "model": {
            "name": "m",
            "representations": {
                name: {"accuracy": {"value": value, "evidence": "assumed"}}
                for name, value in (("table", 0.7), ("dhe", 0.8), ("hybrid", 0.9))
            },
        },
        "sla": draw(st.sampled_from(["200us", "2ms", "1s"])),
        "workload": {"arrivals": draw(ARRIVALS), "sizes": draw(SIZES), "queries": QUERIES, "warmup": "0s"},
        "fleet": draw(fleets()),
        "policy": draw(POLICIES),
        "replications": 1,
        "seed": draw(st.integers(0, 2**32)),
    }
    if document["workload"]["sizes"] == "mlperf-dlrm-v2-small":
        document["workload"]["sizes"] = {"kind": "quantiles", "values": [1, 50, 50, 499]}
    if draw(st.booleans()):
        document["router"] = draw(ROUTERS)
        kind, measure = document["router"]["kind"], document["router"].get("measure")
        if kind not in ("random", "round-robin") and draw(st.booleans()):
            document["knowledge"] = {"delay": draw(st.sampled_from(["1us", "1ms", "1h"]))}
        elif kind not in ("random", "least-expected-completion") and measure != "work" and draw(st.booleans()):
            document["knowledge"] = {"routers": draw(st.integers(2, 5))}
        if draw(st.booleans()):
            document["network"] = draw(
                st.sampled_from(
                    [{"delay": "20us"}, {"delay": "1ms", "cv": 1, "floor": "100us"}, {"delay": "5ms", "cv": 3}]
                )
            )
    else:
        document["binding"] = draw(
            st.sampled_from([{"kind": "early"}, {"kind": "late"}, {"kind": "late", "queue_limit": 3}])
        )
    if draw(st.booleans()):
        over = (
            "lanes"
            if document.get("binding", {}).get("kind") == "late"
            else draw(st.sampled_from(["lanes", "devices"]))
        )
        document["splitting"] = {"part": draw(st.sampled_from([40, 130])), "over": over}
    late = document.get("binding", {}).get("kind") == "late"
    both = any({"cpu", "gpu"} <= set(group["devices"]) for group in document["fleet"])
    if document["policy"]["kind"] == "size-threshold" and (late or not both):
        document["policy"] = {"kind": "fastest"}
    if draw(st.booleans()):
        document["queue"] = draw(QUEUE_SPECS)
        if "queue_limit" in document.get("binding", {}):
            document["queue"].pop("limit", None)
    if not late and draw(st.booleans()):
        document["batching"] = draw(BATCHING)
        for group in document["fleet"]:
            for use in group["devices"].values():
                use["beyond"] = "linear"
                use["profile"]["per_query_overhead"] = draw(st.sampled_from(["0s", "30us"]))
    count = document["fleet"][0]["count"]
    if count > 1 and draw(st.booleans()):
        document["autoscaling"] = [draw(SCALING) | {"group": "g0"}]
        document["autoscaling"][0]["initial"] = draw(st.integers(1, count))
    held = [use["profile"]["service"]["m"] for group in document["fleet"] for use in group["devices"].values()]
    if not late and max(map(len, held)) > 1 and draw(st.booleans()):
        document["remapping"] = draw(REMAPPING)
        sizes = {"table": "100B", "dhe": "150B", "hybrid": "300B"}
        for name, size in sizes.items():
            document["model"]["representations"][name]["bytes"] = size
        for group in document["fleet"]:
            for use in group["devices"].values():
                use["memory"] = draw(st.sampled_from(["100B", "300B", "1kB"]))
    if draw(st.booleans()):
        document["timeout"] = draw(TIMEOUTS)
    if "timeout" in document and draw(st.booleans()):
        document["retries"] = draw(RETRIES)
    if (late or sum(group["count"] for group in document["fleet"]) > 1) and draw(st.booleans()):
        document["hedging"] = draw(HEDGES)
    if draw(st.booleans()):
        document["classes"] = draw(classes(document))
        for group in document["fleet"]:
            for use in group["devices"].values():
                use["profile"]["service"]["o"] = use["profile"]["service"]["m"]
        if any("workload" in one for one in document["classes"]):
            del document["workload"]["queries"]
            document["workload"]["duration"] = "20ms"
        if len(document["classes"]) > 1 and draw(st.booleans()):
            document["queue"] = {**document.get("queue", {}), "order": "priority"}
            for i, one in enumerate(document["classes"]):
                one["priority"] = (i + 1) % 2
    if draw(st.sampled_from([True, True, False])):
        if draw(st.booleans()):
            document["workload"].pop("queries", None)
            document["workload"]["duration"] = "20ms"
        document["faults"] = draw(faults(document["fleet"], "duration" in document["workload"]))
        if "retries" not in document and draw(st.booleans()):
            document["retries"] = draw(RETRIES)
    slowed = draw(interference(document["fleet"])) if draw(st.booleans()) else None
    if slowed is not None:
        document["interference"] = slowed
    return document


def run(document: dict[str, Any]) -> RunRecord | None:
    with tempfile.TemporaryDirectory() as folder:
        try:
            (scenario,) = prepare_text(Path(folder), yaml.safe_dump(document))
        except SpecError:
            return None  # The fleet has no path for the policy, or the two contradict each other.
        record = run_record(scenario, 0)
        assert audit(record, scenario.system) == []
        return record


LEAST_CHECKED = 300


def test_any_scenario_obeys_the_laws_and_repeats_exactly() -> None:
    checked = []

    # Nine in ten scenarios run; the others contradict themselves, and are refused.
    @settings(max_examples=380, deadline=None, suppress_health_check=SLOW_IS_FINE)
    @given(experiments())
    def check(document: dict[str, Any]) -> None:
        record = run(document)
        if record is None:
            return
        offered = QUERIES if "queries" in document["workload"] else len(record.arrival_ns)
        assert np.bincount(record.outcome, minlength=len(Outcome)).sum() == offered
        again = run(document)
        assert again is not None
        for field in dataclasses.fields(RunRecord):
            assert np.array_equal(getattr(record, field.name), getattr(again, field.name)), field.name
        # Common random numbers: another policy sees the same queries.
        other = run({**document, "policy": {"kind": "fastest"}})
        assert other is not None
        assert np.array_equal(record.arrival_ns, other.arrival_ns)
        assert np.array_equal(record.size, other.size)
        checked.append(document)

    check()
    print(f"{len(checked)} scenarios run and checked")
    assert len(checked) >= LEAST_CHECKED


@settings(max_examples=60, deadline=None, suppress_health_check=SLOW_IS_FINE)
@given(experiments().filter(lambda document: "duration" in document["workload"]), st.integers(1, 9))
def test_the_intervals_of_a_timeline_add_up_to_the_run(document: dict[str, Any], intervals: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        try:
            (scenario,) = prepare_text(Path(folder), yaml.safe_dump(document))
        except SpecError:
            return
    record = run_record(scenario, 0)
    (whole,) = measure(record, scenario.view, [0])
    one = measure_over_time(record, scenario.view, record.end_ns).metrics
    for name in ("sla_attainment", "drop_rate", "queries_per_s", "accuracy_served", "availability", "wasted_work"):
        if name in one and name in whole.metrics:
            expected = whole.metrics[name]
            assert one[name] == [expected if expected is None else pytest.approx(expected, rel=1e-9)], name
    for kind, value in whole.utilisation.items():
        # A kind of which no device is ever on is 0% busy in the whole, and has no value over time.
        assert [x or 0.0 for x in one[f"utilisation:{kind}"]] == [pytest.approx(value, rel=1e-9)], kind
    many = measure_over_time(record, scenario.view, -(-record.end_ns // intervals))
    seconds = np.diff(many.edges_ns) / 1e9
    for name in one:
        if name.endswith("_per_s") or name in ("queries_in_system", "nodes_up", "availability"):
            assert np.dot(many.metrics[name], seconds) == pytest.approx(one[name][0] * seconds.sum()), name


def test_most_generated_scenarios_run() -> None:
    ran = []
    slowed = []
    failed = []
    lost = []

    @settings(max_examples=150, deadline=None, database=None, derandomize=True)
    @given(experiments())
    def count(document: dict[str, Any]) -> None:
        record = run(document)
        ran.append(record is not None)
        failed.append(record is not None and "faults" in document)
        lost.append(record is not None and bool(record.part_cut.any()) and "faults" in document)
        slowed.append(ran[-1] and "interference" in document)

    count()
    assert np.mean(ran) > 0.75
    assert np.mean(slowed) > 0.1
    assert np.mean(failed) > 0.2
    assert np.mean(lost) > 0.05


NEUTRAL = (
    {"queue": {"order": "fifo", "shed": "never"}},
    {"queue": {"order": "earliest-deadline"}},  # With one SLA the earliest deadline is the oldest query.
    {"batching": {"queries": 1}},
    {"classes": [{"name": "all"}]},
    {"classes": [{"name": "one", "share": 0.25}, {"name": "another", "share": 0.75}]},
)


@settings(max_examples=40, deadline=None, suppress_health_check=SLOW_IS_FINE)
@given(experiments(), st.sampled_from(NEUTRAL))
def test_settings_that_change_nothing_change_nothing(document: dict[str, Any], neutral: dict[str, Any]) -> None:
    plain = {key: value for key, value in document.items() if key not in ("queue", "batching", "classes")}
    if neutral.get("queue", {}).get("order") == "earliest-deadline":
        # Copies and retries join behind younger queries, and the earliest deadline goes before these.
        plain = {key: value for key, value in plain.items() if key not in ("timeout", "retries", "hedging")}
    late = plain.get("binding", {}).get("kind") == "late"
    record = run(plain)
    if record is None or (late and "batching" in neutral):
        return
    same = run(plain | neutral)
    assert same is not None
    for field in dataclasses.fields(RunRecord):
        if field.name != "query_class":
            assert np.array_equal(getattr(record, field.name), getattr(same, field.name)), field.name


@settings(max_examples=60, deadline=None, suppress_health_check=SLOW_IS_FINE)
@given(experiments().filter(lambda document: "classes" in document))
def test_the_classes_add_up_to_the_whole(document: dict[str, Any]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        try:
            (scenario,) = prepare_text(Path(folder), yaml.safe_dump(document))
        except SpecError:
            return
        result = run_replication(scenario, 0)
    parts = list(result.classes.values())
    assert list(result.classes) == [one["name"] for one in document["classes"]]
    for counts, whole in (
        ([one.counts for one in parts], result.counts),
        ([one.measurements[0].measured for one in parts], result.measurements[0].measured),
    ):
        assert {name: sum(one[name] for one in counts) for name in whole} == whole
    for name in ("queries_per_s", "samples_per_s", "correct_predictions_per_s", "correct_predictions_within_sla_per_s"):
        added = sum(one.measurements[0].metrics[name] or 0.0 for one in parts)
        assert added == pytest.approx(result.measurements[0].metrics[name] or 0.0, rel=1e-9)
    backlogs = sum(one.backlog.in_system for one in parts)
    assert np.array_equal(backlogs, result.backlog.in_system)
    assert ReplicationResult.from_json_dict(json.loads(json.dumps(result.to_json_dict()))).to_json_dict() == (
        result.to_json_dict()
    )


@settings(max_examples=40, deadline=None, suppress_health_check=SLOW_IS_FINE)
@given(experiments())
def test_lanes_that_slow_each_other_by_a_factor_of_one_are_undisturbed(document: dict[str, Any]) -> None:
    document.pop("interference", None)
    with tempfile.TemporaryDirectory() as folder:
        try:
            (scenario,) = prepare_text(Path(folder), yaml.safe_dump(document))
        except SpecError:
            return
    record = run_record(scenario, 0)
    # As a file such a slowdown is refused. The engine is told to expect changes of speed that never come.
    paced = dataclasses.replace(scenario, system=dataclasses.replace(scenario.system, controls_lanes=True))
    same = run_record(paced, 0)
    for field in dataclasses.fields(RunRecord):
        assert np.array_equal(getattr(record, field.name), getattr(same, field.name)), field.name
