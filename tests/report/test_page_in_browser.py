"""The page of a run in a real browser: nothing beyond the window, nothing fetched, nothing that cannot be seen."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from sim.report.html import write_page
from tests.report import chromium, pages

REQUIRED = os.environ.get("MPREC_BROWSER") == "required"


@pytest.fixture(name="browser", scope="module")
def _browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[chromium.Browser]:
    if chromium.find() is None:
        assert not REQUIRED, "MPREC_BROWSER=required, and there is none: apt-get install chromium"
        pytest.skip("no Chromium on this machine; apt-get install chromium (MPREC_BROWSER=required makes this fail)")
    with chromium.opened(tmp_path_factory.mktemp("profile")) as browser:
        yield browser


def test_pages_of_all_shapes_fit_every_window_and_fetch_nothing(browser: chromium.Browser, tmp_path: Path) -> None:
    for name, write in pages.SHAPES.items():
        file = write_page(write(tmp_path / name))
        for width, dark in ((360, False), (1600, True)):
            seen = browser.see(file, width, dark=dark)
            measured = seen.measured
            where = f"{name} at {width} px"
            assert measured["client_width"] == width, where
            assert measured["scroll_width"] <= width and not measured["beyond"], (where, measured["beyond"])
            assert (seen.complaints, seen.asked) == ([], []), where
            assert measured["drawings"], where
            assert all(w >= 300 and h >= 100 for w, h in measured["drawings"]), where
            for wrong in ("drawings_empty", "links_lost", "uses_lost", "ids_twice", "untold"):
                assert measured[wrong] == 0, (where, wrong)
            assert measured["headings"][1] == "Verdict", where
            assert len(seen.picture) > 5_000, where
        # The width of a sheet of A4 at 96 dots an inch.
        assert browser.see(file, 794, media="print").measured["scroll_width"] <= 794, name


def test_the_page_follows_the_scheme_of_the_reader(browser: chromium.Browser, tmp_path: Path) -> None:
    file = write_page(pages.sweep(tmp_path / "run"))
    light, dark = (browser.see(file, 800, dark=dark).measured for dark in (False, True))
    # Figures go with it: the first thing that is drawn is their paper.
    for paper in (light["background"], light["papers"][0]):
        assert paper == "rgb(255, 255, 255)"
    for paper in (dark["background"], dark["papers"][0]):
        assert max(int(part) for part in paper.removeprefix("rgb(").removesuffix(")").split(",")) < 64


def test_what_is_named_like_html_is_shown_as_it_is_written(browser: chromium.Browser, tmp_path: Path) -> None:
    file = write_page(pages.named_like_html(tmp_path / "run"))
    seen = browser.see(file, 800)
    assert pages.HOSTILE in seen.measured["headings"][0]
    assert seen.measured["text"].count(pages.HOSTILE) >= 4
    assert seen.complaints == [] and seen.asked == []


def test_a_browser_sees_what_is_wrong(browser: chromium.Browser, tmp_path: Path) -> None:
    """What the tests above look for would be found."""
    file = tmp_path / "bad.html"
    file.write_text(
        "<!doctype html><div style='width: 2000px'>wide</div><a href='#nowhere'>x</a><p id='a'></p><p id='a'></p>"
        f"<img src='{(tmp_path / 'missing.png').as_uri()}'><script>console.error('no')</script><table></table>"
    )
    seen = browser.see(file, 360)
    assert seen.measured["scroll_width"] >= 2000 and seen.measured["beyond"]
    assert seen.measured["links_lost"] == seen.measured["ids_twice"] == seen.measured["untold"] == 1
    assert seen.asked == [(tmp_path / "missing.png").as_uri()]
    assert len(seen.complaints) >= 2
