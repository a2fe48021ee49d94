"""Lanes whose service times come in spells: each record against the weighted draws, added up one by one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.special import ndtr, ndtri

from sim.engine.record import RunRecord
from sim.profile.spells import Spells
from sim.serving.spells import NormalScore, moving_average, next_level, pack_spells, past_at_start
from sim.study.prepare import PreparedScenario
from sim.study.replication import query_stream
from tests.engine.test_event_logs import device, parts
from tests.harness import prepare_text, run_record, write_trace

pytestmark = pytest.mark.usefixtures("engine")

SPELLS = Spells((0.2, 0.5), (2.0, 30.0))
UNIFORM = "{sizes: [1], quantiles: [0, 1], service: [[1ms, 3ms]]}"
"""A service time of 1 + 2 u ms at the level u."""


def text(devices: str, more: str = "") -> str:
    return f"""
name: spells
model: {{representations: {{table: {{accuracy: {{value: 80%, evidence: assumed}}}}}}}}
sla: 1s
workload:
  arrivals: {{kind: poisson, rate: 700/s}}
  sizes: {{kind: fixed, size: 1}}
  queries: 400
  warmup: 0s
fleet: [{{name: n, devices: {{{devices}}}}}]
replications: 1
{more}
"""


def in_spells(service: str, lanes: int = 1, name: str = "d", more: str = "") -> str:
    spells = f"spells: {{share: {list(SPELLS.share)}, services: {list(SPELLS.services)}}}"
    return f"{name}: {{profile: {{kind: cpu, lanes: {lanes}, service: {service}, {spells}{more}}}}}"


def run(folder: Path, document: str) -> tuple[PreparedScenario, RunRecord]:
    (scenario,) = prepare_text(folder, document)
    return scenario, run_record(scenario, 0)


def scores(scenario: PreparedScenario) -> np.ndarray:
    """The normal scores of the first draw of every query."""
    return np.concatenate([ndtri(chunk.service_u[:, 0]) for chunk in query_stream(scenario, 0).chunks()])


def levels(scenario: PreparedScenario, drawn: np.ndarray, lane: int = 0) -> np.ndarray:
    """The levels of a lane's services whose draws have these scores, in the order of serving; by the definition."""
    own, decay, weight = moving_average(SPELLS)
    lags = np.arange(1, len(drawn))
    weights = np.array([own, *(decay ** lags[:, None] @ weight)])
    sums = [float(weights[: n + 1] @ drawn[n::-1]) for n in range(len(drawn))]
    system = scenario.system
    before = past_at_start(system.spells, system.device_lane, query_stream(scenario, 0).lane_scores)[lane]
    sums += decay ** np.arange(len(drawn))[:, None] @ (weight * before)
    return np.asarray(ndtr(np.array(sums)))


@pytest.mark.parametrize("lanes", [1, 3])
def test_each_lane_has_spells_of_its_own(lanes: int, tmp_path: Path) -> None:
    scenario, record = run(tmp_path, text(in_spells(UNIFORM, lanes)))
    drawn = scores(scenario)
    for lane in range(lanes):
        mine = np.flatnonzero(record.part_lane == lane)
        mine = mine[np.argsort(record.part_start_ns[mine])]
        assert len(mine) > 50
        took_ms = (record.part_finish_ns - record.part_start_ns)[mine] / 1e6
        assert took_ms == pytest.approx(1 + 2 * levels(scenario, drawn[record.part_query[mine]], lane), abs=2e-6)


def test_a_batch_has_the_draw_of_its_first_part_and_is_one_service(tmp_path: Path) -> None:
    a_sample = "{sizes: [1, 9], quantiles: [0, 1], service: [[1ms, 3ms], [9ms, 27ms]]}"
    extra = ", per_query_overhead: 100us"
    scenario, record = run(tmp_path, text(in_spells(a_sample, more=extra), "batching: {queries: 3}"))
    drawn = scores(scenario)
    rows = np.argsort(record.part_start_ns, kind="stable")
    start_ns, first, counts = np.unique(record.part_start_ns[rows], return_index=True, return_counts=True)
    assert {1, 3} <= {*counts.tolist()}
    leading = [int(min(record.part_query[rows[at : at + n]])) for at, n in zip(first, counts, strict=True)]
    took_ms = (record.part_finish_ns[rows[first]] - start_ns) / 1e6
    expected = counts * (1 + 2 * levels(scenario, drawn[leading])) + 0.1 * (counts - 1)
    assert took_ms == pytest.approx(expected, abs=4e-6)


def test_a_device_without_spells_draws_as_ever_beside_one_with_them(tmp_path: Path) -> None:
    plain = f"plain: {{profile: {{kind: cpu, service: {UNIFORM}}}}}"
    more = "policy: {kind: static, device: plain, representation: table}"
    _, alone = run(tmp_path, text(plain, more))
    _, beside = run(tmp_path, text(f"{plain}, {in_spells(UNIFORM)}", more))
    assert parts(alone) == parts(beside)


def test_constant_service_has_no_spells(tmp_path: Path) -> None:
    constant = "{sizes: [1], service: [[1ms]]}"
    _, with_them = run(tmp_path, text(in_spells(constant)))
    _, without = run(tmp_path, text(f"d: {device(constant)}"))
    assert parts(with_them) == parts(without)


def test_routers_expect_the_mean_whatever_the_spell(tmp_path: Path) -> None:
    write_trace(tmp_path, list(range(20)))
    document = text(in_spells(UNIFORM), "router: {kind: least-expected-completion}").replace(
        "name: n,", "name: n, count: 2,"
    )
    arrivals = "{kind: trace, file: arrivals.csv, unit: us}"
    document = document.replace("{kind: poisson, rate: 700/s}", arrivals).replace("queries: 400", "queries: 20")
    scenario, record = run(tmp_path, document)
    # All come before the first ends: 2 ms each is what is expected, so that they take turns.
    assert record.node.tolist() == [0, 1] * 10
    for lane in (0, 1):
        mine = record.part_lane == lane
        took_ms = (record.part_finish_ns - record.part_start_ns)[mine] / 1e6
        own = levels(scenario, scores(scenario)[record.part_query[mine]], lane)
        assert took_ms == pytest.approx(1 + 2 * own, abs=2e-6)
        # What they take is something else.
        assert took_ms.max() - took_ms.min() > 0.5


def test_slow_nodes_slow_it_as_all_service(tmp_path: Path) -> None:
    slow = "faults: {slow: [{device: d, at: 0s, for: 100s, factor: 2}]}"
    scenario, record = run(tmp_path, text(in_spells(UNIFORM), slow))
    order = np.argsort(record.part_start_ns)
    took_ms = (record.part_finish_ns - record.part_start_ns)[order] / 1e6
    assert took_ms == pytest.approx(2 + 4 * levels(scenario, scores(scenario)[record.part_query[order]]), abs=4e-6)


@pytest.mark.parametrize(
    "spells",
    [
        SPELLS,
        Spells((0.3,), (5.0,)),
        Spells((0.999,), (0.5,)),
        Spells((0.1, 0.2, 0.3, 0.3), (0.5, 4.0, 50.0, 300.0)),
        Spells((0.5, 0.49), (100.0, 100.5)),
    ],
)
def test_the_weights_give_the_correlation_that_is_asked(spells: Spells) -> None:
    own, decay, weight = moving_average(spells)
    weights = np.array([own, *(decay ** np.arange(1, 8_000)[:, None] @ weight)])
    assert weights @ weights == pytest.approx(1.0, abs=1e-6)
    for lag in (1, 2, 3, 10, 100, 1000):
        assert weights[:-lag] @ weights[lag:] == pytest.approx(spells.correlation(lag), abs=1e-6)


def test_one_component_by_hand() -> None:
    # A share s that falls by d from lag to lag: z(n) + t z(n - 1), over the pole d, where t solves
    # (1 + t^2) / t = -((1 - s) (1 + d^2) + s (1 - d^2)) / ((1 - s) d). With s = 1/2 and d = 1/2: t = -(2 - sqrt(3)).
    own, decay, weight = moving_average(Spells((0.5,), (float(1 / np.log(2)),)))
    theta = 2 - np.sqrt(3)
    assert decay == pytest.approx([0.5])
    assert own**2 == pytest.approx(0.25 / theta)
    # The k-th draw before weighs own (d - t) d^(k-1), which is weight d^k.
    assert weight == pytest.approx([own * (0.5 - theta) / 0.5])


def test_a_service_by_hand() -> None:
    own, decay, weight = moving_average(SPELLS)
    past = np.array([1.5, -0.5])
    before = float(weight @ past)
    assert next_level(0.7, past, own, decay, weight) == pytest.approx(float(ndtr(own * 0.7 + before)))
    assert past == pytest.approx(decay * (np.array([1.5, -0.5]) + 0.7))


@pytest.mark.parametrize(
    "spells", [SPELLS, Spells((0.1, 0.2, 0.02), (1.0, 60.0, 10_000.0)), Spells((0.3, 0.3, 0.3), (100.0, 100.1, 100.2))]
)
def test_a_lane_begins_as_if_it_had_served_for_ever(spells: Spells) -> None:
    lanes, steps = 40_000, 400
    random = np.random.default_rng(11)
    packed = pack_spells([None, spells])
    assert past_at_start(pack_spells([None]), np.array([0, 3]), random.standard_normal).shape == (3, 0)
    past = past_at_start(packed, np.array([0, 2, 2 + lanes]), random.standard_normal)
    # The first two lanes are of a device without spells.
    assert past.shape == (2 + lanes, len(spells.share))
    own, decay, weight = moving_average(spells)
    before = past[2:]
    found = np.cov(before.T)
    # By definition: the draws before, summed up one by one with the decays of both components.
    lags = np.arange(1, 200_000)[:, None]
    exact = (decay**lags).T @ decay**lags
    spread = np.sqrt(np.outer(np.diag(exact), np.diag(exact)))
    assert np.max(np.abs(found - exact) / spread) < 5 * np.sqrt(2 / lanes)
    # So the first service has the variance of all, and the correlation with a later one that is asked.
    first = own * random.standard_normal(lanes) + before @ weight
    assert first.var() == pytest.approx(1.0, abs=5 * np.sqrt(2 / lanes))
    later = before
    drawn = (first - before @ weight) / own
    for _ in range(steps):
        later, drawn = decay * (later + drawn[:, None]), random.standard_normal(lanes)
    last = own * drawn + later @ weight
    assert np.mean(first * last) == pytest.approx(spells.correlation(steps), abs=5 / np.sqrt(lanes))


def test_draws_of_nothing_have_a_score(tmp_path: Path) -> None:
    found = NormalScore().unit_quantile(np.array([0.0, 0.5, 1 - 2**-53]))
    assert np.all(np.isfinite(found)) and found[1] == 0.0 and found[0] < -8 and found[2] > 8
    packed = pack_spells([None, SPELLS, None, SPELLS])
    assert packed.first.tolist() == [0, 0, 2, 2, 4] and packed.most == 2 and bool(packed)
    assert not pack_spells([None, None])
