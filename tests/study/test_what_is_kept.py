"""What an exception leaves of a run: what is finished and a note that says so, or nothing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from sim.study import runs
from sim.study.checkpoint import KEPT, Checkpoint, CheckpointMismatch
from sim.study.optimise import SearchRequest, perform_search
from sim.study.runs import RunRequest, perform
from tests.harness import ONE_LANE


@pytest.fixture(name="experiment")
def _experiment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "e.yaml").write_text(ONE_LANE)
    return tmp_path / "e.yaml"


def stopped_after(finished: int, experiment: Path, out: Path | None, *, resume: bool = False) -> KeyboardInterrupt:
    """Run with Ctrl-C when so many replications are finished; return the exception."""

    def interrupt(done: int, total: int, what: str) -> None:
        if done == finished:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as caught:
        perform(RunRequest(str(experiment), out=out, figures=False, store="none", resume=resume), interrupt)
    return caught.value


def notes(error: BaseException) -> list[str]:
    return getattr(error, "__notes__", [])


@pytest.mark.parametrize("out", [None, Path("out")])
def test_nothing_finished_leaves_nothing(out: Path | None, experiment: Path) -> None:
    assert notes(stopped_after(0, experiment, out)) == []
    # `runs` itself may hold others'.
    assert {file.name for file in experiment.parent.rglob("*")} <= {"e.yaml", "runs"}
    assert perform(RunRequest(str(experiment), out=out, figures=False, store="none")).report.summaries


def test_a_directory_that_was_there_stays(experiment: Path) -> None:
    out = experiment.parent / "mine"
    out.mkdir()
    assert notes(stopped_after(0, experiment, out)) == []
    assert list(out.iterdir()) == []


def test_what_is_finished_is_kept_and_that_is_noted(experiment: Path) -> None:
    out = Path("out")
    assert notes(stopped_after(1, experiment, out)) == [KEPT]
    assert [file.name for file in (out / "replications").glob("*.json")] == ["s0-r0.json"]
    # Nothing new was finished, and what was there is no less.
    assert notes(stopped_after(1, experiment, out, resume=True)) == [KEPT]
    perform(RunRequest(str(experiment), out=out, figures=False, store="none", resume=True))
    assert not (out / "replications").exists()


def test_results_that_were_all_taken_from_the_store_are_kept(
    experiment: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, out = str(tmp_path / "store"), Path("out")
    perform(RunRequest(str(experiment), out=Path("before"), figures=False, store=store))

    def fail(_: Path) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(runs, "plot_run", fail)
    with pytest.raises(OSError, match="no space left") as caught:
        perform(RunRequest(str(experiment), out=out, store=store))
    assert notes(caught.value) == [KEPT]
    assert len(list((out / "replications").glob("*.json"))) == 4
    monkeypatch.undo()
    monkeypatch.chdir(experiment.parent)
    perform(RunRequest(str(experiment), out=out, figures=False, store=store, resume=True))


def test_the_directory_of_another_run_is_left_alone(experiment: Path) -> None:
    Checkpoint(Path("out/replications"), "another").start()
    with pytest.raises(CheckpointMismatch) as caught:
        perform(RunRequest(str(experiment), out=Path("out"), figures=False, store="none", resume=True))
    assert notes(caught.value) == []
    assert Path("out/replications/fingerprint").read_text() == "another"


SEARCH = ONE_LANE + "optimise: {objectives: {latency_ms_p99: min}, choices: {sla: [10ms, 20ms]}}\n"


def test_a_search_without_a_design_leaves_nothing(experiment: Path) -> None:
    experiment.write_text(SEARCH)

    def interrupt(done: int, total: int, what: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as caught:
        perform_search(SearchRequest(str(experiment), out=Path("out"), store="none"), interrupt)
    assert notes(caught.value) == []
    assert not Path("out").exists()


def test_designs_that_were_all_taken_from_the_store_are_kept(experiment: Path, tmp_path: Path) -> None:
    experiment.write_text(SEARCH)
    asked = SearchRequest(str(experiment), out=Path("out"), store=str(tmp_path / "store"))
    perform_search(replace(asked, out=Path("before")))

    def interrupt(done: int, total: int, what: str) -> None:
        if done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as caught:
        perform_search(asked, interrupt)
    # Only the designs' own directories say that something is finished.
    assert [file.name for file in Path("out/replications").iterdir()] == ["fingerprint"]
    assert notes(caught.value) == [KEPT]
    perform_search(replace(asked, resume=True))
