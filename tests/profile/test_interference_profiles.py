"""Measured slowdowns of busy lanes: what ships, what bad files say, and how the factors were derived."""

from __future__ import annotations

import tarfile
from pathlib import Path

import pytest

from sim.calibrate.colocation import SERIES, interference_text, slowdown
from sim.profile.library import UnknownName, data_dir, find_interference, list_interference, load_interference
from sim.report.profiles import interference_text as shown
from sim.spec.problems import SpecError

# Medians in ms of 2 to 14 copies, worked out from the source without this package.
MEDIANS_MS = {
    "broadwell-dlrm-rmc1": (
        *(1.301, 1.364, 1.365, 1.41, 1.428, 1.504, 1.558),
        *(1.55, 1.524, 1.577, 1.608, 1.574, 1.622),
    ),
    "broadwell-dlrm-rmc2": (
        *(7.476, 7.898, 8.207, 8.346, 8.582, 8.631, 8.549),
        *(8.605, 8.724, 8.705, 8.832, 8.766, 8.79),
    ),
}
ALONE_MS = {"broadwell-dlrm-rmc1": 1.330, "broadwell-dlrm-rmc2": 7.259}


def test_what_ships() -> None:
    assert list_interference() == tuple(sorted(SERIES))


@pytest.mark.parametrize("name", list_interference())
def test_shipped_profiles_are_whole(name: str) -> None:
    profile = find_interference(name)
    assert profile.name == name
    assert profile.evidence == "measured"
    assert len(profile.slowdown) == 14
    assert profile.slowdown[0] == 1.0 and 1.2 < profile.slowdown[-1] < 1.6
    assert "boringlee24/dlrm" in profile.provenance and "sha256: " in profile.provenance
    assert len(profile.content_hash) == 64
    assert f"14    {profile.slowdown[13]:.4f}" in shown(profile)


@pytest.mark.parametrize("name", MEDIANS_MS)
def test_factors_are_medians_over_the_median_alone(name: str) -> None:
    expected = [max(1.0, median / ALONE_MS[name]) for median in MEDIANS_MS[name]]
    assert find_interference(name).slowdown[1:] == pytest.approx(expected, rel=6e-4)


def test_the_third_model_reads_less_at_random_and_is_slowed_more() -> None:
    third = find_interference("broadwell-dlrm-rmc3").slowdown
    assert third[3] == 1.3705
    assert all(a >= b for a, b in zip(third, find_interference("broadwell-dlrm-rmc2").slowdown, strict=True))


@pytest.mark.parametrize("name", sorted(SERIES))
def test_the_shipped_file_comes_from_the_source(name: str, raw_latency: Path, tmp_path: Path) -> None:
    with tarfile.open(raw_latency / "boringlee24_dlrm_inference_data.tar.xz") as archive:
        wanted = [archive.getmember(f"inference_data/{file}") for file in SERIES[name].files()]
        archive.extractall(tmp_path, members=wanted, filter="data")
    folder = tmp_path / "inference_data"
    assert slowdown(SERIES[name], folder) == find_interference(name).slowdown
    assert interference_text(name, folder) == (data_dir("hwprofiles") / "interference" / f"{name}.yaml").read_text()


def test_unknown_names_list_the_known_ones() -> None:
    with pytest.raises(UnknownName, match="unknown interference profile 'rmc1'") as error:
        find_interference("rmc1")
    assert error.value.known == list_interference()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("slowdown: [1, 2]\nevidence: measured\n", "provenance is missing"),
        (
            "slowdown: [1.1, 2]\nevidence: measured\nprovenance: {source: me}\n",
            "1:11: slowdown: the first factor is that of a lane that is busy alone, which is 1",
        ),
        (
            "slowdown: [1, 0.9]\nevidence: measured\nprovenance: {source: me}\n",
            "1:15: slowdown[1]: has to be at least 1.0",
        ),
        ("slowdown: [1, 2]\nevidence: felt\nprovenance: {source: me}\n", "2:11: evidence: not one of the known names"),
    ],
)
def test_bad_files(text: str, expected: str, tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(text)
    with pytest.raises(SpecError) as error:
        load_interference(file)
    assert expected in str(error.value)
