"""Spells that make no sense are told with their place."""

from __future__ import annotations

from math import exp
from pathlib import Path

import pytest

from sim.profile.library import find_device, find_model, load_device
from sim.profile.spells import Spells
from sim.report.profiles import device_text
from sim.spec.problems import SpecError
from tests.harness import prepare_text

DEVICE = """\
name: mine
kind: cpu
service:
  rm2: {table: {sizes: [1, 10], service: [[1ms], [2ms]]}}
"""


@pytest.mark.parametrize(
    ("spells", "expected"),
    [
        ("{}", "share: share is missing"),
        ("{share: [50%]}", "services: services is missing"),
        ("{share: [], services: []}", "share: has too few entries"),
        ("{share: [10%, 10%, 10%, 10%, 10%], services: [1, 2, 3, 4, 5]}", "share: has too many entries"),
        ("{share: [0%], services: [5]}", "share[0]"),
        ("{share: [60%, 40%], services: [5, 6]}", "the shares come to 1: together they must be below 1"),
        ("{share: [60%], services: [5, 6]}", "2 numbers of services for 1 shares"),
        ("{share: [10%, 20%], services: [6, 6]}", "must increase strictly: 6 follows 6"),
        ("{share: [10%], services: [0.4]}", "services[0]"),
        ("{share: [10%], services: [100001]}", "services[0]"),
        ("{share: [10%], services: [5ms]}", "services[0]"),
        ("{share: [10%], services: [5], shaer: 2}", "shaer"),
    ],
)
def test_errors(tmp_path: Path, spells: str, expected: str) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(f"{DEVICE}spells: {spells}\n", encoding="utf-8")
    with pytest.raises(SpecError) as raised:
        load_device(file)
    message = str(raised.value)
    assert expected in message and "mine.yaml:5:" in message


@pytest.mark.parametrize(
    "origin",
    [
        "service: {distribution: exponential, mean: 1ms}",
        "service: {rm2: {table: {sizes: [1], service: [[1ms]]}, dhe: {distribution: deterministic, mean: 1ms}}}",
        "roofline: {peak: 1TFLOP/s, bandwidth: 100GB/s}",
    ],
)
def test_only_tables_have_them(tmp_path: Path, origin: str) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(f"name: mine\nkind: cpu\n{origin}\nspells: {{share: [10%], services: [5]}}\n", encoding="utf-8")
    with pytest.raises(SpecError, match="spells need service tables: no roofline, and no distribution"):
        load_device(file)


def test_a_profile_shows_them_and_its_hash_is_that_of_before_without(tmp_path: Path) -> None:
    with_them, without = tmp_path / "with.yaml", tmp_path / "without.yaml"
    with_them.write_text(f"{DEVICE}spells: {{share: [20%, 45%], services: [4, 120.5]}}\n")
    without.write_text(DEVICE)
    device, plain = load_device(with_them), load_device(without)
    assert device.spells == Spells((0.2, 0.45), (4.0, 120.5)) and plain.spells is None
    model = find_model("rm2")
    assert "spells     20% of the variance for 4 services, 45% of the variance for 120.5 services" in device_text(
        device, [model]
    )
    assert "spells" not in device_text(plain, [model])
    assert device.content_hash != plain.content_hash
    assert device.with_overrides(lanes=2).spells == device.spells


EXPERIMENT = """\
name: beside a name
model: dlrm-kaggle
sla: 20ms
workload: {arrivals: {kind: poisson, rate: 100/s}, sizes: {kind: fixed, size: 64}, queries: 10}
fleet:
  - name: n
    devices:
      cpu:
        profile: DEVICE
        spells: {share: [20%], services: [4]}
policy: {kind: fastest}
"""


def test_a_fleet_puts_a_device_on_a_noisy_host(tmp_path: Path) -> None:
    (scenario,) = prepare_text(tmp_path, EXPERIMENT.replace("DEVICE", "cpu-epyc-1core"))
    spells = scenario.system.spells
    assert spells.first.tolist() == [0, 1] and spells.decay == pytest.approx([exp(-1 / 4)])
    (quiet,) = prepare_text(
        tmp_path, EXPERIMENT.replace("DEVICE", "cpu-epyc-1core").replace("spells:", "memory: 30GB #")
    )
    assert not quiet.system.spells


@pytest.mark.parametrize("device", ["cpu-epyc-1core-roofline", "{service: {distribution: exponential, mean: 1ms}}"])
def test_a_fleet_cannot_give_spells_to_what_has_no_tables(device: str, tmp_path: Path) -> None:
    with pytest.raises(SpecError) as raised:
        prepare_text(tmp_path, EXPERIMENT.replace("DEVICE", device))
    message = str(raised.value)
    assert "spells need service tables: no roofline, and no distribution" in message
    assert "fleet[0].devices.cpu.spells" in message and ":10:" in message


def test_spells_beside_a_name_change_the_hash() -> None:
    device = find_device("cpu-epyc-1core", Path())
    asked = device.with_overrides(spells=Spells((0.2,), (4.0,)))
    assert asked.spells is not None and asked.content_hash != device.content_hash
    assert asked.with_overrides(lanes=2).spells == asked.spells
