"""Extra service times after idle time or many samples: what makes no sense is told with its place."""

from __future__ import annotations

from pathlib import Path

import pytest

from sim.profile.aftereffects import AfterIdle, AfterSize
from sim.profile.device import Device
from sim.profile.library import find_model, load_device
from sim.report.profiles import device_text
from sim.spec.problems import SpecError

DEVICE = """\
name: mine
kind: cpu
service:
  rm2:
    table: {sizes: [1, 10], service: [[1ms], [2ms]]MORE}
    dhe: {sizes: [1, 10], service: [[3ms], [4ms]]}
"""


def loaded(folder: Path, more: str) -> Device:
    """The device whose table representation has so much more."""
    file = folder / "mine.yaml"
    file.write_text(DEVICE.replace("MORE", more and f", {more}"), encoding="utf-8")
    return load_device(file)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("after_idle: {}", "extra: extra is missing"),
        ("after_idle: {idle: [1ms]}", "extra: extra is missing"),
        ("after_idle: {idle: [], extra: []}", "idle: has too few entries"),
        ("after_idle: {idle: [2ms, 1ms], extra: [1us, 2us]}", "must increase strictly: 1000000 ns follows 2000000 ns"),
        ("after_idle: {idle: [0ms], extra: [1us]}", "idle[0]"),
        ("after_idle: {idle: [1ms, 2ms], extra: [1us]}", "1 extra service times for 2 idle times"),
        ("after_idle: {idle: [1ms], extra: [-1us]}", "extra[0]"),
        ("after_idle: {idle: [1ms], extra: [1us], ilde: 2}", "ilde"),
        ("after_idle: {idle: [1ms], extra: [1us], carry: -10%}", "carry"),
        ("after_idle: {idle: [1ms], extra: [1us], carry: 100%}", "carry"),
        ("after_idle: {idle: [1ms], extra: [1us], carry: much}", "carry"),
        (
            "after_idle: {idle: [1ms, 2ms], extra: [1us, 2us], per_sample: [1us]}",
            "1 extra service times per sample for 2 idle times",
        ),
        ("after_idle: {idle: [1ms], extra: [1us], per_sample: [-1us]}", "per_sample[0]"),
        ("after_idle: {idle: [1ms], extra: [1us], per_sample: 1us}", "per_sample"),
        ("after_idle: []", "after_idle: expected {idle: ..., extra: ...}, or a list of such, which are added up"),
        ("after_idle: 3ms", "after_idle: expected {idle: ..., extra: ...}, or a list of such, which are added up"),
        ("after_idle: [{idle: [1ms], extra: [1us]}, {idle: [1ms]}]", "after_idle[1].extra: extra is missing"),
        ("after_idle: [{idle: [1ms], extra: [1us]}, {idle: [2ms, 1ms], extra: [1us, 2us]}]", "after_idle[1].idle"),
        ("after_idle: [{idle: [1ms], extra: [1us], ilde: 2}]", "ilde"),
        ("after_size: {}", "extra: extra is missing"),
        ("after_size: {size: [1]}", "extra: extra is missing"),
        ("after_size: {size: [], extra: []}", "size: has too few entries"),
        ("after_size: {size: [20, 10], extra: [1us, 2us]}", "must increase strictly: 10 follows 20"),
        ("after_size: {size: [0], extra: [1us]}", "size[0]"),
        ("after_size: {size: [9999999999999999999], extra: [1us]}", "size[0]: has to be less than"),
        ("after_size: {size: [1.5], extra: [1us]}", "size[0]"),
        ("after_size: {size: [1, 2], extra: [1us]}", "1 extra service times for 2 sizes"),
        ("after_size: {size: [1], extra: [-1us]}", "extra[0]"),
        ("after_size: {size: [1], extra: [1us], sise: 2}", "sise"),
        ("after_size: {size: [1], extra: [1us], carry: 100%}", "carry"),
        ("after_size: {size: [1], extra: [1us], typical: -1us}", "typical"),
        (
            "after_size: {size: [1, 9], extra: [0us, 1us], typical: 2us}",
            "typical is more than the largest extra service time",
        ),
    ],
)
def test_errors(tmp_path: Path, given: str, expected: str) -> None:
    with pytest.raises(SpecError) as raised:
        loaded(tmp_path, given)
    message = str(raised.value)
    assert expected in message and "mine.yaml:5:" in message


@pytest.mark.parametrize(
    ("given", "idle", "size", "said"),
    [
        (
            "after_idle: {idle: [200us, 4ms], extra: [0s, 225us]}",
            (AfterIdle((200_000, 4_000_000), (0, 225_000), 0.0),),
            None,
            "after idle time: +0 us (0.2 ms), +225 us (4 ms)",
        ),
        (
            "after_idle: {idle: [200us], extra: [5us], carry: 25%}",
            (AfterIdle((200_000,), (5_000,), 0.25),),
            None,
            "+5 us (0.2 ms); 25% of the idle time counts again for the next",
        ),
        (
            "after_idle: {idle: [200us, 4ms], extra: [5us, 6us], per_sample: [0s, 1500ns]}",
            (AfterIdle((200_000, 4_000_000), (5_000, 6_000), 0.0, (0, 1_500)),),
            None,
            "after idle time: +5 us (0.2 ms), +6 us and 1.5 us a sample (4 ms)",
        ),
        (
            "after_idle: [{idle: [200us], extra: [5us]}, {idle: [1ms], extra: [7us], carry: 80%}]",
            (AfterIdle((200_000,), (5_000,)), AfterIdle((1_000_000,), (7_000,), 0.8)),
            None,
            "after idle time: +5 us (0.2 ms)\n    after idle time: +7 us (1 ms); 80% of the idle time counts again",
        ),
        (
            "after_size: {size: [20, 400], extra: [0s, 225us], typical: 40us, carry: 25%}",
            (),
            AfterSize((20, 400), (0, 225_000), 40_000, 0.25),
            "after samples: +0 us (20), +225 us (400), 40 us of it in the times above; 25% of the samples count again",
        ),
    ],
)
def test_a_profile_shows_it_and_its_hash_is_that_of_before_without_it(
    tmp_path: Path, given: str, idle: tuple[AfterIdle, ...], size: AfterSize | None, said: str
) -> None:
    device, plain = loaded(tmp_path, given), loaded(tmp_path, "")
    model = find_model("rm2")
    for one in (device, device.with_overrides(lanes=2)):
        assert (one.after_idle(model, "table"), one.after_size(model, "table")) == (idle, size)
    assert device.after_idle(model, "dhe") == () and device.after_size(model, "dhe") is None
    assert plain.after_idle(model, "table") == () and plain.after_size(model, "table") is None
    assert said in device_text(device, [model])
    assert device.content_hash != plain.content_hash


@pytest.mark.parametrize("given", ["after_idle: {idle: [200us], extra: [5us]", "after_size: {size: [20], extra: [5us]"])
def test_a_profile_without_carry_keeps_the_hash_that_it_had(tmp_path: Path, given: str) -> None:
    without, nothing, some = (
        loaded(tmp_path, f"{given}{carry}}}").content_hash for carry in ("", ", carry: 0%", ", carry: 25%")
    )
    assert without == nothing != some


def test_a_profile_without_anything_per_sample_keeps_the_hash_that_it_had(tmp_path: Path) -> None:
    without, nothing, some = (
        loaded(tmp_path, f"after_idle: {{idle: [200us], extra: [5us]{more}}}").content_hash
        for more in ("", ", per_sample: []", ", per_sample: [1us]")
    )
    assert without == nothing != some
