"""Colours of figures on a light page and on a dark one; colour-blind people can tell them apart."""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["DARK", "GRID", "INK", "LIGHT", "MUTED", "ON_DARK", "PAPER"]

PAPER, INK, MUTED, GRID = "#ffffff", "#202124", "#5f6368", "#e3e5e8"
"""Background, text and axes, text of less weight, grid: as the style file has them."""

LIGHT = ("#3865b9", "#f3762c", "#00a172", "#bf7db9", "#4c3500", "#40a9fe", "#525252", "#ae5b31")
DARK = ("#2e80f1", "#ec6016", "#6efdd7", "#a44da5", "#f4f09f", "#5bbef8", "#7a7b7d", "#cb8e63")
"""Colours of lines and areas on a light page, and what an SVG shows in their place on a dark one.

In the order of the hues of Okabe and Ito (2008), some of which are too light for thin lines on white; moved apart until
no two fall together for any kind of colour blindness (tests/report/test_colours.py has the distances).
"""
ON_DARK: Mapping[str, str] = {
    PAPER: "#14161a",
    INK: "#e8eaed",
    MUTED: "#a8adb5",
    GRID: "#33373e",
    **dict(zip(LIGHT, DARK, strict=True)),
}
"""By colour on a light page: that on a dark one."""
