"""Click logs of both formats: what is read, and what is said of broken rows."""

from __future__ import annotations

import gzip
import hashlib
import lzma
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from sim.calibrate.accuracy.click_log import ClickLog, joined, with_dense_ids
from sim.calibrate.accuracy.criteo import read_criteo
from sim.calibrate.accuracy.from_log import prepare, read_log, source_text
from sim.calibrate.accuracy.libfm import read_libfm
from sim.calibrate.accuracy.synthetic import TABLE_ROWS, draw_click_log, write_click_log
from sim.calibrate.accuracy.trained_model import find_trained_model
from sim.cli.main import app
from sim.profile.dlrm import DlrmShape
from sim.profile.library import model_file
from sim.spec.problems import SpecError
from sim.workload.popularity import ZipfPopularity

INTEGERS = ["1", "", "-2", *["0"] * 10]
CATEGORIES = ["68fd1e64", "", "ffffffff", *["a"] * 23]


def criteo_row(label: str = "1", integers: list[str] = INTEGERS, categories: list[str] = CATEGORIES) -> str:
    return "\t".join([label, *integers, *categories])


def written(folder: Path, *rows: str) -> Path:
    path = folder / "log.txt"
    path.write_bytes("".join(f"{row}\n" for row in rows).encode())
    return path


def messages(path: Path, read: Callable[[Path], ClickLog]) -> list[str]:
    with pytest.raises(SpecError) as caught:
        read(path)
    return [str(problem).removeprefix(f"{path}:") for problem in caught.value.problems]


def test_a_row_of_criteo_by_hand(tmp_path: Path) -> None:
    log = read_criteo(written(tmp_path, criteo_row(), criteo_row("0", ["99", *[""] * 12], [""] * 26)))
    assert log.labels.tolist() == [1, 0]
    assert log.dense[0, :4].tolist() == pytest.approx([math.log(2), 0, 0, 0])
    assert log.dense[1, 0] == pytest.approx(math.log(100))
    assert log.ids[0, :4].tolist() == [0x68FD1E64, 0, 0xFFFFFFFF, 10]
    assert log.ids[1].tolist() == [0] * 26


@pytest.mark.parametrize("suffix", ["gz", "xz"])
def test_packed_logs_are_read(tmp_path: Path, suffix: str) -> None:
    content = f"{criteo_row()}\r\n{criteo_row('0')}\r\n".encode()
    path = tmp_path / f"day_0.{suffix}"
    path.write_bytes(gzip.compress(content) if suffix == "gz" else lzma.compress(content))
    log = read_log(path)
    assert len(log) == 2
    assert log.files[0].size_bytes == path.stat().st_size
    assert log.files[0].sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(SpecError, match=f"day_0.{suffix} cannot be read after line"):
        read_criteo(path)


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (criteo_row("2"), "2:1: not a label (got '2'; allowed: 0, 1)"),
        (criteo_row(integers=["1", "x", *[""] * 11]), "2:5: not an integer (got 'x'; allowed: up to 18 digits"),
        (criteo_row(integers=["1.5", *[""] * 12]), "2:3: not an integer (got '1.5'"),
        (criteo_row(categories=["0x1f", *[""] * 25]), "2:18: not a category (got '0x1f'; allowed: up to eight"),
        (criteo_row(categories=["123456789", *[""] * 25]), "2:18: not a category (got '123456789'"),
        (criteo_row(categories=CATEGORIES[:-1]), "2:1: a row has 40 fields between tabs"),
        (criteo_row() + "\t", "2:1: a row has 40 fields between tabs"),
        ("", "2:1: a row has 40 fields between tabs"),
    ],
)
def test_broken_rows_of_criteo_are_told_by_line_and_column(tmp_path: Path, row: str, said: str) -> None:
    path = written(tmp_path, criteo_row(), row, criteo_row())
    found = messages(path, read_criteo)
    if "2:18" in said:
        # Label, tab, then the integers of `INTEGERS` with their tabs.
        said = said.replace("2:18", f"2:{len('1' + chr(9)) + sum(len(text) + 1 for text in INTEGERS) + 1}")
    assert len(found) == 1
    assert found[0].startswith(said)


def test_all_broken_rows_are_told_up_to_twenty(tmp_path: Path) -> None:
    assert len(messages(written(tmp_path, "a", criteo_row(), "b"), read_criteo)) == 2
    assert len(messages(written(tmp_path, *["?"] * 100), read_criteo)) == 20


def test_a_row_of_libfm_by_hand(tmp_path: Path) -> None:
    path = written(tmp_path, "-1 204:1 4798:1 5041:1", "1 42:1 1572:1.0 5042:1 ")
    log = read_log(path)
    assert log.labels.tolist() == [0, 1]
    assert log.ids.tolist() == [[204, 4798, 5041], [42, 1572, 5042]]
    assert log.dense.tolist() == [[1], [1]]


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("2 1:1 2:1", "2:1: not a label (got '2'; allowed: 1, -1, 0)"),
        ("1 1:1", "2:1: this row has 1 features, the rows before it have 2"),
        ("1 1:1 x:1", "2:7: not a category (got 'x:1'; allowed: INDEX:1)"),
        ("1 1:1 2:0.5", "2:7: not a category (got '2:0.5'; allowed: INDEX:1)"),
        ("", "2:1: not a label"),
    ],
)
def test_broken_rows_of_libfm_are_told_by_line_and_column(tmp_path: Path, row: str, said: str) -> None:
    found = messages(written(tmp_path, "1 5:1 6:1", row), read_libfm)
    assert len(found) == 1
    assert found[0].startswith(said)


@pytest.mark.parametrize("read", [read_criteo, read_libfm])
def test_an_empty_log_and_none_are_errors(tmp_path: Path, read: Callable[[Path], ClickLog]) -> None:
    with pytest.raises(SpecError, match="has no rows"):
        read(written(tmp_path))
    with pytest.raises(SpecError, match="cannot be read: No such file"):
        read(tmp_path / "missing.txt")


def test_ids_are_numbered_feature_by_feature(tmp_path: Path) -> None:
    log = read_libfm(written(tmp_path, "1 7:1 20:1", "0 9:1 20:1", "1 7:1 31:1"))
    numbered, rows = with_dense_ids(log)
    assert numbered.ids.tolist() == [[0, 0], [1, 0], [0, 1]]
    assert rows == (2, 2)
    assert with_dense_ids(log, id_range=2)[1] == (1, 2)


def test_the_last_rows_are_for_testing(tmp_path: Path) -> None:
    log = read_libfm(written(tmp_path, *(f"{n % 2} {n}:1" for n in range(10))))
    training, test = log.split(0.3)
    assert training.ids[:, 0].tolist() == list(range(7))
    assert test.ids[:, 0].tolist() == [7, 8, 9]
    with pytest.raises(ValueError, match=r"10 rows cannot be split with 0\.01"):
        log.split(0.01)


def test_logs_that_follow_each_other_must_be_alike(tmp_path: Path) -> None:
    one = read_libfm(written(tmp_path, "1 7:1 20:1"))
    other = read_libfm(written(tmp_path, "1 7:1"))
    assert len(joined([one, one])) == 2
    with pytest.raises(SpecError, match=r"log.txt has 1 features and 1 dense inputs, log.txt has 2 and 1"):
        joined([one, other])


def shape_with(features: int, dense: int) -> DlrmShape:
    return DlrmShape(embedding_dim=4, table_rows=(5,) * features, bottom_mlp=(dense, 4), top_mlp=(1,))


def test_a_log_that_does_not_fit_the_model_is_refused(tmp_path: Path) -> None:
    log = read_libfm(written(tmp_path, "1 7:1", "0 8:1", "1 7:1", "0 9:1"))
    with pytest.raises(SpecError) as caught:
        prepare(shape_with(26, 13), [log], [], 0.5, None)
    assert [str(problem) for problem in caught.value.problems] == [
        "the log has 1 sparse features, the model 26",
        "the log has 1 dense inputs, the model 13",
    ]
    clicked = read_libfm(written(tmp_path, "1 7:1", "1 8:1"))
    with pytest.raises(SpecError, match="the 2 test rows need both clicks and non-clicks"):
        prepare(shape_with(1, 1), [log], [clicked], 0.5, None)
    other = read_libfm(written(tmp_path, "1 7:1", "0 8:1", "1 7:1", "0 7:1"))
    prepared = prepare(shape_with(1, 1), [log], [other], 0.5, None)
    assert len(prepared.training) == len(prepared.test) == 4
    assert log.files[0].sha256 in source_text(prepared, log.files, "1 epoch", "2026-01-01")


def test_what_is_trained_on_is_no_test_and_no_share_is_ignored(tmp_path: Path) -> None:
    rows = ["1 7:1", "0 8:1", "1 7:1", "0 9:1"]
    log, other = read_libfm(written(tmp_path, *rows)), read_libfm(written(tmp_path, *rows[::-1]))
    path = str(tmp_path / "log.txt")
    command = ["calibrate", "accuracy", path, "--model", "dlrm-frappe", "--test", path, "--test-share", "0.3"]
    done = CliRunner().invoke(app, command)
    assert isinstance(done.exception, SpecError)
    assert str(done.exception).startswith("--test and --test-share exclude each other")
    packed = tmp_path / "log.gz"
    packed.write_bytes(gzip.compress("".join(f"{row}\n" for row in rows).encode()))
    with pytest.raises(SpecError, match=r"--test: log\.gz has the rows of log\.txt: what was trained on is no test"):
        prepare(shape_with(1, 1), [other, log], [read_log(packed)], 0.5, None)


def test_the_synthetic_log_is_drawn_as_it_says(tmp_path: Path) -> None:
    """Shares within five standard errors (false alarms 6e-7 each); what is written is what was drawn."""
    drawn = draw_click_log(20_000, 3)
    expected = drawn.probabilities.mean()
    variance = (drawn.probabilities * (1 - drawn.probabilities)).sum() / 20_000**2
    assert abs(drawn.labels.mean() - expected) < 5 * math.sqrt(variance)
    top = ZipfPopularity(1.05).top_mass(1, TABLE_ROWS[-1])
    assert abs((drawn.ids[:, -1] == 0).mean() - top) < 5 * math.sqrt(top * (1 - top) / 20_000)
    path = tmp_path / "synthetic.txt"
    assert np.array_equal(write_click_log(path, 200, 3).labels, draw_click_log(200, 3).labels)
    log = read_criteo(path)
    small = draw_click_log(200, 3)
    assert np.array_equal(log.labels, small.labels)
    assert np.array_equal(log.ids == 0, small.missing_ids)
    present = ~small.missing_integers
    assert np.allclose(log.dense[present], np.log1p(small.integers)[present])
    for feature in range(26):
        seen = ~small.missing_ids[:, feature]
        pairs = set(zip(small.ids[seen, feature].tolist(), log.ids[seen, feature].tolist(), strict=True))
        assert len(pairs) == len({rank for rank, _ in pairs}) == len({name for _, name in pairs})


def test_a_file_that_is_there_is_replaced_only_when_asked(tmp_path: Path) -> None:
    log = tmp_path / "log.txt"
    log.write_text("somebody's")
    command = ["calibrate", "click-log", str(log), "--rows", "5"]
    done = CliRunner().invoke(app, command)
    assert isinstance(done.exception, SpecError)
    assert "log.txt is there already; give --replace" in str(done.exception) and log.read_text() == "somebody's"
    assert CliRunner().invoke(app, [*command, "--replace"]).exit_code == 0
    assert log.read_text().count("\n") == 5

    # A model file is replaced by one that comes from another, and updated in place where it is its own.
    model = tmp_path / "mine.yaml"
    model.write_bytes(model_file("dlrm-frappe").read_bytes())
    for name in ("dlrm-frappe", "dlrm-ml-100k"):
        with pytest.raises(SpecError, match=r"--out: \S*mine.yaml is there already; give --replace"):
            find_trained_model(name, None, model)
        assert find_trained_model(name, None, model, replace_there=True).out == model
    assert find_trained_model(str(model), None, None).out == find_trained_model(str(model), None, model).out == model
