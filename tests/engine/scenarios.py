"""Generated scenarios over every option, as experiment files hold them; a few contradict themselves."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

__all__ = ["QUERIES", "experiments", "mp_rec", "tabled_services"]

QUERIES = 150


MEANS = st.integers(1, 2000).map(lambda us: f"{us}us")
EXPONENTIAL = st.builds(lambda m: {"distribution": "exponential", "mean": m}, MEANS)
DETERMINISTIC = st.builds(
    lambda m, s: {"distribution": "deterministic", "mean": m, "per_sample": f"{s}ns"},
    MEANS,
    st.integers(0, 9000),
)
GAMMA_OR_LOGNORMAL = st.builds(
    lambda kind, m, cv: {"distribution": kind, "mean": m, "cv": cv},
    st.sampled_from(["gamma", "lognormal"]),
    MEANS,
    st.floats(0.2, 3),
)
QUANTILES = st.builds(
    lambda low, spread: {
        "sizes": [1, 500],
        "quantiles": [0, 0.5, 1],
        "service": [[f"{low}us", f"{low + spread}us", f"{low + 9 * spread}us"]] * 2,
    },
    st.integers(1, 800),
    st.integers(0, 400),
)

ONE_TIME = st.builds(
    lambda one, other: {"sizes": [1, 500], "quantiles": [0.5], "service": [[f"{one}us"], [f"{other}us"]]},
    st.integers(1, 800),
    st.integers(1, 1500),
)


def services() -> st.SearchStrategy[dict[str, Any]]:
    return st.one_of(EXPONENTIAL, DETERMINISTIC, GAMMA_OR_LOGNORMAL, QUANTILES)


def tabled_services() -> st.SearchStrategy[dict[str, Any]]:
    """Service times as they are measured or modelled, of one time a size or of several."""
    return st.one_of(ONE_TIME, QUANTILES)


@st.composite
def fleets(draw: st.DrawFn) -> list[dict[str, Any]]:
    groups = []
    for g in range(draw(st.integers(1, 2))):
        devices = {}
        for name in draw(st.sampled_from([["cpu"], ["gpu"], ["cpu", "gpu"]])):
            held = draw(st.sampled_from([["table"], ["table", "dhe"], ["dhe", "table", "hybrid"]]))
            profile = {
                "kind": "cpu",
                "lanes": draw(st.sampled_from([1, 1, 2, 3, 8])),
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


def mp_rec(queues: st.SearchStrategy[str] = QUEUES) -> st.SearchStrategy[dict[str, Any]]:
    return st.builds(
        lambda q, m, t, n: {"kind": "mp-rec", "queue": q, "margin": m, "tie_break": t, "when_none_fits": n},
        queues,
        st.sampled_from([0.0, 0.25]),
        st.sampled_from(["fastest", "first"]),
        st.sampled_from(["fastest", "drop"]),
    )


POLICIES = st.one_of(
    st.just({"kind": "static", "representation": "table"}),
    st.builds(lambda q: {"kind": "fastest", "queue": q}, QUEUES),
    st.builds(lambda q: {"kind": "switch", "representation": "table", "queue": q}, QUEUES),
    st.builds(
        lambda t: {"kind": "size-threshold", "threshold": t, "small": "cpu", "large": "gpu"}, st.integers(1, 300)
    ),
    mp_rec(),
)
ROUTERS = st.sampled_from(
    [
        {"kind": "random"},
        {"kind": "round-robin"},
        {"kind": "least-backlog"},
        {"kind": "least-backlog", "measure": "work"},
        {"kind": "power-of-d", "d": 1},
        {"kind": "power-of-d", "d": 2},
        {"kind": "power-of-d", "d": 5},
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
    st.integers(1, 6) | st.just(64),
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
    st.sampled_from(
        [{"after": "0s"}, {"after": "150us"}, {"percentile": 70, "window": 10}, {"percentile": 40, "window": 100}]
    ),
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
        if "d" in document["router"]:
            nodes = sum(group["count"] for group in document["fleet"])
            document["router"] = {**document["router"], "d": min(document["router"]["d"], nodes)}
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
    trades = not late and max(map(len, held)) > 1 and document["policy"]["kind"] in ("fastest", "mp-rec")
    if trades and draw(st.booleans()):
        document["remapping"] = draw(REMAPPING)
        sizes = {"table": "100B", "dhe": "150B", "hybrid": "300B"}
        for name, size in sizes.items():
            document["model"]["representations"][name]["bytes"] = size
        for group in document["fleet"]:
            for use in group["devices"].values():
                # A device of 100 bytes holds a table and nothing else, whatever the mapping.
                several = len(use["profile"]["service"]["m"]) > 1
                use["memory"] = draw(st.sampled_from(["300B", "1kB"] if several else ["100B", "300B", "1kB"]))
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
        if "remapping" in document:
            document["remapping"]["on_fault"] = draw(st.booleans())
        if "retries" not in document and draw(st.booleans()):
            document["retries"] = draw(RETRIES)
    if "retries" in document and draw(st.booleans()):
        possible = ["timeout"] * ("timeout" in document) + ["fault", "unavailable"] * ("faults" in document)
        document["retries"]["on"] = draw(st.lists(st.sampled_from(possible), min_size=1, unique=True))
    slowed = draw(interference(document["fleet"])) if draw(st.booleans()) else None
    if slowed is not None:
        document["interference"] = slowed
    return document
