"""Units as they are written ("10ms", "1.5k/s", "32GB") and the numbers they stand for, converted once, here.

Every dimension has a parser, a formatter that is its exact inverse, and a pydantic type that validates the written
form and serialises back to it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal, DecimalException, InvalidOperation
from typing import Annotated, Literal

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema

__all__ = [
    "Bytes",
    "BytesPerS",
    "DurationNs",
    "DurationOrAuto",
    "DurationOrZeroNs",
    "FlopsPerS",
    "Fraction",
    "FractionOrZero",
    "PowerW",
    "PriceUsdPerH",
    "RateOrZeroPerS",
    "RatePerS",
    "format_bandwidth",
    "format_bytes",
    "format_duration_ns",
    "format_flops",
    "format_fraction",
    "format_power_w",
    "format_price_usd_per_h",
    "format_rate_per_s",
    "parse_bandwidth",
    "parse_bytes",
    "parse_duration_ns",
    "parse_flops",
    "parse_fraction",
    "parse_fraction_or_zero",
    "parse_power_w",
    "parse_price_usd_per_h",
    "parse_rate_per_s",
]

LARGEST = 2**62
"""Durations and sizes are 64-bit integers, with room to add a few up."""

NUMBER = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)\s*(.*)", re.DOTALL)

DURATIONS = {
    "ns": 1,
    "us": 10**3,
    "µs": 10**3,
    "μs": 10**3,
    "ms": 10**6,
    "s": 10**9,
    "min": 60 * 10**9,
    "h": 3600 * 10**9,
    "d": 86400 * 10**9,
}
BYTES = {
    "B": 1,
    "kB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "TB": 10**12,
    "KiB": 2**10,
    "MiB": 2**20,
    "GiB": 2**30,
    "TiB": 2**40,
}
PREFIXES = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "P": 10**15}
RATES = {
    f"{prefix}/{per}": Decimal(factor) / seconds
    for prefix, factor in (("", 1), ("k", 10**3), ("M", 10**6), ("G", 10**9))
    for per, seconds in (("s", 1), ("min", 60), ("h", 3600))
}
POWERS = {"mW": Decimal("0.001"), "W": Decimal(1), "kW": Decimal(1000), "MW": Decimal(10**6)}
PRICES = {"USD/h": Decimal(1), "$/h": Decimal(1)}
FLOPS = {f"{prefix}FLOP/s": Decimal(factor) for prefix, factor in PREFIXES.items()}
BANDWIDTHS = {f"{prefix}B/s": Decimal(factor) for prefix, factor in PREFIXES.items()}


@dataclass(frozen=True, slots=True)
class Dimension:
    """A dimension: what it is called, its units, and how a value looks."""

    noun: str
    units: Mapping[str, int | Decimal]
    example: str
    whole: bool = False
    zero: bool = False
    least: float = 0.0
    most: float = math.inf

    def parse(self, written: object) -> float | int:
        """Return the number in base units; a ValueError says what is wrong and what is allowed."""
        if isinstance(written, bool) or not isinstance(written, str | int | float):
            raise ValueError(f"a {self.noun} is written as a number and a unit, such as {self.example}")
        text = str(written).strip()
        if text.startswith("$"):
            text = text[1:].replace("/", " $/", 1)
        match = NUMBER.fullmatch(text)
        if match is None:
            raise ValueError(
                f"not a {self.noun}: write a number and one of {self.unit_names()}, such as {self.example}"
            )
        number, unit = match.groups()
        try:
            value = Decimal(number)
        except InvalidOperation as error:
            raise ValueError(f"not a {self.noun}: {number} is no number") from error
        if not unit:
            if value == 0 and self.zero:
                return 0 if self.whole else 0.0
            raise ValueError(f"a {self.noun} needs a unit: one of {self.unit_names()}, such as {self.example}")
        if unit not in self.units:
            raise ValueError(
                f"{unit!r} is no unit of a {self.noun}: write one of {self.unit_names()}, such as {self.example}"
            )
        try:
            scaled = value * self.units[unit]
        except DecimalException as error:
            raise ValueError(f"a {self.noun} that is out of all bounds: {number[:20]}") from error
        if scaled < 0 or (scaled == 0 and not self.zero):
            raise ValueError(f"a {self.noun} has to be {'zero or more' if self.zero else 'more than zero'}")
        if self.whole:
            if scaled > LARGEST:
                raise ValueError(f"a {self.noun} of more than {self.format(LARGEST)} cannot be counted in 64 bits")
            rounded = int(scaled.to_integral_value())
            if rounded == 0 and scaled > 0:
                raise ValueError(f"a {self.noun} of less than one {next(iter(self.units))} cannot be told from zero")
            return rounded
        result = float(scaled)
        if not math.isfinite(result):
            raise ValueError(f"a {self.noun} has to be finite")
        if result > self.most or 0 < result < self.least:
            raise ValueError(f"a {self.noun} has to be from {self.least:g} to {self.most:g} {next(iter(self.units))}")
        return result

    def format(self, value: float | int) -> str:
        """Return the shortest written form that parses to exactly `value`."""
        if value == 0:
            return f"0{next(iter(self.units))}"
        candidates = []
        for unit, factor in self.units.items():
            if unit in ("µs", "μs", "$/h"):
                continue
            text = _plain(Decimal(repr(value)) / factor) + unit
            if self._parses_to(text, value):
                candidates.append(text)
        return min(candidates, key=len)

    def _parses_to(self, text: str, value: float | int) -> bool:
        try:
            return self.parse(text) == value
        except ValueError:
            return False

    def unit_names(self) -> str:
        """Return the units, for messages."""
        return ", ".join(unit for unit in self.units if unit not in ("µs", "μs", "$/h"))


def _plain(number: Decimal) -> str:
    text = format(number, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


DURATION = Dimension("duration", DURATIONS, "10ms", whole=True)
DURATION_OR_ZERO = Dimension("duration", DURATIONS, "10ms", whole=True, zero=True)
RATE = Dimension("rate", RATES, "250/s", least=1e-12, most=1e15)
RATE_OR_ZERO = Dimension("rate", RATES, "250/s", zero=True, least=1e-12, most=1e15)
SIZE = Dimension("memory size", BYTES, "32GB", whole=True)
POWER = Dimension("power", POWERS, "300W", zero=True, most=1e12)
PRICE = Dimension("price", PRICES, "0.432 USD/h", zero=True, most=1e12)
COMPUTE = Dimension("compute rate", FLOPS, "14TFLOP/s", least=1.0, most=1e30)
BANDWIDTH = Dimension("bandwidth", BANDWIDTHS, "900GB/s", least=1.0, most=1e30)


def parse_duration_ns(written: object) -> int:
    """Return a duration such as ``"10ms"`` in ns, rounded to whole ns."""
    return int(DURATION_OR_ZERO.parse(written))


def format_duration_ns(duration_ns: int) -> str:
    """Return `duration_ns` as it is written."""
    return DURATION_OR_ZERO.format(duration_ns)


def parse_rate_per_s(written: object) -> float:
    """Return a rate such as ``"1.5k/s"`` per second."""
    return float(RATE.parse(written))


def format_rate_per_s(rate_per_s: float) -> str:
    """Return `rate_per_s` as it is written."""
    return RATE.format(rate_per_s)


def parse_bytes(written: object) -> int:
    """Return a memory size such as ``"32GB"`` (powers of ten) or ``"32GiB"`` (of two) in bytes."""
    return int(SIZE.parse(written))


def format_bytes(size_bytes: int) -> str:
    """Return `size_bytes` as it is written."""
    return SIZE.format(size_bytes)


def parse_power_w(written: object) -> float:
    """Return a power such as ``"300W"`` in watts."""
    return float(POWER.parse(written))


def format_power_w(power_w: float) -> str:
    """Return `power_w` as it is written."""
    return POWER.format(power_w)


def parse_price_usd_per_h(written: object) -> float:
    """Return a price such as ``"0.432 USD/h"`` in US$ per hour."""
    return float(PRICE.parse(written))


def format_price_usd_per_h(price_usd_per_h: float) -> str:
    """Return `price_usd_per_h` as it is written."""
    return PRICE.format(price_usd_per_h)


def parse_flops(written: object) -> float:
    """Return a compute rate such as ``"14TFLOP/s"`` in FLOP/s."""
    return float(COMPUTE.parse(written))


def format_flops(flops_per_s: float) -> str:
    """Return `flops_per_s` as it is written."""
    return COMPUTE.format(flops_per_s)


def parse_bandwidth(written: object) -> float:
    """Return a bandwidth such as ``"900GB/s"`` in bytes per second."""
    return float(BANDWIDTH.parse(written))


def format_bandwidth(bytes_per_s: float) -> str:
    """Return `bytes_per_s` as it is written."""
    return BANDWIDTH.format(bytes_per_s)


def parse_fraction(written: object) -> float:
    """Return a fraction within (0, 1], written ``"78.79%"`` or ``0.7879``."""
    value = _fraction(written)
    if not 0 < value <= 1:
        raise ValueError("a fraction has to be more than 0 and at most 1 (100%)")
    return value


def parse_fraction_or_zero(written: object) -> float:
    """Return a fraction within [0, 1], written ``"0.02%"`` or ``0.0002``."""
    value = _fraction(written)
    if not 0 <= value <= 1:
        raise ValueError("a fraction has to be at least 0 and at most 1 (100%)")
    return value


def _fraction(written: object) -> float:
    if isinstance(written, bool) or not isinstance(written, str | int | float):
        raise ValueError("a fraction is written as 0.7879 or 78.79%")
    text = str(written).strip()
    percent = text.endswith("%")
    try:
        value = Decimal(text.removesuffix("%").strip())
    except InvalidOperation as error:
        raise ValueError("a fraction is written as 0.7879 or 78.79%") from error
    try:
        if percent:
            value /= 100
    except DecimalException as error:
        raise ValueError("a fraction is written as 0.7879 or 78.79%") from error
    return float(value) if value.is_finite() else math.nan


def format_fraction(fraction: float) -> str:
    """Return `fraction` as it is written, in percent."""
    text = _plain(Decimal(repr(fraction)) * 100) + "%"
    return text if parse_fraction_or_zero(text) == fraction else repr(fraction)


def _positive_duration_ns(written: object) -> int:
    return int(DURATION.parse(written))


def _duration_or_auto(written: object) -> object:
    return written if written == "auto" else parse_duration_ns(written)


def _rate_or_zero(written: object) -> float:
    return float(RATE_OR_ZERO.parse(written))


def _written_or_auto(duration_ns: object) -> str:
    return format_duration_ns(duration_ns) if isinstance(duration_ns, int) else "auto"


def _schema(dimension: Dimension) -> WithJsonSchema:
    units = "|".join(re.escape(unit) for unit in dimension.units)
    optional = "?" if dimension.zero else ""
    return WithJsonSchema(
        {
            "type": ["string", "number"] if dimension.zero else "string",
            "pattern": rf"^\s*[0-9.]+([eE][+-]?[0-9]+)?\s*({units}){optional}$",
            "examples": [dimension.example],
        }
    )


DurationNs = Annotated[
    int,
    BeforeValidator(_positive_duration_ns),
    PlainSerializer(format_duration_ns, return_type=str),
    _schema(DURATION),
]
DurationOrZeroNs = Annotated[
    int,
    BeforeValidator(parse_duration_ns),
    PlainSerializer(format_duration_ns, return_type=str),
    _schema(DURATION_OR_ZERO),
]
DurationOrAuto = Annotated[
    int | Literal["auto"],
    BeforeValidator(_duration_or_auto),
    PlainSerializer(_written_or_auto, return_type=str),
    WithJsonSchema({"type": "string", "examples": ["auto", "5s"]}),
]
RateOrZeroPerS = Annotated[
    float,
    BeforeValidator(_rate_or_zero),
    PlainSerializer(RATE_OR_ZERO.format, return_type=str),
    _schema(RATE_OR_ZERO),
]
RatePerS = Annotated[
    float,
    BeforeValidator(parse_rate_per_s),
    PlainSerializer(format_rate_per_s, return_type=str),
    _schema(RATE),
]
Bytes = Annotated[int, BeforeValidator(parse_bytes), PlainSerializer(format_bytes, return_type=str), _schema(SIZE)]
PowerW = Annotated[
    float, BeforeValidator(parse_power_w), PlainSerializer(format_power_w, return_type=str), _schema(POWER)
]
PriceUsdPerH = Annotated[
    float,
    BeforeValidator(parse_price_usd_per_h),
    PlainSerializer(format_price_usd_per_h, return_type=str),
    _schema(PRICE),
]
FlopsPerS = Annotated[
    float, BeforeValidator(parse_flops), PlainSerializer(format_flops, return_type=str), _schema(COMPUTE)
]
BytesPerS = Annotated[
    float,
    BeforeValidator(parse_bandwidth),
    PlainSerializer(format_bandwidth, return_type=str),
    _schema(BANDWIDTH),
]
Fraction = Annotated[
    float,
    BeforeValidator(parse_fraction),
    PlainSerializer(format_fraction, return_type=str),
    WithJsonSchema({"type": ["string", "number"], "examples": ["78.79%", 0.7879]}),
]
FractionOrZero = Annotated[
    float,
    BeforeValidator(parse_fraction_or_zero),
    PlainSerializer(format_fraction, return_type=str),
    WithJsonSchema({"type": ["string", "number"], "examples": ["0.02%", 0]}),
]
