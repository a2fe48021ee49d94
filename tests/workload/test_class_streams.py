"""Streams of classes: shares, independence, merging, and the check of recorded arrivals source by source."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sim.spec.classes import ClassSpec
from sim.spec.workload import WorkloadSpec
from sim.workload.check import check_sources
from sim.workload.draw import QueryStream
from sim.workload.sources import sources_of

# Gaps in whole milliseconds: many arrivals at the same instant.
TIED = {"kind": "integer-poisson-ms", "rate": "400/s"}
BURSTY = {"kind": "gamma", "rate": "900/s", "cv": 3}
RARE = {"kind": "poisson", "rate": "7/s"}
SIZES = {"kind": "uniform", "min": 1, "max": 50}


def spec(arrivals: dict[str, Any], **length: Any) -> WorkloadSpec:
    return WorkloadSpec.model_validate({"arrivals": arrivals, "sizes": SIZES, **length})


def own(name: str, arrivals: dict[str, Any]) -> ClassSpec:
    return ClassSpec.model_validate({"name": name, "workload": {"arrivals": arrivals, "sizes": SIZES}})


def shared(name: str, share: float) -> ClassSpec:
    return ClassSpec.model_validate({"name": name, "share": share})


def drawn(workload: WorkloadSpec, classes: list[ClassSpec] | None, chunk: int = 16_384) -> dict[str, np.ndarray]:
    chunks = list(QueryStream(workload, 5, 2, classes=classes, parts=2, choices=1).chunks(chunk))
    assert all(0 < len(one.arrival_ns) <= chunk for one in chunks)
    names = ("arrival_ns", "size", "query_class", "service_u", "router_u")
    columns = {name: np.concatenate([getattr(one, name) for one in chunks]) for name in names}
    assert [one.first for one in chunks] == np.cumsum([0, *(len(one.size) for one in chunks[:-1])]).tolist()
    return columns


def test_shares_hold_and_change_nothing_else() -> None:
    workload = spec(BURSTY, queries=40_000)
    plain = drawn(workload, None)
    classes = [shared("a", 0.6), shared("b", 0.1), shared("c", 0.3)]
    mixed = drawn(workload, classes)
    for name in ("arrival_ns", "size", "service_u", "router_u"):
        assert np.array_equal(plain[name], mixed[name])
    for number, share in enumerate((0.6, 0.1, 0.3)):
        of_class = mixed["query_class"] == number
        assert abs(of_class.sum() - 40_000 * share) < 5 * math.sqrt(40_000 * share * (1 - share))
        # The class says nothing of the size: same mean, within its standard error.
        sizes = mixed["size"][of_class]
        assert abs(sizes.mean() - 25.5) < 5 * 14.43 / math.sqrt(len(sizes))


def test_a_source_is_the_same_whatever_is_beside_it() -> None:
    workload = spec(BURSTY, duration="5s")
    alone = drawn(workload, None)
    one = drawn(workload, [shared("top", 1.0), own("x", TIED)])
    two = drawn(workload, [own("rare", RARE), own("x", TIED), shared("top", 1.0)])
    for name in ("arrival_ns", "size"):
        assert np.array_equal(alone[name], one[name][one["query_class"] == 0])
        assert np.array_equal(alone[name], two[name][two["query_class"] == 2])
        assert np.array_equal(one[name][one["query_class"] == 1], two[name][two["query_class"] == 1])
    # Classes with the same law draw from streams of their own.
    twins = drawn(workload, [shared("top", 1.0), own("x", BURSTY), own("y", BURSTY)])
    first, second = (twins["arrival_ns"][twins["query_class"] == number] for number in (1, 2))
    assert not np.array_equal(first[:20], second[:20]) and not np.array_equal(first[:20], alone["arrival_ns"][:20])


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.sampled_from([TIED, BURSTY, RARE]), min_size=1, max_size=3),
    st.integers(0, 3),
    st.booleans(),
    st.sampled_from([1, 2, 7, 100, 5000]),
)
def test_chunks_change_nothing_and_ties_go_in_the_order_of_classes(
    arrivals: list[dict[str, Any]], place: int, two: bool, chunk: int
) -> None:
    workload = spec(TIED, duration="300ms")
    classes = [own(f"own{i}", one) for i, one in enumerate(arrivals)]
    place = min(place, len(classes))
    classes[place:place] = [shared("a", 0.25), shared("b", 0.75)] if two else [shared("a", 1.0)]
    whole = drawn(workload, classes)
    parted = drawn(workload, classes, chunk)
    for name, column in whole.items():
        assert np.array_equal(column, parted[name]), name
    assert np.all(np.diff(whole["arrival_ns"]) >= 0)
    # A source keeps its order; sources at one instant go as their first classes stand.
    source = np.array(
        [
            next(s for s, one in enumerate(sources_of(workload, classes)) if c in one.classes)
            for c in range(len(classes))
        ]
    )[whole["query_class"]]
    tied = np.diff(whole["arrival_ns"]) == 0
    assert np.all(np.diff(source)[tied] >= 0)


def test_there_are_ties_to_be_decided() -> None:
    columns = drawn(spec(TIED, duration="2s"), [own("x", TIED), shared("top", 1.0)])
    tied = np.diff(columns["arrival_ns"]) == 0
    assert np.sum(tied & (np.diff(columns["query_class"]) > 0)) > 50


def test_a_source_without_queries_is_no_trouble() -> None:
    columns = drawn(
        spec(BURSTY, duration="20ms"), [own("rare", {"kind": "poisson", "rate": "0.001/h"}), shared("t", 1.0)]
    )
    assert set(columns["query_class"].tolist()) == {1}


@pytest.mark.parametrize("seed", range(3))
def test_the_check_holds_per_source(seed: int) -> None:
    workload = spec(BURSTY, duration="20s")
    classes = [shared("a", 0.7), own("x", TIED), shared("b", 0.3)]
    sources = sources_of(workload, classes)
    chunks = list(QueryStream(workload, seed, 0, classes=classes).chunks())
    at = np.concatenate([one.arrival_ns for one in chunks])
    of = np.concatenate([one.query_class for one in chunks])
    assert check_sources(sources, at, of) == []
    # Queries of one source that are taken for another's: neither has its rate any more.
    moved = of.copy()
    moved[np.flatnonzero(of == 1)[::2]] = 0
    found = check_sources(sources, at, moved)
    assert any(line.startswith("x: arrivals") for line in found) and any(line.startswith("arrivals") for line in found)
    # Shares that are not kept.
    moved = of.copy()
    moved[np.flatnonzero(of == 2)[::3]] = 0
    assert any("whose share is 0.7" in line for line in check_sources(sources, at, moved))
