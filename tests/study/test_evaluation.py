"""The evaluator: the results of `mprec run`, nothing twice, and the same random numbers for every variant."""

from __future__ import annotations

from pathlib import Path

import pytest

from sim.spec.problems import SpecError
from sim.stats.summary import ReplicationResult
from sim.study.evaluation import Asked, Evaluator
from sim.study.scenario import load_scenarios
from sim.study.study import Study

TEXT = """
name: two routers
model: {representations: {table: {accuracy: {value: 100%, evidence: assumed}}}}
sla: 10ms
workload:
  arrivals: {kind: poisson, rate: 1000/s}
  sizes: {kind: fixed, size: 1}
  queries: 2000
fleet:
  - name: n
    count: 2
    devices: {d: {profile: {kind: cpu, lanes: 1, service: {distribution: exponential, mean: 1ms}}}}
policy: {kind: fastest}
sweep:
  router: {random: {kind: random}, least: {kind: least-backlog}}
  workload.arrivals.rate: [500/s, 1500/s]
"""


class Memory:
    """A store that counts what is asked of it."""

    def __init__(self) -> None:
        self.kept: dict[tuple[str, int], dict] = {}
        self.loaded = 0

    def load(self, key: str, replication: int) -> ReplicationResult | None:
        data = self.kept.get((key, replication))
        self.loaded += data is not None
        return None if data is None else ReplicationResult.from_json_dict(data)

    def save(self, key: str, replication: int, result: ReplicationResult) -> None:
        self.kept[key, replication] = result.to_json_dict()


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "two.yaml"
    path.write_text(TEXT, encoding="utf-8")
    return str(path)


def evaluator(file: str, **options) -> Evaluator:
    return Evaluator(file, jobs=1, engine="reference", **options)


def test_a_variant_gives_what_a_run_of_it_gives(file: str) -> None:
    study = Study.of(load_scenarios(file, replications=3))
    expected = [summary.to_json_dict() for summary in study.run().summaries]
    with evaluator(file) as whole:
        found = whole.evaluate_all(Asked((), 3, point) for point in range(4))
    assert [one.summary.to_json_dict() for one in found] == expected


def test_a_swept_key_can_be_changed_and_an_axis_left_out(file: str) -> None:
    with evaluator(file, leave_out=["workload.arrivals.rate"]) as one:
        assert [point.parameters for point in one.points] == [{"router": "random"}, {"router": "least"}]
        changed = one.evaluate(["workload.arrivals.rate=800/s"], 2, point=1)
    assert changed.scenario.experiment.workload.arrivals.rate == 800
    assert changed.scenario.experiment.router.kind == "least-backlog"
    assert changed.summary.parameters == {"router": "least"}


def test_nothing_runs_twice_and_only_what_is_missing_runs(file: str) -> None:
    with evaluator(file) as one:
        few = one.evaluate([], 2)
        assert one.replications_run == 2
        more = one.evaluate([], 5)
        assert one.replications_run == 5
        assert one.evaluate([], 2).summary == few.summary
        # The same content under another name, or written otherwise, is the same simulation.
        assert one.evaluate(["sla=10000us", "name=other"], 5).results == more.results
        assert one.replications_run == 5
        one.evaluate(["sla=11ms"], 1)
        assert one.replications_run == 6
    assert more.results[:2] == few.results


def test_variants_of_one_call_that_are_the_same_run_once(file: str) -> None:
    with evaluator(file) as one:
        one.evaluate_all([Asked((), 2), Asked(("sla=10ms",), 4)])
        assert one.replications_run == 4


def test_what_is_kept_is_used_by_the_next(file: str) -> None:
    memory = Memory()
    with evaluator(file, kept=memory) as first:
        before = first.evaluate([], 3)
    with evaluator(file, kept=memory) as second:
        after = second.evaluate([], 3)
        assert second.replications_run == 0
    assert memory.loaded == 3
    assert after.summary.to_json_dict() == before.summary.to_json_dict()


def test_replications_share_their_random_numbers_whatever_the_changes(file: str) -> None:
    with evaluator(file) as one:
        slow = one.evaluate(["workload.arrivals.rate=500/s"], 1).results[0]
        fast = one.evaluate(["workload.arrivals.rate=1000/s"], 1).results[0]
    # The same 2,000 queries in half the time.
    assert slow.backlog.time_ns[-1] == pytest.approx(2 * fast.backlog.time_ns[-1], abs=4000)


def test_cells_are_added_up(file: str) -> None:
    changes = ["cells=2", "workload.queries=", "workload.duration=2s"]
    study = Study.of(load_scenarios(file, changes, replications=2))
    expected = study.run().summaries[0].to_json_dict()
    with evaluator(file) as one:
        assert one.evaluate(changes, 2).summary.to_json_dict() == expected


def test_what_is_wrong_is_said_before_anything_runs(file: str) -> None:
    with evaluator(file) as one:
        with pytest.raises(SpecError, match="rate"):
            one.evaluate_all([Asked((), 2), Asked(("workload.arrivals.rate=-1/s",), 2)])
        assert one.replications_run == 0


def test_long_replications_can_be_added_up_as_they_go(file: str) -> None:
    with evaluator(file) as exact, evaluator(file, most_recorded=1000) as quick:
        one, two = exact.evaluate([], 2).summary, quick.evaluate([], 2).summary
    assert two.counts == one.counts
    for name, metric in one.metrics.items():
        assert two.metrics[name].value == (None if metric.value is None else pytest.approx(metric.value, rel=1e-3))
