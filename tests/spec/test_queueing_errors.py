"""Impossible settings of queues and batches are told before anything runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from sim.spec.problems import SpecError
from tests.harness import prepare_text

GOOD = """\
name: t
model: {representations: {table: {accuracy: {value: 90%, evidence: assumed}}}}
sla: 10ms
workload:
  arrivals: {kind: poisson, rate: 100/s}
  sizes: {kind: fixed, size: 400}
  queries: 10
fleet:
  - name: n
    devices:
      d: {kind: cpu, service: {sizes: [1, 500], service: [[1ms], [2ms]]}}
"""


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        (
            "batching: {queries: 8, samples: 300}\n",
            "12:33: batching.samples: a query (or part) may have 400 samples, more than a whole batch (got 300; "
            "allowed: at least 400, or splitting into parts of at most 300)",
        ),
        (
            "batching: {queries: 8}\n",
            "12:11: batching: a batch may have 3200 samples, but table@d was measured up to 500",
        ),
        (
            "batching: {queries: 1, timeout: 1ms}\n",
            "12:11: batching: a batch of one query is full at once: leave timeout out or raise queries",
        ),
        (
            "batching: {queries: 2, devices: [gpu]}\n",
            "12:34: batching.devices[0]: no device of the fleet is called 'gpu'",
        ),
        (
            "batching: {queries: 2, samples: 500}\nbinding: {kind: late}\n",
            "12:11: batching: batching needs early binding",
        ),
        (
            "queue: {order: fifi}\n",
            "12:16: queue.order: not one of the known names (got 'fifi'; allowed: fifo, smallest-first, "
            "earliest-deadline, priority); did you mean 'fifo'?",
        ),
        ("queue: {limit: -1}\n", "12:16: queue.limit: has to be at least 0 (got -1)"),
        (
            "queue: {limit: 3}\nbinding: {kind: late, queue_limit: 4}\n",
            "12:16: queue.limit: queue.limit and binding.queue_limit bound the same queue; leave one of them out",
        ),
    ],
)
def test_message(more: str, expected: str, tmp_path: Path) -> None:
    with pytest.raises(SpecError) as error:
        prepare_text(tmp_path, GOOD + more)
    assert expected in str(error.value)


def test_the_good_one_is_good(tmp_path: Path) -> None:
    assert prepare_text(tmp_path, GOOD + "batching: {queries: 2, samples: 500}\n")
