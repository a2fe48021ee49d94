"""Arrival processes: moments, exactness, streams, and the check of recorded arrivals."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from sim.spec.problems import SpecError
from sim.spec.workload import WorkloadSpec
from sim.workload.check import check_arrivals
from sim.workload.draw import QueryStream
from sim.workload.gaps import IntegerPoissonGaps
from sim.workload.streams import open_stream

KINDS: dict[str, dict[str, Any]] = {
    "poisson": {"kind": "poisson", "rate": "1000/s"},
    "gamma-bursty": {"kind": "gamma", "rate": "1000/s", "cv": 3},
    "gamma-smooth": {"kind": "gamma", "rate": "1000/s", "cv": 0.4},
    "weibull": {"kind": "weibull", "rate": "1000/s", "cv": 2},
    "integer-poisson-ms": {"kind": "integer-poisson-ms", "rate": "300/s"},
    "piecewise-rate": {
        "kind": "piecewise-rate",
        "steps": [{"at": "0s", "rate": "500/s"}, {"at": "1s", "rate": 0}, {"at": "2s", "rate": "2k/s"}],
        "period": "3s",
    },
    "shape": {"kind": "piecewise-rate", "shape": [1, 3, 0, 2], "rate": "1000/s", "period": "10s"},
}


def spec(arrivals: dict[str, Any], **length: Any) -> WorkloadSpec:
    sizes = {"kind": "uniform", "min": 1, "max": 9}
    return WorkloadSpec.model_validate({"arrivals": arrivals, "sizes": sizes, **(length or {"queries": 20_000})})


def arrivals(workload: WorkloadSpec, seed: int = 1, chunk: int = 16_384, base_dir: Path = Path()) -> NDArray[np.int64]:
    stream = QueryStream(workload, seed, 0, base_dir=base_dir)
    return np.concatenate([c.arrival_ns for c in stream.chunks(chunk)])


@pytest.mark.parametrize(
    ("kind", "cv"), [("poisson", 1.0), ("gamma-bursty", 3.0), ("gamma-smooth", 0.4), ("weibull", 2.0)]
)
def test_moments_of_the_gaps(kind: str, cv: float) -> None:
    n = 200_000
    gaps = np.diff(arrivals(spec(KINDS[kind], queries=n)), prepend=0) / 1e6
    error = cv / math.sqrt(n)
    assert abs(gaps.mean() - 1.0) < 5 * error
    kurtosis = stats.kurtosis(gaps, fisher=False)
    skew = stats.skew(gaps)
    cv_error = cv * math.sqrt((kurtosis - 1) / 4 + cv**2 - cv * skew) / math.sqrt(n)
    assert abs(gaps.std() / gaps.mean() - cv) < 5 * cv_error


def test_integer_poisson_gaps_are_counts_of_ms_with_the_cv_of_counts() -> None:
    gaps = np.diff(arrivals(spec(KINDS["integer-poisson-ms"], queries=100_000)), prepend=0)
    assert np.all(gaps % 1_000_000 == 0)
    mean_ms = 1000 / 300
    assert abs(gaps.mean() / 1e6 - mean_ms) < 5 * math.sqrt(mean_ms / 100_000)
    assert gaps.std() / gaps.mean() == pytest.approx(mean_ms**-0.5, rel=0.02)
    observed = np.bincount((gaps // 1_000_000).astype(int), minlength=12)[:12]
    expected = 100_000 * stats.poisson.pmf(np.arange(12), mean_ms)
    assert np.all(np.abs(observed - expected) < 6 * np.sqrt(expected) + 1)


def test_counts_of_long_gaps_are_sought_one_by_one_as_a_table_gives_them(monkeypatch: pytest.MonkeyPatch) -> None:
    u = np.concatenate([np.random.default_rng(1).random(20_000), [0.0, 1e-300, 0.5, 1.0 - 2.0**-53]])
    for mean_ms in (2e4, 1e6):
        tabled = IntegerPoissonGaps(mean_ms).draw(u)
        with monkeypatch.context() as patch:
            patch.setattr("sim.workload.gaps.MOST_TABLED_MS", 1.0)
            assert np.array_equal(IntegerPoissonGaps(mean_ms).draw(u), tabled)
    # A table would have 600 million counts.
    deviation = (IntegerPoissonGaps(1e15).draw(u[:20_000]) - 1.0) * math.sqrt(1e15)
    assert abs(deviation.mean()) < 5 / math.sqrt(20_000)
    assert abs(deviation.std() - 1.0) < 5 / math.sqrt(40_000)


@pytest.mark.parametrize("kind", ["poisson", "integer-poisson-ms"])
def test_queries_that_come_after_the_clock_is_over_are_told(kind: str) -> None:
    rare = {"kind": kind, "rate": "2e-8/s"}
    with pytest.raises(
        SpecError, match=r"workload\.queries: so many queries take about 158 years .* 146 that the clock"
    ):
        arrivals(spec(rare, queries=100))
    lengths: list[dict[str, Any]] = [{"queries": 5}, {"duration": "50000d"}]
    for length in lengths:
        at = arrivals(spec(rare, **length))
        assert 5 <= len(at) < 200 and check_arrivals(spec(rare, **length), at) == []


def test_a_trace_that_lasts_longer_than_the_clock_is_told_and_rounds_end_with_it(tmp_path: Path) -> None:
    given = {**trace(tmp_path, ["0", "1", "2", "3"], "time"), "repeat": True}
    with pytest.raises(SpecError, match=r"workload\.arrivals\.rate: the trace would last 1,268 years at this rate"):
        arrivals(spec({**given, "rate": "1e-10/s"}, duration="100d"), base_dir=tmp_path)
    with pytest.raises(SpecError, match=r"workload\.queries: so many queries take about 1,553 years"):
        arrivals(spec({**given, "rate": "1e-9/s"}, queries=50), base_dir=tmp_path)
    # A chunk has rounds of twelve years each that 64 bits cannot count.
    at = arrivals(spec({**given, "rate": "1e-8/s"}, duration="50000d"), base_dir=tmp_path)
    assert len(at) == 44 and np.all(np.diff(at) == at[1])


def test_a_changing_rate_gives_poisson_counts_in_every_window_and_none_where_it_is_zero() -> None:
    at = arrivals(spec(KINDS["piecewise-rate"], duration="3000s"))
    period, phase = np.divmod(at, 3_000_000_000)
    assert not np.any((phase >= 10**9) & (phase < 2 * 10**9))
    for low, rate in ((0, 500), (2, 2000)):
        inside = (phase >= low * 10**9) & (phase < (low + 1) * 10**9)
        counts = np.bincount(period[inside], minlength=1000)
        assert abs(counts.mean() - rate) < 5 * math.sqrt(rate / 1000)
        # Index of dispersion: chi-squared with 999 degrees of freedom over 999.
        assert abs(counts.var(ddof=1) / rate - 1) < 5 * math.sqrt(2 / 999)


def test_a_shape_has_its_mean_rate_and_is_stretched_over_the_run() -> None:
    at = arrivals(spec({"kind": "piecewise-rate", "shape": [1, 3], "rate": "1000/s"}, duration="100s"))
    assert abs(len(at) - 100_000) < 5 * math.sqrt(100_000)
    assert abs(np.mean(at < 50 * 10**9) - 0.25) < 5 * math.sqrt(0.25 * 0.75 / 100_000)


def test_duration_ends_the_arrivals_and_queries_counts_them() -> None:
    stream = QueryStream(spec(KINDS["poisson"], duration="2s"), 1, 0)
    last = list(stream.chunks())[-1].arrival_ns[-1]
    assert last < stream.end_ns == 2_000_000_000
    stream = QueryStream(spec(KINDS["poisson"], queries=7), 1, 0)
    (chunk,) = stream.chunks()
    assert len(chunk.arrival_ns) == 7 and stream.end_ns == chunk.arrival_ns[-1]


@pytest.mark.parametrize("kind", KINDS)
def test_chunks_change_nothing(kind: str) -> None:
    workload = spec(KINDS[kind], queries=3_000)
    whole = arrivals(workload)
    for chunk in (1, 7, 777):
        assert np.array_equal(arrivals(workload, chunk=chunk), whole)


def test_more_parts_or_choices_shift_no_other_draw() -> None:
    workload = spec(KINDS["poisson"], queries=500)
    plain = next(QueryStream(workload, 3, 4).chunks())
    wide = next(QueryStream(workload, 3, 4, parts=3, choices=2).chunks())
    assert np.array_equal(plain.arrival_ns, wide.arrival_ns) and np.array_equal(plain.size, wide.size)
    assert np.array_equal(plain.service_u[:, 0], wide.service_u[:, 0])
    assert wide.service_u.shape == (500, 3) and wide.router_u.shape == (500, 2)
    assert len({tuple(column) for column in np.hstack([wide.service_u, wide.router_u]).T[:, :5]}) == 5


def test_streams_are_pinned_and_independent() -> None:
    """A change of these numbers changes every result ever published with a seed."""
    assert open_stream(1, "gap", 0).uniforms(3).tolist() == GOLDEN_GAP
    assert open_stream(1, "gap", 1).uniforms(3).tolist() != GOLDEN_GAP
    assert open_stream(1, "size", 0).uniforms(3).tolist() != GOLDEN_GAP
    assert open_stream(2, "gap", 0).uniforms(3).tolist() != GOLDEN_GAP
    u = np.stack([open_stream(1, name, 0).uniforms(100_000) for name in ("gap", "size", "service")])
    assert stats.kstest(u[0], "uniform").pvalue > 1e-6
    assert np.max(np.abs(np.corrcoef(u) - np.eye(3))) < 5 / math.sqrt(100_000)
    assert u.min() > 0 and u.max() < 1


GOLDEN_GAP = [0.9419756856324387, 0.42520157362320943, 0.20407357835660977]


# -- traces ----------------------------------------------------------------------------------------------


def trace(folder: Path, rows: list[str], header: str = "TIMESTAMP") -> dict[str, Any]:
    (folder / "trace.csv").write_text("\n".join([header, *rows]) + "\n")
    return {"kind": "trace", "file": "trace.csv"}


def test_a_trace_is_replayed_to_the_nanosecond(tmp_path: Path) -> None:
    rows = ["2023-11-16 18:15:46.6805900,374,44", "2023-11-16 18:15:46.6805901,1,2", "2023-11-16 18:15:50.9951690,3,4"]
    workload = spec(trace(tmp_path, rows, "TIMESTAMP,ContextTokens,GeneratedTokens"), queries=3)
    at = arrivals(workload, base_dir=tmp_path)
    assert at.tolist() == [0, 100, 4_314_579_000]
    assert check_arrivals(workload, at, base_dir=tmp_path) == []
    assert check_arrivals(workload, at + 1, base_dir=tmp_path) != []


def test_a_trace_is_rescaled_and_repeated(tmp_path: Path) -> None:
    given = trace(tmp_path, ["0", "1", "3"], "time")
    # Three arrivals over 3 s and one mean gap of 1.5 s: 2/3 a second; at 2/s everything is three times as fast.
    workload = spec({**given, "rate": "2/s", "repeat": True}, queries=7)
    assert np.allclose(arrivals(workload, base_dir=tmp_path) / 1e9, [0, 1 / 3, 1, 1.5, 1.5 + 1 / 3, 2.5, 3.0])


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (["0", "2", "1"], "trace.csv:4:1: earlier than the row above it"),
        (["0", "x", "1"], "trace.csv:3:1: time: not a time stamp"),
        ([], "trace.csv:1:1: the trace has no rows"),
        (["0", "1"], "over after 2 arrivals"),
        # Unix time in ms where seconds are said.
        (
            ["1700000000000", "1700000000010"],
            "trace.csv:2:1: time: not a time stamp: a date and time, or a number within",
        ),
        (["0", "1e30"], "within 2.31e+09 s of 0; is the unit right? (got '1e30'"),
        (["0", "Infinity"], "trace.csv:3:1: time: not a time stamp"),
        (["0", "1e10000000"], "trace.csv:3:1: time: not a time stamp"),
        (["-9e9", "0", "9e9"], "trace.csv:2:1: time: not a time stamp"),
    ],
)
def test_bad_traces_are_told_by_line(rows: list[str], message: str, tmp_path: Path) -> None:
    with pytest.raises(SpecError) as caught:
        arrivals(spec(trace(tmp_path, rows, "time"), queries=10), base_dir=tmp_path)
    assert message in str(caught.value)


def test_a_trace_without_a_header_loses_no_arrival(tmp_path: Path) -> None:
    for header, rows in (("0.5", ["1.0", "1.5"]), ("2023-11-16 18:15:46", ["2023-11-16 18:15:47"])):
        with pytest.raises(SpecError, match=r"trace\.csv:1:1: the first line is the header, and this is a value"):
            arrivals(spec(trace(tmp_path, rows, header), queries=2), base_dir=tmp_path)


def test_a_column_may_be_called_like_a_value_where_it_is_named(tmp_path: Path) -> None:
    workload = spec({**trace(tmp_path, ["5,1", "7,2"], "0,1"), "column": "0"}, queries=2)
    assert arrivals(workload, base_dir=tmp_path).tolist() == [0, 2 * 10**9]


def test_columns_that_are_missing_or_ambiguous_are_told(tmp_path: Path) -> None:
    given = trace(tmp_path, ["1,2"], "a,b")
    with pytest.raises(SpecError, match="several columns: name one"):
        arrivals(spec(given, queries=1), base_dir=tmp_path)
    with pytest.raises(SpecError, match=r"no column 'c'.*a, b"):
        arrivals(spec({**given, "column": "c"}, queries=1), base_dir=tmp_path)
    with pytest.raises(SpecError, match=r"no such trace file.*nowhere\.csv"):
        arrivals(spec({"kind": "trace", "file": "nowhere.csv"}, queries=1), base_dir=tmp_path)


# -- the check of recorded arrivals ------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_sound_arrivals_raise_no_alarm(kind: str) -> None:
    for seed in range(60):
        length = {"queries": 400} if seed % 2 else {"duration": "2s"}
        workload = spec(KINDS[kind], **length)
        assert check_arrivals(workload, arrivals(workload, seed)) == []


def test_bursts_within_a_nanosecond_are_sound() -> None:
    # Of a gamma law with a CV of 100 most gaps are far below 1 ns: so may the sum of the first ones be.
    short = 0
    for cv, queries in ((10, 5), (100, 300)):
        workload = spec({"kind": "gamma", "rate": "1k/s", "cv": cv}, queries=queries)
        for seed in range(40):
            at = arrivals(workload, seed)
            short += int(at[-1] == 0)
            assert check_arrivals(workload, at) == []
    assert short > 0
    fast = spec({"kind": "poisson", "rate": "1000G/s"}, queries=300)
    assert check_arrivals(fast, arrivals(fast)) == []


def test_a_rate_that_is_off_is_seen() -> None:
    at = arrivals(spec({"kind": "poisson", "rate": "1050/s"}, queries=100_000))
    assert any("rate" in line for line in check_arrivals(spec(KINDS["poisson"], queries=100_000), at))


def test_counts_passed_off_as_poisson_are_seen() -> None:
    at = arrivals(spec(KINDS["integer-poisson-ms"], queries=5_000))
    asked = spec({"kind": "poisson", "rate": "300/s"}, queries=5_000)
    assert any("not of the asked law" in line for line in check_arrivals(asked, at))


def test_another_cv_is_seen() -> None:
    at = arrivals(spec({"kind": "gamma", "rate": "1000/s", "cv": 1.2}, queries=50_000))
    assert check_arrivals(spec(KINDS["poisson"], queries=50_000), at) != []


def test_a_generator_that_was_held_back_is_seen() -> None:
    at = arrivals(spec(KINDS["poisson"], queries=20_000))
    # A server of 0.9 ms that lets the next query arrive only when it is done.
    held = np.empty_like(at)
    free = 0
    for i, stamp in enumerate(at.tolist()):
        held[i] = max(stamp, free)
        free = int(held[i]) + 900_000
    assert check_arrivals(spec(KINDS["poisson"], queries=20_000), held) != []
