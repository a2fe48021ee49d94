"""Hand-worked event logs of re-mapping, to the nanosecond."""

from __future__ import annotations

from pathlib import Path

import pytest

from sim.engine.record import RunRecord
from sim.spec.problems import SpecError
from tests.engine.test_client_logs import reasons
from tests.engine.test_event_logs import TWO_REPRESENTATIONS, US, device, parts, run
from tests.harness import prepare_text

pytestmark = pytest.mark.usefixtures("engine")

# dhe takes 20 us and table 2; the memory holds one of them.
MODEL = TWO_REPRESENTATIONS.replace("table: {", "table: {bytes: 3kB, ").replace("dhe: {", "dhe: {bytes: 4kB, ")
SERVICE = "{m: {table: {distribution: deterministic, mean: 2us}, dhe: {distribution: deterministic, mean: 20us}}}"
ONE = device(SERVICE, more=", memory: 4kB")
NAMED = MODEL.replace("{representations", "{name: m, representations", 1)
EVERY = "remapping: {every: 100us, target: 80%, load_bandwidth: 1GB/s}\npolicy: {kind: mp-rec}\n"


def served(record: RunRecord) -> list[tuple[float, float]]:
    """Arrival in microseconds and accuracy of every query that was served."""
    kept = record.finish_ns >= 0
    return [
        (a / US, round(c / s, 6))
        for a, c, s in zip(record.arrival_ns[kept], record.correct[kept], record.size[kept], strict=True)
    ]


def test_a_rising_load_trades_accuracy_for_speed_and_a_falling_one_trades_it_back(tmp_path: Path) -> None:
    busy = [10.0 * k for k in range(11)]
    record = run(tmp_path, [*busy, 102, 103.5, 150, 250, 350], {"d": ONE}, model=NAMED, sla="1ms", more=EVERY)
    # By 100 ten queries came (the one at 100 comes after the decision), and dhe serves 50,000/s at most. The table is
    # loaded from 100 to 103: those at 100 and 102 find nothing to serve them. By 200 four more came, 40,000/s, for
    # which 80% of 50,000 are just enough: dhe is loaded from 200 to 204.
    outcome = dict(served(record))
    assert reasons(record)[10:12] == ["unavailable", "unavailable"]
    assert outcome[90] == 0.9
    assert outcome[103.5] == outcome[150] == 0.8
    assert outcome[250] == outcome[350] == 0.9
    # What waited for dhe was served on it: ten queries of 20 us, one after the other.
    assert parts(record)[9][2:] == (180, 200)


def test_nodes_change_one_after_the_other(tmp_path: Path) -> None:
    busy = [5.0 * k for k in range(21)]
    record = run(
        tmp_path,
        [*busy, 101, 104, 107],
        {"d": ONE},
        nodes=2,
        model=NAMED,
        sla="1ms",
        more="router: {kind: round-robin}\n" + EVERY.replace("1GB/s", "1GB/s, at_once: 1"),
    )
    # The first node loads its table from 100 to 103, the second from 103 to 106: nothing is lost, and what is sent at
    # 101 goes to the second node's dhe, at 104 to the first node's table.
    assert reasons(record) == [None] * 24
    node = dict(zip((record.arrival_ns / US).tolist(), record.node.tolist(), strict=True))
    outcome = dict(served(record))
    assert (node[101], outcome[101]) == (1, 0.9)
    assert (node[104], outcome[104]) == (0, 0.8)
    assert outcome[107] == 0.8


def test_a_fault_is_an_occasion(tmp_path: Path) -> None:
    record = run(
        tmp_path,
        [0, 30, 60, 90, 120, 150],
        {"d": ONE},
        nodes=2,
        model=NAMED,
        sla="1ms",
        more="router: {kind: round-robin}\npolicy: {kind: mp-rec}\n"
        "remapping: {on_fault: true, target: 60%, load_bandwidth: 1GB/s}\n"
        "faults: {crashes: [{at: 100us, for: 35us, group: n, nodes: [0]}]}",
    )
    # 40,000/s so far: two nodes of 50,000/s carry it at 60%, one does not. It has its table at 103. At 135 the first
    # node is back, and 5 queries in 135 us ask for dhe again.
    assert [accuracy for _, accuracy in served(record)] == [0.9, 0.9, 0.9, 0.9, 0.8, 0.9]


def test_what_found_no_path_while_one_was_loaded_is_sent_again(tmp_path: Path) -> None:
    record = run(
        tmp_path,
        [0, 20, 40, 60, 80, 101],
        {"d": ONE},
        model=NAMED,
        sla="1ms",
        more=EVERY + "retries: {limit: 1, backoff: 3us}\n",
    )
    # The table is loaded from 100 to 103: query 5 finds nothing at 101, and the table at 104.
    assert reasons(record) == [None] * 6
    assert record.attempt_sent_ns[record.attempt_query == 5].tolist() == [101 * US, 104 * US]
    assert parts(record)[4:] == [(4, 0, 80, 100), (5, 0, 104, 106)]


def test_a_first_decision_after_the_last_arrival_is_told(tmp_path: Path) -> None:
    text = (
        "name: t\nmodel: dlrm-kaggle\nsla: 10ms\n"
        "workload: {arrivals: {kind: poisson, rate: 100/s}, sizes: {kind: fixed, size: 9}, duration: 2s}\n"
        "fleet: [{name: n, devices: {cpu: cpu-broadwell}}]\npolicy: {kind: fastest}\n"
        "remapping: {every: 3s, load_bandwidth: 1GB/s}\n"
    )
    with pytest.raises(SpecError, match=r":7:20: remapping\.every: the first decision is after the last arrival"):
        prepare_text(tmp_path, text)


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ("remapping: {load_bandwidth: 1GB/s}", "remapping: re-mapping needs an occasion"),
        ("remapping: {on_fault: true, load_bandwidth: 1GB/s}", "remapping.on_fault: there are no faults (got true"),
        (
            "remapping: {every: 1s, load_bandwidth: 1GB/s, at_once: 2}",
            "at_once: more nodes at once than there are (got 2",
        ),
        (EVERY + "binding: {kind: late}", "remapping: re-mapping needs early binding"),
        (
            EVERY + "mapping: {kind: explicit, devices: {d: [table]}}",
            "remapping: an explicit mapping is what it is",
        ),
        (
            EVERY + "mapping: {kind: most-accurate-first, representations: [table]}",
            "remapping: every mapping that could be taken is the same",
        ),
        (
            EVERY.replace("mp-rec", "static, representation: dhe"),
            "remapping: the static policy uses the same paths in every mapping",
        ),
        (
            EVERY.replace("mp-rec", "switch, representation: table"),
            "remapping: the switch policy uses the same paths in every mapping",
        ),
    ],
)
def test_contradictions(more: str, expected: str, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r":\d+:\d+: ") as error:
        run(tmp_path, [0], {"d": ONE}, model=NAMED, more=more)
    assert expected in str(error.value)


@pytest.mark.parametrize(
    ("arrivals", "times"),
    [
        ("kind: poisson, rate: 100/s", "2,600,000,000"),
        # 200 queries come in the first second, and 50 take the other nine.
        ("kind: piecewise-rate, steps: [{at: 0s, rate: 200/s}, {at: 1s, rate: 5/s}]", "11,100,000,000"),
        ("kind: trace, file: ten.csv, repeat: true", "24,100,000,000"),
    ],
)
def test_more_decisions_than_anybody_means_are_told(arrivals: str, times: str, tmp_path: Path) -> None:
    (tmp_path / "ten.csv").write_text("time\n" + "".join(f"{0.1 * k}\n" for k in range(10)))
    queries = 241 if "trace" in arrivals else 250
    text = (
        "name: t\nmodel: dlrm-kaggle\nsla: 10ms\n"
        f"workload: {{arrivals: {{{arrivals}}}, sizes: {{kind: fixed, size: 9}}, queries: {queries}}}\n"
        "fleet: [{name: n, devices: {cpu: cpu-broadwell}}]\npolicy: {kind: fastest}\n"
        "remapping: {every: 1ns, load_bandwidth: 1GB/s}\n"
    )
    with pytest.raises(SpecError, match=rf":7:20: remapping\.every: it would be decided about {times} times in a run"):
        prepare_text(tmp_path, text)
