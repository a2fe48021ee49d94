"""Generated scenarios driven into corners: ties, floods, services of no time, cells, policies of a user's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from hypothesis import strategies as st

from sim.study.prepare import PreparedScenario
from tests.engine.scenarios import experiments, mp_rec, tabled_services
from tests.harness import prepare_text, write_trace

__all__ = ["PLAIN_KEYS", "Generated", "flooded", "generated", "generated_plain"]

PLAIN_KEYS = ("name", "model", "sla", "workload", "fleet", "policy", "replications", "seed", "router", "classes")
"""What a plain system may have, see `sim.engine.compiled.plain.is_plain`."""


@dataclass(frozen=True, slots=True)
class Generated:
    """A scenario: its document, the arrivals of its trace in microseconds if it has one, the length of short chunks."""

    document: dict[str, Any]
    stamps_us: tuple[int, ...]
    chunk: int

    def prepare(self, folder: Path) -> PreparedScenario:
        """Raises SpecError where the scenario contradicts itself."""
        if self.stamps_us:
            write_trace(folder, list(self.stamps_us))
        (scenario,) = prepare_text(folder, yaml.safe_dump(self.document))
        return scenario


Variation = Callable[[st.DrawFn, dict[str, Any]], None]
"""Changes a document in place."""


def devices_of(document: dict[str, Any]) -> list[dict[str, Any]]:
    return [use for group in document["fleet"] for use in group["devices"].values()]


def give_services(document: dict[str, Any], service: Callable[[], dict[str, Any]]) -> None:
    """Replace all service times; copies of them that other models share are replaced alike."""
    for use in devices_of(document):
        services = use["profile"]["service"]
        services["m"] = {representation: service() for representation in services["m"]}
        if "o" in services:
            services["o"] = services["m"]


def user_policy(draw: st.DrawFn, document: dict[str, Any]) -> None:
    document["policy"] = draw(
        st.builds(
            lambda function, parameters, queue: {
                "kind": "user",
                "function": f"tests.engine.policies:{function}",
                "parameters": parameters,
                "queue": queue,
            },
            st.sampled_from(["by_size", "best_score", "slowest"]),
            st.tuples(st.floats(0, 10), st.floats(0, 2), st.integers(1, 500)).map(list),
            st.sampled_from(["ignored", "expected", "actual"]),
        )
    )


def cells(draw: st.DrawFn, document: dict[str, Any]) -> None:
    if any(group["count"] % group.get("rack_size", 1) for group in document["fleet"]):
        return  # A rack would reach over the border of a cell.
    number = draw(st.integers(2, 3))
    document["cells"] = number
    if document["workload"].pop("queries", None) is not None:
        document["workload"]["duration"] = "20ms"
    for group in document["fleet"]:
        group["count"] *= number
    for rule in document.get("autoscaling", []):
        rule["initial"] *= number


def ties(draw: st.DrawFn, document: dict[str, Any]) -> None:
    """Everything falls on whole milliseconds."""
    document["workload"]["arrivals"] = {"kind": "integer-poisson-ms", "rate": f"{draw(st.integers(200, 3000))}/s"}
    whole = st.integers(1, 3).map(lambda ms: f"{ms}ms")
    give_services(document, lambda: {"distribution": "deterministic", "mean": draw(whole)})
    for use in devices_of(document):
        use["profile"].pop("per_query_overhead", None)
        # Such a service has no measured sizes that could be left.
        use.pop("beyond", None)
    document["sla"] = draw(st.sampled_from(["2ms", "5ms", "1s"]))
    for one in document.get("classes", []):
        if "sla" in one:
            one["sla"] = draw(whole)
        if "workload" in one:
            one["workload"]["arrivals"] = {"kind": "integer-poisson-ms", "rate": "400/s"}
    for section, key in (
        ("timeout", "after"),
        ("retries", "backoff"),
        ("hedging", "after"),
        ("knowledge", "delay"),
        ("batching", "timeout"),
        ("remapping", "every"),
    ):
        if key in document.get(section, {}) and not str(document[section][key]).startswith("0"):
            document[section][key] = draw(whole)
    for rule in document.get("autoscaling", []):
        rule |= {"every": draw(whole), "provisioning": draw(st.sampled_from(["0ms", "2ms"])), "cooldown": "2ms"}
    if "network" in document:
        document["network"] = {"delay": draw(whole)}
    if "interference" in document:
        document["interference"]["slowdown"] = [1, 2, 4]
    for spell in document.get("faults", {}).get("slow", []):
        spell["factor"] = 2


def no_time(draw: st.DrawFn, document: dict[str, Any]) -> None:
    """Many services take no time at all, because times are rounded."""
    quantiles = st.sampled_from([["10us", "20us", "900us"], ["1us", "2us", "3us"], ["300us", "600us", "4ms"]])
    give_services(
        document,
        lambda: {
            "sizes": [1, 500],
            "quantiles": [0, 0.5, 1],
            "service": [draw(quantiles)] * 2,
            "beyond": "linear",
            "round_to": "1ms",
        },
    )


def cold_lanes(draw: st.DrawFn, document: dict[str, Any]) -> None:
    """Service takes longer on lanes that stood idle."""
    points = st.sampled_from(
        [
            {"idle": ["1ns"], "extra": ["300us"]},
            {"idle": ["100us", "1ms"], "extra": ["7us", "333us"]},
            {"idle": ["3ms", "4ms", "50ms"], "extra": ["1ms", "0s", "9ms"]},
            {"idle": ["2ms", "7ms"], "extra": ["400us", "401us"], "carry": "61.8%"},
            {"idle": ["1ms", "9ms"], "extra": ["0s", "3us"], "per_sample": ["1us", "2501ns"], "carry": "10%"},
            [{"idle": ["100us"], "extra": ["7us"]}, {"idle": ["1ms", "20ms"], "extra": ["1us", "2ms"], "carry": "90%"}],
        ]
    )
    for use in devices_of(document):
        services = use["profile"]["service"]
        # What other models share is one and the same mapping, which written as YAML would say so.
        for model in services:
            services[model] = {name: {**one, "after_idle": draw(points)} for name, one in services[model].items()}


def full_lanes(draw: st.DrawFn, document: dict[str, Any]) -> None:
    """Service takes longer on lanes that served many samples."""
    points = st.sampled_from(
        [
            {"size": [1], "extra": ["300us"]},
            {"size": [3, 40, 200], "extra": ["0us", "1ms", "7us"], "typical": "90us"},
            {"size": [100, 200], "extra": ["400us", "401us"], "typical": "401us", "carry": "61.8%"},
        ]
    )
    for use in devices_of(document):
        services = use["profile"]["service"]
        for model in services:
            services[model] = {name: {**one, "after_size": draw(points)} for name, one in services[model].items()}


def slow_spells(draw: st.DrawFn, document: dict[str, Any]) -> None:
    """Service times depend on those before, on some devices."""
    give_services(document, lambda: draw(tabled_services()))
    kinds = [
        {"share": [0.5], "services": [3]},
        {"share": ["20%", "70%"], "services": [0.5, 40]},
        {"share": [0.1, 0.1, 0.1], "services": [2, 3, 1000]},
    ]
    for use in devices_of(document):
        spells = draw(st.sampled_from([None, *kinds]))
        if spells is not None:
            use["profile"] |= {"spells": dict(spells)}


def priorities(draw: st.DrawFn, document: dict[str, Any]) -> None:
    if len(document.get("classes", [])) > 1:
        document["queue"] = {**document.get("queue", {}), "order": "priority"}
        for one, priority in zip(document["classes"], draw(st.permutations(range(4))), strict=False):
            one["priority"] = priority


def small_parts(draw: st.DrawFn, document: dict[str, Any]) -> None:
    late = document.get("binding", {}).get("kind") == "late"
    document["splitting"] = {"part": 10, "over": "lanes" if late else draw(st.sampled_from(["lanes", "devices"]))}


def short_drain(draw: st.DrawFn, document: dict[str, Any]) -> None:
    document["workload"]["drain"] = draw(st.sampled_from(["1ns", "100us", "2ms"]))


def overload(draw: st.DrawFn, document: dict[str, Any]) -> None:
    document["workload"]["arrivals"] = {"kind": "poisson", "rate": f"{draw(st.integers(20, 60))}k/s"}


def longer(draw: st.DrawFn, document: dict[str, Any]) -> None:
    workload = document["workload"]
    workload |= {"queries": 1200} if "queries" in workload else {"duration": "50ms"}
    if "percentile" in document.get("hedging", {}):
        document["hedging"]["window"] = draw(st.sampled_from([10, 50, 300]))


VARIATIONS: tuple[Variation, ...] = (
    user_policy,
    cells,
    cells,
    ties,
    ties,
    no_time,
    cold_lanes,
    cold_lanes,
    full_lanes,
    full_lanes,
    slow_spells,
    slow_spells,
    priorities,
    priorities,
    small_parts,
    short_drain,
    overload,
    longer,
)


@st.composite
def traces(draw: st.DrawFn, document: dict[str, Any]) -> tuple[int, ...]:
    """Put a trace in place of the arrivals, many of whose stamps are equal."""
    gaps_us = draw(st.lists(st.sampled_from([0, 0, 0, 1, 100, 1000]), min_size=20, max_size=100))
    document["workload"]["arrivals"] = {"kind": "trace", "file": "arrivals.csv", "unit": "us"}
    stamps = tuple(sum(gaps_us[: i + 1]) for i in range(len(gaps_us)))
    if "duration" in document["workload"]:
        document["workload"]["arrivals"]["repeat"] = True
        return (*stamps, stamps[-1] + 1000)
    document["workload"]["queries"] = len(stamps)
    return stamps


def lengths(document: dict[str, Any]) -> st.SearchStrategy[int]:
    """Lengths of chunks that are short for a run, without making thousands of them."""
    workload = document["workload"]
    many = workload.get("queries", 0) > 1000 or workload["arrivals"].get("rate", "").endswith("k/s")
    return st.sampled_from([64, 257] if many else [1, 2, 7, 64])


@st.composite
def generated(draw: st.DrawFn) -> Generated:
    """Scenarios over every option, most of them varied."""
    document = draw(experiments())
    for vary in draw(st.lists(st.sampled_from(VARIATIONS), max_size=3, unique=True)):
        vary(draw, document)
    stamps_us: tuple[int, ...] = ()
    if draw(st.sampled_from([False] * 7 + [True])):
        stamps_us = draw(traces(document))
    if any("mtbf" in entry for entries in document.get("faults", {}).values() for entry in entries):
        # Ten seconds of drain would be filled with thousands of faults.
        document["workload"].setdefault("drain", "60ms")
    return Generated(document, stamps_us, draw(lengths(document)))


@st.composite
def plain_documents(draw: st.DrawFn) -> dict[str, Any]:
    document = {key: value for key, value in draw(experiments()).items() if key in PLAIN_KEYS}
    for use in devices_of(document):
        use.pop("queue_limit", None)
    for one in document.get("classes", []):
        one.pop("priority", None)
    return document


def common(draw: st.DrawFn, document: dict[str, Any]) -> None:
    """Make a plain system one of the kind that has a loop of its own, see `sim.engine.compiled.direct`."""

    def device() -> dict[str, Any]:
        held = draw(st.sampled_from([["table"], ["table", "dhe"], ["dhe", "table", "hybrid"]]))
        return {
            "profile": {"kind": "cpu", "lanes": 1, "service": {"m": {name: draw(tabled_services()) for name in held}}}
        }

    group = document["fleet"][0] | {"count": draw(st.integers(2, 5)), "devices": {"cpu": device(), "gpu": device()}}
    document["fleet"] = [group]
    document["policy"] = draw(mp_rec(st.sampled_from(["expected", "actual"])))
    document["router"] = {"kind": "power-of-d", "d": 2}
    for one in document.get("classes", []):
        one.pop("model", None)


@st.composite
def generated_plain(draw: st.DrawFn) -> Generated:
    """Systems in which nothing comes between a query's arrival and its end, varied in what leaves them plain."""
    document = draw(plain_documents())
    if draw(st.booleans()):
        common(draw, document)
    kept: list[Variation] = [user_policy, cells, ties, no_time, short_drain, overload, longer]
    for vary in draw(st.lists(st.sampled_from(kept), max_size=3, unique=True)):
        vary(draw, document)
    stamps_us = draw(traces(document)) if draw(st.sampled_from([False, False, False, True])) else ()
    return Generated(document, stamps_us, draw(lengths(document)))


@st.composite
def flooded(draw: st.DrawFn, queries: int) -> Generated:
    """So many queries at once, or nearly, that every table runs out of room."""
    document = draw(experiments())
    gap_us = draw(st.sampled_from([0, 1]))
    document["workload"] |= {"arrivals": {"kind": "trace", "file": "arrivals.csv", "unit": "us"}, "queries": queries}
    document["workload"].pop("duration", None)
    # What is drawn at random needs a duration.
    faults = document.pop("faults", {})
    timed = {kind: [one for one in entries if "mtbf" not in one] for kind, entries in faults.items()}
    if any(timed.values()):
        document["faults"] = {kind: entries for kind, entries in timed.items() if entries}
    if any("workload" in one for one in document.get("classes", [])):
        del document["classes"]
        if document.get("queue", {}).get("order") == "priority":
            del document["queue"]["order"]
    for use in devices_of(document):
        use.pop("queue_limit", None)
    document.get("queue", {}).pop("limit", None)
    document.get("binding", {}).pop("queue_limit", None)
    return Generated(document, tuple(gap_us * i for i in range(queries)), draw(st.sampled_from([64, 1000])))
