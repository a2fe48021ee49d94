"""Queries per CPU second of the reference engine, beside a plain SimPy model of the same system."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path as File
from typing import Any

import pytest

from benchmarks.plain_dispatch import Dispatcher
from benchmarks.plain_simpy import PlainModel
from benchmarks.system import DEVICES, path_tables, queries_of, stream
from sim.engine.reference import simulate
from sim.study.prepare import PreparedScenario, prepare
from sim.study.scenario import Scenario, load_scenarios
from sim.workload.draw import QueryChunk, QueryStream

REPEATS = 5
LEAST_RATIO = 0.8

EXPERIMENT = """
name: benchmark
model: dlrm-kaggle
sla: 10ms
workload:
  arrivals: {{kind: poisson, rate: {rate}/s}}
  sizes: {{kind: lognormal, mean: 128, sigma: 1.0, max: 4096}}
  queries: {queries}
  warmup: 0s
  drain: 10h
fleet: [{{name: n, count: {nodes}, devices: {{cpu: cpu-broadwell, gpu: gpu-v100}}}}]
policy: {{kind: mp-rec}}
router: {{kind: least-backlog}}
replications: 1
"""


def scenario(folder: File, nodes: int, queries: int) -> tuple[Scenario, PreparedScenario]:
    file = folder / "benchmark.yaml"
    file.write_text(EXPERIMENT.format(rate=1000 * nodes, nodes=nodes, queries=queries))
    scenarios = load_scenarios(str(file))
    return scenarios[0], prepare(scenarios)[0]


def plain_model(described: Scenario, prepared: PreparedScenario, nodes: int) -> Callable[[], Any]:
    paths = path_tables(described)

    def run() -> Any:
        dispatcher = Dispatcher(nodes, DEVICES, paths, prepared.view.sla_ns)
        return sorted(PlainModel(dispatcher, dispatcher.least_backlog).run(queries_of(stream(prepared))))

    return run


def cpu_s(run: Callable[[], Any]) -> float:
    begin = time.process_time()
    run()
    return time.process_time() - begin


@pytest.mark.parametrize("nodes", [3, 30])
def test_reference_engine_beside_plain_simpy(nodes: int, tmp_path: File, benchmark: Any) -> None:
    queries = 50_000
    described, prepared = scenario(tmp_path, nodes, queries)

    def engine() -> Any:
        return simulate(prepared.system, stream(prepared), drain_ns=prepared.drain_ns)

    plain = plain_model(described, prepared, nodes)
    record = engine()
    assert record.finish_ns.tolist() == [finish for _, _, _, _, finish, _ in plain()], "they are not the same system"
    ratios, speeds = [], []
    for _ in range(REPEATS):
        plain_s, engine_s = cpu_s(plain), cpu_s(engine)
        ratios.append(plain_s / engine_s)
        speeds.append((queries / engine_s, queries / plain_s))
    engine_speed, plain_speed = (statistics.median(side) for side in zip(*speeds, strict=True))
    ratio = statistics.median(ratios)
    benchmark.extra_info.update(ratio=ratio, engine=engine_speed, plain=plain_speed)
    print(
        f"\n{2 * nodes} devices: reference engine {engine_speed:,.0f}, plain SimPy {plain_speed:,.0f} queries per CPU "
        f"second; ratio {ratio:.2f} (of {', '.join(f'{r:.2f}' for r in sorted(ratios))})"
    )
    benchmark.pedantic(engine, rounds=1)
    assert ratio >= LEAST_RATIO


class Interleaved:
    """A long stream in chunks of `count` queries that runs a short replication after every chunk.

    The two alternate, so that both see the same machine, whose pace may halve from one second to the next.
    """

    def __init__(self, long: QueryStream, short: Callable[[], Any], count: int) -> None:
        self.long = long
        self.short = short
        self.count = count
        self.long_s: list[float] = []
        self.short_s: list[float] = []

    @property
    def end_ns(self) -> int:
        return self.long.end_ns

    def lane_scores(self, count: int) -> Any:
        return self.long.lane_scores(count)

    def chunks(self) -> Iterator[QueryChunk]:
        begin = time.process_time()
        for chunk in self.long.chunks(self.count):
            yield chunk
            self.long_s.append(time.process_time() - begin)
            self.short_s.append(cpu_s(self.short))
            begin = time.process_time()


def test_cost_per_query_does_not_grow_with_the_run(tmp_path: File, benchmark: Any) -> None:
    short, long = 10_000, 1_000_000
    _, brief = scenario(tmp_path, 1, short)
    _, lasting = scenario(tmp_path, 1, long)

    def once() -> Any:
        return simulate(brief.system, stream(brief), drain_ns=brief.drain_ns)

    once()
    interleaved = Interleaved(stream(lasting), once, short)
    total_s = cpu_s(lambda: simulate(lasting.system, interleaved, drain_ns=lasting.drain_ns))
    # What the long run does once, at its end, is shared out over its chunks.
    rest_s = (total_s - sum(interleaved.long_s) - sum(interleaved.short_s)) / len(interleaved.long_s)
    pairs = list(zip(interleaved.short_s, interleaved.long_s, strict=True))
    ratio = statistics.median(brief_s / (chunk_s + rest_s) for brief_s, chunk_s in pairs)
    last = statistics.median(brief_s / (chunk_s + rest_s) for brief_s, chunk_s in pairs[-20:])
    print(
        f"\nqueries per CPU second at {long:,} over those at {short:,} queries: {ratio:.3f} (last fifth: {last:.3f}); "
        f"{short / statistics.median(interleaved.short_s):,.0f} per CPU second at {short:,}"
    )
    benchmark.extra_info.update(ratio=ratio, last_fifth=last)
    benchmark.pedantic(once, rounds=1)
    assert 0.9 <= ratio <= 1.1
