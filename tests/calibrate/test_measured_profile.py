"""What a measurement writes: samples and a profile, both or none, and what they say."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sim.calibrate.measure.result import about_settings, check_free, sample_file, write_device
from sim.calibrate.measure.settings import MeasureSettings
from sim.calibrate.sample_set import TOTAL, SampleKey, SampleSet, read_sample_csv
from sim.profile.library import load_device
from sim.profile.service import ServiceTable
from sim.spec.problems import SpecError

SETTINGS = MeasureSettings(model="m", representations=("table",), device="cpu", sizes=(1, 64))


def measured(model: str = "m", **more: str) -> SampleSet:
    """1000 samples of 1.000 to 1.999 us at size 1, and 20 of 70 to 89 us at size 64."""
    about = about_settings(SETTINGS, "mine", "mprec calibrate measure") | {"repeats": "20", "interference": "none"}
    return SampleSet(
        {
            SampleKey(model, "table", TOTAL, 1, 0): np.arange(1000, 2000, dtype=np.int64),
            SampleKey(model, "table", TOTAL, 64, 0): np.arange(70_000, 90_000, 1000, dtype=np.int64),
        },
        about | more,
    )


def write(folder: Path, samples: SampleSet, model: str = "m", memory: str | None = "16GiB") -> ServiceTable:
    written = write_device(folder, "mine", samples, model, memory=memory, power={"busy": "65W"})
    assert written == [folder / "samples" / f"mine-{model}.csv.xz", folder / "devices" / "mine.yaml"]
    service = load_device(written[1]).profiles[model, "table"].service
    assert isinstance(service, ServiceTable)
    return service


def test_few_repeats_of_a_large_size_leave_the_tail_of_the_others(tmp_path: Path) -> None:
    service = write(tmp_path, measured(**{"fewer repeats": "m table from size 64 on"}))
    # p99 of 1.000, 1.001, ..., 1.999 us, and the largest of the twenty.
    assert service.quantile_at(1, 0.99) == pytest.approx(1989.5, abs=1)
    assert service.quantile_at(64, 0.99) == 89_000
    device = load_device(tmp_path / "devices" / "mine.yaml")
    assert "Fewer repeats than p99 takes: m table from size 64 on." in device.provenance
    assert (device.memory_bytes, device.busy_w, device.lanes) == (16 * 2**30, 65.0, 1)


def test_models_that_were_measured_before_stay_in_the_profile(tmp_path: Path) -> None:
    write(tmp_path, measured())
    write(tmp_path, measured("other"), "other")
    device = load_device(tmp_path / "devices" / "mine.yaml")
    assert set(device.profiles) == {("m", "table"), ("other", "table")}
    assert "samples: 2040" in device.provenance


def test_a_profile_that_cannot_be_written_leaves_the_samples_as_they_were(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="bananas"):
        write(tmp_path, measured(), memory="16 bananas")
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
    write(tmp_path, measured())
    before = sample_file(tmp_path, "mine", "m").read_bytes()
    with pytest.raises(SpecError, match="bananas"):
        write(tmp_path, measured(host="another"), memory="16 bananas")
    assert sample_file(tmp_path, "mine", "m").read_bytes() == before


def test_a_place_is_checked_before_anything_is_measured(tmp_path: Path) -> None:
    about = about_settings(SETTINGS, "mine", "")
    check_free(tmp_path, "mine", "m", about, replace=False)
    write(tmp_path, measured())
    with pytest.raises(SpecError, match="is there already; give --replace"):
        check_free(tmp_path, "mine", "m", about, replace=False)
    check_free(tmp_path, "mine", "m", about, replace=True)
    check_free(tmp_path, "mine", "other", about, replace=False)
    # Another device whose name begins alike is none of its business.
    check_free(tmp_path, "min", "m", about, replace=False)
    with pytest.raises(SpecError, match=r"threads: .*was measured otherwise.*\(got '2'; allowed: 1\)"):
        check_free(tmp_path, "mine", "other", about | {"threads": "2"}, replace=False)
    with pytest.raises(SpecError, match="ships; take another name"):
        check_free(tmp_path, "gpu-v100", "m", about, replace=True)
    with pytest.raises(SpecError, match="cannot be called that"):
        check_free(tmp_path, "../mine", "m", about, replace=True)
    sample_file(tmp_path, "mine", "m").unlink()
    with pytest.raises(SpecError, match="was not measured; give another --name"):
        check_free(tmp_path, "mine", "m", about, replace=False)


def test_samples_say_how_they_were_measured(tmp_path: Path) -> None:
    write(tmp_path, measured())
    about = read_sample_csv(sample_file(tmp_path, "mine", "m")).about
    assert (about["waiting"], about["load"], about["ids"], about["cache"]) == ("back-to-back", "1", "zipf:1.05", "none")
    assert about["quantile"] == "p99" and "PyTorch" in about["host"]
