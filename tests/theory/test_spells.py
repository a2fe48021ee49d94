"""Queues whose service comes in spells, against what knows nothing of how the engines make them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.signal import lfilter
from scipy.special import ndtr, ndtri

from sim.engine.record import RunRecord
from tests.theory.queues import assert_close, assert_values_close, experiment, replications, waiting_ms

pytestmark = pytest.mark.usefixtures("engine")

SHARE, SERVICES = (0.3, 0.4), (2.0, 12.0)
LEVELS = [*np.linspace(0, 0.95, 39).tolist(), 0.98, 0.99, 0.995, 0.999, 0.9999]
EXPONENTIAL = [-np.log1p(-level) for level in LEVELS]


def service(spells: bool) -> str:
    """A table that is close to an exponential law of mean 1 ms."""
    times = ", ".join(f"{max(1, round(1e6 * value))}ns" for value in EXPONENTIAL)
    table = f"{{sizes: [1], quantiles: {LEVELS}, service: [[{times}]]}}"
    return f"{table}, spells: {{share: {list(SHARE)}, services: {list(SERVICES)}}}" if spells else table


def took_ms(record: RunRecord) -> np.ndarray:
    return (record.finish_ns - record.start_ns) / 1e6


def times_at(level: np.ndarray) -> np.ndarray:
    return np.interp(level, LEVELS, EXPONENTIAL)


def test_service_times_keep_their_law(tmp_path: Path) -> None:
    """Draws that a lane has not served yet say nothing of it: every service has the table's law, busy or not."""
    text = experiment(service=service(True), rate_per_s=700, queries=10_000, lanes=2, replications=12, more="seed: 4")
    records = replications(tmp_path, text)
    for level in (0.25, 0.5, 0.9, 0.99):
        limit = float(times_at(np.array(level)))
        assert_close(records, lambda r, limit=limit: float((took_ms(r) <= limit).mean()), level)  # type: ignore[misc]
    means = 0.5 * np.diff(LEVELS) @ (np.array(EXPONENTIAL[1:]) + EXPONENTIAL[:-1]) + (1 - LEVELS[-1]) * EXPONENTIAL[-1]
    assert_close(records, lambda r: float(took_ms(r).mean()), float(means))


def test_successive_services_of_a_lane_have_the_correlation_that_is_asked(tmp_path: Path) -> None:
    uniform = "{sizes: [1], quantiles: [0, 1], service: [[1ns, 1000001ns]]}"
    text = experiment(
        service=f"{uniform}, spells: {{share: {list(SHARE)}, services: {list(SERVICES)}}}",
        rate_per_s=1200,
        queries=12_000,
    )
    records = replications(tmp_path, text)

    def scores(record: RunRecord) -> np.ndarray:
        return np.asarray(ndtri((took_ms(record)[2_000:] - 1e-6) / (1 + 1e-9)))

    for lag in (1, 2, 5):
        exact = sum(share * np.exp(-lag / services) for share, services in zip(SHARE, SERVICES, strict=True))
        found = []
        for record in records:
            mine = scores(record)
            found.append(float(np.mean(mine[lag:] * mine[:-lag])))
        assert_values_close(found, float(exact))


def test_runs_that_are_shorter_than_a_spell_differ_by_it(tmp_path: Path) -> None:
    """The variance of the mean of n services is that of a stationary sequence, from the first query on."""
    uniform, queries, count = "{sizes: [1], quantiles: [0, 1], service: [[1ns, 1000001ns]]}", 120, 1000
    share, services = (0.2, 0.3), (3.0, 5_000.0)
    text = experiment(
        service=f"{uniform}, spells: {{share: {list(share)}, services: {list(services)}}}",
        rate_per_s=500,
        queries=queries,
        replications=count,
    )
    scores = [ndtri((took_ms(record) - 1e-6) / (1 + 1e-9)) for record in replications(tmp_path, text)]
    lags = np.arange(queries)
    correlation = np.exp(-lags[:, None] / np.array(services)) @ np.array(share)
    correlation[0] = 1.0
    # Lag 0 once, every other one twice, as often as there are pairs that far apart.
    variance = (queries + 2 * ((queries - lags) * correlation)[1:].sum()) / queries**2
    assert_values_close([float(one.mean()) ** 2 for one in scores], float(variance))
    # What lasts, the first and the last services have in common; with nothing before the first it would be next to
    # none.
    ends = [float(one[:30].mean() * one[-30:].mean()) for one in scores]
    assert_values_close(ends, share[1] * float(np.exp(-90 / services[1])))


def test_waits_are_those_of_a_queue_with_such_a_sequence_of_services(tmp_path: Path) -> None:
    """Lindley's recursion over service times from independent AR(1) processes and white noise, added up."""
    rate, queries, count = 0.45, 10_000, 24
    text = experiment(service=service(True), rate_per_s=1000 * rate, queries=queries, replications=count)
    records = replications(tmp_path, text)
    random = np.random.default_rng(5)
    waits, late = [], []
    for _ in range(4 * count):
        score = np.sqrt(1 - sum(SHARE)) * random.standard_normal(queries)
        for share, services in zip(SHARE, SERVICES, strict=True):
            decay = np.exp(-1 / services)
            steps = random.standard_normal(queries)
            steps[1:] *= np.sqrt(1 - decay**2)
            score += np.sqrt(share) * lfilter([1.0], [1.0, -decay], steps)
        services_ms = times_at(ndtr(score))
        moves = services_ms[:-1] - random.exponential(1 / rate, queries - 1)
        walk = np.concatenate([[0.0], np.cumsum(moves)])
        wait = (walk - np.minimum.accumulate(walk))[queries // 5 :]
        waits.append(wait.mean())
        late.append((wait > 5.0).mean())
    # The other side's standard error is half as large; twice that is far outside it.
    for mine, theirs in ((waiting_ms, waits), (lambda r: waiting_ms(r) > 5.0, late)):
        error = np.std(theirs, ddof=1) / np.sqrt(len(theirs))
        assert_close(records, lambda r, of=mine: float(of(r).mean()), float(np.mean(theirs)), 4 * float(error))  # type: ignore[misc]
    independent = replications(
        tmp_path, experiment(service=service(False), rate_per_s=1000 * rate, queries=queries, replications=6)
    )
    ratio = np.mean([waiting_ms(r).mean() for r in records]) / np.mean([waiting_ms(r).mean() for r in independent])
    print(f"waits are {ratio:.2f} times those of independent services")
    assert ratio > 2
