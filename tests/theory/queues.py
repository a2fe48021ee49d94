"""Textbook queues through the whole simulator, and their closed forms."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from scipy import stats

from sim.engine.engines import Engine
from sim.engine.record import RunRecord
from sim.study.prepare import PreparedScenario
from tests.harness import ENGINE, differences, prepare_text, run_record

FALSE_ALARM = 1e-4
"""Probability with which a right simulator fails one comparison (two-sided t test over replications)."""

ON_REFERENCE = 3
"""Replications that the reference engine runs itself."""

MODEL = "{representations: {table: {accuracy: {value: 100%, evidence: assumed}}}}"


def experiment(
    *,
    service: str,
    rate_per_s: float,
    queries: int,
    lanes: int = 1,
    nodes: int = 1,
    replications: int = 10,
    more: str = "",
    arrivals: str = "poisson",
) -> str:
    return f"""
name: textbook queue
model: {MODEL}
sla: 1s
workload:
  arrivals: {{kind: {arrivals}, rate: {rate_per_s!r}/s}}
  sizes: {{kind: fixed, size: 1}}
  queries: {queries}
  warmup: 0s
fleet: [{{name: n, count: {nodes}, devices: {{d: {{profile: {{kind: cpu, lanes: {lanes}, service: {service}}}}}}}}}]
policy: {{kind: fastest}}
replications: {replications}
{more}
"""


def replications(folder: Path, text: str) -> list[RunRecord]:
    """Run every replication on the engine of the test.

    The reference engine runs the first few, and must leave the compiled one's records of them, to the bit; those of the
    others, for which it would take ten seconds to forty, are the compiled engine's.
    """
    (scenario,) = prepare_text(folder, text)
    numbers = range(scenario.replications)
    records = [run_record(scenario, number, engine=Engine.COMPILED) for number in numbers]
    if ENGINE.get() is Engine.REFERENCE:
        for number in numbers[:ON_REFERENCE]:
            assert not differences(run_record(scenario, number), records[number])
    return records


def prepared(folder: Path, text: str) -> PreparedScenario:
    (scenario,) = prepare_text(folder, text)
    return scenario


def waiting_ms(record: RunRecord, cut: float = 0.2) -> np.ndarray:
    first = int(cut * len(record.arrival_ns))
    started = record.start_ns[first:] >= 0
    return (record.start_ns - record.arrival_ns)[first:][started] / 1e6


def in_system_ms(record: RunRecord, cut: float = 0.2) -> np.ndarray:
    first = int(cut * len(record.arrival_ns))
    finished = record.finish_ns[first:] >= 0
    return (record.finish_ns - record.arrival_ns)[first:][finished] / 1e6


def assert_close(
    records: list[RunRecord], statistic: Callable[[RunRecord], float], exact: float, allowance: float = 0.0
) -> None:
    """Assert that the replications' values agree with `exact` within what their standard error allows.

    `allowance` is a known bias (of a finite system against its limit, say), in the units of the statistic.
    """
    assert_values_close([statistic(record) for record in records], exact, allowance)


def assert_values_close(found: Sequence[float | None], exact: float, allowance: float = 0.0) -> None:
    """Do what `assert_close` does, for the values of the replications."""
    values = np.array(found, dtype=np.float64)
    error = values.std(ddof=1) / math.sqrt(len(values))
    bound = stats.t.ppf(1 - FALSE_ALARM / 2, len(values) - 1) * error + allowance
    print(f"measured {values.mean():.5g}, exact {exact:.5g}, {(values.mean() - exact) / error:+.2f} standard errors")
    assert abs(values.mean() - exact) <= bound
    # A tolerance that anything passes is no test: the standard error is small beside the value itself.
    assert bound <= 0.25 * exact


def erlang_c(lanes: int, load: float) -> float:
    """Probability of waiting in M/M/c at `load` per lane."""
    offered = lanes * load
    terms = [offered**k / math.factorial(k) for k in range(lanes)]
    last = offered**lanes / math.factorial(lanes) / (1 - load)
    return last / (sum(terms) + last)


def mmc_in_system_cdf(lanes: int, load: float, mean_ms: float, t_ms: float) -> float:
    """Distribution function of the time in system of M/M/c, first come first served."""
    mu = 1 / mean_ms
    wait = erlang_c(lanes, load)
    decay = lanes * mu * (1 - load)
    if lanes == 1:
        return 1 - math.exp(-decay * t_ms)
    # Service plus, with probability `wait`, an exponential delay of rate `decay`.
    both = 1 - (decay * math.exp(-mu * t_ms) - mu * math.exp(-decay * t_ms)) / (decay - mu)
    return (1 - wait) * (1 - math.exp(-mu * t_ms)) + wait * both


def md1_waiting_cdf(load: float, service_ms: float, t_ms: float) -> float:
    """Distribution function of the wait in M/D/1 (Erlang 1909), with exact arithmetic against cancellation."""
    from decimal import Decimal, getcontext

    getcontext().prec = 80
    rate = Decimal(load) / Decimal(service_ms)
    t = Decimal(t_ms)
    total = Decimal(0)
    for k in range(int(t_ms / service_ms) + 1):
        x = rate * (Decimal(k) * Decimal(service_ms) - t)
        power = x**k if k else Decimal(1)
        total += power / Decimal(math.factorial(k)) * (-x).exp()
    return float((1 - Decimal(load)) * total)
