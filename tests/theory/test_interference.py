"""Known answers with interference: processor sharing, and a birth-death queue whose lanes slow each other."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sim.engine.record import RunRecord
from sim.profile.library import find_interference
from tests.theory.queues import assert_close, experiment, in_system_ms, replications

pytestmark = pytest.mark.usefixtures("engine")

LANES = 60
"""With k of them busy k times as slow, they are one server that is shared; all are busy less than once in 10**9."""

SHARED = f"interference: {{slowdown: {list(range(1, LANES + 1))}}}"
LAWS = {
    "exponential": "{distribution: exponential, mean: 1ms}",
    "deterministic": "{distribution: deterministic, mean: 1ms}",
    "gamma with CV 3": "{distribution: gamma, mean: 1ms, cv: 3}",
}


def share_of_time_with(record: RunRecord, queries: int, cut: float = 0.2) -> float:
    """Share of the arrival period after the cut during which at least so many queries were in the system."""
    begin, end = int(record.arrival_ns[int(cut * len(record.arrival_ns))]), record.end_ns
    left = np.where(record.finish_ns < 0, end, record.finish_ns)
    times = np.concatenate([record.arrival_ns, left])
    steps = np.repeat([1, -1], len(left))
    order = np.argsort(times, kind="stable")
    in_system = np.cumsum(steps[order])
    times = np.clip(times[order], begin, end)
    spans = np.diff(times, append=end)
    return float(spans[in_system >= queries].sum() / (end - begin))


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("load", [0.5, 0.7])
def test_processor_sharing_is_insensitive(law: str, load: float, tmp_path: Path) -> None:
    text = experiment(
        service=LAWS[law], rate_per_s=1000 * load, queries=2500, lanes=LANES, replications=24, more=SHARED
    )
    records = replications(tmp_path, text)
    # M/G/1 under processor sharing (Kleinrock 1976, section 4.4): both hold whatever the law of the service.
    assert_close(records, lambda r: in_system_ms(r).mean(), 1 / (1 - load))
    for queries in (1, 2, 3):
        assert_close(records, lambda r, n=queries: share_of_time_with(r, n), load**queries)


def mean_in_system_ms(rate_per_ms: float, slowdown: tuple[float, ...], lanes: int) -> float:
    """Mean time in system of exponential work of 1 ms on lanes that slow each other, first come first served."""
    served_per_ms = [0.0, *(k / slowdown[k - 1] for k in range(1, lanes + 1))]
    weights = [1.0]
    for queries in range(1, 2000):
        weights.append(weights[-1] * rate_per_ms / served_per_ms[min(queries, lanes)])
    shares = np.array(weights) / np.sum(weights)
    return float(np.arange(len(shares)) @ shares) / rate_per_ms


@pytest.mark.parametrize("load", [0.5, 0.8])
def test_measured_slowdown_of_four_lanes(load: float, tmp_path: Path) -> None:
    name, lanes = "broadwell-dlrm-rmc3", 4
    slowdown = find_interference(name).slowdown
    rate_per_s = 1000 * load * lanes / slowdown[lanes - 1]
    text = experiment(
        service=LAWS["exponential"],
        rate_per_s=rate_per_s,
        queries=6_000,
        lanes=lanes,
        more=f"interference: {{slowdown: {name}}}",
    )
    records = replications(tmp_path, text)
    assert_close(records, lambda r: in_system_ms(r).mean(), mean_in_system_ms(rate_per_s / 1000, slowdown, lanes))
    # Without interference the answer is another one, by more than the test allows.
    alone = mean_in_system_ms(rate_per_s / 1000, (1.0,) * lanes, lanes)
    assert alone < 0.85 * np.mean([in_system_ms(r).mean() for r in records])
