"""A written profile is what `mprec run` reads, by name and by path; what is wrong leaves nothing behind."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sim.calibrate.fitted_device import fit_device, write_fitted
from sim.calibrate.profile_folder import DeviceText, TableRows, write_profile
from sim.calibrate.roofline_check import check_roofline
from sim.calibrate.sample_set import SampleKey, SampleSet
from sim.profile.library import find_device, find_model, list_devices
from sim.spec.problems import SpecError

PROVENANCE = {"source": "own measurement", "repeats": 100, "date": "2026-01-02"}


def rows(model: str = "rm2", *, crossing: bool = False) -> TableRows:
    service_ns = np.array([[1000, 2000], [3000, 2500 if crossing else 4000]])
    return TableRows(model, "table", np.array([1, 10]), np.array([0.5, 0.99]), service_ns)


def device(name: str = "mine", **more: str) -> DeviceText:
    return DeviceText(name=name, kind="cpu", evidence="measured", provenance=PROVENANCE, **more)  # type: ignore[arg-type]


def everything(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def test_a_profile_is_found_by_name_and_by_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written = write_profile(tmp_path / "hwprofiles", device(memory="16GiB", price="0.34USD/h"), [rows()])
    monkeypatch.chdir(tmp_path)
    for name in ("mine", "hwprofiles/devices/mine.yaml"):
        found = find_device(name)
        assert (found.name, found.memory_bytes, found.price_usd_per_h) == ("mine", 16 * 2**30, 0.34)
        assert (found.evidence, found.content_hash) == ("measured", written.content_hash)
        assert "repeats: 100" in found.provenance
        service = found.service(find_model("rm2"), "table")
        assert service is not None and service.max_size == 10
        assert service.quantile_at(10, 0.99) == 4000
    assert {"mine", "cpu-broadwell"} <= set(list_devices())
    assert len(everything(tmp_path)) == 2


def test_a_profile_is_overwritten_only_when_asked(tmp_path: Path) -> None:
    write_profile(tmp_path, device(), [rows()])
    with pytest.raises(SpecError, match="there already"):
        write_profile(tmp_path, device(), [rows("ncf")])
    assert find_device(str(tmp_path / "devices" / "mine.yaml")).profiles.keys() == {("rm2", "table")}
    write_profile(tmp_path, device(), [rows("ncf")], replace=True)
    assert find_device(str(tmp_path / "devices" / "mine.yaml")).profiles.keys() == {("ncf", "table")}


@pytest.mark.parametrize(
    ("text", "tables", "message"),
    [
        (device("gpu-v100"), [rows()], "ships"),
        (device("a/b"), [rows()], "cannot be called"),
        (device(), [], "no table"),
        (device(), [rows(), rows()], "two tables"),
        (device(memory="16 bananas"), [rows()], "bananas"),
        (device(), [rows(), rows("ncf", crossing=True)], "cross"),
    ],
)
def test_what_is_wrong_leaves_nothing(tmp_path: Path, text: DeviceText, tables: list[TableRows], message: str) -> None:
    for folder in (tmp_path, tmp_path / "new" / "hwprofiles"):
        with pytest.raises(SpecError, match=message):
            write_profile(folder, text, tables)
    # Nor do folders that would have been made.
    assert list(tmp_path.rglob("*")) == []


def test_measured_stages_go_with_the_table(tmp_path: Path) -> None:
    key = SampleKey("dlrm-kaggle", "table", "total", 1, 0)
    cells = {
        key: [100, 120],
        key._replace(size=4): [200, 240],
        key._replace(stage="top MLP"): [50, 70],
        # Falls with size, with as many samples: both are put at their mean.
        key._replace(stage="top MLP", size=4): [40, 60],
    }
    fitted = fit_device(SampleSet({at: np.array(cell) for at, cell in cells.items()}), "mine")
    written = write_fitted(tmp_path, fitted, device())
    stages = written.profiles["dlrm-kaggle", "table"].stages
    assert stages is not None and stages.stages == ("top MLP",)
    assert stages.mean_at("top MLP", [1, 4]).tolist() == [55, 55]
    (check,) = check_roofline(find_device("cpu-broadwell"), written, find_model("dlrm-kaggle"))
    assert check.sizes.tolist() == [1, 4] and set(check.stages) == {"top MLP"}
