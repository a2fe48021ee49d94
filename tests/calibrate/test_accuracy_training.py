"""Training: distinct IDs once give the same gradients, planted effects are learnt, the command writes what it says."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from sim.cli.main import app
from sim.spec.problems import SpecError

torch = pytest.importorskip("torch")

from sim.calibrate.accuracy.campaign import Campaign, finite, run_campaign, shape_for  # noqa: E402
from sim.calibrate.accuracy.criteo import read_criteo  # noqa: E402
from sim.calibrate.accuracy.from_log import Prepared, prepare  # noqa: E402
from sim.calibrate.accuracy.scores import score  # noqa: E402
from sim.calibrate.accuracy.synthetic import write_click_log  # noqa: E402
from sim.calibrate.accuracy.training import TrainingSettings, predict, train  # noqa: E402
from sim.calibrate.models.distinct import DistinctDhe  # noqa: E402
from sim.calibrate.models.dlrm import Dlrm  # noqa: E402
from sim.profile.dlrm import DheShape, DlrmShape  # noqa: E402
from sim.profile.library import load_model  # noqa: E402

SHAPE = DlrmShape(
    embedding_dim=8,
    table_rows=(10,) * 26,
    bottom_mlp=(13, 16, 8),
    top_mlp=(32, 1),
    dhe=DheShape(k=64, hidden=(32,)),
    select_dhe_features=5,
)
MODEL = """\
dlrm:
  embedding_dim: 8
  table_rows: [10, 10, 10, 10, 10, 10, 10, 10, 10, 10, 10, 10, 10, 10, 10, 10, 10, 10, 10, 10, 10, 10, 10, 10, 10, 10]
  bottom_mlp: [13, 16, 8]
  top_mlp: [32, 1]
  dhe: {k: 16, decoder: [16]}
representations:  # to be measured
  table: {accuracy: {value: 50%, evidence: assumed}}
  dhe: {accuracy: {value: 50%, evidence: assumed}}
"""


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Tests run side by side: threads that wait for each other's cores take minutes for what one does in a second."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> tuple[Prepared, Any]:
    path = tmp_path_factory.mktemp("logs") / "synthetic.txt"
    drawn = write_click_log(path, 12_000, seed=5)
    found = prepare(SHAPE, [read_criteo(path)], [], 1 / 6, None)
    return found, drawn.probabilities[-len(found.test) :]


@pytest.mark.parametrize("ids_per_feature", [1, 2])
def test_distinct_ids_once_give_the_same_vectors_and_gradients(ids_per_feature: int) -> None:
    shape = DlrmShape(4, (3, 50, 7), (5, 4), (6, 1), dhe=DheShape(8, (6,)), ids_per_feature=ids_per_feature)
    random = np.random.default_rng(1)
    ids = torch.from_numpy(np.stack([random.integers(0, rows, (40, ids_per_feature)) for rows in (3, 50, 7)], axis=1))
    dense = torch.rand(40, 5)
    found = []
    for distinct in (False, True):
        model = Dlrm(shape, "dhe", seed=3)
        assert model.stacks is not None
        if distinct:
            model.dhe_forward = DistinctDhe(model.stacks)
        for parameter in model.dense_parameters:
            parameter.requires_grad_(True)
        logits = model.forward(dense, ids).logits
        assert logits is not None
        logits.square().sum().backward()
        found.append([logits.detach(), *(parameter.grad for parameter in model.dense_parameters)])
    for plain, once in zip(*found, strict=True):
        torch.testing.assert_close(once, plain)


def test_training_follows_from_the_seed_and_frees_the_weights(prepared: tuple[Prepared, Any]) -> None:
    found, _ = prepared
    few = found.training.rows(slice(0, 2000))
    shape = shape_for(SHAPE, found.table_rows)
    first, again, other = (train(shape, "hybrid", few, TrainingSettings(batch=256), seed) for seed in (1, 1, 2))
    answers = [predict(model, found.test, 500) for model in (first, again, other)]
    assert np.array_equal(answers[0], answers[1])
    assert not np.array_equal(answers[0], answers[2])
    assert not any(parameter.requires_grad for parameter in first.dense_parameters)


def test_planted_effects_are_learnt_by_every_representation(prepared: tuple[Prepared, Any]) -> None:
    """At least a third of the way from guessing to knowing every probability, in AUC, and not beyond."""
    found, probabilities = prepared
    best = score(found.test.labels, probabilities)
    settings = TrainingSettings(epochs=2, batch=250, learning_rate=3e-3)
    campaign = Campaign(("table", "dhe", "select", "hybrid"), (1,), settings, centroids=32)
    told: list[int] = []
    results = run_campaign(
        shape_for(SHAPE, found.table_rows), found.training, found.test, campaign, lambda _, rows: told.append(rows)
    )
    assert sum(told) == 4 * 2 * len(found.training)
    assert [result.name for result in results] == ["table", "dhe", "select", "hybrid"]
    for result in results:
        auc = result.interval("auc").value
        assert auc is not None
        assert 0.5 + (best.auc - 0.5) / 3 < auc < best.auc + 0.01, result.name
        assert (result.decoder_cache_cost is None) == (result.name == "table")


def test_the_command_writes_scores_into_the_model_file(tmp_path: Path) -> None:
    run = CliRunner()
    log, model = tmp_path / "log.txt", tmp_path / "small.yaml"
    model.write_text(MODEL)
    done = run.invoke(app, ["calibrate", "click-log", str(log), "--rows", "600", "--seed", "3"])
    assert done.exit_code == 0, done.output
    assert "who knew every probability" in done.output
    command = [
        "calibrate",
        "accuracy",
        str(log),
        "--model",
        str(model),
        "--seeds",
        "2",
        "--batch",
        "64",
        "--threads",
        "1",
    ]
    done = run.invoke(app, [*command, "--centroids", "8", "--test-share", "0.25"])
    assert done.exit_code == 0, done.output
    assert "450 rows to train, 150 to test" in done.output
    assert "dhe over table:" in done.output
    found = load_model(model).representations["dhe"]
    assert found.accuracy_evidence == "measured"
    assert "log.txt" in found.accuracy_source and "1 epoch, 64 rows a step" in found.accuracy_source
    assert "# to be measured" in model.read_text()


def test_nothing_is_written_where_the_log_is_broken(tmp_path: Path) -> None:
    log, model = tmp_path / "log.txt", tmp_path / "small.yaml"
    model.write_text(MODEL)
    log.write_text("1\t2\n")
    out = tmp_path / "new.yaml"
    done = CliRunner().invoke(app, ["calibrate", "accuracy", str(log), "--model", str(model), "--out", str(out)])
    assert isinstance(done.exception, SpecError)
    assert str(done.exception).startswith(f"{log}:1:1: a row has 40 fields")
    assert not out.exists() and model.read_text() == MODEL


def test_without_pytorch_the_command_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, package=None: None if name == "torch" else find_spec(name, package)
    )
    done = CliRunner().invoke(app, ["calibrate", "accuracy", str(tmp_path / "log.txt"), "--model", "dlrm-kaggle"])
    assert isinstance(done.exception, SpecError)
    assert "mprec calibrate accuracy needs PyTorch: pip install 'mprec-sim[calibrate]'" in str(done.exception)


def test_a_training_that_diverged_gives_no_scores() -> None:
    assert finite(np.array([0.0, 1.0], dtype=np.float32), "dhe, seed 1").tolist() == [0.0, 1.0]
    with pytest.raises(SpecError, match="the training of dhe, seed 1 diverged; take lower learning rates"):
        finite(np.array([0.5, np.nan], dtype=np.float32), "dhe, seed 1")
