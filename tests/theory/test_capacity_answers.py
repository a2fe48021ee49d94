"""`mprec capacity` against closed forms: the bracket holds the true answer, of M/M/1, M/M/4 and fleets of them."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from scipy.optimize import brentq

from sim.report.capacity import CapacityReport
from sim.study.capacity.perform import find_capacity
from sim.study.capacity.question import By, Find, Question
from sim.study.evaluation import Evaluator
from tests.theory.queues import experiment, mmc_in_system_cdf

EXPONENTIAL = "{distribution: exponential, mean: 1ms}"

REPEATS = 100
LEAST_RIGHT = 95
"""Of 100 brackets that each hold with 95% confidence; the search is more careful than that, so more do."""


def found(folder: Path, text: str, question: Question, *, sla: str = "20ms", seed: int = 1) -> CapacityReport:
    file = folder / "queue.yaml"
    file.write_text(text.replace("sla: 1s", f"sla: {sla}").replace("warmup: 0s", "warmup: auto"), encoding="utf-8")
    with Evaluator(str(file), seed=seed, jobs=1, engine="compiled", most_recorded=0) as evaluator:
        return find_capacity(evaluator, question)


def rate_at(lanes: int, sla_ms: float) -> float:
    """Rate in queries a second at which p99 of M/M/c with services of 1 ms is the SLA."""
    load = brentq(lambda load: mmc_in_system_cdf(lanes, load, 1.0, sla_ms) - 0.99, 0.01, 0.9999)
    return 1000.0 * lanes * load


def queue(lanes: int, rate_per_s: float = 500.0, **more) -> str:
    return experiment(service=EXPONENTIAL, rate_per_s=rate_per_s, queries=1000, lanes=lanes, **more)


def test_the_closed_form_of_mm1_is_that_of_its_exponential_time_in_system() -> None:
    assert rate_at(1, 20.0) == pytest.approx(1000 - 1000 * math.log(100) / 20)


@pytest.mark.parametrize(("lanes", "seed"), [(1, 1), (1, 2), (4, 1)])
def test_the_load_of_mmc(lanes: int, seed: int, tmp_path: Path) -> None:
    report = found(tmp_path, queue(lanes), Question(Find.RATE, tolerance=0.08), sla="12ms", seed=seed)
    (answer,) = report.answers
    exact = rate_at(lanes, 12.0)
    print(f"{answer.meets} to {answer.misses}, exact {exact:.5g}")
    # 40 decisions share a risk of 5%; this may fail in one of 20 seeds at most, and these do not.
    assert answer.meets <= exact <= answer.misses
    assert answer.reached
    assert answer.misses / answer.meets <= 1.08
    assert answer.saturates == pytest.approx(1000 * lanes)
    assert answer.saturates_by == "offered load"


@pytest.mark.slow
@pytest.mark.parametrize("lanes", [1, 4])
def test_the_load_of_mmc_in_95_of_100_repeats(lanes: int, tmp_path: Path) -> None:
    exact = rate_at(lanes, 12.0)
    question = Question(Find.RATE, tolerance=0.08)
    wrong, wide = [], 0
    for seed in range(REPEATS):
        (answer,) = found(tmp_path, queue(lanes), question, sla="12ms", seed=1000 + seed).answers
        wide += not answer.reached
        if answer.meets is None or answer.misses is None or not answer.meets <= exact <= answer.misses:
            wrong.append((1000 + seed, answer.meets, answer.misses))
    print(f"M/M/{lanes}: {REPEATS - len(wrong)} of {REPEATS} brackets hold {exact:.5g}; {wide} wider than 8%; {wrong}")
    assert REPEATS - len(wrong) >= LEAST_RIGHT
    assert wide <= 5


def test_attainment_beyond_the_percentile_asks_for_less_load(tmp_path: Path) -> None:
    # P(time in system > 20 ms) is 0.1% at this rate, and 1% at that of p99.
    exact = 1000 - 1000 * math.log(1000) / 20
    question = Question(Find.RATE, attainment=0.999, tolerance=0.2)
    (answer,) = found(tmp_path, queue(1), question, seed=3).answers
    assert answer.meets <= exact <= answer.misses


def test_the_fewest_nodes_of_random_routing(tmp_path: Path) -> None:
    # Each of n nodes is M/M/1 at 3000 / n a second, and its p99 is within 12 ms up to 616/s: 4.87 nodes.
    text = queue(1, rate_per_s=3000, nodes=2, more="router: {kind: random}")
    (answer,) = found(tmp_path, text, Question(Find.NODES), sla="12ms").answers
    assert 3000 / 4 > rate_at(1, 12.0) > 3000 / 5
    assert (answer.misses, answer.meets) == (4, 5)
    assert answer.counts == {"n": 5}
    # Three nodes have just as much to do as they can: they are not even looked at.
    assert all(looked.value > 3 for looked in answer.looked)


def test_the_tightest_sla_is_the_quantile(tmp_path: Path) -> None:
    exact_ms = math.log(100) / (1 - 0.5)
    (answer,) = found(tmp_path, queue(1), Question(Find.SLA, tolerance=0.04), sla="1ms", seed=5).answers
    assert answer.misses <= exact_ms <= answer.meets
    assert answer.meets / answer.misses <= 1.04


MIXED = """
name: two kinds of nodes
model: {representations: {table: {accuracy: {value: 100%, evidence: assumed}}}}
sla: 5ms
workload:
  arrivals: {kind: integer-poisson-ms, rate: 1000/s}
  sizes: {kind: fixed, size: 1}
  queries: 2000
fleet:
  - name: fast
    count: 1
    devices:
      d: {profile: {kind: cpu, price: 1$/h, lanes: 1, service: {distribution: deterministic, mean: 1.3ms}}}
  - name: slow
    count: 1
    devices:
      d: {profile: {kind: cpu, price: 0.4$/h, lanes: 1, service: {distribution: deterministic, mean: 2.9ms}}}
policy: {kind: fastest}
router: {kind: least-expected-completion}
"""


def test_the_cheapest_mix_is_that_of_all_mixes(tmp_path: Path) -> None:
    file = tmp_path / "mixed.yaml"
    file.write_text(MIXED, encoding="utf-8")
    with Evaluator(str(file), jobs=1, engine="compiled", most_recorded=0) as evaluator:
        report = find_capacity(evaluator, Question(Find.NODES))
        (answer,) = report.answers
        assert report.by == By.PRICE  # where nothing is said
        cheapest = math.inf
        prices = {"fast": 1.0, "slow": 0.4}
        for fast in range(3):
            for slow in range(5):
                if fast + slow == 0:
                    continue
                # Service at this rate: 1/1.3 and 1/2.9 queries a millisecond and node.
                if fast / 1.3 + slow / 2.9 <= 1.0:
                    continue
                groups = [(name, count) for name, count in (("fast", fast), ("slow", slow)) if count]
                written = evaluator.points[0].node.child("fleet").plain()
                kept = [{**one, "count": dict(groups)[one["name"]]} for one in written if one["name"] in dict(groups)]
                summary = evaluator.evaluate([f"fleet={kept!r}"], 4).summary
                latency = summary.metrics["latency_ms_p99"].value
                if latency is not None and latency <= 5.0:
                    cheapest = min(cheapest, sum(prices[name] * count for name, count in groups))
    assert answer.cost == pytest.approx(cheapest)
