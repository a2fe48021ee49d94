"""Extra service times after idle time that make no sense are told with their place."""

from __future__ import annotations

from pathlib import Path

import pytest

from sim.profile.library import find_model, load_device
from sim.report.profiles import device_text
from sim.spec.problems import SpecError

DEVICE = """\
name: mine
kind: cpu
service:
  rm2:
    table: {sizes: [1, 10], service: [[1ms], [2ms]], AFTER_IDLE}
    dhe: {sizes: [1, 10], service: [[3ms], [4ms]]}
"""


@pytest.mark.parametrize(
    ("after_idle", "expected"),
    [
        ("{}", "extra: extra is missing"),
        ("{idle: [1ms]}", "extra: extra is missing"),
        ("{idle: [], extra: []}", "idle: has too few entries"),
        ("{idle: [2ms, 1ms], extra: [1us, 2us]}", "must increase strictly: 1000000 ns follows 2000000 ns"),
        ("{idle: [0ms], extra: [1us]}", "idle[0]"),
        ("{idle: [1ms, 2ms], extra: [1us]}", "1 extra service times for 2 idle times"),
        ("{idle: [1ms], extra: [-1us]}", "extra[0]"),
        ("{idle: [1ms], extra: [1us], ilde: 2}", "ilde"),
        ("{idle: [1ms], extra: [1us], carry: -10%}", "carry"),
        ("{idle: [1ms], extra: [1us], carry: 100%}", "carry"),
        ("{idle: [1ms], extra: [1us], carry: much}", "carry"),
    ],
)
def test_errors(tmp_path: Path, after_idle: str, expected: str) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(DEVICE.replace("AFTER_IDLE", f"after_idle: {after_idle}"), encoding="utf-8")
    with pytest.raises(SpecError) as raised:
        load_device(file)
    message = str(raised.value)
    assert expected in message and "mine.yaml:5:" in message


def test_a_profile_shows_it_and_its_hash_is_that_of_before_without_it(tmp_path: Path) -> None:
    with_it, without = tmp_path / "with.yaml", tmp_path / "without.yaml"
    with_it.write_text(DEVICE.replace("AFTER_IDLE", "after_idle: {idle: [200us, 4ms], extra: [0s, 225us]}"))
    without.write_text(DEVICE.replace(", AFTER_IDLE", ""))
    device, plain = load_device(with_it), load_device(without)
    model = find_model("rm2")
    cost = device.after_idle(model, "table")
    assert cost is not None and (cost.idle_ns, cost.extra_ns) == ((200_000, 4_000_000), (0, 225_000))
    assert device.after_idle(model, "dhe") is None and plain.after_idle(model, "table") is None
    assert "after idle time: +0 us (0.2 ms), +225 us (4 ms)" in device_text(device, [model])
    assert device.content_hash != plain.content_hash
    assert device.with_overrides(lanes=2).after_idle(model, "table") == cost


def test_a_profile_without_carry_keeps_the_hash_that_it_had(tmp_path: Path) -> None:
    hashes = {}
    for carry in ("", ", carry: 0%", ", carry: 25%"):
        file = tmp_path / "mine.yaml"
        file.write_text(DEVICE.replace("AFTER_IDLE", f"after_idle: {{idle: [200us], extra: [5us]{carry}}}"))
        device = load_device(file)
        hashes[carry] = device.content_hash
        cost = device.after_idle(find_model("rm2"), "table")
        assert cost is not None and cost.carry == (0.25 if "25%" in carry else 0.0)
    assert hashes[""] == hashes[", carry: 0%"] != hashes[", carry: 25%"]
    assert "+5 us (0.2 ms); 25% of the idle time counts again for the next" in device_text(device, [find_model("rm2")])
