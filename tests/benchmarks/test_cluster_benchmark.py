"""The benchmark of a cluster: what rounds come to, and a word where the machine was not ours."""

from __future__ import annotations

import pytest

from benchmarks.cluster import Run, verdict


def test_the_median_of_the_rounds_decides() -> None:
    one = Run(1, 1000, 10.0, 9.9)
    fast, slow = Run(2, 1000, 5.0, 9.9), Run(2, 1000, 8.0, 15.8)
    assert (one.queries_per_s, fast.queries_per_s) == (100.0, 200.0)
    assert one.busy == pytest.approx(0.99) and fast.busy == pytest.approx(0.99)
    text, enough = verdict([(one, fast), (one, slow), (one, fast)])
    assert enough and text == "two workers have 2.00 times the throughput of one (1.25 to 2.00); asked: at least 1.7"
    text, enough = verdict([(one, fast), (one, slow), (one, slow)])
    assert not enough and "1.25 times" in text


def test_workers_that_had_to_share_are_told() -> None:
    text, enough = verdict([(Run(1, 1000, 10.0, 9.9), Run(2, 1000, 9.0, 9.9))])
    assert not enough and text.splitlines()[1].startswith("workers had a core for only 55% of some run")
