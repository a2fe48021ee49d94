"""Extra service times after idle time and after many samples, planted in calibration blocks and found again."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.signal import lfilter

from sim.calibrate.observe.aftereffects import fit_after_idle, fit_after_size, without_after_size
from sim.calibrate.observe.calibration import CalibrationBlock, LaneRun
from sim.serving.aftereffects import counted


@pytest.mark.parametrize(
    ("carry", "fixed_ns", "each_ns"), [(0.0, 50e3, 0.0), (0.35, 50e3, 0.0), (0.35, 0.0, 400.0), (0.8, 50e3, 200.0)]
)
def test_the_extra_time_after_idle_time_is_found_again(carry: float, fixed_ns: float, each_ns: float) -> None:
    """Planted: it grows with the idle time that counts; every second block is 10% slower; sizes differ."""
    random = np.random.default_rng(3)

    def held_up(times_ns: NDArray[np.float64]) -> NDArray[np.int64]:
        """The machine stands still for 5 ms now and then."""
        return (times_ns + 5e6 * (random.random(len(times_ns)) < 0.001)).astype(np.int64)

    blocks = []
    for number in range(20):
        speed, times = 1.0 + 0.1 * (number % 2), {}
        for size in (50, 200, 400):
            times[0, size, False] = held_up(1000.0 * size * speed * random.gamma(100, 1 / 100, 400))
        sizes = random.choice([50, 200, 400], 1000)
        idle_ns = np.where(random.random(1000) < 0.5, 100_000 * 2 ** random.uniform(0, 7, 1000), 0).astype(np.int64)
        counted_ns, extra_ns = 0, np.zeros(1000)
        for query, idle in enumerate(idle_ns.tolist()):
            counted_ns = counted(idle, counted_ns, carry)
            extra_ns[query] = (fixed_ns + each_ns * sizes[query]) * (1 - np.exp(-counted_ns / 4e6))
        took_ns = held_up(1000.0 * sizes * speed * random.gamma(100, 1 / 100, 1000) + extra_ns)
        run = LaneRun(np.zeros(1000, dtype=np.int64), sizes, idle_ns, took_ns)
        blocks.append(CalibrationBlock(times, (run,)))
    (found,) = fit_after_idle(blocks, 0)
    assert len(found.idle_ns) == 12
    # One step of the fit.
    assert found.carry == pytest.approx(carry, abs=0.0501)
    per_sample_ns = found.per_sample_ns or (0,) * 12
    for size in (50, 200, 400):
        found_ns = np.array(found.extra_ns) + size * np.array(per_sample_ns)
        expected_ns = (fixed_ns + each_ns * size) * (1 - np.exp(-np.array(found.idle_ns) / 4e6))
        # Some 800 queries behind a point, a third of each size. Service varies by a tenth of its mean.
        error_ns = 0.1 * 1000 * size / np.sqrt(10_000 / 12 / 3)
        assert np.all(np.abs(found_ns - expected_ns) < 4 * error_ns + 5_000), size
    assert list(found.extra_ns) == sorted(found.extra_ns) and list(per_sample_ns) == sorted(per_sample_ns)


def test_what_one_service_mends_and_what_takes_many_are_told_apart() -> None:
    """Planted: 0.1 ms that the next service mends, and some a sample that is carried over by nine tenths."""
    random = np.random.default_rng(5)

    def extra_ns(idle_ns: NDArray[np.int64], sizes: NDArray[np.int64]) -> NDArray[np.float64]:
        counted_ns, found = 0, np.zeros(len(idle_ns))
        for query, idle in enumerate(idle_ns.tolist()):
            counted_ns = counted(idle, counted_ns, 0.9)
            found[query] = 1e5 * (1 - np.exp(-idle / 2e6)) + 40.0 * sizes[query] * min(counted_ns / 1e6, 25)
        return found

    blocks = []
    for _ in range(30):
        sizes = random.choice([50, 200, 400], 1200)
        idle_ns = (100_000 * 2 ** random.uniform(0, 7, 1200)).astype(np.int64)
        # Pauses are rare and common in turns, as in calibration.
        idle_ns[random.random(1200) > np.repeat([0.1, 0.7, 0.5, 0.3] * 2, 150)] = 0
        idle_ns[0] = 0
        busy = {size: (1000.0 * size * random.gamma(100, 1 / 100, 400)).astype(np.int64) for size in (50, 200, 400)}
        took_ns = 1000.0 * sizes * random.gamma(100, 1 / 100, 1200) + extra_ns(idle_ns, sizes)
        run = LaneRun(np.zeros(1200, dtype=np.int64), sizes, idle_ns, took_ns.astype(np.int64))
        blocks.append(CalibrationBlock({(0, size, False): times for size, times in busy.items()}, (run,)))
    quick, slow = fit_after_idle(blocks, 0)
    assert (quick.carry, slow.carry) == (0.0, 0.9)
    # At loads at which nothing was calibrated, by what a query finds.
    for load in (0.3, 0.85):
        sizes = random.choice([50, 200, 400], 20_000)
        idle_ns = np.where(random.random(20_000) > load, random.exponential(220e3 / load, 20_000), 0).astype(np.int64)
        found_ns = np.zeros(20_000)
        for curve in (quick, slow):
            counts = lfilter([1.0], [1.0, -curve.carry], idle_ns.astype(float))
            for values, times in ((curve.extra_ns, 1), (curve.per_sample_ns or (0,) * len(curve.idle_ns), sizes)):
                found_ns += np.interp(counts, [0, *curve.idle_ns], [0, *values]) * times
        planted_ns = extra_ns(idle_ns, sizes)
        for which in (idle_ns == 0, idle_ns > 0, sizes == 50, sizes == 400):
            # A tenth of the usual time, over what calibration has.
            error_ns = 0.1 * 1000 * sizes[which].mean() / np.sqrt(30 * 1200 / 12)
            assert found_ns[which].mean() == pytest.approx(planted_ns[which].mean(), rel=0.03, abs=3 * error_ns)


@pytest.mark.parametrize("carry", [0.0, 0.3])
def test_the_extra_time_after_many_samples_is_found_again(carry: float) -> None:
    """Planted: half a microsecond a sample that counts; every second block is slower, and service varies by a tenth."""
    random = np.random.default_rng(4)
    blocks, planted, alone = [], [], []
    for number in range(30):
        sizes = np.minimum(random.lognormal(4, 1, 1500), 1000).astype(np.int64) // 20 * 20 + 1
        counted_samples, extra_ns = 0, np.zeros(1500)
        for query in range(1, 1500):
            counted_samples = counted(int(sizes[query - 1]), counted_samples, carry)
            extra_ns[query] = 500 * counted_samples
        planted.append(extra_ns[1:])
        alone.append((1 + 0.1 * (number % 2)) * (300e3 + 2e3 * sizes) * random.gamma(100, 1 / 100, 1500))
        took_ns = (alone[-1] + extra_ns).astype(np.int64)
        run = LaneRun(np.zeros_like(sizes), sizes, np.zeros_like(sizes), took_ns)
        times = {(0, size, False): run.took_ns[sizes == size] for size in np.unique(sizes).tolist()}
        blocks.append(CalibrationBlock(times, (), 0, (run,)))
    found = fit_after_size(blocks, 0)
    assert found is not None and found.carry == pytest.approx(carry, abs=0.0501)
    assert list(found.extra_ns) == sorted(found.extra_ns) and found.extra_ns[0] == 0
    # Over what the smallest cost. The rarest point has 1% of 45,000 queries, each off by some 50 us.
    expected = 500 * (np.array(found.size) - found.size[0])
    assert np.all(np.abs(np.array(found.extra_ns) - expected) < 4 * 50e3 / np.sqrt(450) + 0.1 * expected)
    smallest_ns = 500 * found.size[0]
    assert found.typical_ns == pytest.approx(np.mean(np.concatenate(planted)) - smallest_ns, abs=5_000)
    # What is left for the table has the mean of all, by path and size, and the spread of what does not depend on it.
    even = without_after_size(blocks, {0: found, 1: None})
    sizes = np.concatenate([block.busy[0].size for block in blocks])
    spreads = []
    for times in (
        np.concatenate([block.busy[0].took_ns for block in blocks]),
        np.concatenate([block.busy[0].took_ns for block in even]),
        np.concatenate(alone),
    ):
        small = times[sizes < 100]
        spreads.append(np.mean([small[sizes[sizes < 100] == size].var() for size in (21, 41, 61)]))
    raw, left, planted_alone = spreads
    # Of 5,000 to 9,000 queries a size.
    assert left == pytest.approx(planted_alone, rel=0.05) and raw > 1.5 * planted_alone
    for before, after in zip(blocks, even, strict=True):
        assert before.times_ns.keys() == after.times_ns.keys()
        for cell, times in after.times_ns.items():
            assert np.array_equal(times, after.busy[0].took_ns[after.busy[0].size == cell[1]])
    usual = [np.mean([block.mean_ns(0) for block in some]) for some in (blocks, even)]
    assert usual[1] == pytest.approx(usual[0], rel=0.01)
    assert without_after_size(blocks, {0: None}) == blocks
    # Where the size before does not count, none is claimed.
    for block in blocks:
        (run,) = block.busy
        shuffled = random.permutation(len(run.size))
        run.size[:], run.took_ns[:] = run.size[shuffled], run.took_ns[shuffled]
    assert fit_after_size(blocks, 0) is None and fit_after_size(blocks, 1) is None and fit_after_size([], 0) is None


@pytest.mark.parametrize("queries", [29, 300])
def test_where_nothing_is_found_nothing_is_claimed(queries: int) -> None:
    """Too few queries; or none that takes longer."""
    took_ns = np.full(queries + 1, 1000 + (queries < 30))
    run = LaneRun(np.zeros(queries + 1), np.full(queries + 1, 8), np.arange(queries + 1), took_ns)
    block = CalibrationBlock({(0, 8, False): np.full(100, 1000)}, (run,))
    assert fit_after_idle([block], 0) == ()
    assert fit_after_idle([block], 1) == ()
