"""A roofline held against measurements: ratios by hand, pairs by name, and what cannot be checked."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from sim.calibrate.roofline_check import check_lines, check_roofline, summary_lines
from sim.calibrate.roofline_pairs import find_checks, same_hardware
from sim.profile.device import Device, Profile
from sim.profile.library import find_device, find_model, list_devices
from sim.profile.roofline import roofline_seconds
from sim.profile.service import ServiceTable
from sim.profile.stage_times import StageTimes
from sim.spec.problems import SpecError

CPU = find_device("cpu-broadwell")
MODEL = find_model("dlrm-kaggle")


def measured(factor: float, *, stage_factor: float | None = None) -> Device:
    """A device that takes `factor` times what the roofline of the CPU says, with a bottom MLP of its own factor."""
    assert CPU.roofline is not None
    sizes = np.array([1, 64])
    seconds = [roofline_seconds(CPU.roofline, MODEL.representations["table"], int(size)) or {} for size in sizes]
    times = np.array([[factor * 1e9 * sum(parts.values())] for parts in seconds])
    stages = None
    if stage_factor is not None:
        stages = StageTimes({"bottom MLP": (sizes, np.array([stage_factor * 1e9 * p["bottom MLP"] for p in seconds]))})
    profile = Profile(ServiceTable(sizes, np.array([0.5]), times), stages=stages)
    return replace(find_device("kairos-r5n.large"), name="lab-broadwell", profiles={("dlrm-kaggle", "table"): profile})


def test_ratios_are_predicted_over_measured() -> None:
    (check,) = check_roofline(CPU, measured(4.0, stage_factor=0.5), MODEL)
    assert (check.representation, check.sizes.tolist()) == ("table", [1, 64])
    np.testing.assert_allclose(check.ratio, 0.25)
    np.testing.assert_allclose(check.stages["bottom MLP"], 2.0)
    assert check.contradicted
    text = "\n".join(check_lines(check))
    assert "4.00 times too fast (0.25 to 0.25 of the measured time); contradicted" in text
    assert "bottom MLP: 2.00 of what was measured" in text
    assert "off by 4.00 times in the median" in summary_lines([check])[0]
    (close,) = check_roofline(CPU, measured(0.6), MODEL)
    assert not close.contradicted
    assert "1.67 times too slow" in check_lines(close)[0]


def test_opaque_models_and_other_models_are_passed_over() -> None:
    assert list(check_roofline(CPU, find_device("kairos-r5n.large"), find_model("rm2"))) == []
    assert list(check_roofline(CPU, measured(1.0), find_model("dlrm-terabyte"))) == []


@pytest.mark.parametrize(
    ("modelled", "kind", "other", "same"),
    [
        ("gpu-t4", "gpu", "triton-t4", True),
        ("gpu-t4", "gpu", "kairos-g4dn.xlarge", False),
        ("cpu-epyc-1core-roofline", "cpu", "cpu-epyc-1core", True),
        ("cpu-epyc-1core", "cpu", "cpu-epyc-2core", False),
        ("gpu-h200-roofline", "gpu", "gpu-h200", True),
        # Its service times are those of queries of which a cache has answered a part.
        ("gpu-h200-roofline", "gpu", "gpu-h200-mp-cache", False),
        ("gpu", "gpu", "gpu-t4", False),
    ],
)
def test_the_same_hardware_is_known_by_name(modelled: str, kind: str, other: str, same: bool) -> None:
    assert same_hardware(modelled, kind, other) == same


def test_what_ships_is_checked_or_it_is_said_why_not() -> None:
    checks, unused = find_checks([], [], [])
    modelled = [name for name in list_devices() if find_device(name).roofline is not None]
    assert {check.predicted_device for check in checks} | {line.split(":")[0] for line in unused} == set(modelled)
    assert {("gpu-t4", "triton-t4"), ("gpu-a30", "triton-a30"), ("gpu-a100", "triton-a100")} <= {
        (check.predicted_device, check.measured_device) for check in checks
    }
    checks, unused = find_checks(["gpu-v100"], ["kairos-g4dn.xlarge"], [])
    assert checks == []
    assert unused == ["gpu-v100: not checked; kairos-g4dn.xlarge has no model that a roofline can time"]
    checks, _ = find_checks(["gpu-v100"], ["triton-t4"], ["dlrm-nvidia"])
    assert [check.measured_device for check in checks] == ["triton-t4"]


def test_bad_names_are_all_told() -> None:
    with pytest.raises(SpecError) as caught:
        find_checks(["gpu-v10", "triton-t4"], ["cpu-broadwell"], ["dlrm-kagle"])
    text = str(caught.value)
    assert len(caught.value.problems) == 4
    assert "did you mean 'gpu-v100'" in text and "did you mean 'dlrm-kaggle'" in text
    assert "no roofline" in text and "no tables" in text
