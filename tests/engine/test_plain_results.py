"""A plain system gives to the last nanosecond what it gave before there were faults, batches, classes and the rest."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest

from tests.harness import prepare_text, run_record

pytestmark = pytest.mark.usefixtures("engine")

TEXT = """
name: plain
model: rm2
sla: 100ms
workload: {arrivals: {kind: poisson, rate: 150/s}, sizes: mlperf-dlrm-v2, queries: 4000, warmup: 1s}
fleet:
  - {name: gpu, count: 1, devices: {g4dn: kairos-g4dn.xlarge}}
  - {name: cpu, count: 4, devices: {c5n: kairos-c5n.2xlarge}}
policy: {kind: fastest}
replications: 3
seed: 7
sweep: {router: [{kind: random}, {kind: round-robin}, {kind: least-backlog}, {kind: least-expected-completion}]}
"""

# Of replication 0 under each router, from the records of commit a4e9bbd, the last one without any of the mechanisms.
BEFORE = ["5ea2ac8e11f7ec02", "8826ada08d992769", "f45d4a2f0b73d8fb", "0d83b3db63a7c315"]
FIELDS = ("arrival_ns", "size", "start_ns", "finish_ns", "node")


def test_without_mechanisms_results_are_what_they_were(tmp_path: Path) -> None:
    found = []
    for scenario in prepare_text(tmp_path, TEXT):
        record = run_record(scenario, 0)
        columns = [np.ascontiguousarray(getattr(record, name), dtype="<i8").tobytes() for name in FIELDS]
        found.append(hashlib.sha256(b"".join(columns)).hexdigest()[:16])
    assert found == BEFORE
