"""Intervals of errors in small: with the calibration's own they hold what they have to, without it they do not."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.calibration_error import main, session, table


def test_the_calibration_is_what_intervals_by_pairs_lack() -> None:
    random = np.random.default_rng(20261130)
    found = [session(random, 24, 0.85, 0.03)["p95"] for _ in range(60)]

    def held(name: str) -> int:
        intervals = [getattr(one, name) for one in found]
        return sum(one.low <= 1.0 <= one.high for one in intervals)

    # Of 60 at 95%, 51 and fewer come once in a thousand times.
    assert held("widened") >= 52
    assert held("paired") < held("widened")
    # The calibration makes as much of the error as what was observed: half of its square.
    errors = np.array([one.paired.value for one in found])
    assert np.mean([one.own_error for one in found]) == pytest.approx(errors.std(ddof=1) / np.sqrt(2), rel=0.3)
    assert abs(errors.mean() - 1.0) < 4 * errors.std(ddof=1) / np.sqrt(60)


def test_the_table_has_a_row_for_each_percentile(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--sessions", "2", "--blocks", "16", "--loads", "0.3"]) == 0
    printed = capsys.readouterr().out
    assert "load 0.3, 2 sessions of 16 blocks that differ by 3%" in printed
    assert [line.split("|")[1].strip() for line in printed.splitlines()[-4:-1]] == ["p50", "p95", "p99"]
    random = np.random.default_rng(1)
    assert len(table([session(random, 16, 0.3, 0.03) for _ in range(2)])) == 3
