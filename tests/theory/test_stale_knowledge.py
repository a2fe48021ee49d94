"""Known answers of stale information: a query goes to the M/M/1 server that was the shorter one some time ago."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.linalg import expm

from sim.engine.record import RunRecord
from tests.theory.queues import assert_close, replications

pytestmark = pytest.mark.usefixtures("engine")

LOAD = 0.6
STATES = 80
"""An M/M/1 queue of this load is longer with a probability of 1e-18."""
DELAYS_MS = (0.0, 1.0, 3.0, 10.0, 100.0)

# Two servers of 1 ms have queries of their own, and one query in fifty may go to either.
TEXT = """
name: stale information
model: {{name: either, representations: {{table: {{accuracy: {{value: 100%, evidence: assumed}}}}}}}}
sla: 1s
workload: {{arrivals: {{kind: poisson, rate: {rate}/s}}, sizes: {{kind: fixed, size: 1}}, queries: 8000, warmup: 0s}}
classes:
  - {{name: either, share: 2%}}
  - {{name: left, share: 49%, model: {left}}}
  - {{name: right, share: 49%, model: {right}}}
fleet:
  - name: left
    devices: {{d: {{profile: {{kind: cpu, lanes: 1, service: {{either: {service}, left: {service}}}}}}}}}
  - name: right
    devices: {{d: {{profile: {{kind: cpu, lanes: 1, service: {{either: {service}, right: {service}}}}}}}}}
policy: {{kind: fastest}}
router: {{kind: least-backlog}}
replications: 20
{knowledge}
"""


def records(folder: Path, delay_ms: float) -> list[RunRecord]:
    text = TEXT.format(
        rate=2000 * LOAD,
        service="{table: {distribution: exponential, mean: 1ms}}",
        left="{name: left, representations: {table: {accuracy: {value: 100%, evidence: assumed}}}}",
        right="{name: right, representations: {table: {accuracy: {value: 100%, evidence: assumed}}}}",
        knowledge=f"knowledge: {{delay: {delay_ms}ms}}" if delay_ms else "",
    )
    return replications(folder, text)


def exact_ms(delay_ms: float) -> float:
    """Mean time in system on the server that was the shorter one so long ago.

    It was the lesser of two geometric lengths then, and has moved on as an M/M/1 queue does; the query takes its own
    service besides those it finds.
    """
    length = np.arange(STATES)
    rates = LOAD * np.eye(STATES, k=1) + np.eye(STATES, k=-1)
    generator = rates - np.diag(rates.sum(axis=1))
    shorter = (1 - LOAD**2) * LOAD ** (2 * length)
    return float(shorter @ expm(generator * delay_ms) @ length) + 1.0


def mean_ms(record: RunRecord) -> float:
    either = record.query_class == 0
    either[: len(either) // 5] = False
    return float((record.finish_ns - record.arrival_ns)[either].mean() / 1e6)


def test_the_older_the_news_the_nearer_to_random_routing(tmp_path: Path) -> None:
    fresh, at_random = 1 / (1 - LOAD**2), 1 / (1 - LOAD)
    assert exact_ms(0.0) - fresh < 1e-9 and at_random - exact_ms(DELAYS_MS[-1]) < 1e-3
    means = []
    for delay_ms in DELAYS_MS:
        found = records(tmp_path, delay_ms)
        # Those few that may go to either server keep the two a little more alike than independent ones.
        assert_close(found, mean_ms, exact_ms(delay_ms), allowance=0.02)
        means.append(np.mean([mean_ms(record) for record in found]))
    # The same queries come whatever is known of them, so that what is left to chance is less than the steps.
    assert np.all(np.diff(means) > 0), means
