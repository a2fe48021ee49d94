"""The load of cells: laws and names of their own draws, traces dealt out to them, and the check of their arrivals."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sim.spec.classes import ClassSpec
from sim.spec.problems import SpecError
from sim.spec.workload import WorkloadSpec
from sim.workload.cells import CellDraws
from sim.workload.check import check_arrivals, check_sources
from sim.workload.draw import QueryStream
from sim.workload.sources import sources_of
from sim.workload.streams import open_stream

CELLS = 4
SIZES = {"kind": "uniform", "min": 1, "max": 50}
POISSON = {"kind": "poisson", "rate": "8000/s"}
STEPS = [{"at": "0s", "rate": "9000/s"}, {"at": "300ms", "rate": 0}, {"at": "500ms", "rate": "2000/s"}]
LAWS: dict[str, dict[str, Any]] = {
    "poisson": POISSON,
    "steps": {"kind": "piecewise-rate", "steps": STEPS, "period": "1s"},
    "shape": {"kind": "piecewise-rate", "shape": [1, 5, 2], "rate": "8000/s", "period": "500ms"},
    "gamma": {"kind": "gamma", "rate": "8000/s", "cv": 3},
    "weibull": {"kind": "weibull", "rate": "8000/s", "cv": 2},
    "whole milliseconds": {"kind": "integer-poisson-ms", "rate": "4000/s"},
}


def spec(arrivals: dict[str, Any], sizes: Any = SIZES, **length: Any) -> WorkloadSpec:
    return WorkloadSpec.model_validate({"arrivals": arrivals, "sizes": sizes, **(length or {"duration": "3s"})})


def stream(workload: WorkloadSpec, cell: int, cells: int = CELLS, **more: Any) -> QueryStream:
    return QueryStream(workload, 5, 2, cell=cell, cells=cells, **more)


def column(source: QueryStream, name: str = "arrival_ns", chunk: int = 16_384) -> np.ndarray:
    return np.concatenate([getattr(one, name) for one in source.chunks(chunk)] or [np.zeros(0, dtype=np.int64)])


@pytest.mark.parametrize("law", LAWS)
def test_each_cell_has_the_law_at_its_share_of_the_rate(law: str) -> None:
    workload = spec(LAWS[law])
    for cell in range(CELLS):
        at = column(stream(workload, cell))
        draws = CellDraws(5, 2, cell, CELLS)
        nothing = np.zeros(len(at), dtype=np.int64)
        assert check_sources(sources_of(workload, None), at, nothing, draws=draws) == []
        # The check knows a cell from the whole, and from one of twice as many.
        assert any("rate" in line for line in check_sources(sources_of(workload, None), at, nothing))
        assert check_sources(sources_of(workload, None), at, nothing, draws=CellDraws(5, 2, cell, 2 * CELLS)) != []


@pytest.mark.parametrize("law", ["poisson", "steps", "shape"])
def test_the_cells_of_a_poisson_process_make_up_that_process(law: str) -> None:
    workload = spec(LAWS[law])
    together = np.sort(np.concatenate([column(stream(workload, cell)) for cell in range(CELLS)]))
    assert check_arrivals(workload, together) == []


def test_every_draw_of_a_cell_is_its_own_and_its_name_is_pinned() -> None:
    workload = spec(POISSON, queries=4_000)
    more = {"parts": 2, "choices": 1, "routers": 3}
    for name in ("arrival_ns", "size", "service_u", "router_u", "router"):
        columns = [column(stream(workload, cell, **more), name)[:900] for cell in range(CELLS)]
        columns.append(column(stream(workload, 0, 1, **more), name)[:900])
        assert not any(np.array_equal(columns[a], columns[b]) for a in range(CELLS + 1) for b in range(a))
    first = next(stream(workload, 3, **more).chunks())
    assert first.service_u[:, 1].tolist() == open_stream(5, "cell3/service.part1", 2).uniforms(1_000).tolist()
    (u,) = open_stream(5, "cell3/gap", 2).uniforms(1).tolist()
    assert abs(first.arrival_ns[0] - -math.log1p(-u) * CELLS / 8000 * 1e9) < 1


def test_another_service_seed_changes_the_service_draws_alone() -> None:
    workload = spec(POISSON, queries=1_000)
    more = {"parts": 2, "choices": 1, "routers": 3, "attempts": 2}
    plain, seeded = (next(stream(workload, 1, **more, service_seed=seed).chunks()) for seed in (None, 7))
    for name in ("arrival_ns", "size", "query_class", "router_u", "router", "network_ns"):
        assert np.array_equal(getattr(plain, name), getattr(seeded, name))
    assert not np.any(plain.service_u == seeded.service_u)
    names = ["service.seed7", "service.seed7.part1", "service.seed7.attempt1", "service.seed7.attempt1.part1"]
    pinned = [open_stream(5, f"cell1/{name}", 2).uniforms(1_000) for name in names]
    assert np.array_equal(seeded.service_u[:1_000], np.stack(pinned, axis=1)[: len(seeded.service_u)])


def test_one_cell_draws_what_was_drawn_without_cells() -> None:
    workload = spec(POISSON, queries=1_000)
    plain = QueryStream(workload, 5, 2, parts=2, choices=1)
    for name in ("arrival_ns", "size", "service_u", "router_u"):
        assert np.array_equal(column(plain, name), column(stream(workload, 0, 1, parts=2, choices=1), name))


def test_queries_are_shared_equally() -> None:
    workload = spec(POISSON, queries=4_000)
    for cell in range(CELLS):
        one = stream(workload, cell)
        assert len(at := column(one)) == 1_000
        assert one.end_ns == at[-1]


def trace(folder: Path, rows: int = 3_000) -> tuple[np.ndarray, np.ndarray]:
    """Write a trace of arrivals, some of them at one instant, and of sizes; return both."""
    generator = np.random.default_rng(8)
    at_ms = np.cumsum(generator.integers(0, 3, rows))
    sizes = generator.integers(1, 1_000, rows)
    (folder / "arrivals.csv").write_text("time\n" + "".join(f"{one}\n" for one in at_ms - at_ms[0]))
    (folder / "sizes.csv").write_text("size\n" + "".join(f"{one}\n" for one in sizes))
    return (at_ms - at_ms[0]) * 1_000_000, sizes


TRACE = {"kind": "trace", "file": "arrivals.csv", "unit": "ms"}
TRACED_SIZES = {"kind": "trace", "file": "sizes.csv"}


@pytest.mark.parametrize("chunk", [7, 1_000, 16_384])
def test_the_cells_of_a_trace_make_up_the_trace(tmp_path: Path, chunk: int) -> None:
    at, sizes = trace(tmp_path)
    for length, count in (({"queries": 2_600}, 2_600), ({"duration": "1s"}, int(np.sum(at < 10**9)))):
        workload = spec(TRACE, TRACED_SIZES, **length)
        found = []
        for cell in range(CELLS):
            one = stream(workload, cell, base_dir=tmp_path)
            arrival_ns, size = column(one, chunk=chunk), column(one, "size", chunk)
            found += list(zip(arrival_ns.tolist(), size.tolist(), strict=True))
            # Equal chances: within five standard errors of a quarter.
            assert abs(len(size) - count / CELLS) < 5 * math.sqrt(count * 3 / 16)
            assert one.end_ns == (at[2_599] if "queries" in length else 10**9)
            nothing = np.zeros(len(size), dtype=np.int64)
            for other in range(CELLS):
                lines = check_sources(
                    sources_of(workload, None),
                    arrival_ns,
                    nothing,
                    draws=CellDraws(5, 2, other, CELLS),
                    base_dir=tmp_path,
                )
                assert (lines == []) == (other == cell)
        assert sorted(found) == sorted(zip(at[:count].tolist(), sizes[:count].tolist(), strict=True))


def test_a_trace_that_is_repeated_is_dealt_anew_each_time(tmp_path: Path) -> None:
    trace(tmp_path, 50)
    workload = spec({**TRACE, "repeat": True}, queries=1_000)
    at = np.sort(np.concatenate([column(stream(workload, cell, base_dir=tmp_path)) for cell in range(CELLS)]))
    assert np.array_equal(at, column(stream(workload, 0, 1, base_dir=tmp_path)))


def test_a_trace_of_sizes_beside_drawn_arrivals_is_dealt_in_turn(tmp_path: Path) -> None:
    _, sizes = trace(tmp_path)
    workload = spec(POISSON, TRACED_SIZES, queries=3_000)
    for cell in range(CELLS):
        assert column(stream(workload, cell, base_dir=tmp_path), "size").tolist() == sizes[cell::CELLS].tolist()
    with pytest.raises(SpecError, match="over after 3000 queries"):
        column(stream(spec(POISSON, TRACED_SIZES, duration="10s"), 0, base_dir=tmp_path))


def test_a_trace_with_exponential_gaps_is_shared_like_any_poisson_process(tmp_path: Path) -> None:
    at, _ = trace(tmp_path)
    workload = spec({**TRACE, "gaps": "exponential"}, duration="60s")
    counts = [len(column(stream(workload, cell, base_dir=tmp_path))) for cell in range(CELLS)]
    expected = 60e9 * len(at) / at[-1] / CELLS
    assert all(abs(count - expected) < 6 * math.sqrt(expected) for count in counts)


def test_classes_of_a_cell_have_their_shares_and_their_own_loads() -> None:
    classes = [
        ClassSpec.model_validate({"name": "a", "share": 0.75}),
        ClassSpec.model_validate({"name": "b", "share": 0.25}),
        ClassSpec.model_validate({"name": "c", "workload": {"arrivals": {"kind": "gamma", "rate": "2000/s", "cv": 2}}}),
    ]
    workload = spec(POISSON)
    for cell in range(CELLS):
        one = stream(workload, cell, classes=classes)
        at, of = column(one), column(one, "query_class")
        sources = sources_of(workload, classes)
        assert check_sources(sources, at, of, draws=CellDraws(5, 2, cell, CELLS)) == []
        for number, rate_per_s in enumerate((6_000, 2_000, 2_000)):
            expected = 3 * rate_per_s / CELLS
            assert abs(np.sum(of == number) - expected) < 6 * 2 * math.sqrt(expected)
