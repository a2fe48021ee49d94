"""Colour-blind people can tell the colours of figures apart, on light pages and on dark ones."""

from __future__ import annotations

import re
from importlib import resources
from itertools import combinations, pairwise

import numpy as np
import pytest
from numpy.typing import NDArray

from sim.report.figures.colours import DARK, GRID, INK, LIGHT, MUTED, ON_DARK, PAPER

# Machado, Oliveira, Fernandes: A physiologically-based model for simulation of color vision deficiency. IEEE TVCG
# 15(6), 2009, severity 1.0; they act on linear RGB.
SEEN = {
    "usual": np.eye(3),
    "protanopia": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    ),
    "deuteranopia": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    ),
    "tritanopia": np.array(
        [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]]
    ),
}
# sRGB to CIE XYZ under D65 (IEC 61966-2-1), and its white.
XYZ = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)
WHITE = np.array([0.95047, 1.0, 1.08883])


def linear(colour: str) -> NDArray[np.float64]:
    """Return linear RGB of ``#rrggbb``."""
    encoded = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    return np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)


def lab(rgb: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return CIE L*a*b* (1976) of linear RGB: a distance of 2.3 in it is just seen."""
    x = XYZ @ np.clip(rgb, 0.0, 1.0) / WHITE
    f = np.where(x > 216 / 24389, np.cbrt(x), (24389 / 27 * x + 16) / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def distance(one: str, other: str, eyes: str) -> float:
    return float(np.linalg.norm(lab(SEEN[eyes] @ linear(one)) - lab(SEEN[eyes] @ linear(other))))


def contrast(one: str, other: str) -> float:
    """Return the contrast ratio of WCAG 2."""
    low, high = sorted(float(XYZ[1] @ linear(colour)) for colour in (one, other))
    return (high + 0.05) / (low + 0.05)


def test_distances_are_those_that_are_known() -> None:
    assert distance("#000000", "#ffffff", "usual") == pytest.approx(100.0, abs=0.01)
    assert contrast("#000000", "#ffffff") == pytest.approx(21.0)
    # Red and green of the same lightness are what deuteranopia takes for one.
    assert distance("#b05a2c", "#6e7f00", "usual") > 3 * distance("#b05a2c", "#6e7f00", "deuteranopia")


@pytest.mark.parametrize("eyes", SEEN)
@pytest.mark.parametrize("colours", [LIGHT, DARK], ids=["light", "dark"])
def test_no_two_colours_look_alike_and_neighbours_least_of_all(colours: tuple[str, ...], eyes: str) -> None:
    assert len(colours) == 8
    assert min(distance(one, other, eyes) for one, other in combinations(colours, 2)) > 16
    assert min(distance(one, other, eyes) for one, other in pairwise(colours)) > 29


def test_lines_and_text_stand_out_from_the_page() -> None:
    dark = ON_DARK[PAPER]
    assert min(contrast(colour, PAPER) for colour in LIGHT) > 2.5
    assert min(contrast(colour, dark) for colour in DARK) > 3.5
    for text in (INK, MUTED):
        assert contrast(text, PAPER) > 4.5 and contrast(ON_DARK[text], dark) > 4.5


def test_every_colour_of_the_style_file_has_its_counterpart_on_dark_pages() -> None:
    style = (resources.files("sim.report") / "mprec.mplstyle").read_text()
    named = {f"#{colour}" for colour in re.findall(r": ([0-9a-f]{6})$", style, re.MULTILINE)}
    assert named == {PAPER, INK, MUTED, GRID}
    assert named | set(LIGHT) == set(ON_DARK) and len(set(ON_DARK.values())) == len(ON_DARK)
