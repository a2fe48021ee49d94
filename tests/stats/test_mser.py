"""The warm-up cut: the rule against its formula, known transients, and what must not be cut."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from sim.stats.warmup import (
    BatchSeries,
    average_series,
    batch_series,
    candidate_cuts,
    choose_cut,
    mser5,
    warmup_cut,
)

MS = 1_000_000


def series(values, per_batch=5):
    return BatchSeries(per_batch, np.array(values, dtype=np.float32))


@pytest.mark.parametrize("n", [10, 11, 57, 200])
def test_the_cut_is_the_smallest_minimum_of_the_published_statistic(n):
    y = np.random.default_rng(n).exponential(1.0, n) + 3 * np.exp(-np.arange(n) / 5)
    statistic = [np.sum((y[d:] - y[d:].mean()) ** 2) / (n - d) ** 2 for d in range(n // 2 + 1)]
    assert mser5(y).batches == int(np.argmin(statistic))


def test_batches_without_a_served_query_are_left_out_of_the_statistic():
    y = np.random.default_rng(3).exponential(1.0, 60)
    gaps = y.copy()
    gaps[::7] = np.nan
    n = len(y)

    def statistic(d):
        rest = gaps[d:][~np.isnan(gaps[d:])]
        return np.sum((rest - rest.mean()) ** 2) / len(rest) ** 2

    assert mser5(gaps).batches == int(np.argmin([statistic(d) for d in range(n // 2 + 1)]))


def test_a_step_at_the_start_is_cut_where_it_ends():
    y = np.random.default_rng(5).normal(10, 1, 1_000)
    y[:120] += 20
    cut = mser5(y)
    assert cut.established
    assert 120 <= cut.batches <= 125


def test_a_constant_series_needs_no_cut():
    for value in (0.1, 1e9):
        cut = mser5(np.full(501, value))
        assert (cut.batches, cut.established) == (0, True)


def test_a_series_that_never_settles_is_flagged():
    cut = mser5(np.arange(1_000.0))
    assert cut.batches == 500
    assert not cut.established


@pytest.mark.parametrize("n", [0, 1, 9])
def test_too_few_batches_establish_nothing(n):
    cut = mser5(np.ones(n))
    assert (cut.batches, cut.established) == (0, False)


def test_a_batch_is_five_offered_queries_and_averages_the_served_ones(record_of):
    finish = np.arange(12) * MS + np.arange(1, 13)
    record = record_of(np.arange(12) * MS, np.arange(12) * MS, finish, end_ns=12 * MS, dropped=[1, 5, 6, 7, 8, 9])
    got = batch_series(record)
    assert got.queries_per_batch == 5
    np.testing.assert_allclose(got.mean_ms, [(1 + 3 + 4 + 5) / 4 / 1e6, np.nan])


def test_long_runs_are_merged_to_batches_of_five_times_a_power_of_two(single_server):
    record = single_server(0.5, 100, seed=1)
    fine, coarse = batch_series(record), batch_series(record, max_batches=6)
    assert (coarse.queries_per_batch, len(coarse.mean_ms)) == (20, 5)
    np.testing.assert_allclose(coarse.mean_ms, fine.mean_ms.reshape(5, 4).mean(axis=1), rtol=1e-6)


def test_replications_are_averaged_batch_by_batch_up_to_the_shortest():
    per_batch, mean = average_series([series([1, 2, np.nan, np.nan]), series([3, np.nan, np.nan])])
    assert per_batch == 5
    np.testing.assert_array_equal(mean, [2, 2, np.nan])


def test_a_finer_series_is_merged_before_it_is_averaged():
    per_batch, mean = average_series([series([1, 3, 5, 7, 9]), series([4, 8, 12], per_batch=10)])
    assert per_batch == 10
    np.testing.assert_array_equal(mean, [3, 7])


@pytest.mark.parametrize("n", [0, 1, 3, 99, 100, 1_000_001])
def test_candidate_cuts_are_twentieths_rounded_up(n):
    assert candidate_cuts(n).tolist() == [math.ceil(n * k / 20) for k in range(11)]


def test_the_mser_cut_is_rounded_up_to_the_grid():
    y = np.random.default_rng(5).normal(10, 1, 1_000)
    y[:120] += 20
    chosen = choose_cut([series(y)], [candidate_cuts(5_000)])
    mser = mser5(y.astype(np.float32).astype(float)).batches * 5
    assert chosen.fraction == 0.15
    assert candidate_cuts(5_000)[chosen.index - 1] < mser <= candidate_cuts(5_000)[chosen.index]


def test_replications_of_different_length_lose_the_same_share_and_at_least_the_mser_cut():
    y = np.random.default_rng(5).normal(10, 1, 1_000)
    y[:120] += 20
    chosen = choose_cut([series(y), series(y[:700])], [candidate_cuts(5_000), candidate_cuts(3_500)])
    assert candidate_cuts(3_500)[chosen.index] >= 600
    assert chosen.fraction == 0.2


def test_averaging_over_replications_finds_a_transient_that_is_lost_in_one(single_server):
    # M/M/1 at load 0.9 starts empty; latencies of one run hide that, those of many show it.
    runs = [batch_series(single_server(0.9, 20_000, seed=2, replication=k)) for k in range(20)]
    chosen = choose_cut(runs, [candidate_cuts(20_000)] * 20)
    assert chosen.established
    assert 0 < chosen.fraction < 0.5


def test_the_warm_up_of_an_overloaded_server_is_not_established(single_server):
    runs = [batch_series(single_server(1.5, 10_000, seed=4, replication=k)) for k in range(5)]
    assert not choose_cut(runs, [candidate_cuts(10_000)] * 5).established


def test_a_given_warm_up_time_starts_at_the_first_arrival_not_before_it(record_of):
    record = record_of([0, 5, 5, 9], [0, 5, 6, 9], [1, 6, 7, 10], end_ns=20)
    assert [warmup_cut(record, t) for t in (0, 4, 5, 6, 20)] == [0, 1, 1, 3, 4]


def test_a_series_survives_json_exactly():
    original = series([0.1, np.nan, 3e7], per_batch=40)
    copy = BatchSeries.from_json_dict(json.loads(json.dumps(original.to_json_dict(), allow_nan=False)))
    assert copy.queries_per_batch == 40
    assert copy.mean_ms.dtype == np.float32
    np.testing.assert_array_equal(copy.mean_ms, original.mean_ms)
