"""Contradictory settings of timeouts, retries and hedges are told before anything runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from sim.spec.problems import SpecError
from tests.harness import prepare_text

GOOD = """\
name: t
model: {representations: {table: {accuracy: {value: 90%, evidence: assumed}}}}
sla: 10ms
workload: {arrivals: {kind: poisson, rate: 100/s}, sizes: {kind: fixed, size: 400}, queries: 10}
fleet:
  - name: n
    count: 1
    devices: {d: {kind: cpu, service: {distribution: exponential, mean: 1ms}}}
"""


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        (
            "retries: {limit: 2}\n",
            "9:10: retries: no attempt can fail, so there is nothing to retry (allowed: retries beside faults, "
            "timeout, or a queue with a limit or with shedding)",
        ),
        (
            "retries: {limit: 2, on: [queue-full, timeout]}\nqueue: {limit: 3}\n",
            "9:38: retries.on[1]: no attempt can fail by timeout in this experiment (got 'timeout'; allowed: "
            "queue-full, policy)",
        ),
        ("retries: {limit: 0}\ntimeout: {after: 1ms}\n", "9:18: retries.limit: has to be at least 1 (got 0)"),
        (
            "retries: {limit: 1, burst: 3}\ntimeout: {after: 1ms}\n",
            "9:28: retries.burst: burst saves up a budget, and there is none (got 3)",
        ),
        (
            "retries: {limit: 1, on: [timeuot]}\ntimeout: {after: 1ms}\n",
            "did you mean 'timeout'?",
        ),
        (
            "hedging: {after: 1ms}\n",
            "9:10: hedging: a copy goes to another node, and the fleet has one (allowed: two nodes or more, or "
            "binding: {kind: late})",
        ),
        ("hedging: {}\n", "9:10: hedging: hedging needs either after or percentile"),
        ("hedging: {after: 1ms, percentile: 95}\n", "9:10: hedging: hedging needs either after or percentile"),
        (
            "hedging: {after: 1ms, window: 20}\n",
            "9:31: hedging.window: window belongs to a percentile, and there is none (got 20)",
        ),
        ("hedging: {percentile: 100}\n", "9:23: hedging.percentile: has to be less than 100.0 (got 100)"),
        (
            "timeout: {after: 20ms}\nretries: {limit: 2}\n",
            "9:18: timeout.after: the first retry would be sent past the deadline, so none is ever sent (got '20ms'; "
            "allowed: a first failure and a backoff within the SLA, or past_deadline: true)",
        ),
        (
            "timeout: {after: 6ms}\nretries: {limit: 2, backoff: 4001us}\n",
            "10:30: retries.backoff: the first retry would be sent past the deadline, so none is ever sent (got",
        ),
        ("queue: {shed: late}\nretries: {limit: 2}\n", "10:10: retries.backoff: the first retry would be sent past"),
        (
            "hedging: {after: 3ms}\ntimeout: {after: 3ms}\nbinding: {kind: late}\n",
            "9:18: hedging.after: the query has timed out by then and is over, so none is ever hedged (got '3ms'; "
            "allowed: less than timeout.after, or retries)",
        ),
        (
            "retries: {limit: 2, on: [unavailable]}\ntimeout: {after: 1ms}\n",
            "9:26: retries.on[0]: no attempt can fail by unavailable in this experiment",
        ),
        ("timeout: {after: 0s}\n", "9:18: timeout.after"),
        ("timeout: {after: 1ms, cancel: all}\n", "9:31: timeout.cancel: not one of the known names (got 'all'"),
    ],
)
def test_contradictions_are_told_with_their_place(more: str, expected: str, tmp_path: Path) -> None:
    with pytest.raises(SpecError) as error:
        prepare_text(tmp_path, GOOD + more)
    assert expected in str(error.value)


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        (
            "timeout: {after: 1101ms}\n",
            "9:18: timeout.after: is longer than the run, arrivals and drain, so none goes off (got '1101ms'; "
            "allowed: up to 1.1s)",
        ),
        (
            "hedging: {after: 2s}\nbinding: {kind: late}\n",
            "9:18: hedging.after: is longer than the run, arrivals and drain, so none is ever hedged (got '2s'",
        ),
        (
            "timeout: {after: 1ms}\nretries: {limit: 1, past_deadline: true, backoff: 2s}\n",
            "10:51: retries.backoff: is longer than the run, arrivals and drain, so none is ever sent (got '2s'",
        ),
    ],
)
def test_no_client_waits_for_longer_than_the_run(more: str, expected: str, tmp_path: Path) -> None:
    lasting = GOOD.replace("queries: 10", "duration: 1s")
    with pytest.raises(SpecError) as error:
        prepare_text(tmp_path, lasting + more)
    assert expected in str(error.value)
    assert prepare_text(tmp_path, lasting + "timeout: {after: 1100ms}\n")


@pytest.mark.parametrize(
    "more",
    [
        "retries: {limit: 2}\ntimeout: {after: 1ms}\n",
        "retries: {limit: 2, on: [queue-full]}\nqueue: {limit: 3}\n",
        "hedging: {after: 1ms}\nbinding: {kind: late}\n",
        # At the very deadline a retry may be sent, and with a longer limit of some class there is time.
        "timeout: {after: 6ms}\nretries: {limit: 2, backoff: 4ms}\n",
        "timeout: {after: 20ms}\nretries: {limit: 2}\n"
        "classes: [{name: a, share: 50%}, {name: b, share: 50%, sla: 1s}]\n",
        "timeout: {after: 20ms}\nretries: {limit: 2, past_deadline: true}\n",
        "queue: {shed: hopeless}\nretries: {limit: 2}\n",
        "hedging: {after: 3ms}\ntimeout: {after: 3ms}\nretries: {limit: 1}\nbinding: {kind: late}\n",
    ],
)
def test_what_fits_together_is_accepted(more: str, tmp_path: Path) -> None:
    assert prepare_text(tmp_path, GOOD + more)
