"""The roofline: each term by hand, monotone times, placement of parameters, and a measured check."""

from __future__ import annotations

import csv
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sim.profile.dlrm import DheShape, DlrmShape, dlrm_representation
from sim.profile.library import find_device, find_model
from sim.profile.model import Representation, Stage
from sim.profile.roofline import GRID, Roofline, roofline_seconds, roofline_table
from sim.profile.service import ServiceTable

MODELLED = ("cpu-broadwell", "gpu-v100", "tpu-v3-8", "ipu-gc200", "ipu-pod16")

PLAIN = Roofline(
    peak_flops_per_s=1e9,
    bandwidth_bytes_per_s=1e9,
    compute_efficiency=0.5,
    bandwidth_efficiency=0.5,
    gather_efficiency=0.25,
)


def work(*stages: Stage, size: int = 0, tables: int = 0) -> Representation:
    return Representation(
        name="x",
        accuracy=1.0,
        accuracy_evidence="assumed",
        bytes=size,
        table_bytes=tables,
        input_bytes_per_sample=100.0,
        exchange_bytes_per_sample=1000.0,
        stages=stages,
    )


def total(roofline: Roofline, representation: Representation, size: int) -> float:
    seconds = roofline_seconds(roofline, representation, size)
    assert seconds is not None
    return sum(seconds.values())


def test_compute_bound_stage_by_hand() -> None:
    stage = Stage("mlp", "matrix", flops_per_sample=1000.0, weight_bytes=10, operators=3)
    # 1000 FLOPs x 50 samples at 0.5 GFLOP/s.
    assert total(PLAIN, work(stage), 50) == pytest.approx(100e-6)
    slow_start = replace(PLAIN, small_batch=50.0)
    assert total(slow_start, work(stage), 50) == pytest.approx(200e-6)
    with_overheads = replace(PLAIN, overhead_ns=1000, operator_overhead_ns=10)
    assert total(with_overheads, work(stage), 50) == pytest.approx(100e-6 + 1e-6 + 30e-9)
    assert total(replace(PLAIN, host_link_bytes_per_s=1e9), work(stage), 50) == pytest.approx(105e-6)


def test_memory_bound_stage_by_hand() -> None:
    stage = Stage("mlp", "matrix", flops_per_sample=1.0, weight_bytes=1_000_000, stream_bytes_per_sample=500.0)
    # 1 MB of weights once and 500 B x 100 samples at 0.5 GB/s.
    assert total(PLAIN, work(stage), 100) == pytest.approx(2e-3 + 100e-6)


def test_gather_fetches_whole_lines() -> None:
    stage = Stage("table", "gather", rows_per_sample=26, row_bytes=100)
    # 100 B take two lines of 64 B, at a quarter of 1 GB/s.
    assert total(PLAIN, work(stage), 10) == pytest.approx(26 * 128 * 10 / 0.25e9)


def test_vector_stages_use_the_vector_peak() -> None:
    stage = Stage("encoder", "vector", flops_per_sample=1000.0)
    assert total(replace(PLAIN, vector_peak_flops_per_s=1e8), work(stage), 50) == pytest.approx(1e-3)


def test_chips_share_the_samples_but_each_reads_the_weights() -> None:
    stage = Stage("mlp", "matrix", flops_per_sample=1000.0, weight_bytes=10)
    assert total(replace(PLAIN, chips=4), work(stage), 50) == pytest.approx(13 * 2e-6)
    heavy = Stage("mlp", "matrix", weight_bytes=1_000_000)
    assert total(replace(PLAIN, chips=4), work(heavy), 50) == pytest.approx(2e-3)


def test_sharding_when_one_chip_is_too_small() -> None:
    mlp = Stage("mlp", "matrix", flops_per_sample=1000.0)
    model = work(mlp, size=100, tables=90)
    roofline = replace(PLAIN, chips=4, chip_memory_bytes=50, interconnect_bytes_per_s=1e9)
    assert total(roofline, model, 40) == pytest.approx(10 * 2e-6 + 10 * 1e-6)
    # The MP-Rec layout: everything but the tables on one chip.
    assert total(replace(roofline, sharded_dense="one-chip"), model, 40) == pytest.approx(40 * 2e-6 + 40e-6)
    assert total(replace(roofline, chip_memory_bytes=100), model, 40) == pytest.approx(10 * 2e-6)


def test_streaming_memory_holds_what_does_not_fit_on_chip() -> None:
    gather = Stage("table", "gather", rows_per_sample=1, row_bytes=64)
    mlp = Stage("mlp", "matrix", weight_bytes=10_000)
    on_chip = replace(
        PLAIN,
        on_chip_memory_bytes=20_000,
        on_chip_bandwidth_bytes_per_s=1e12,
        streaming_bandwidth_bytes_per_s=1e6,
    )
    fits = roofline_seconds(on_chip, work(gather, mlp, size=20_000, tables=10_000), 10)
    spills = roofline_seconds(on_chip, work(gather, mlp, size=20_001, tables=10_001), 10)
    assert fits is not None
    assert spills is not None
    assert fits["table"] == pytest.approx(640 / 0.25e12)
    assert spills["table"] == pytest.approx(640 / 0.25e6)
    assert fits["mlp"] == spills["mlp"] == pytest.approx(10_000 / 0.5e12)
    nowhere = replace(on_chip, streaming_bandwidth_bytes_per_s=None)
    assert roofline_seconds(nowhere, work(gather, mlp, size=20_001, tables=10_001), 10) is None


def test_ipu_placements_of_the_shipped_models() -> None:
    kaggle, terabyte = find_model("dlrm-kaggle"), find_model("dlrm-terabyte")
    chip, pod = find_device("ipu-gc200").roofline, find_device("ipu-pod16").roofline
    assert chip is not None
    assert pod is not None

    def table_seconds(roofline: Roofline, representation: Representation) -> float:
        seconds = roofline_seconds(roofline, representation, 128)
        assert seconds is not None
        return seconds["table"]

    # 2.16 GB spills from one IPU but is sharded on chip over four; 12.6 GB spills from four as well.
    assert table_seconds(chip, kaggle.representations["table"]) > 1e-5
    assert table_seconds(pod, kaggle.representations["table"]) < 1e-6
    assert table_seconds(pod, terabyte.representations["table"]) > 1e-4


def test_opaque_models_have_no_roofline() -> None:
    assert roofline_table(PLAIN, find_model("rm2").representations["table"]) is None


@pytest.mark.parametrize("device", MODELLED)
@pytest.mark.parametrize("model", ["dlrm-kaggle", "dlrm-terabyte"])
def test_times_grow_with_size_and_extend(device: str, model: str) -> None:
    described = find_model(model)
    assert find_device(device).representations(described) == ("table", "dhe", "select", "hybrid")
    for name in described.representations:
        service = find_device(device).service(described, name)
        assert isinstance(service, ServiceTable)
        assert service.sizes.tolist() == list(GRID)
        assert (GRID[0], GRID[-1], len(GRID)) == (1, 4096, 24)
        times = service.mean_at(np.arange(1, 10_001))
        assert np.all(np.diff(times) >= 0)
        assert times[0] > 0
        assert service.evidence == "modelled"
        assert np.all(service.variance_ns2 == 0)


def test_grid_is_fine_enough() -> None:
    """Interpolated times are within 10% of computed ones between the grid's sizes."""
    for device in MODELLED:
        roofline = find_device(device).roofline
        assert roofline is not None
        for representation in find_model("dlrm-kaggle").representations.values():
            service = roofline_table(roofline, representation)
            assert service is not None
            for size in (5, 37, 300, 3000):
                exact = total(roofline, representation, size) * 1e9
                assert service.mean_at(size) == pytest.approx(exact, rel=0.1)


def test_more_work_never_takes_less_time() -> None:
    """Hybrid contains table and DHE, so where all fit alike it is slowest."""
    model = find_model("dlrm-kaggle")
    device = find_device("gpu-v100")
    times = {}
    for name in model.representations:
        service = device.service(model, name)
        assert service is not None
        times[name] = service.mean_at([1, 128, 4096])
    for name in ("table", "dhe", "select"):
        assert np.all(times["hybrid"] >= times[name])


def test_against_published_triton_latencies(raw_latency: Path) -> None:
    """The figures that gpu-v100's provenance states, from the published measurements."""
    # The DLRM of NVIDIA's DeepLearningExamples; the number of rows does not enter.
    shape = DlrmShape(
        embedding_dim=128,
        table_rows=(1_000_000,) * 26,
        bottom_mlp=(13, 512, 256, 128),
        top_mlp=(1024, 1024, 512, 256, 1),
        interaction="dot",
        dhe=DheShape(k=2, hidden=()),
    )
    dlrm = dlrm_representation(shape, "table", accuracy=1.0, accuracy_evidence="assumed")
    v100 = find_device("gpu-v100").roofline
    assert v100 is not None
    gpus = {
        "T4": replace(v100, peak_flops_per_s=8.1e12, bandwidth_bytes_per_s=320e9, host_link_bytes_per_s=None),
        "A100": replace(v100, peak_flops_per_s=156e12, bandwidth_bytes_per_s=2039e9, host_link_bytes_per_s=None),
    }
    ratios: dict[tuple[str, str, str], list[float]] = {}
    with (raw_latency / "nvidia_triton_recsys_latency_derived.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            if row["arch"] != "DLRM" or row["precision"] != "FP32" or row["unit"] != "us":
                continue
            for name, roofline in gpus.items():
                if name in row["gpu"]:
                    key = (name, row["size"], "HPS" if "HPS" in row["backend"] else "TensorFlow")
                    modelled = total(roofline, dlrm, int(row["batch"])) * 1e6
                    ratios.setdefault(key, []).append(modelled / float(row["compute"]))
    geometric = {key: math.exp(np.mean(np.log(values))) for key, values in ratios.items()}
    assert geometric["T4", "22B parameters", "HPS"] == pytest.approx(0.83, abs=0.005)
    assert geometric["T4", "4B parameters", "TensorFlow"] == pytest.approx(0.57, abs=0.005)
    assert geometric["A100", "4B parameters", "TensorFlow"] == pytest.approx(0.73, abs=0.005)
    assert min(ratios["T4", "22B parameters", "HPS"]) == pytest.approx(0.66, abs=0.005)
    assert max(ratios["T4", "22B parameters", "HPS"]) == pytest.approx(0.96, abs=0.005)
    assert ratios["A100", "4B parameters", "TensorFlow"][0] == pytest.approx(1.03, abs=0.005)
    assert ratios["A100", "4B parameters", "TensorFlow"][-1] == pytest.approx(0.57, abs=0.005)
