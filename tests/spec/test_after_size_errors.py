"""Extra service times after many samples that make no sense are told with their place."""

from __future__ import annotations

from pathlib import Path

import pytest

from sim.profile.aftereffects import AfterSize
from sim.profile.library import find_model, load_device
from sim.report.profiles import device_text
from sim.spec.problems import SpecError

DEVICE = """\
name: mine
kind: cpu
service:
  rm2:
    table: {sizes: [1, 10], service: [[1ms], [2ms]], AFTER_SIZE}
    dhe: {sizes: [1, 10], service: [[3ms], [4ms]]}
"""


@pytest.mark.parametrize(
    ("after_size", "expected"),
    [
        ("{}", "extra: extra is missing"),
        ("{size: [1]}", "extra: extra is missing"),
        ("{size: [], extra: []}", "size: has too few entries"),
        ("{size: [20, 10], extra: [1us, 2us]}", "must increase strictly: 10 follows 20"),
        ("{size: [0], extra: [1us]}", "size[0]"),
        ("{size: [1.5], extra: [1us]}", "size[0]"),
        ("{size: [1, 2], extra: [1us]}", "1 extra service times for 2 sizes"),
        ("{size: [1], extra: [-1us]}", "extra[0]"),
        ("{size: [1], extra: [1us], typical: -1us}", "typical"),
        ("{size: [1, 9], extra: [0us, 1us], typical: 2us}", "typical is more than the largest extra service time"),
        ("{size: [1], extra: [1us], carry: 100%}", "carry"),
        ("{size: [1], extra: [1us], sise: 2}", "sise"),
    ],
)
def test_errors(tmp_path: Path, after_size: str, expected: str) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(DEVICE.replace("AFTER_SIZE", f"after_size: {after_size}"), encoding="utf-8")
    with pytest.raises(SpecError) as raised:
        load_device(file)
    message = str(raised.value)
    assert expected in message and "mine.yaml:5:" in message


def test_a_profile_shows_it_and_its_hash_is_that_of_before_without_it(tmp_path: Path) -> None:
    with_it, without = tmp_path / "with.yaml", tmp_path / "without.yaml"
    given = "after_size: {size: [20, 400], extra: [0s, 225us], typical: 40us, carry: 25%}"
    with_it.write_text(DEVICE.replace("AFTER_SIZE", given))
    without.write_text(DEVICE.replace(", AFTER_SIZE", ""))
    device, plain = load_device(with_it), load_device(without)
    model = find_model("rm2")
    cost = device.after_size(model, "table")
    assert cost == AfterSize((20, 400), (0, 225_000), 40_000, 0.25)
    assert device.after_size(model, "dhe") is None and plain.after_size(model, "table") is None
    said = "after samples: +0 us (20), +225 us (400), 40 us of it in the times above; 25% of the samples count again"
    assert said in device_text(device, [model])
    assert device.content_hash != plain.content_hash
    assert device.with_overrides(lanes=2).after_size(model, "table") == cost
