"""What sample files say of themselves, as a profile that is made of them has to say it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from sim.profile.device import UNFIT
from sim.spec.problems import Problem, SpecError
from sim.spec.units import parse_bytes, parse_price_usd_per_h

__all__ = ["NOTED_CACHE", "NOTED_IDS", "measured_notes", "said_of_device"]

NOTED_IDS = r"IDs drawn by (\S+?);"
NOTED_CACHE = r"MP-Cache: (.+?)\.(?=\s|$)"
"""Where `measured_notes` says which IDs and which cache it was measured with."""


def measured_notes(about: Mapping[str, str]) -> list[str]:
    """Return notes on how `mprec calibrate measure` took the samples: first why they are unfit, if they are.

    None for samples that came otherwise, but for what is unfit.
    """
    notes = [f"{UNFIT}{about['unfit']}."] if about.get("unfit") else []
    if {"ids", "waiting", "load", "threads", "cache", "interference"} <= set(about):
        notes.append(
            f"IDs drawn by {about['ids']}; {about['waiting']}, load {about['load']}; {about['threads']} threads a "
            f"lane, pinned; MP-Cache: {about['cache']}. Interference: {about['interference']}."
        )
        if fewer := about.get("fewer repeats"):
            notes.append(f"Fewer repeats than {about['quantile']} takes: {fewer}.")
        if about.get("kind") == "gpu":
            notes.append("The copies to and from the GPU's memory are part of the service time.")
    return notes


def said_of_device(
    about: Mapping[str, str], kind: str | None, lanes: int | None, memory: str | None, price: str | None
) -> dict[str, Any]:
    """Return kind, lanes, memory, price and evidence of a device: as given, else as its samples say.

    Raises
    ------
    SpecError
        If what they say cannot be: files that are put together may differ in it.
    """
    problems = []
    found: dict[str, Any] = {"kind": kind, "lanes": lanes, "memory": memory, "price": price, "evidence": None}
    readers: dict[str, Callable[[str], Any]] = {
        "kind": _one_of("cpu", "gpu", "tpu", "ipu", "other"),
        "lanes": _lanes,
        "memory": _text_of(parse_bytes),
        "price": _text_of(parse_price_usd_per_h),
        "evidence": _one_of("measured", "published"),
    }
    for key, read in readers.items():
        if found[key] is None and key in about:
            try:
                found[key] = read(about[key])
            except ValueError as error:
                message = f"of its {key} the samples of {about.get('device', 'the device')} say what cannot be: {error}"
                problems.append(Problem(message, None, key, about[key], f"one in all files, or --{key}"))
    if problems:
        raise SpecError(problems)
    defaults = {"kind": "other", "lanes": 1, "evidence": "measured"}
    return {key: defaults.get(key) if value is None else value for key, value in found.items()}


def _one_of(*allowed: str) -> Callable[[str], str]:
    def read(text: str) -> str:
        if text not in allowed:
            raise ValueError(f"it is one of {', '.join(allowed)}")
        return text

    return read


def _lanes(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text[:9]) > 0 and len(text) < 9):
        raise ValueError("it is a whole number of at least 1")
    return int(text)


def _text_of(parse: Callable[[object], object]) -> Callable[[str], str]:
    def read(text: str) -> str:
        parse(text)
        return text

    return read
