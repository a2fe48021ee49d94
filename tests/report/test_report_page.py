"""The page of a run: what the run said, in its words, and nothing that somebody else put there."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from sim.cli.main import app
from sim.report import figures
from sim.report.comparison import gains
from sim.report.finished import read_finished
from sim.report.html import write_page
from sim.report.html.drawings import drawing, figure_files
from sim.report.html.markup import Markup, element, table
from sim.report.rundir import RunDirectoryError
from sim.report.table import Marks, conclusions
from sim.spec.source import leading_comment
from tests.report import pages
from tests.report.test_report import GRID, summary

DAMAGED = ["nothing", "[]", '{"scenarios": [{}]}', "{"]


def test_a_run_that_is_read_back_says_what_it_said(tmp_path: Path) -> None:
    for shape in (pages.one_scenario, pages.with_classes, pages.all_saturated, pages.a_hundred):
        folder = shape(tmp_path / shape.__name__)
        run = read_finished(folder)
        written = json.loads((folder / "summary.json").read_text())
        assert [one.to_json_dict() for one in run.report.summaries] == [
            _without_answers(entry) for entry in written["scenarios"]
        ]


def _without_answers(entry: dict[str, object]) -> dict[str, object]:
    kept = {key: value for key, value in entry.items() if key not in ("gain", "verdict")}
    classes = kept.get("classes")
    if isinstance(classes, dict):
        kept["classes"] = {name: {k: v for k, v in one.items() if k != "verdict"} for name, one in classes.items()}
    return kept


def test_gains_are_told_though_the_replications_are_not_kept(tmp_path: Path) -> None:
    base, other = summary(GRID[0], correct=(190.0, 200.0, 210.0)), summary(GRID[2], correct=(285.0, 300.0, 315.0))
    run = read_finished(pages.write(tmp_path / "run", [base, other], baseline="base"))
    assert list(run.gains) == gains([base, other], "base")
    lines = conclusions(run.report, run.gains, Marks(unicode=True))
    assert lines == [
        "1/s: 2 of 2 meet the SLA at p99; most correct predictions in time: other (1.5x the baseline [1.5, 1.5])"
    ]
    text = write_page(run.path).read_text()
    assert lines[0] in text
    assert text.index(lines[0]) < text.index("<figure") < text.index("<table")


def test_the_same_directory_gives_the_same_bytes(tmp_path: Path) -> None:
    folder = pages.one_scenario(tmp_path / "run")
    assert write_page(folder).read_bytes() == write_page(folder, tmp_path / "again.html").read_bytes()
    assert str(tmp_path) not in (folder / "report.html").read_text()


def test_everything_is_escaped(tmp_path: Path) -> None:
    text = write_page(pages.named_like_html(tmp_path / "run")).read_text()
    assert "<script" not in text and "<b>" not in text
    assert text.count("&lt;script&gt;") >= 5
    assert "$title ${style}" in text


def test_markup_escapes_text_and_attributes_and_nothing_twice() -> None:
    inner = element("b", "a<b")
    assert inner == "<b>a&lt;b</b>"
    assert element("p", inner, ["&", inner], title='"', class_="x", aria_label=None) == (
        '<p title="&quot;" class="x"><b>a&lt;b</b>&amp;<b>a&lt;b</b></p>'
    )
    assert "<caption><span>1 &lt; 2</span></caption>" in table("1 < 2", ["a"], [["b"]])
    assert isinstance(inner, Markup)


def test_drawings_keep_to_themselves(tmp_path: Path) -> None:
    file = tmp_path / "evil.svg"
    file.write_text(
        '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
        ' viewBox="0 0 9 9" class="own">'
        "<title>A &lt; B</title><script>alert(1)</script><style>#a{fill:#abc}</style>"
        '<style>@import "http://far/x.css";</style><foreignObject><p/></foreignObject>'
        '<path id="a" onclick="alert(2)" clip-path="url(#a)" style="fill: url(http://far/y)"/><use xlink:href="#a"/>'
        '<image href="http://far/z.png"/><image xlink:href="data:image/png;base64,AA=="/><a href="javascript:x()"/>'
        "</svg>"
    )
    text = drawing(file, 7)
    for word in ("alert", "far", "script", "foreignObject", "onclick"):
        assert word not in text, word
    assert '<path id="figure-7-a" clip-path="url(#figure-7-a)"/><use href="#figure-7-a"/>' in text
    assert '<svg class="own" viewBox="0 0 9 9" role="img"' in text
    assert "#figure-7 {#figure-7-a{fill:#abc}}" in text
    assert '<image href="data:image/png;base64,AA=="/>' in text
    assert '<title id="figure-7-title">A &lt; B</title>' in text


def test_figures_are_drawn_where_there_are_none_and_have_titles(tmp_path: Path) -> None:
    folder = pages.sweep(tmp_path / "run")
    text = write_page(folder).read_text()
    shown = re.findall(r"<title id=\"figure-\d+-title\">([^<]+)</title>", text)
    assert len(shown) == len(list((folder / "figures").glob("*.svg"))) >= 4
    assert not any(title.endswith(".svg") or "-" in title for title in shown)


def test_drawing_that_is_interrupted_leaves_no_figures_that_are_taken_for_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = pages.sweep(tmp_path / "run")
    save = figures.save
    saved: list[Path] = []

    def interrupted(figure: object, stem: Path) -> list[Path]:
        if len(saved) > 4:
            raise KeyboardInterrupt
        saved.extend(save(figure, stem))
        return saved

    (folder / "figures").mkdir()
    (folder / "figures" / "differences.svg").write_text(pages.DRAWN)
    with monkeypatch.context() as patch:
        patch.setattr(figures, "save", interrupted)
        with pytest.raises(KeyboardInterrupt):
            write_page(folder)
    assert saved
    assert [file.name for file in (folder / "figures").iterdir()] == ["differences.svg"]
    assert not (folder / ".figures.partial").exists()
    text = write_page(folder).read_text()
    drawn = list((folder / "figures").glob("*.svg"))
    assert text.count("<figure ") == len(drawn) >= 5
    assert folder / "figures" / "differences.svg" in drawn


def test_figures_are_shown_in_an_order_that_counts(tmp_path: Path) -> None:
    names = ["utilisation", "percentiles-100-per-s", "percentiles-20-per-s", "welch", "latency-load"]
    for name in names:
        (tmp_path / f"{name}.svg").touch()
    assert [file.stem for file in figure_files(tmp_path)] == [
        "latency-load",
        "percentiles-20-per-s",
        "percentiles-100-per-s",
        "utilisation",
        "welch",
    ]


@pytest.mark.parametrize("text", DAMAGED)
def test_a_damaged_directory_is_told_and_nothing_is_written(tmp_path: Path, text: str) -> None:
    folder = pages.one_scenario(tmp_path / "run")
    (folder / "summary.json").write_text(text)
    done = CliRunner().invoke(app, ["report", str(folder)])
    assert done.exit_code == 2 and "summary.json" in done.stderr
    assert not (folder / "report.html").exists()


def test_what_is_missing_or_damaged_besides_the_summary(tmp_path: Path) -> None:
    folder = pages.one_scenario(tmp_path / "run")
    for name in ("manifest.json", "experiment.yaml"):
        (folder / name).unlink()
    assert "SHA-256 of summary.json" in write_page(folder).read_text()
    (folder / "manifest.json").write_text("{")
    with pytest.raises(RunDirectoryError, match=r"manifest\.json:1:2 is damaged"):
        write_page(folder)
    (folder / "manifest.json").unlink()
    (folder / "figures" / "line.svg").write_text("<svg")
    with pytest.raises(RunDirectoryError, match=r"line\.svg is damaged"):
        write_page(folder)


def test_a_run_that_is_not_finished_is_told_how_to_finish(tmp_path: Path) -> None:
    (tmp_path / "run" / "replications").mkdir(parents=True)
    done = CliRunner().invoke(app, ["report", str(tmp_path / "run")])
    assert done.exit_code == 2 and "--resume" in done.stderr


def test_a_run_that_was_called_unfit_says_so_first(tmp_path: Path) -> None:
    folder = pages.one_scenario(tmp_path / "run")
    told = json.loads((folder / "summary.json").read_text())
    (folder / "summary.json").write_text(json.dumps({**told, "observation": {"fit": False, "reasons": ["noise"]}}))
    text = write_page(folder).read_text()
    assert text.index("Unfit: noise") < text.index("the SLA is met at p99")


def test_a_run_is_found_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pages.one_scenario(tmp_path / "runs" / "mine")
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, ["report", "mine", "--out", "there/page.html"])
    assert done.exit_code == 0, done.stderr
    assert done.stdout.strip() == str(Path("there/page.html"))
    assert Path("there/page.html").read_text().startswith("<!doctype html>")
    assert CliRunner().invoke(app, ["report", "mine", "--out", "there"]).exit_code == 2


def test_the_question_is_the_comment_that_the_experiment_begins_with() -> None:
    assert leading_comment("# yaml-language-server: $schema=x\n# One,\n#two?\nname: x\n# not this\n") == [
        "One,",
        "two?",
    ]
    assert leading_comment("name: x\n# no\n") == []
