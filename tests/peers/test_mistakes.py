"""Mistakes that other simulators of this kind make; each test would have caught one.

Not here yet, because what could go wrong does not exist yet: two engines that disagree (the compiled engine), a fit
that is scored on its own training points (calibration), plots that need a browser (the report is drawn without one).
"""

from __future__ import annotations

import math
import shutil
from pathlib import Path

import numpy as np
import pytest

from sim.engine.engines import Engine
from sim.engine.record import Outcome
from sim.profile.library import data_dir
from sim.spec.problems import SpecError
from sim.stats.summary import reduce_record, summarise
from sim.study.prepare import prepare
from sim.study.scenario import load_scenarios
from sim.study.study import Study
from tests.harness import run_record
from tests.theory.queues import experiment, in_system_ms, md1_waiting_cdf, prepared, replications

TWENTY_MS = "{distribution: deterministic, mean: 20ms}"


def p99_ms(folder: Path, arrivals: str) -> float:
    text = experiment(service=TWENTY_MS, rate_per_s=40, queries=40_000, replications=4, arrivals=arrivals)
    records = replications(folder, text)
    return float(np.mean([np.quantile(in_system_ms(r), 0.99) for r in records]))


@pytest.mark.usefixtures("engine")
def test_integer_poisson_gaps_are_not_a_poisson_process(tmp_path: Path) -> None:
    """A 20 ms server at load 0.8: gaps drawn as Poisson counts hide nearly all of the queueing."""
    poisson = p99_ms(tmp_path, "poisson")
    counts = p99_ms(tmp_path, "integer-poisson-ms")
    low, high = (20 + t for t in (150.0, 220.0))
    assert md1_waiting_cdf(0.8, 20.0, low - 20) < 0.99 < md1_waiting_cdf(0.8, 20.0, high - 20)
    assert low < poisson < high
    assert 20 < counts < 40


@pytest.mark.usefixtures("engine")
def test_a_full_queue_drops_and_never_holds_the_generator_back(tmp_path: Path) -> None:
    text = experiment(service="{distribution: exponential, mean: 1ms}", rate_per_s=3000, queries=6000, replications=1)
    free = run_record(prepared(tmp_path, text), 0)
    bounded = run_record(prepared(tmp_path, text.replace("}}}}]", "}, queue_limit: 5}}}]")), 0)
    assert np.array_equal(free.arrival_ns, bounded.arrival_ns)
    assert np.mean(bounded.outcome == Outcome.DROPPED) > 0.6
    # Without a bound the same overload shows as latency, and that grows for as long as the load lasts.
    latency = in_system_ms(free, 0.0)
    assert latency[-1] > 100 * np.median(latency[:50])


def test_a_changed_profile_changes_the_fingerprint(tmp_path: Path) -> None:
    folder = tmp_path / "devices"
    shutil.copytree(data_dir("hwprofiles"), tmp_path, dirs_exist_ok=True)
    from sim.profile.library import load_device

    before = load_device(folder / "kairos-g4dn.xlarge.yaml").content_hash
    table = tmp_path / "tables" / "kairos-g4dn.xlarge-rm2.csv"
    text = table.read_text()
    last = text.rstrip().rsplit(",", 1)
    table.write_text(f"{last[0]},{int(last[1]) + 1}\n")
    assert load_device(folder / "kairos-g4dn.xlarge.yaml").content_hash != before

    def fingerprint(mean: str) -> str:
        service = f"{{distribution: exponential, mean: {mean}}}"
        text = experiment(service=service, rate_per_s=10, queries=100, replications=1)
        (tmp_path / "e.yaml").write_text(text)
        return Study.of(load_scenarios(str(tmp_path / "e.yaml"))).fingerprint

    assert fingerprint("1ms") == fingerprint("1ms") != fingerprint("1.001ms")


def test_sizes_outside_the_measured_range_are_refused_and_not_extrapolated() -> None:
    overrides = ["sweep={}", "report={}", "workload.sizes={kind: fixed, size: 1001}"]
    with pytest.raises(SpecError, match="have 1001 to 1001 samples, but table@gpu/g4dn was measured over 10 to 1000"):
        prepare(load_scenarios("quickstart", overrides))


@pytest.mark.usefixtures("engine")
def test_counts_add_up_and_rates_are_per_second(tmp_path: Path) -> None:
    text = experiment(
        service="{distribution: exponential, mean: 1ms}", rate_per_s=1200, queries=24_000, replications=3
    ).replace("}}}}]", "}, queue_limit: 4}}}]")
    scenario = prepared(tmp_path, text)
    results = []
    for replication in range(3):
        record = run_record(scenario, replication)
        result = reduce_record(record, scenario.view, replication=replication, warmup_ns=0)
        (measurement,) = result.measurements
        seconds = record.end_ns / 1e9
        served = np.sum((record.finish_ns >= 0) & (record.finish_ns <= record.end_ns))
        assert measurement.metrics["queries_per_s"] == pytest.approx(served / seconds)
        assert measurement.metrics["samples_per_s"] == pytest.approx(served / seconds)
        assert 0 < measurement.utilisation["d"] <= 1
        assert result.counts["offered"] == sum(v for k, v in result.counts.items() if k != "offered") == 24_000
        results.append(result)
    summary = summarise({}, scenario.evidence, results, sla_ns=scenario.view.sla_ns)
    # A lane of 1 ms serves at most 1000 a second, and an M/M/1/5 queue at load 1.2 loses this share.
    loss = 1.2**5 * 0.2 / (1.2**6 - 1)
    assert summary.metrics["queries_per_s"].value == pytest.approx(1200 * (1 - loss), rel=0.02)


@pytest.mark.usefixtures("engine")
def test_a_percentile_needs_ten_queries_beyond_it(tmp_path: Path) -> None:
    text = experiment(service="{distribution: exponential, mean: 1ms}", rate_per_s=500, queries=900, replications=2)
    scenario = prepared(tmp_path, text)
    results = [reduce_record(run_record(scenario, k), scenario.view, replication=k, warmup_ns=0) for k in range(2)]
    metrics = summarise({}, scenario.evidence, results, sla_ns=scenario.view.sla_ns).metrics
    assert metrics["latency_ms_p95"].value is not None
    assert metrics["latency_ms_p99"].value is None and "fewer than 10" in str(metrics["latency_ms_p99"].reason)
    assert metrics["latency_ms_p999"].value is None


def test_an_overloaded_server_is_called_saturated_and_gets_no_p99(tmp_path: Path) -> None:
    text = experiment(service="{distribution: exponential, mean: 1ms}", rate_per_s=1100, queries=10_000, replications=5)
    (tmp_path / "e.yaml").write_text(text)
    (summary,) = Study.of(load_scenarios(str(tmp_path / "e.yaml"))).run().summaries
    assert summary.saturated and summary.saturation.offered_load == pytest.approx(1.1)
    assert summary.metrics["latency_ms_p99"].value is None
    assert summary.metrics["queries_per_s"].value == pytest.approx(1000, rel=0.02)
    assert summary.percentile_curve == ()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("policy={kind: static, representation: hybrid}", "no path of the fleet suits the policy"),
        ("policy={kind: static, representation: table, device: gpu}", "no device of the fleet is called 'gpu'"),
        ("mapping={kind: explicit, devices: {d: [dhe]}}", "has no profile for dhe"),
        ("fleet.n.devices.d={profile: cpu-broadwell}", "no representation lives on any device"),
        ("binding={kind: late, preference: [x]}", "no device of the fleet is called 'x'"),
    ],
)
def test_impossible_set_ups_are_errors(change: str, message: str, tmp_path: Path) -> None:
    text = experiment(service="{distribution: exponential, mean: 1ms}", rate_per_s=10, queries=10)
    (tmp_path / "e.yaml").write_text(text)
    with pytest.raises(SpecError) as caught:
        prepare(load_scenarios(str(tmp_path / "e.yaml"), [change]))
    assert message in str(caught.value)


def test_work_per_query_does_not_grow_with_the_run(tmp_path: Path) -> None:
    """Events per query, which do not depend on the machine; `benchmarks/` measures the time."""
    import simpy

    def events_per_query(queries: int) -> float:
        text = experiment(service="{distribution: exponential, mean: 1ms}", rate_per_s=800, queries=queries)
        scenario = prepared(tmp_path, text)
        steps = 0
        step = simpy.Environment.step

        def counted(env: simpy.Environment) -> None:
            nonlocal steps
            steps += 1
            step(env)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(simpy.Environment, "step", counted)
            run_record(scenario, 0, engine=Engine.REFERENCE)
        return steps / queries

    short, long = events_per_query(2_000), events_per_query(40_000)
    assert short > 1 and math.isclose(short, long, rel_tol=0.03)
    assert long < 3.1
