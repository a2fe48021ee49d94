"""Hand-worked event logs of classes: their limits, priorities, models and memory, to the nanosecond."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from sim.engine.audit import audit
from sim.engine.engines import run_engine
from sim.engine.record import NEVER, RunRecord
from sim.study.prepare import PreparedScenario
from sim.workload.draw import QueryChunk
from tests.engine.test_event_logs import DROPPED, IN_TIME, LATE, ONE_US_A_SAMPLE, TEN_US, US, device, log, parts
from tests.harness import ENGINE, prepare_text, run_text, write_trace

pytestmark = pytest.mark.usefixtures("engine")

TWO_MODELS = (
    "{m: {table: {mean: 10us, distribution: deterministic}}, n: {table: {mean: 4us, distribution: deterministic}}}"
)


def model(name: str, size: str = "6GB") -> str:
    return (
        f"{{name: {name}, representations: {{table: {{accuracy: {{value: 80%, evidence: assumed}}, bytes: {size}}}}}}}"
    )


@dataclass
class Given:
    """A stream of given queries: arrival in microseconds, class, size."""

    queries: list[tuple[float, int, int]]

    @property
    def end_ns(self) -> int:
        return round(self.queries[-1][0] * US)

    def lane_scores(self, count: int) -> np.ndarray:
        return np.zeros(count)

    def chunks(self) -> Iterator[QueryChunk]:
        arrival, query_class, size = (np.array(column) for column in zip(*self.queries, strict=True))
        n = len(size)
        arrival_ns = np.rint(arrival * US).astype(np.int64)
        no_routers, no_ways = np.zeros(0, dtype=np.int64), np.zeros((n, 0), dtype=np.int64)
        yield QueryChunk(
            0, arrival_ns, size, query_class, np.full((n, 4), 0.5), np.full((n, 4), 0.5), no_routers, no_ways
        )


def scenario(
    folder: Path, classes: list[str], fleet: str = f"[{{name: a, devices: {{d: {device(TEN_US)}}}}}]", more: str = ""
) -> PreparedScenario:
    listed = "".join(f"  - {{{one}}}\n" for one in classes)
    (prepared,) = prepare_text(
        folder,
        f"""
name: hand-worked
model: {model("m")}
sla: 25us
workload: {{arrivals: {{kind: poisson, rate: 1/s}}, sizes: {{kind: uniform, min: 1, max: 40}}, queries: 5}}
fleet: {fleet}
classes:
{listed}
{more}
""",
    )
    return prepared


def run(prepared: PreparedScenario, queries: list[tuple[float, int] | tuple[float, int, int]]) -> RunRecord:
    stream = Given([(*query, 1)[:3] for query in queries])  # type: ignore[misc]
    record = run_engine(ENGINE.get(), prepared.system, stream, drain_ns=10**9)
    assert audit(record, prepared.system) == []
    return record


def test_every_class_is_held_to_its_own_sla(tmp_path: Path) -> None:
    prepared = scenario(tmp_path, ["name: tight, share: 50%, sla: 15us", "name: loose, share: 50%"])
    assert log(run(prepared, [(0, 0), (1, 1), (2, 0), (6, 1)])) == [
        (0, 0, 10, IN_TIME),
        (1, 10, 20, IN_TIME),
        (2, 20, 30, LATE),
        (6, 30, 40, LATE),
    ]
    assert log(run(prepared, [(0, 0), (5, 0)]))[1] == (5, 10, 20, IN_TIME)  # 15 us, and not a nanosecond more.


PRIORITIES = ["name: high, share: 50%", "name: low, share: 50%, priority: 3"]


@pytest.mark.parametrize("binding", ["early", "late"])
def test_priority_without_preemption(binding: str, tmp_path: Path) -> None:
    more = f"queue: {{order: priority}}\nbinding: {{kind: {binding}}}\npolicy: {{kind: fastest}}"
    prepared = scenario(tmp_path, PRIORITIES, more=more)
    record = run(prepared, [(0, 1), (1, 1), (2, 0), (3, 1), (4, 0), (15, 0)])
    # The first keeps its lane; then high as they came, also the one that comes while another is served; then low.
    assert parts(record) == [
        (0, 0, 0, 10),
        (2, 0, 10, 20),
        (4, 0, 20, 30),
        (5, 0, 30, 40),
        (1, 0, 40, 50),
        (3, 0, 50, 60),
    ]


def test_the_audit_sees_a_priority_that_is_not_kept(tmp_path: Path) -> None:
    prepared = scenario(tmp_path, PRIORITIES, more="queue: {order: priority}")
    record = run(prepared, [(0, 1), (1, 1), (2, 0)])
    # Had the first two been of the high class, the third would have been last.
    tampered = replace(record, query_class=np.array([0, 0, 1], dtype=np.int32))
    assert any(line.startswith("order") for line in audit(tampered, prepared.system))


def test_the_earliest_deadline_is_that_of_the_class(tmp_path: Path) -> None:
    classes = ["name: loose, share: 50%, sla: 100us", "name: tight, share: 50%, sla: 40us"]
    prepared = scenario(tmp_path, classes, more="queue: {order: earliest-deadline}")
    # The first is being served; the others' deadlines are 100.5, 101 and 45 us.
    record = run(prepared, [(0, 0), (0.5, 0), (1, 0), (5, 1)])
    assert [query for query, *_ in parts(record)] == [0, 3, 1, 2]


def test_the_deadline_of_the_class_sheds(tmp_path: Path) -> None:
    classes = ["name: tight, share: 50%, sla: 12us", "name: loose, share: 50%, sla: 40us"]
    record = run(scenario(tmp_path, classes, more="queue: {shed: late}"), [(0, 0), (1, 1), (2, 0)])
    assert log(record) == [(0, 0, 10, IN_TIME), (1, 10, 20, IN_TIME), (2, NEVER, NEVER, DROPPED)]
    assert record.drop_ns[2] == 20 * US


def test_the_policy_is_told_the_limit_and_the_margin_of_the_class(tmp_path: Path) -> None:
    services = "{m: {table: {distribution: deterministic, mean: 10us}, dhe: {distribution: deterministic, mean: 20us}}}"
    document = f"""
name: two representations
model: {{name: m, representations: {{table: {{accuracy: {{value: 80%, evidence: assumed}}}},
  dhe: {{accuracy: {{value: 90%, evidence: assumed}}}}}}}}
sla: 40us
workload: {{arrivals: {{kind: poisson, rate: 1/s}}, sizes: {{kind: fixed, size: 1}}, queries: 5}}
fleet: [{{name: a, devices: {{d: {device(services)}}}}}]
policy: {{kind: mp-rec, margin: 0.5}}
classes: [{{name: loose, share: 50%}}, {{name: tight, share: 50%, sla: 39us}}]
"""
    (prepared,) = prepare_text(tmp_path, document)
    # DHE takes 20 us: as long as half of the one limit, longer than half of the other.
    record = run(prepared, [(0, 0), (100, 1)])
    assert [prepared.view.path_names[path] for path in record.part_path] == ["dhe@d", "table@d"]


def test_models_share_a_device_and_never_a_batch(tmp_path: Path) -> None:
    prepared = scenario(
        tmp_path,
        ["name: first, share: 50%, sla: 1ms", f"name: second, share: 50%, sla: 1ms, model: {model('n')}"],
        f"[{{name: a, devices: {{d: {device(TWO_MODELS)}}}}}]",
        more="batching: {queries: 4}",
    )
    assert prepared.view.path_names == ["m:table@d", "n:table@d"]
    record = run(prepared, [(0, 0), (1, 1), (2, 0), (3, 1), (4, 0)])
    # The line whose oldest part came first goes first: the second model's two, then the first model's two.
    assert parts(record) == [(0, 0, 0, 10), (1, 0, 10, 14), (3, 0, 10, 14), (2, 0, 14, 24), (4, 0, 14, 24)]
    assert record.path.tolist() == [0, 1, 0, 1, 0]


def test_a_part_on_a_path_of_another_model_breaks_a_law(tmp_path: Path) -> None:
    fleet = f"[{{name: a, devices: {{d: {device(TWO_MODELS)}}}}}]"
    prepared = scenario(tmp_path, ["name: x, share: 50%", f"name: y, share: 50%, model: {model('n')}"], fleet)
    record = run(prepared, [(0, 0), (20, 1)])
    (violation,) = audit(replace(record, part_path=record.part_path[::-1]), prepared.system)
    assert violation.startswith("classes")


@pytest.mark.parametrize(
    ("second", "order", "expected"),
    [
        ("", "mn", ["m:table@d"]),  # 6 GB of 10 are taken: the second model finds 4.
        ("", "nm", ["n:table@d"]),
        (", memory: 50%", "nm", ["m:table@d"]),  # It may take 5 GB and needs 6, so all is left for the other.
        (", memory: 60%", "nm", ["n:table@d"]),  # Exactly what it needs.
    ],
)
def test_models_take_memory_in_the_order_of_the_classes(
    second: str, order: str, expected: list[str], tmp_path: Path
) -> None:
    classes = {"m": "name: first, share: 50%", "n": f"name: second, share: 50%, model: {model('n')}{second}"}
    small = device(TWO_MODELS, more=", memory: 10GB")
    fleet = f"[{{name: a, devices: {{d: {small}, spare: {device(TWO_MODELS)}}}}}]"
    prepared = scenario(tmp_path, [classes[name] for name in order], fleet)
    found = prepared.view.path_names
    assert [name for name in found if name.endswith("@d")] == expected
    # The other device has no limit and holds both, the model that is named first first.
    assert [name for name in found if name.endswith("@spare")] == [f"{name}:table@spare" for name in order]


# Two queries of the second model, of 4 us, are on the last node; the first model's take 10 us each.
EXPECTED_NODES = {
    "{kind: round-robin}": [2, 0, 1],  # Queries 2, 3 and 4 of all.
    "{kind: least-backlog}": [0, 1, 0],
    "{kind: least-backlog, measure: work}": [0, 1, 2],
    "{kind: least-expected-completion}": [0, 1, 2],
}


@pytest.mark.parametrize(
    "router",
    [
        "{kind: random}",
        "{kind: round-robin}",
        "{kind: least-backlog}",
        "{kind: least-backlog, measure: work}",
        "{kind: power-of-d, d: 2}",
        "{kind: least-expected-completion}",
    ],
)
def test_routers_consider_the_nodes_that_hold_the_model(router: str, tmp_path: Path) -> None:
    use = device(TWO_MODELS)
    fleet = f"[{{name: a, count: 2, devices: {{x: {use}}}}}, {{name: b, devices: {{y: {use}}}}}]"
    prepared = scenario(
        tmp_path,
        [
            "name: first, share: 50%",
            f"name: second, share: 50%, model: {model('n')}, mapping: {{kind: explicit, devices: {{y: [table]}}}}",
        ],
        fleet,
        more=f"router: {router}",
    )
    record = run(prepared, [(0, 1), (0, 1), (0, 0), (0, 0), (0, 0), (0, 1)])
    assert record.node[record.query_class == 1].tolist() == [2, 2, 2]
    if router in EXPECTED_NODES:
        assert record.node[record.query_class == 0].tolist() == EXPECTED_NODES[router]


def test_the_quicker_node_is_judged_by_the_model_that_is_asked(tmp_path: Path) -> None:
    other = TWO_MODELS.replace("10us", "2us").replace("4us", "30us")
    fleet = f"[{{name: a, devices: {{x: {device(TWO_MODELS)}}}}}, {{name: b, devices: {{y: {device(other)}}}}}]"
    classes = ["name: first, share: 50%", f"name: second, share: 50%, model: {model('n')}"]
    prepared = scenario(tmp_path, classes, fleet, more="router: {kind: least-expected-completion}")
    record = run(prepared, [(0, 0), (0, 1)])
    assert log(record) == [(0, 0, 2, IN_TIME), (0, 0, 4, IN_TIME)]
    assert record.node.tolist() == [1, 0]


def test_split_queries_keep_their_class(tmp_path: Path) -> None:
    prepared = scenario(
        tmp_path,
        PRIORITIES,
        f"[{{name: a, devices: {{d: {device(ONE_US_A_SAMPLE)}}}}}]",
        more="queue: {order: priority}\nsplitting: {part: 10}",
    )
    record = run(prepared, [(0, 1, 30), (5, 0, 4)])
    assert parts(record) == [(0, 0, 0, 10), (1, 0, 10, 14), (0, 0, 14, 24), (0, 0, 24, 34)]


def test_arrivals_of_several_workloads_at_one_instant_go_in_the_order_of_the_classes(tmp_path: Path) -> None:
    write_trace(tmp_path, [0, 20, 40], "first.csv")
    write_trace(tmp_path, [0, 20, 30], "second.csv")
    record = run_text(
        tmp_path,
        f"""
name: ties
model: {model("m")}
sla: 25us
workload:
  arrivals: {{kind: trace, file: first.csv, unit: us}}
  sizes: {{kind: fixed, size: 1}}
  duration: 41us
  warmup: 0s
fleet: [{{name: a, devices: {{d: {device(TWO_MODELS)}}}}}]
classes:
  - name: own
    workload: {{arrivals: {{kind: trace, file: second.csv, unit: us}}, sizes: {{kind: fixed, size: 2}}}}
    model: {model("n")}
  - {{name: shared}}
replications: 1
""",
    )
    assert record.query_class.tolist() == [0, 1, 0, 1, 0, 1]
    assert record.size.tolist() == [2, 1, 2, 1, 2, 1]
    assert log(record) == [
        (0, 0, 4, IN_TIME),
        (0, 4, 14, IN_TIME),
        (20, 20, 24, IN_TIME),
        (20, 24, 34, IN_TIME),
        (30, 34, 38, IN_TIME),
        (40, 40, 50, IN_TIME),
    ]
