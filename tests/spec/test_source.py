"""YAML with positions: scalars of YAML 1.2, and every trap an error."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim.spec import units
from sim.spec.problems import SpecError
from sim.spec.source import load_yaml, parse_yaml


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e3", 1000.0),
        ("yes", "yes"),
        ("on", "on"),
        ("1:30", "1:30"),
        ("010", 10),
        ("0x10", 16),
        ("0o10", 8),
        ("2001-01-01", "2001-01-01"),
        (".inf", math.inf),
        ("-.5", -0.5),
        ("true", True),
        ("~", None),
        ('"1"', "1"),
        ("1_000", "1_000"),
    ],
)
def test_scalars(text: str, value: object) -> None:
    assert parse_yaml(f"a: {text}", "f").plain() == {"a": value}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb:\n  c: 1\n  c: 2\n", "f:4:3: c: key 'c' stands twice (first on line 3)"),
        ("a: [1, 2\n", "f:2:1: YAML syntax"),
        ("a:\n\tb: 1\n", "f:2:1: YAML syntax"),
        ("", "f:1:1: the file is empty"),
        ("a: &x [*x]\n", "f:1:4: an alias that contains itself"),
        ("a: *x\n", "f:1:4: YAML syntax"),
        ("<<: {a: 1}\n", "f:1:1: merge keys (<<) are not part of YAML 1.2 (allowed: extends: other.yaml)"),
        ("? [1]\n: 2\n", "f:1:3: a key has to be a word or a number"),
        ("a: &x {b: &y [*x]}\nc: *y\n", "f:1:4: an alias that contains itself"),
        ("a: " + "[" * 1000 + "]" * 1000, "f:1:103: nested too deeply: at most 100 values may stand within each other"),
        ("".join("  " * i + "a:\n" for i in range(1000)), "f:100:199: nested too deeply"),
        (
            "a0: &a0 [1]\n" + "".join(f"a{i}: &a{i} [*a{i - 1}]\n" for i in range(1, 1000)),
            "f:100:6: nested too deeply",
        ),
        ("a: " + "1" * 5000, "f:1:4: a whole number of 5,000 digits (allowed: at most 1,000)"),
        ("a: 0x" + "1" * 5000, "f:1:4: a whole number of 5,002 digits"),
        ("a: 1\nbc\0: 2\n", "f:2:3: YAML syntax: the character 0x0000 is not allowed in YAML"),
        ("a: !!python/name:os.system x\n", "f:1:4: the tag"),
    ],
)
def test_traps(text: str, message: str) -> None:
    with pytest.raises(SpecError) as caught:
        parse_yaml(text, "f")
    assert str(caught.value).startswith(message)


def test_aliases_that_multiply_are_stopped() -> None:
    text = "a: &a [x, x, x, x, x, x, x, x, x, x]\n"
    for name, former in zip("bcdefg", "abcdef", strict=True):
        text += f"{name}: &{name} [{', '.join(['*' + former] * 10)}]\n"
    with pytest.raises(SpecError, match="aliases expand to more than"):
        parse_yaml(text, "f")


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "latin.yaml").write_bytes(b"a: \xe9\n")
    for file in (tmp_path / "none.yaml", tmp_path, tmp_path / "latin.yaml"):
        with pytest.raises(SpecError, match=r"cannot be read|not UTF-8"):
            load_yaml(file)


@given(st.integers(0, 10**17))
def test_durations_come_back(value: int) -> None:
    assert units.parse_duration_ns(units.format_duration_ns(value)) == value


@given(st.floats(1e-9, 1e15))
def test_rates_come_back(value: float) -> None:
    assert units.parse_rate_per_s(units.format_rate_per_s(value)) == value


@given(st.integers(1, 10**16))
def test_sizes_come_back(value: int) -> None:
    assert units.parse_bytes(units.format_bytes(value)) == value


@given(st.floats(1e-6, 1.0, exclude_min=True))
def test_fractions_come_back(value: float) -> None:
    assert units.parse_fraction(units.format_fraction(value)) == value


def test_only_some_fractions_may_be_zero() -> None:
    assert units.format_fraction(0.0) == "0%"
    for text in ("0%", "-0.1", "101%", "nan"):
        with pytest.raises(ValueError, match="a fraction has to be more than 0"):
            units.parse_fraction(text)
    for text in ("-0.1%", "1.01", "inf"):
        with pytest.raises(ValueError, match="a fraction has to be at least 0"):
            units.parse_fraction_or_zero(text)


@pytest.mark.parametrize(
    ("parse", "text", "value"),
    [
        (units.parse_rate_per_s, "1.5k/s", 1500.0),
        (units.parse_rate_per_s, "90/min", 1.5),
        (units.parse_bytes, "32GB", 32 * 10**9),
        (units.parse_bytes, "32 GiB", 32 * 2**30),
        (units.parse_price_usd_per_h, "$0.432/h", 0.432),
        (units.parse_price_usd_per_h, "0.432 USD/h", 0.432),
        (units.parse_fraction, "78.79%", 0.7879),
        (units.parse_fraction_or_zero, "0%", 0.0),
        (units.parse_fraction_or_zero, 0.0002, 0.0002),
        (units.parse_duration_ns, "0", 0),
        (units.parse_duration_ns, "1.5us", 1500),
        (units.parse_flops, "14TFLOP/s", 14e12),
        (units.parse_bandwidth, "900GB/s", 900e9),
        (units.parse_power_w, "1.1kW", 1100.0),
    ],
)
def test_units(parse, text: str, value: float) -> None:
    assert parse(text) == value


@pytest.mark.parametrize("text", ["10", "10 sec", "-5ms", "nan", "inf s", "1e400s", True, None, "ms", "0.1ns", [1]])
def test_what_is_no_duration(text: object) -> None:
    with pytest.raises(ValueError, match="duration"):
        units.parse_duration_ns(text)
