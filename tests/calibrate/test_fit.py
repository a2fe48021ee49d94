"""Fitting: monotone both ways, the mean kept, outliers kept, and a check that never sees what it judges."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sim.calibrate.fit import fit_quantiles, fit_table, levels_for, samples_for, service_table
from sim.calibrate.fitted_device import devices_in, fit_device, fit_lines, total_lines
from sim.calibrate.held_out import check_held_out
from sim.calibrate.sample_set import SampleKey, SampleSet, write_sample_csv
from sim.calibrate.samples import LEVELS
from sim.profile.service import SizeOutOfRange
from sim.spec.problems import SpecError


def samples_of(by_size: dict[int, list[int]], stage: str = "total") -> SampleSet:
    return SampleSet({SampleKey("m", "table", stage, n, 0): np.array(cell) for n, cell in by_size.items()})


def test_levels_are_those_that_the_repeats_carry() -> None:
    assert levels_for(100) == levels_for(99) == LEVELS
    assert levels_for(5) == (0.0, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 1.0)
    assert levels_for(1000)[-3:] == (0.998, 0.999, 1.0)
    assert levels_for(100_000)[-4:] == (0.99995, 0.99998, 0.99999, 1.0)


@pytest.mark.parametrize(("rare", "factor"), [(3000, 8.0), (10_000, 20.0)])
def test_rare_long_samples_are_as_rare_in_the_table(rare: int, factor: float) -> None:
    random = np.random.default_rng(20261130)
    cell = 1e6 * random.lognormal(0.0, 0.15, 100_000)
    cell[random.random(cell.size) < 1 / rare] *= factor
    rows = fit_table(samples_of({1: np.rint(cell).astype(int).tolist()}), "m", "table").rows
    # The mean square decides how long queries wait. Of a line from a to b it is (a a + a b + b b) / 3.
    low, high = (rows.service_ns[0, part].astype(float) for part in (slice(None, -1), slice(1, None)))
    mean_square = np.dot(np.diff(rows.levels), low * low + low * high + high * high) / 3
    assert mean_square == pytest.approx(np.mean(cell * cell), rel=0.01)
    assert service_table(rows).mean_ns[0] == pytest.approx(np.mean(cell), rel=1e-5)


def test_quantiles_that_fall_are_averaged_by_hand() -> None:
    rows = np.array([[1.0, 4.0], [3.0, 4.0], [2.0, 9.0]])
    # The first column's 3 (weight 1) and 2 (weight 3) become their weighted mean, 2.25.
    assert fit_quantiles(rows, [1, 1, 3]).tolist() == [[1.0, 4.0], [2.25, 4.0], [2.25, 9.0]]


@given(
    st.lists(st.lists(st.integers(1, 10**6), min_size=4, max_size=4), min_size=1, max_size=12),
    st.data(),
)
@settings(max_examples=80, deadline=None)
def test_a_fit_is_monotone_both_ways_and_keeps_the_mean(values: list[list[int]], data: st.DataObject) -> None:
    rows = np.sort(np.array(values, dtype=np.float64), axis=1)
    weights = data.draw(st.lists(st.integers(1, 50), min_size=len(values), max_size=len(values)))
    fitted = fit_quantiles(rows, weights)
    assert np.all(np.diff(fitted, axis=0) >= -1e-9)
    assert np.all(np.diff(fitted, axis=1) >= 0)
    np.testing.assert_allclose(np.average(fitted, axis=0, weights=weights), np.average(rows, axis=0, weights=weights))


def test_outliers_are_kept_and_told_and_warm_up_is_left_out_when_asked() -> None:
    cell = [500, *([100] * 98), 1000]
    samples = samples_of({1: cell, 2: cell})
    table = fit_table(samples, "m", "table")
    assert (table.outliers, table.worst_outlier, table.worst_size) == (4, 10.0, 1)
    assert table.warms_up and table.first_repeat == 5.0
    assert table.rows.service_ns[0, -1] == 1000
    assert service_table(table.rows).mean_ns[0] == pytest.approx(np.mean(cell), abs=0.5)
    skipped = fit_table(samples, "m", "table", skip=1)
    assert (skipped.outliers, skipped.repeats, skipped.samples) == (2, 99, 198)


def test_advice_on_warm_up_is_about_what_is_kept_and_helps() -> None:
    samples = samples_of({n: [900 * n, 500 * n, 200 * n, *([100 * n] * 40)] for n in (1, 2, 4, 8)})

    def advice(skip: int) -> list[str]:
        lines = fit_lines(fit_device(samples, "d", skip=skip))
        return [line.removeprefix("  m, table: ") for line in lines if "first repeat" in line]

    takes = "takes {} times the median; --skip 3 leaves out what is warm-up"
    assert advice(0) == [f"the first repeat of a block {takes.format(9)}"]
    assert advice(2) == [f"the first repeat of a block after the 2 left out {takes.format(2)}"]
    assert advice(3) == advice(4) == []
    # A size with one repeat a block has none to spare.
    cells = {SampleKey("m", "table", "total", 1, block): np.array([100]) for block in range(5)}
    fitted = fit_device(SampleSet({**cells, **samples_of({2: [900, *([300] * 9)]}).cells}), "d")
    (line,) = (line for line in fit_lines(fitted) if "first repeat" in line)
    assert line.endswith("takes 3 times the median; no --skip leaves this out and some repeats of every size")


def test_a_mean_that_smoothing_moves_is_told() -> None:
    times = {1: [*([100_000] * 99), 5_000_000], 2: [110_000] * 100}
    table = fit_table(samples_of(times), "m", "table")
    means = service_table(table.rows).mean_ns
    # Half of the outlier goes to the size without one: as much as the one loses the other gains.
    assert means.sum() == pytest.approx(149_000 + 110_000, abs=2)
    assert (table.moved, table.mean_moved_size) == (0, 2)
    assert table.mean_moved == pytest.approx(means[1] / 110_000 - 1, abs=1e-4) == pytest.approx(0.222, abs=1e-3)
    (line,) = (line for line in fit_lines(fit_device(samples_of(times), "d")) if "averaged" in line)
    assert "which moves the mean of size 2 by +22.2%, the most of all sizes" in line
    rising = {1: [100] * 100, 2: [*([110] * 99), 5_000]}
    assert not any("averaged" in line for line in fit_lines(fit_device(samples_of(rising), "d")))


def test_a_size_with_few_samples_takes_nothing_from_the_tail_of_the_others() -> None:
    random = np.random.default_rng(1)
    # 1 ms and a little, but 20 ms twice in a thousand.
    many = (1e6 * random.gamma(100, 1 / 100, 3_000)).astype(np.int64)
    many[::500] = 20_000_000
    samples = samples_of({1: many.tolist(), 2: many.tolist(), 4: (2 * many[1:40]).tolist()})
    table = service_table(fit_table(samples, "m", "table").rows)
    for size in (1, 2):
        assert table.mean_at(size) == pytest.approx(many.mean(), rel=1e-3)
        for level in (0.9, 0.95, 0.99):
            assert table.quantile_at(size, level) == pytest.approx(np.quantile(many, level), rel=0.01)


def test_a_fit_refuses_sizes_that_were_not_measured() -> None:
    table = service_table(fit_table(samples_of({2: [10] * 20, 4: [20] * 20}), "m", "table").rows)
    assert table.mean_at(3) == 15
    for size in (1, 5):
        with pytest.raises(SizeOutOfRange):
            table.mean_at(size)


def test_sizes_held_out_are_predicted_by_their_neighbours_alone() -> None:
    # A straight line but for size 3, which takes twice as long: its neighbours predict the line, and it is off by half;
    # size 2 lies between 1 and 3, and 4 between 3 and 5, so they see the bump.
    times = {1: 100, 2: 200, 3: 600, 4: 400, 5: 500, 6: 600}
    check = check_held_out(samples_of({n: [ns] * 30 for n, ns in times.items()}), "m", "table")
    assert check is not None
    assert check.sizes.tolist() == [2, 3, 4, 5]
    # From 1, 3, 5: the bump and what follows are averaged to 550. From 2, 4, 6: the line.
    expected = [325 / 200 - 1, 300 / 600 - 1, 550 / 400 - 1, 0.0]
    for judged in check.judged.values():
        np.testing.assert_allclose(judged.error, expected)
        assert judged.within == 0.25
        assert judged.floor == 1.0 and np.all(judged.noise == 0)


def test_the_noise_floor_is_that_of_the_median() -> None:
    # Exponential times: the standard error of the median of n is 1/(f(m) 2 sqrt(n)) = m / (ln 2 sqrt(n)) relatively,
    # with n = 400 that is 7.2%; two of them agree within 5% with probability 2 Phi(0.05 / (0.0721 sqrt 2)) - 1 = 0.376.
    random = np.random.default_rng(5)
    times = {n: (random.exponential(size=400) * 1e6 + 1).astype(int).tolist() for n in range(1, 31)}
    check = check_held_out(samples_of(times), "m", "table")
    assert check is not None
    assert np.median(check.judged[0.5].noise) == pytest.approx(0.0721, rel=0.15)
    assert check.judged[0.5].floor == pytest.approx(0.376, abs=0.08)


def test_few_sizes_are_fitted_but_not_checked() -> None:
    device = fit_device(samples_of({1: [5, 6], 2: [7, 8], 3: [9, 9]}), "d")
    assert device.checks == (None,)
    assert "too few sizes" in "\n".join(fit_lines(device))
    assert total_lines([device]) == []


def test_files_of_one_device_are_fitted_together(tmp_path: Path) -> None:
    one, other = samples_of({1: [5, 6]}), samples_of({2: [7, 8]})
    files = [
        write_sample_csv(tmp_path / "a.csv", one.with_about(device="d")),
        write_sample_csv(tmp_path / "b.csv.xz", other.with_about(device="d")),
        write_sample_csv(tmp_path / "c.csv", one),
    ]
    found = devices_in(files)
    assert {name: samples.sizes("m", "table") for name, samples in found.items()} == {"d": (1, 2), "c": (1,)}
    with pytest.raises(SpecError, match=r"a\.csv is given twice"):
        devices_in([files[0], tmp_path / ".." / tmp_path.name / "a.csv"])
    (tmp_path / "c.csv").write_text("broken")
    (tmp_path / "b.csv.xz").write_text("broken")
    with pytest.raises(SpecError) as caught:
        devices_in(files)
    assert len(caught.value.problems) == 2


def test_a_name_makes_no_one_device_of_two(tmp_path: Path) -> None:
    said = {"a": {"device": "d1"}, "b": {"device": "d2"}, "c": {"device": "d1"}, "d": {}}
    a, b, c, d = (
        write_sample_csv(tmp_path / f"{name}.csv", samples_of({1: [5, 6]}).with_about(**about))
        for name, about in said.items()
    )
    with pytest.raises(SpecError) as caught:
        devices_in([a, b, c], "foo")
    assert str(caught.value).startswith(
        f"--name would make one device of the samples of 2: d1 in {a}, {c}; d2 in {b} (got 'foo'"
    )
    assert list(devices_in([a, b])) == ["d1", "d2"]
    # Those that say the same, or nothing, may be called anything.
    assert list(devices_in([a, c, d], "foo")) == ["foo"]


def test_stages_alone_are_no_fit() -> None:
    with pytest.raises(SpecError, match="no samples of m, table"):
        fit_device(samples_of({1: [5, 6]}, stage="encoder"), "d")


def test_quantiles_that_no_samples_carry_are_told() -> None:
    random = np.random.default_rng(7)
    cells = {n: (1000 * n + random.integers(0, 99, 100)).tolist() for n in (1, 2, 3)}
    assert not any("not known" in line for line in fit_lines(fit_device(samples_of(cells), "d")))
    (line,) = (line for line in fit_lines(fit_device(samples_of({**cells, 4: [4100] * 20}), "d")) if "known" in line)
    assert line.endswith(
        ": p99 is not known: 1 of 4 sizes has too few samples (size 4 has 20), and its largest stands for what is "
        "beyond; a size needs 90 for p99"
    )
    (line,) = (line for line in fit_lines(fit_device(samples_of({1: [5], 2: [6]}), "d")) if "known" in line)
    assert "p50, p95 and p99 are not known: 2 of 2 sizes" in line
    assert line.endswith("a size needs 2 for p50, 18 for p95, 90 for p99")
    (line,) = (line for line in fit_lines(fit_device(samples_of({1: [5] * 9, 2: [6] * 9}), "d")) if "known" in line)
    assert ": p95 and p99 are not known: 2 of 2 sizes have" in line
    for level in (0.5, 0.95, 0.99, 0.999):
        assert level in levels_for(samples_for(level))
        assert level == 0.5 or level not in levels_for(samples_for(level) - 1)


def test_a_quantile_that_is_not_known_is_not_judged() -> None:
    few, many = (fit_device(samples_of({n: [100 * n] * repeats for n in (1, 2, 3, 4)}), "d") for repeats in (3, 90))
    assert fit_lines(few)[2].split()[4:] == ["100.0%", "0.0%", "100.0%", "-", "-", "-"]
    assert fit_lines(many)[2].split()[7:] == ["100.0%", "0.0%", "100.0%"]
    assert [line.split(":")[0] for line in total_lines([few])[::2]] == ["all devices, p50"]
    (p99,) = (line for line in total_lines([few, many]) if "p99" in line)
    assert "of 2 sizes held out" in p99
