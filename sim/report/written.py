"""Durations and shares as a reader wants them: no powers of ten, no digits lost."""

from __future__ import annotations

from decimal import Decimal

from sim.spec.units import DURATIONS, format_duration_ns

__all__ = ["duration_text", "percent_text"]

NS_PER_MS = 1e6
LEAST_MS, MOST_MS = 1e-3, 1e6
"""Durations from the one to below the other are written in ms."""


def duration_text(duration_ms: float) -> str:
    """Return a duration such as ``"100 ms"``, or ``"1000 d"`` where ms would not do."""
    if LEAST_MS <= duration_ms < MOST_MS:
        return f"{duration_ms:,.9g} ms"
    text = format_duration_ns(round(duration_ms * NS_PER_MS))
    unit = max((unit for unit in DURATIONS if text.endswith(unit)), key=len)
    return f"{text.removesuffix(unit)} {unit}"


def percent_text(share: float) -> str:
    """Return a share such as ``"2%"`` or ``"0.0001%"``."""
    return f"{Decimal(f'{100 * share:.6g}').normalize():f}%"
