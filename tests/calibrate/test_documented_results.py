"""What docs/calibration-results.md reports comes out again; what ships of NVIDIA's times is what importing gives."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sim.calibrate.cache_effect import WITHIN, CacheEffect, cache_effects
from sim.calibrate.fitted_device import FittedDevice, fit_device, total_lines
from sim.calibrate.roofline_check import check_lines, summary_lines
from sim.calibrate.roofline_pairs import find_checks
from sim.calibrate.sources.choices import Choices
from sim.calibrate.sources.percentile_rows import percentile_tables
from sim.calibrate.sources.reading import read_runs
from sim.profile.library import data_dir, find_device, find_model
from sim.profile.table_file import parse_service_csv

DOCUMENTED = Path(__file__).resolve().parents[2] / "docs" / "calibration-results.md"
BURSTABLE = "t3.xlarge"
CACHE = "{encoder: 2MB, decoder_centroids: 256, popularity: {kind: zipf, exponent: 1.05}}"


def words(text: str) -> str:
    return " ".join(text.split())


def within(devices: list[FittedDevice], level: float) -> float:
    judged = [check.judged[level] for device in devices for check in device.checks if check is not None]
    return float(np.mean(np.abs(np.concatenate([one.error for one in judged])) <= judged[0].limit))


def test_held_out_errors_on_kairos_and_ribbon(raw_latency: Path) -> None:
    files = [raw_latency / "kairos_samples.csv.xz", raw_latency / "ribbon_samples.csv.xz"]
    samples = read_runs(files, Choices()).samples
    devices = [fit_device(samples[name], name) for name in sorted(samples)]
    steady = [device for device in devices if BURSTABLE not in device.name]
    assert len(steady) == len(devices) - 2 == 10
    assert within(steady, 0.5) >= 0.95
    assert within(steady, 0.99) >= 0.95
    documented = words(DOCUMENTED.read_text(encoding="utf-8"))
    for line in total_lines(devices, BURSTABLE):
        assert words(line) in documented


def test_rooflines_against_what_ships() -> None:
    documented = words(DOCUMENTED.read_text(encoding="utf-8"))
    checks, _ = find_checks(["gpu-t4", "gpu-a30", "gpu-a100"], [], ["dlrm-nvidia"])
    for check in checks:
        assert words(" ".join(check_lines(check))) in documented
    assert words(" ".join(summary_lines(checks))) in documented


@pytest.mark.parametrize(("device", "count"), [("cpu-epyc-1core-roofline", 4), ("gpu-h200-roofline", 8)])
def test_rooflines_of_what_was_measured(device: str, count: int) -> None:
    documented = words(DOCUMENTED.read_text(encoding="utf-8"))
    checks, _ = find_checks([device], [], ["dlrm-kaggle", "dlrm-terabyte"])
    assert len(checks) == count
    for check in checks:
        assert words(check_lines(check)[0]) in documented
    assert words(" ".join(summary_lines(checks))) in documented


@pytest.mark.parametrize("name", ["gpu-h200", "cpu-epyc-1core", "cpu-xeon-m167-1core"])
def test_the_effect_of_a_cache(name: str) -> None:
    plain, cached = find_device(name), find_device(f"{name}-mp-cache")
    effects = cache_effects(plain, cached, [find_model("dlrm-kaggle")], CACHE)
    assert [effect.representation for effect in effects] == ["dhe", "select", "hybrid"]
    documented = DOCUMENTED.read_text(encoding="utf-8")
    for size in sorted({size for one in effects for size in one.sizes}):
        own = [" |  | " if size not in one.sizes else _row(one, list(one.sizes).index(size)) for one in effects]
        assert f"| {size:,} | {' | '.join(own)} |" in documented
    errors = np.abs(np.concatenate([effect.errors for effect in effects]))
    said = (
        f"{np.sum(errors <= WITHIN)} of {errors.size} within 10%, errors of {np.median(errors):.1%} in the median and"
    )
    assert f"{said} {errors.max():.1%} at worst" in words(documented)


def _row(effect: CacheEffect, row: int) -> str:
    return f"{effect.predicted[row]:.3f} | {effect.measured[row]:.3f} | {effect.errors[row]:+.1%}"


def test_published_times_are_as_imported(raw_latency: Path) -> None:
    file = raw_latency / "nvidia_triton_recsys_latency_derived.csv"
    for name, gpu in (("t4", "NVIDIA T4"), ("a30", "NVIDIA A30"), ("a100", "NVIDIA DGX A100 (1x A100 80GB)")):
        where = {"gpu": gpu, "arch": "DLRM", "size": "4B parameters", "precision": "FP32"}
        where["backend"] = "TensorFlow + NVIDIA TensorRT"
        found = read_runs([file], Choices(model="dlrm-nvidia", where=where))
        (table,) = percentile_tables(found.rows)
        path = data_dir("hwprofiles") / "tables" / f"triton-{name}-dlrm-nvidia-table.csv"
        shipped = parse_service_csv(path.read_bytes(), path.name)
        assert (shipped.sizes.tolist(), shipped.levels.tolist()) == (table.sizes.tolist(), table.levels.tolist())
        assert shipped.service_ns.tolist() == table.service_ns.tolist()
        assert found.sha256[0] in find_device(f"triton-{name}").provenance
