"""From samples to tables: what a quantile row keeps, and the shipped tables against the raw samples."""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sim.calibrate.aws import CAMPAIGNS, cell_samples, main
from sim.calibrate.samples import LEVELS, Samples, quantile_row, read_samples, sums_of_all_pairs
from sim.profile.library import data_dir, find_device, find_model
from sim.profile.service import ServiceTable
from sim.profile.table_file import parse_service_csv


def row_mean(row: np.ndarray) -> float:
    table = ServiceTable(np.array([1]), np.array(LEVELS), row[None, :].astype(float))
    return float(table.mean_ns[0])


@given(st.lists(st.integers(1, 10**9), min_size=100, max_size=120))
@settings(max_examples=60, deadline=None)
def test_a_row_keeps_order_extremes_median_and_p99(values: list[int]) -> None:
    samples = np.array(values)
    row = quantile_row(samples)
    assert np.all(np.diff(row) >= 0)
    assert (row[0], row[-1]) == (samples.min(), samples.max())
    for level in (0.5, 0.99):
        expected = np.quantile(samples, level, method="hazen")
        assert abs(row[LEVELS.index(level)] - expected) <= 0.5


def test_a_row_keeps_the_mean_where_reading_quantiles_would_not() -> None:
    # Two modes: between levels 0.3 and 0.4 the plain polygon takes a slope for what is a jump.
    samples = np.array([1_000_000] * 31 + [2_000_000] * 69)
    plain = np.quantile(samples, LEVELS, method="hazen")
    assert row_mean(plain) / samples.mean() - 1 < -0.01
    assert row_mean(quantile_row(samples)) == pytest.approx(samples.mean(), abs=0.5)


def test_hazen_polygon_of_all_knots_has_the_sample_mean() -> None:
    samples = np.sort(np.random.default_rng(3).integers(1, 10**9, size=40))
    levels = (np.arange(40) + 0.5) / 40
    table = ServiceTable(np.array([1]), levels, samples[None, :].astype(float))
    assert table.mean_ns[0] == pytest.approx(samples.mean(), rel=1e-12)
    assert quantile_row(np.array([5, 7, 9]), levels=[0.5]).tolist() == [7]


def test_sums_of_all_pairs() -> None:
    sums = sums_of_all_pairs(np.array([1, 2]), np.array([10, 20, 30]))
    assert sums.tolist() == [11, 21, 31, 12, 22, 32]


def test_reading_samples(tmp_path: Path) -> None:
    header = "kind,instance,model,batch,sample,latency_ms\n"
    path = tmp_path / "s.csv"
    path.write_text(header + "compute,a,m,10,1,2.5\ncompute,a,m,10,0,8.568999999999999\n")
    samples = read_samples(path)
    assert samples.cells["compute", "a", "m", 10].tolist() == [8_569_000, 2_500_000]
    path.write_text(header + "compute,a,m,10,0,2.5\ncompute,a,m,10,0,2.5\n")
    with pytest.raises(ValueError, match=r"s.csv:3: repeat 0"):
        read_samples(path)
    path.write_text(header + "compute,a,m,10,0,0\n")
    with pytest.raises(ValueError, match=r"s.csv:2: latency"):
        read_samples(path)
    path.write_text("a,b\n")
    with pytest.raises(ValueError, match="columns"):
        read_samples(path)


def test_shipped_tables_are_small() -> None:
    tables = [path for name in CAMPAIGNS for path in (data_dir("hwprofiles") / "tables").glob(f"{name}-*.csv")]
    assert len(tables) == 4 * 5 * 2 + 8 * 2
    assert sum(path.stat().st_size for path in tables) < 1_500_000


@functools.cache
def raw(folder: Path, campaign: str) -> Samples:
    return read_samples(folder / f"{campaign}_samples.csv.xz")


@pytest.mark.parametrize(
    ("campaign", "instance", "model", "size", "loading"),
    [
        ("kairos", "g4dn.xlarge", "rm2", 10, False),
        ("kairos", "g4dn.xlarge", "dien", 300, True),
        ("kairos", "c5n.2xlarge", "wnd", 1000, True),
        ("kairos", "t3.xlarge", "dien", 60, False),
        ("ribbon", "g4dn.xlarge", "mtwnd", 250, False),
        ("ribbon", "m5.xlarge", "dien", 500, False),
    ],
)
def test_shipped_rows_come_out_again(
    raw_latency: Path, campaign: str, instance: str, model: str, size: int, loading: bool
) -> None:
    samples = raw(raw_latency, campaign)
    expected = quantile_row(cell_samples(samples, CAMPAIGNS[campaign], instance, model, size, data_loading=loading))
    name = f"{campaign}-{instance}-{model}{'-with-loading' if loading else ''}.csv"
    shipped = parse_service_csv((data_dir("hwprofiles") / "tables" / name).read_bytes(), name)
    assert shipped.levels.tolist() == list(LEVELS)
    assert shipped.service_ns[shipped.sizes == size][0].tolist() == expected.tolist()
    assert samples.sha256 in find_device(f"{campaign}-{instance}").provenance


@pytest.mark.parametrize("campaign", ["kairos", "ribbon"])
def test_shipped_tables_keep_the_samples(raw_latency: Path, campaign: str) -> None:
    """Every cell: the mean to 0.001%, the median and p99 to rounding, the standard deviation mostly."""
    samples = raw(raw_latency, campaign)
    deviations = []
    for instance in CAMPAIGNS[campaign].instances:
        device = find_device(f"{campaign}-{instance}")
        for model in CAMPAIGNS[campaign].models:
            table = device.service(find_model(model), "table")
            assert isinstance(table, ServiceTable)
            assert table.sizes.tolist() == list(samples.sizes("compute", instance, model))
            cells = [cell_samples(samples, CAMPAIGNS[campaign], instance, model, int(n)) for n in table.sizes]
            np.testing.assert_allclose(table.mean_ns, [cell.mean() for cell in cells], rtol=1e-5)
            for level in (0.5, 0.99):
                expected = [np.quantile(cell, level, method="hazen") for cell in cells]
                np.testing.assert_allclose(table.quantile_at(table.sizes, level), expected, atol=1.0)
            # A constant cell has no deviation to compare; the table's may not be 0/0.
            deviations += [
                np.sqrt(variance) / cell.std()
                for variance, cell in zip(table.variance_ns2, cells, strict=True)
                if cell.std() > 0
            ]
    # What 18 levels cannot keep: the deviation of a cell, off by up to 17%, within 2% for half of the cells.
    assert np.median(np.abs(np.array(deviations) - 1)) < 0.02
    assert np.max(np.abs(np.array(deviations) - 1)) < 0.17


def test_loading_is_added_to_computing(raw_latency: Path) -> None:
    samples = raw(raw_latency, "kairos")
    device = find_device("kairos-c5n.2xlarge")
    table = device.service(find_model("rm2"), "table", data_loading=True)
    assert isinstance(table, ServiceTable)
    for size in (10, 500, 1000):
        parts = [samples.cells[kind, "c5n.2xlarge", "rm2", size] for kind in ("compute", "data_loading")]
        assert table.mean_at(size) == pytest.approx(sum(part.mean() for part in parts), rel=1e-5)


def test_warm_up_is_left_out_where_it_shows(raw_latency: Path) -> None:
    """The claim of the provenance: only on the GPU type is the first repeat unlike the rest."""
    samples = raw(raw_latency, "kairos")
    campaign = CAMPAIGNS["kairos"]
    for instance in campaign.instances:
        for model in campaign.models:
            first = np.median(
                [
                    cell[0] / np.median(cell[1:])
                    for (kind, where, what, _), cell in samples.cells.items()
                    if (kind, where, what) == ("compute", instance, model)
                ]
            )
            assert (first > 1.25) == (campaign.warm_up.get(instance, 0) == 1)


def test_the_command_writes_what_ships(raw_latency: Path, tmp_path: Path) -> None:
    arguments = ["--prices", str(raw_latency / "ribbon_price.csv")]
    assert main([str(raw_latency / "ribbon_samples.csv.xz"), str(tmp_path), *arguments]) == 0
    written = sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*.*"))
    assert len(written) == 8 * 3
    for path in written:
        assert (tmp_path / path).read_bytes() == (data_dir("hwprofiles") / path).read_bytes()
