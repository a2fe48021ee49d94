"""Options of a measurement: what they mean, what is refused before anything is loaded, and what fits in memory."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from sim.calibrate.measure.cache_setting import CacheSetting, parse_cache, parse_popularity
from sim.calibrate.measure.dlrm_source import DlrmSource
from sim.calibrate.measure.energy import RaplMeter
from sim.calibrate.measure.host import processor_name, profile_name
from sim.calibrate.measure.memory import MemoryNeed, available_bytes, rounds_that_fit
from sim.calibrate.measure.settings import (
    MeasureSettings,
    highest_level,
    least_repeats,
    parse_level,
    parse_load,
    parse_sizes,
)
from sim.profile.library import find_dlrm_shape
from sim.spec.problems import SpecError

SETTINGS = MeasureSettings(model="m", representations=("table",), device="cpu", sizes=(1,))


@pytest.mark.parametrize(
    ("written", "sizes"),
    [
        ("1..8", (1, 2, 4, 8)),
        ("3..20", (3, 4, 8, 16, 20)),
        ("7", (7,)),
        ("1,10,100", (1, 10, 100)),
        ("100, 1..4", (1, 2, 4, 100)),
    ],
)
def test_sizes(written: str, sizes: tuple[int, ...]) -> None:
    assert parse_sizes(written) == sizes


@pytest.mark.parametrize("written", ["", "0..4", "8..4", "1..", "a", "1;2", "-1", "1..2000000"])
def test_bad_sizes(written: str) -> None:
    with pytest.raises(SpecError, match="--sizes: bad sizes"):
        parse_sizes(written)


def test_ten_repeats_lie_beyond_a_quantile() -> None:
    assert [least_repeats(level) for level in (0.5, 0.9, 0.95, 0.99, 0.999)] == [20, 100, 200, 1000, 10000]
    assert [highest_level(repeats) for repeats in (20, 100, 1000, 1500)] == [0.5, 0.9, 0.99, 0.993]
    SETTINGS.check()
    with pytest.raises(SpecError, match=r"999 repeats do not carry p99: .*at least 1000 and they carry p98\.9"):
        replace(SETTINGS, repeats=999).check()
    with pytest.raises(SpecError, match="--blocks: bad number of blocks"):
        replace(SETTINGS, blocks=2).check()
    assert replace(SETTINGS, repeats=1000, blocks=7).repeats_per_block * 7 >= 1000


def test_levels_and_loads() -> None:
    assert (parse_level("p99"), parse_level("0.9"), parse_load(0.3)) == (0.99, 0.9, 0.3)
    for bad in ("p100", "99", "p", "nan", "p40"):
        with pytest.raises(SpecError, match="--quantile: bad quantile"):
            parse_level(bad)
    for load in (0.0, 1.1, float("nan")):
        with pytest.raises(SpecError, match="--load: bad load"):
            parse_load(load)


def test_caches_and_popularity() -> None:
    both = parse_cache("encoder=2MB, decoder=256", "--cache")
    assert both == CacheSetting(2_000_000, 256)
    # 16 floats and a key of eight bytes.
    assert both.entries(16) == 2_000_000 // 72
    assert parse_cache("decoder=8", "--cache") == CacheSetting(0, 8)
    for bad in ("", "encoder", "encoder=2", "decoder=0", "decoder=x", "encoder=1MB,encoder=2MB", "l2=1MB"):
        with pytest.raises(SpecError, match="--cache: bad cache"):
            parse_cache(bad, "--cache")
    assert (parse_popularity("uniform"), parse_popularity("zipf"), parse_popularity("zipf:0.9")) == (None, 1.05, 0.9)
    for bad in ("zipf:x", "zipf:0", "normal"):
        with pytest.raises(SpecError, match="--ids: bad popularity"):
            parse_popularity(bad)


def test_representations_that_do_not_fit_together_go_in_rounds() -> None:
    needs = {
        "table": MemoryNeed(60, 1),
        "dhe": MemoryNeed(5, 10),
        "select": MemoryNeed(10, 3),
        "hybrid": MemoryNeed(65, 10),
    }
    assert rounds_that_fit(needs, 150, "this machine") == [["table", "dhe", "select", "hybrid"]]
    assert rounds_that_fit(needs, 149, "this machine") == [["table", "dhe", "select"], ["hybrid"]]
    assert rounds_that_fit(needs, 75, "this machine") == [["table", "dhe"], ["select"], ["hybrid"]]
    assert rounds_that_fit(needs, None, "this machine") == [list(needs)]
    with pytest.raises(SpecError, match="hybrid does not fit in the memory of the GPU") as error:
        rounds_that_fit(needs, 74, "the GPU")
    assert len(error.value.problems) == 1


def test_memory_is_the_least_of_machine_and_container(tmp_path: Path) -> None:
    (tmp_path / "meminfo").write_text("MemTotal: 100 kB\nMemAvailable:  50 kB\n")
    assert available_bytes(tmp_path, tmp_path) == 50 * 1024
    (tmp_path / "memory.max").write_text("40000\n")
    (tmp_path / "memory.current").write_text("15000\n")
    assert available_bytes(tmp_path, tmp_path) == 25_000
    (tmp_path / "memory.max").write_text("max\n")
    assert available_bytes(tmp_path, tmp_path) == 50 * 1024
    assert available_bytes(tmp_path / "no", tmp_path / "no") is None


def test_a_lane_needs_its_parameters_and_its_largest_query() -> None:
    shape = find_dlrm_shape("dlrm-kaggle")
    assert shape is not None
    small, large = (DlrmSource(shape, "cpu", 1, size, 1.05, 1) for size in (1, 4096))
    # Tables and MLPs of 2162.8 MB, and a pool of 65,536 samples with 13 floats and 26 IDs.
    pool = 65536 * (13 * 4 + 26 * 8)
    assert small.memory_need("table", 1).kept_bytes == pytest.approx(2162.8e6 + pool, abs=1e5)
    assert small.memory_need("table", 3).kept_bytes == 3 * small.memory_need("table", 1).kept_bytes
    # Hashes of 8 bytes and floats of 4 besides, for 26 or 5 features; the rest is little.
    for name, stacks in (("hybrid", 26), ("select", 5)):
        hashed = 4096 * stacks * 2048 * 12
        assert hashed < large.memory_need(name, 1).working_bytes < 1.8 * hashed
    assert large.memory_need("hybrid", 2).working_bytes == 2 * large.memory_need("hybrid", 1).working_bytes


def test_energy_counters_are_read_and_wrap(tmp_path: Path) -> None:
    for name, energy in (("intel-rapl:0", 900), ("intel-rapl:0:0", 5), ("intel-rapl:1", 100)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "energy_uj").write_text(f"{energy}\n")
        (tmp_path / name / "max_energy_range_uj").write_text("1000\n")
    now = [0]
    meter = RaplMeter(tmp_path, lambda: now[0])
    assert meter.available and meter.mean_w() is None
    meter.start()
    (tmp_path / "intel-rapl:0" / "energy_uj").write_text("300\n")
    (tmp_path / "intel-rapl:1" / "energy_uj").write_text("700\n")
    now[0] = 500_000
    meter.stop()
    # 400 and 600 microjoules in half a millisecond.
    assert meter.mean_w() == pytest.approx(2.0)
    assert not RaplMeter(tmp_path / "none").available


def test_the_processor_is_named_as_the_system_names_it(tmp_path: Path) -> None:
    (tmp_path / "cpuinfo").write_text("processor : 0\nmodel name\t: AMD EPYC 9V74 80-Core Processor\n")
    assert processor_name(tmp_path / "cpuinfo") == "AMD EPYC 9V74 80-Core Processor"


@pytest.mark.parametrize(
    ("hardware", "kind", "cache", "name"),
    [
        ("AMD EPYC", "cpu", False, "cpu-epyc-2core"),
        ("AMD EPYC 9V74 80-Core Processor", "cpu", True, "cpu-epyc-9v74-2core-mp-cache"),
        ("Intel(R) Xeon(R) CPU E5-2680 v4 @ 2.40GHz", "cpu", False, "cpu-xeon-e5-2680-v4-2core"),
        ("NVIDIA H200 (driver 570.86.15)", "gpu", False, "gpu-h200"),
        ("", "gpu", True, "gpu-machine-mp-cache"),
    ],
)
def test_a_profile_is_named_after_the_hardware(hardware: str, kind: str, cache: bool, name: str) -> None:
    assert profile_name(hardware, kind, 2, cache=cache) == name  # type: ignore[arg-type]
