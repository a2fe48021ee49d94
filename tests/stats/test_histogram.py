"""The latency histogram: where its buckets lie, and that its quantiles are within the error that it states."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim.serving.compiled import jit
from sim.stats.histogram import BUCKETS, RELATIVE_ERROR, Histogram, bucket_middle_ns, bucket_of


@jit
def _buckets_of(values):
    found = np.empty(len(values), np.int64)
    for i in range(len(values)):
        found[i] = bucket_of(values[i])
    return found


def counted(values: np.ndarray, unfinished: int = 0) -> Histogram:
    return Histogram.of_counts(np.bincount(_buckets_of(values), minlength=BUCKETS), unfinished)


def test_small_latencies_have_their_own_buckets() -> None:
    values = np.arange(1024)
    assert np.array_equal(_buckets_of(values), values)
    assert np.array_equal(bucket_middle_ns(values), values)


def test_an_octave_has_512_buckets_and_none_is_missing() -> None:
    # 1024..2047 two by two, 2048..4095 four by four, each bucket full.
    assert _buckets_of(np.arange(1024, 2048)).tolist() == np.repeat(np.arange(1024, 1536), 2).tolist()
    assert _buckets_of(np.arange(2048, 4096)).tolist() == np.repeat(np.arange(1536, 2048), 4).tolist()
    assert bucket_middle_ns(np.array([1024, 1536, 2047])).tolist() == [1024.5, 2049.5, 4093.5]


def test_the_largest_latency_has_a_bucket() -> None:
    last = _buckets_of(np.array([2**63 - 1]))[0]
    assert last < BUCKETS
    # As a float it rounds up to 2**63, which begins the last octave.
    assert last == BUCKETS - 512


@given(st.integers(0, 2**63 - 1))
def test_the_middle_of_a_bucket_is_within_the_stated_error(latency_ns: int) -> None:
    middle = float(bucket_middle_ns(_buckets_of(np.array([latency_ns])))[0])
    assert abs(middle - latency_ns) <= RELATIVE_ERROR * latency_ns


@given(st.lists(st.integers(0, 2**63 - 1), min_size=2))
def test_buckets_keep_the_order(values: list[int]) -> None:
    assert np.all(np.diff(_buckets_of(np.array(sorted(values)))) >= 0)


LAWS = {
    "exponential of 1 ms": lambda g: g.exponential(1e6, 40_000),
    "exponential of 20 ns": lambda g: g.exponential(20, 40_000),
    "uniform": lambda g: g.uniform(0, 5e7, 40_000),
    "heavy tail": lambda g: np.minimum(1e3 * g.pareto(0.3, 40_000), 9e18),
    "lognormal": lambda g: g.lognormal(15, 4, 40_000),
    "two far apart": lambda g: np.where(g.random(40_000) < 0.7, 3.0, 7.7e17),
    "one value": lambda _: np.full(40_000, 123_456_789.0),
    "hours": lambda g: g.normal(3.6e12, 1e9, 40_000),
}


@pytest.mark.parametrize("law", LAWS)
def test_quantiles_are_the_order_statistics_within_the_stated_error(law: str) -> None:
    values = np.sort(LAWS[law](np.random.Generator(np.random.Philox(5))).astype(np.int64))
    rank = np.unique(np.geomspace(1, len(values), 300).astype(np.int64))
    rank = np.union1d(rank, len(values) + 1 - rank)
    exact = values[rank - 1]
    assert RELATIVE_ERROR <= 0.001
    assert np.all(np.abs(counted(values).at_rank(rank) - exact) <= RELATIVE_ERROR * exact)


def test_what_is_unfinished_ranks_last() -> None:
    histogram = counted(np.array([5, 7, 7]), unfinished=2)
    assert len(histogram) == 5
    assert histogram.at_rank(np.arange(1, 6)).tolist() == [5.0, 7.0, 7.0, np.inf, np.inf]
    assert Histogram.of_counts(np.zeros(BUCKETS, np.int64), 1).at_rank(np.array([1])).tolist() == [np.inf]


def test_histograms_add_up() -> None:
    generator = np.random.Generator(np.random.Philox(6))
    values = generator.lognormal(12, 2, 5_000).astype(np.int64)
    whole = counted(values, unfinished=9)
    added = counted(values[:100], unfinished=4) + counted(values[100:], unfinished=5)
    assert added.to_json_dict() == whole.to_json_dict()
    empty = counted(np.zeros(0, np.int64))
    assert (empty + whole).to_json_dict() == whole.to_json_dict()


def test_json_brings_it_back() -> None:
    histogram = counted(np.array([1, 2**40, 2**62]), unfinished=3)
    again = Histogram.from_json_dict(json.loads(json.dumps(histogram.to_json_dict())))
    assert again.to_json_dict() == histogram.to_json_dict()
    assert again.at_rank(np.arange(1, 7)).tolist() == histogram.at_rank(np.arange(1, 7)).tolist()
