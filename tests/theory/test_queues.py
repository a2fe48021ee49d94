"""Known answers: M/M/1, M/D/1, M/M/c, M/G/1, and power of two choices."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pytest
from scipy.optimize import brentq

from sim.profile.library import find_device, find_model
from tests.theory.queues import (
    MODEL,
    assert_close,
    erlang_c,
    experiment,
    in_system_ms,
    md1_waiting_cdf,
    mmc_in_system_cdf,
    replications,
    waiting_ms,
)

pytestmark = pytest.mark.usefixtures("engine")

EXPONENTIAL = "{distribution: exponential, mean: 1ms}"
DETERMINISTIC = "{distribution: deterministic, mean: 1ms}"


def mean_wait(record):
    return waiting_ms(record).mean()


def p99(record, of=in_system_ms):
    return np.quantile(of(record), 0.99, method="inverted_cdf")


@pytest.mark.parametrize("load", [0.5, 0.8])
def test_mm1(load: float, tmp_path: Path) -> None:
    records = replications(tmp_path, experiment(service=EXPONENTIAL, rate_per_s=1000 * load, queries=30_000))
    assert_close(records, mean_wait, load / (1 - load))
    # The time in system is exponential with rate 1 - load.
    assert_close(records, p99, -np.log(0.01) / (1 - load))
    assert_close(records, lambda r: in_system_ms(r).mean(), 1 / (1 - load))


@pytest.mark.parametrize("load", [0.5, 0.8])
def test_md1(load: float, tmp_path: Path) -> None:
    records = replications(tmp_path, experiment(service=DETERMINISTIC, rate_per_s=1000 * load, queries=30_000))
    assert_close(records, mean_wait, load / (2 * (1 - load)))
    exact = brentq(lambda t: md1_waiting_cdf(load, 1.0, t) - 0.99, 0.0, 40.0)
    assert_close(records, partial(p99, of=waiting_ms), exact)


@pytest.mark.parametrize("load", [0.5, 0.8])
def test_mm4(load: float, tmp_path: Path) -> None:
    text = experiment(service=EXPONENTIAL, rate_per_s=4000 * load, queries=40_000, lanes=4)
    records = replications(tmp_path, text)
    assert_close(records, mean_wait, erlang_c(4, load) / (4 * (1 - load)))
    assert_close(records, p99, brentq(lambda t: mmc_in_system_cdf(4, load, 1.0, t) - 0.99, 0.0, 60.0))


def test_a_central_queue_before_four_nodes_is_mm4(tmp_path: Path) -> None:
    text = experiment(service=EXPONENTIAL, rate_per_s=3200, queries=40_000, nodes=4, more="binding: {kind: late}")
    records = replications(tmp_path, text)
    assert_close(records, mean_wait, erlang_c(4, 0.8) / (4 * 0.2))


def test_random_routing_makes_independent_mm1_queues(tmp_path: Path) -> None:
    text = experiment(service=EXPONENTIAL, rate_per_s=2800, queries=40_000, nodes=4, more="router: {kind: random}")
    records = replications(tmp_path, text)
    assert_close(records, mean_wait, 0.7 / 0.3)


@pytest.mark.parametrize(
    ("service", "second_moment_ms2"),
    [
        ("{distribution: lognormal, mean: 1ms, cv: 1.5}", 1 + 1.5**2),
        ("{distribution: gamma, mean: 1ms, cv: 0.5}", 1 + 0.5**2),
        # Quantiles 0, 0.5, 1 at 0.2, 0.8, 2.6 ms: uniform on either side of the median.
        ("{sizes: [1], quantiles: [0, 0.5, 1], service: [[0.2ms, 0.8ms, 2.6ms]]}", None),
    ],
)
def test_mg1_by_pollaczek_and_khinchine(service: str, second_moment_ms2: float | None, tmp_path: Path) -> None:
    mean_ms = 1.0
    if second_moment_ms2 is None:
        halves = [(0.2, 0.8), (0.8, 2.6)]
        mean_ms = sum((a + b) / 4 for a, b in halves)
        second_moment_ms2 = sum((a * a + a * b + b * b) / 6 for a, b in halves)
    load = 0.6
    text = experiment(service=service, rate_per_s=1000 * load / mean_ms, queries=40_000)
    records = replications(tmp_path, text)
    assert_close(records, mean_wait, load / mean_ms * second_moment_ms2 / (2 * (1 - load)))


def test_mg1_with_a_measured_profile(tmp_path: Path) -> None:
    service = find_device("kairos-r5n.large").service(find_model("wnd"), "table")
    mean_ms = float(service.mean_at(200)) / 1e6
    second_ms2 = float(service.second_moment_at(200)) / 1e12
    load = 0.7
    text = experiment(service=EXPONENTIAL, rate_per_s=1000 * load / mean_ms, queries=30_000)
    inline = "{profile: {kind: cpu, lanes: 1, service: " + EXPONENTIAL + "}}"
    text = text.replace("size: 1}", "size: 200}").replace(inline, "kairos-r5n.large").replace(MODEL, "wnd")
    records = replications(tmp_path, text)
    assert_close(records, mean_wait, load / mean_ms * second_ms2 / (2 * (1 - load)))


def mean_field_time(load: float, d: int) -> float:
    """Mean time in system, in service times, of the power of d choices with many servers (Mitzenmacher 2001)."""
    return sum(load ** ((d**k - d) / (d - 1)) for k in range(1, 40))


@pytest.mark.slow_on_reference
@pytest.mark.parametrize("load", [0.7, 0.9])
def test_power_of_two_beats_random_by_the_mean_field_amount(load: float, tmp_path: Path) -> None:
    servers = 100
    common = {"service": EXPONENTIAL, "rate_per_s": 1000 * load * servers, "queries": 60_000, "nodes": servers}
    two = replications(tmp_path, experiment(**common, more="router: {kind: power-of-d, d: 2}"))
    random = replications(tmp_path, experiment(**common, more="router: {kind: random}"))
    # A hundred servers lie above the limit of infinitely many by something of order 1/100: 3% is allowed for it.
    exact = mean_field_time(load, 2)
    assert_close(two, lambda r: in_system_ms(r, 0.4).mean(), exact, allowance=0.03 * exact)
    assert_close(random, lambda r: in_system_ms(r, 0.4).mean(), 1 / (1 - load), allowance=0.03 / (1 - load))
    gain = np.mean([in_system_ms(r, 0.4).mean() for r in random]) / np.mean([in_system_ms(r, 0.4).mean() for r in two])
    assert gain == pytest.approx(1 / (1 - load) / exact, rel=0.08)


@pytest.mark.slow_on_reference
def test_with_knowledge_from_before_the_first_query_routing_is_random(tmp_path: Path) -> None:
    load, servers = 0.7, 20
    common = {"service": EXPONENTIAL, "rate_per_s": 1000 * load * servers, "queries": 40_000, "nodes": servers}
    means = []
    for delay in ("100us", "1ms", "5ms"):
        records = replications(
            tmp_path,
            experiment(
                **common, more=f"router: {{kind: power-of-d, d: 2}}\nknowledge: {{delay: {delay}}}", replications=4
            ),
        )
        means.append(np.mean([in_system_ms(r, 0.4).mean() for r in records]))
    # Old news is worth less the older it is, until it herds queries onto nodes that were short.
    fresh = mean_field_time(load, 2)
    assert fresh * 0.97 < means[0] < means[1] < means[2]
    # Loads that were all equal tell nothing: the first of two nodes drawn at random is a random node.
    blind = replications(tmp_path, experiment(**common, more="router: {kind: power-of-d}\nknowledge: {delay: 1h}"))
    assert_close(blind, lambda r: in_system_ms(r, 0.4).mean(), 1 / (1 - load))
