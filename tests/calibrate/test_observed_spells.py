"""The correlation of service times that was planted is found again in calibration blocks."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri
from scipy.stats import rankdata

from sim.calibrate.observe.calibration import CalibrationBlock, LaneRun
from sim.calibrate.observe.spells import fit_spells, score_correlation
from sim.profile.spells import Spells
from sim.serving.spells import moving_average, next_level, pack_spells, past_at_start

SIZES = (5, 60, 400)


def planted(
    spells: Spells | None, *, blocks: int = 30, services: int = 1500, lanes: int = 1, seed: int = 7, drift: float = 0.0
) -> list[CalibrationBlock]:
    """Blocks of two paths, served in any order, whose times come from the engines' own draws.

    `drift` is by how much, in standard deviations, every second block is slower.
    """
    random = np.random.default_rng(seed)
    found = []
    for number in range(blocks):
        runs = []
        for _ in range(lanes):
            path, size = random.integers(0, 2, services), random.choice(SIZES, services)
            score = random.standard_normal(services)
            if spells is not None:
                own, decay, weight = moving_average(spells)
                past = past_at_start(pack_spells([spells]), np.array([0, 1]), random.standard_normal)[0]
                level = np.array([next_level(one, past, own, decay, weight) for one in score])
            else:
                level = ndtr(score)
            took_ns = 1e3 * (1 + path) * size * (1 - 0.2 * np.log1p(-level) + drift * (number % 2))
            runs.append(LaneRun(path, size, np.zeros(services, dtype=np.int64), took_ns.astype(np.int64)))
        found.append(CalibrationBlock({}, (), 0, tuple(runs)))
    return found


@pytest.mark.parametrize("spells", [Spells((0.4,), (6.0,)), Spells((0.25, 0.3), (1.5, 40.0))])
def test_planted_spells_are_found_again(spells: Spells) -> None:
    blocks = planted(spells, lanes=2)
    found = fit_spells(blocks, [0, 1])
    assert found is not None and len(found.share) == len(spells.share)
    lags, measured, errors = score_correlation(blocks, [0, 1])
    assert lags[-1] == 1000
    for lag, one, error in zip(lags.tolist(), measured.tolist(), errors.tolist(), strict=True):
        # Means and ranks among all of a size are off by what these have in common.
        assert abs(one - spells.correlation(lag)) < 4 * error + 0.01
        assert found.correlation(lag) == pytest.approx(spells.correlation(lag), abs=0.04)
    # Of another device nothing is known.
    assert fit_spells(blocks, [2]) is None


def test_independent_services_have_none() -> None:
    distances = []
    for seed in range(20):
        found = fit_spells(planted(None, services=400, blocks=10, seed=seed), [0, 1])
        distances.append(0.0 if found is None else found.correlation(1))
    # Where chance gives some, it is little: a correlation of 4,000 services has a standard error of 0.016.
    assert distances.count(0.0) >= 8 and max(distances) < 0.1


def test_blocks_of_another_speed_are_spells_that_last() -> None:
    found = fit_spells(planted(None, drift=0.1), [0, 1])
    assert found is not None and found.services[-1] > 100
    assert all(later <= earlier for earlier, later in pairwise(found.correlation(lag) for lag in (1, 10, 100)))


def together(times_ns: Sequence[NDArray[np.float64]], services: int) -> float:
    """Standard deviation of the mean of so many services, as a share of the mean."""
    means = np.concatenate(
        [one[: len(one) // services * services].reshape(-1, services).mean(axis=1) for one in times_ns]
    )
    return float(means.std() / means.mean())


def test_spells_of_most_services_do_not_make_the_rare_long_ones_come_together() -> None:
    """A host that is some percent slower for hundreds of services; now and then one takes three times as long."""
    random = np.random.default_rng(3)
    blocks, times_ns = 60, []
    for _ in range(blocks):
        slow = np.zeros(1500)
        slow[0] = random.standard_normal()
        for i in range(1, len(slow)):
            slow[i] = 0.997 * slow[i - 1] + np.sqrt(1 - 0.997**2) * random.standard_normal()
        rare = random.random(len(slow)) < 0.01
        times_ns.append(1e6 * (1 + 0.03 * slow + 0.02 * random.standard_normal(len(slow)) + 2.0 * rare))
    zeros = np.zeros(1500, dtype=np.int64)
    found = fit_spells(
        [CalibrationBlock({}, (), 0, (LaneRun(zeros, zeros + 8, zeros, one.astype(np.int64)),)) for one in times_ns],
        [0],
    )
    assert found is not None
    # Served again by the engines' own draws, at the levels of the law that was measured.
    law = np.sort(np.concatenate(times_ns))
    own, decay, weight = moving_average(found)
    again = []
    for _ in range(4 * blocks):
        past = past_at_start(pack_spells([found]), np.array([0, 1]), random.standard_normal)[0]
        level = [next_level(one, past, own, decay, weight) for one in random.standard_normal(1500)]
        again.append(np.quantile(law, level))
    for services in (1, 20, 100, 500):
        assert together(again, services) == pytest.approx(together(times_ns, services), rel=0.15)
    # The correlation of ranks would have made more come together.
    ranks = [ndtri((rankdata(one) - 0.5) / len(one)) for one in times_ns]
    measured = float(np.mean([np.mean(one[1:] * one[:-1]) for one in ranks]))
    assert measured > 2 * found.correlation(1)


def test_too_little_says_nothing() -> None:
    assert fit_spells([], [0]) is None
    assert fit_spells(planted(Spells((0.4,), (6.0,)), blocks=1), [0, 1]) is None
    assert fit_spells(planted(Spells((0.4,), (6.0,)), blocks=3, services=50), [0, 1]) is None
    # Sizes of which there are few have no ranks.
    rare = planted(Spells((0.4,), (6.0,)), blocks=5, services=300)
    for block in rare:
        (run,) = block.busy
        run.size[:] = np.arange(300)
    assert fit_spells(rare, [0, 1]) is None
