"""Scores put into a model file: the file stays a model file, and all other text stays as it was."""

from __future__ import annotations

from pathlib import Path

import pytest

from sim.calibrate.accuracy.model_file import with_accuracies, write_model_file
from sim.calibrate.accuracy.results import RepresentationScores, SeedScores
from sim.calibrate.accuracy.scores import Scores
from sim.calibrate.accuracy.trained_model import find_trained_model
from sim.profile.library import load_model, model_file
from sim.spec.binding import bind
from sim.spec.model import ModelSpec
from sim.spec.problems import SpecError
from sim.spec.source import load_yaml

TEXT = """\
# A comment.
name: small  # another
dlrm: {embedding_dim: 4, table_rows: [3, 5], bottom_mlp: [2, 4], top_mlp: [1], dhe: {k: 8, decoder: [6]}}
representations:
  table:
    accuracy: {value: 78.79%, evidence: recalled, source: "from memory"}  # kept
  dhe:
    # Kept, too.
    accuracy:
      value: 50%
      evidence: assumed
      source: >-
        a
        guess

    # And this.
  hybrid: {accuracy: {value: 0.5, evidence: assumed}}
"""


def scores_of(name: str, *accuracies: float, cost: float | None = None) -> RepresentationScores:
    return RepresentationScores(
        name,
        tuple(
            SeedScores(seed, Scores(a, 0.75, 0.5), None if cost is None else Scores(a - cost, 0.7, 0.6))
            for seed, a in enumerate(accuracies)
        ),
    )


def test_written_scores_are_read_back(tmp_path: Path) -> None:
    path = tmp_path / "small.yaml"
    source = (
        'a "quoted" log, C:\\logs, ' + "which was split and trained in a way that takes more than a line to tell " * 3
    )
    results = [scores_of("table", 0.8, 0.82, 0.84), scores_of("dhe", 0.81, 0.83, cost=0.02), scores_of("hybrid", 0.9)]
    write_model_file(path, TEXT, results, source.strip(), 64)
    spec = bind(load_yaml(path), ModelSpec)
    table, dhe, hybrid = (spec.representations[name].accuracy for name in ("table", "dhe", "hybrid"))
    assert table.value == pytest.approx(0.82)
    assert (table.evidence, table.source) == ("measured", source.strip())
    assert table.measured is not None and table.measured.seeds == 3
    # t(0.975, 2) = 4.302653
    assert table.measured.accuracy.low == pytest.approx(0.82 - 4.302653 * 0.02 / 3**0.5, abs=1e-6)
    assert (table.measured.auc.value, table.measured.log_loss.value) == (0.75, 0.5)
    assert table.measured.decoder_cache is None
    assert dhe.measured is not None and dhe.measured.decoder_cache is not None
    assert dhe.measured.decoder_cache.centroids == 64
    assert dhe.measured.decoder_cache.accuracy_cost.value == pytest.approx(0.02)
    assert hybrid.measured is not None and hybrid.measured.accuracy.low is None
    assert load_model(path).representations["hybrid"].accuracy == pytest.approx(0.9)


def test_all_other_text_stays() -> None:
    new = with_accuracies(TEXT, {"table": ["A"], "dhe": ["B"], "hybrid": ["C"]}, "small.yaml")
    assert new == TEXT.replace('{value: 78.79%, evidence: recalled, source: "from memory"}', "A").replace(
        "value: 50%\n      evidence: assumed\n      source: >-\n        a\n        guess", "B"
    ).replace("{value: 0.5, evidence: assumed}", "C")


def test_only_what_was_trained_is_replaced() -> None:
    new = with_accuracies(TEXT, {"hybrid": ["C"]}, "small.yaml")
    assert new == TEXT.replace("{value: 0.5, evidence: assumed}", "C")


def test_what_cannot_be_replaced_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"no such representation \(got 'tabel'.*did you mean 'table'"):
        with_accuracies(TEXT, {"tabel": ["A"]}, "small.yaml")
    shared = TEXT.replace("accuracy: {value: 78", "accuracy: &same {value: 78").replace(
        "{value: 0.5, evidence: assumed}", "*same"
    )
    with pytest.raises(SpecError, match=r"small\.yaml:6:15: the accuracy of hybrid is shared through an alias"):
        with_accuracies(shared, {"hybrid": ["A"]}, "small.yaml")
    path = tmp_path / "small.yaml"
    with pytest.raises(SpecError):
        write_model_file(path, TEXT, [scores_of("tabel", 0.5)], "", None)
    assert list(tmp_path.iterdir()) == []


def test_a_model_that_ships_is_not_changed(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="ships with mprec; name the model file to write with --out"):
        find_trained_model("dlrm-kaggle", None, None)
    found = find_trained_model("dlrm-kaggle", "hybrid, table", tmp_path / "mine.yaml")
    assert found.representations == ("hybrid", "table")
    assert found.text == model_file("dlrm-kaggle").read_text()
    (tmp_path / "own.yaml").write_text(TEXT)
    assert find_trained_model(str(tmp_path / "own.yaml"), None, None).out == tmp_path / "own.yaml"


@pytest.mark.parametrize(
    ("name", "representations", "said"),
    [
        ("dlrm-kagle", None, "no such model .*did you mean 'dlrm-kaggle'"),
        ("rm2", None, "model rm2 is opaque"),
        ("dlrm-kaggle", "table,dhee", "no such representation .*did you mean 'dhe'"),
        ("dlrm-kaggle", "table,table", "a representation is asked for twice"),
    ],
)
def test_what_cannot_be_trained_is_refused(name: str, representations: str | None, said: str) -> None:
    with pytest.raises(SpecError, match=said):
        find_trained_model(name, representations, Path("out.yaml"))


def test_a_file_that_cannot_be_written_is_told_before_training(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for out in (tmp_path, tmp_path / "file" / "new.yaml"):
        with pytest.raises(SpecError, match=f"--out: {out} cannot be written"):
            find_trained_model("dlrm-kaggle", None, out)
    assert find_trained_model("dlrm-kaggle", None, tmp_path / "a" / "b.yaml").out == tmp_path / "a" / "b.yaml"
