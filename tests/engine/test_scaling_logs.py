"""Hand-worked event logs of autoscaling, to the nanosecond."""

from __future__ import annotations

from pathlib import Path

import pytest

from sim.engine.record import AttemptEnd, Cause, RunRecord, Span
from sim.serving.clients import DropReason
from sim.spec.problems import SpecError
from tests.engine.test_client_logs import attempts, reasons
from tests.engine.test_event_logs import IN_TIME, TEN_US, US, device, parts, run
from tests.engine.test_fault_logs import spans
from tests.harness import prepare_text

pytestmark = pytest.mark.usefixtures("engine")

BACKLOG = "group: n, measure: backlog, target: 1"
ROUND_ROBIN = "router: {kind: round-robin}\n"


def off(record: RunRecord) -> list[tuple[int, float, float]]:
    """Node (of one device), begin and end in microseconds of every time off."""
    return sorted((d, f, t) for d, kind, f, t in spans(record) if kind == Span.OFF)


def test_backlog_brings_a_node_and_quiet_takes_it_away(tmp_path: Path) -> None:
    record = run(
        tmp_path,
        [0, 1, 2, 40],
        {"d": device(TEN_US)},
        nodes=3,
        sla="1ms",
        more=ROUND_ROBIN + f"autoscaling: [{{{BACKLOG}, every: 15us, provisioning: 4us}}]",
    )
    # Over 0-15 queries 0, 1 and 2 are there for 10, 14 and 13 us, 2.47 on average: three nodes, the new ones there at
    # 19. Over 15-30 it is 20/15, two nodes, and the third goes at once. Over 30-45 it is 5/15: the second, which serves
    # query 3 from 40 on, goes at 50.
    assert parts(record) == [(0, 0, 0, 10), (1, 0, 10, 20), (2, 0, 20, 30), (3, 1, 40, 50)]
    stop = record.stop_ns / US
    assert off(record) == [(1, 0, 15), (1, 50, stop), (2, 0, 15), (2, 30, stop)]


@pytest.mark.parametrize(("measure", "target"), [("backlog", 1e-19), ("utilisation", 5e-324)])
def test_a_target_that_is_all_but_nothing_brings_every_node(measure: str, target: float, tmp_path: Path) -> None:
    rule = f"{{group: n, measure: {measure}, target: {target!r}, every: 15us}}"
    more = ROUND_ROBIN + f"autoscaling: [{rule}]"
    record = run(tmp_path, [0, 1, 16], {"d": device(TEN_US)}, nodes=4, sla="1ms", more=more)
    # The load of 0-15 divided by it is more nodes than 64 bits can count.
    assert [(node, begin, end) for node, begin, end in off(record) if end <= 30] == [(n, 0, 15) for n in (1, 2, 3)]


def test_a_new_node_takes_queries_once_it_has_loaded_its_model(tmp_path: Path) -> None:
    record = run(
        tmp_path,
        [0, 1, 2, 16, 17, 23],
        {"d": device(TEN_US)},
        nodes=2,
        sla="1ms",
        model="{representations: {table: {accuracy: {value: 80%, evidence: assumed}, bytes: 4kB}}}",
        more="router: {kind: least-backlog}\n"
        f"autoscaling: [{{{BACKLOG}, every: 15us, provisioning: 3us, load_bandwidth: 1GB/s}}]",
    )
    # Decided at 15; 3 us to come and 4 us to load 4 kB: there at 22.
    assert [lane for _, lane, *_ in sorted(parts(record))] == [0, 0, 0, 0, 0, 1]
    assert [kind for _, kind, _, end in spans(record) if kind == Span.CLOSED and end == 22] == [Span.CLOSED]


def test_a_node_that_is_taken_away_while_busy_finishes_first(tmp_path: Path) -> None:
    record = run(
        tmp_path,
        [0, 1, 12],
        {"d": device("{distribution: deterministic, mean: 20us}")},
        nodes=2,
        sla="1ms",
        more=ROUND_ROBIN + "autoscaling: [{group: n, measure: backlog, target: 4, every: 10us, initial: 2}]",
    )
    # Over 0-10 there are 1.9 queries, and a node is to have four: the second drains, serves until 21 and is off then.
    # Query 2 goes to the first, which alone takes queries.
    assert parts(record) == [(0, 0, 0, 20), (1, 1, 1, 21), (2, 0, 20, 40)]
    assert off(record) == [(1, 21, record.stop_ns / US)]
    closed = [(d, f) for d, kind, f, _ in spans(record) if kind == Span.CLOSED]
    assert closed == [(1, 10)]


def test_a_draining_node_is_taken_back_before_another_is_started(tmp_path: Path) -> None:
    record = run(
        tmp_path,
        [0, 1, 11, 12, 13],
        {"d": device("{distribution: deterministic, mean: 30us}")},
        nodes=3,
        sla="1ms",
        more=ROUND_ROBIN
        + "autoscaling: [{group: n, measure: backlog, target: 2, every: 10us, initial: 2, provisioning: 1us}]",
    )
    # Over 0-10 there are 1.9 queries, which ask for one node: the second drains. Over 10-20 there are 4.4, which ask
    # for three: the second is back, and the third starts. Over 30-40 there are 3.1, for two: the third, which has
    # nothing to do, is off at 40; over 60-70 there are 2, for one.
    stop = record.stop_ns / US
    assert off(record) == [(1, 70, stop), (2, 0, 20), (2, 40, stop)]
    assert (1, Span.CLOSED, 10, 20) in spans(record)
    assert record.outcome.tolist() == [IN_TIME] * 5


def test_a_cooldown_holds_nodes_back(tmp_path: Path) -> None:
    more = "autoscaling: [{group: n, measure: backlog, target: 1, every: 10us, initial: 2COOL}]"
    arrivals = [0, 1, 45]
    hot = run(
        tmp_path, arrivals, {"d": device(TEN_US)}, nodes=2, sla="1ms", more=ROUND_ROBIN + more.replace("COOL", "")
    )
    # Over 0-10 there are 1.9 queries, two nodes within the tolerance; over 10-20 a tenth of one.
    assert off(hot) == [(1, 20, hot.stop_ns / US)]
    cool = run(
        tmp_path,
        [0, 1, 2, 45],
        {"d": device(TEN_US)},
        nodes=3,
        sla="1ms",
        more=ROUND_ROBIN + more.replace("COOL", ", cooldown: 25us").replace("every: 10us", "every: 5us"),
    )
    # Over 0-5 there are 2.4 queries, which bring the third node; no node goes until 30, when two go at once.
    assert [(d, f) for d, f, _ in off(cool) if f] == [(1, 30), (2, 30)]


def test_utilisation_counts_the_lane_time_of_the_last_interval(tmp_path: Path) -> None:
    record = run(
        tmp_path,
        [0, 30],
        {"d": device("{distribution: deterministic, mean: 12us}", lanes=2)},
        nodes=3,
        sla="1ms",
        more=ROUND_ROBIN
        + "autoscaling: [{group: n, measure: utilisation, target: 25%, every: 10us, initial: 1, tolerance: 0}]",
    )
    # 0-10: 10 us of the 20 that a node has, twice the target: two nodes. 10-20: 2 us, a tenth: one. 30-40: 10 us: two.
    changes = [t for d, f, t in off(record) if d == 1]
    assert changes[0] == 10
    assert [f for d, f, t in off(record) if d == 1][1] == 20
    assert 40 in changes


def test_too_few_in_time_bring_nodes(tmp_path: Path) -> None:
    record = run(
        tmp_path,
        [0, 1, 2, 25],
        {"d": device(TEN_US)},
        nodes=3,
        sla="10us",
        more="router: {kind: least-backlog}\n"
        "autoscaling: [{group: n, measure: sla-attainment, target: 90%, scale_in_above: 99%, every: 15us}]",
    )
    # By 15 one query was served, in time: nothing to do, for one node is the least. By 30 two more, both late: a node.
    assert off(record)[0] == (1, 0, 30)


def test_a_query_that_finds_no_node_is_told(tmp_path: Path) -> None:
    record = run(
        tmp_path,
        [0, 5],
        {"d": device(TEN_US)},
        nodes=2,
        sla="1ms",
        more="autoscaling: [{group: n, measure: backlog, target: 1, every: 100us}]\n"
        "faults: {crashes: [{at: 3us, group: n, nodes: [0]}]}",
    )
    assert reasons(record) == ["fault", "unavailable"]


def test_a_query_under_way_to_a_node_that_closes_is_sent_again(tmp_path: Path) -> None:
    record = run(
        tmp_path,
        [0, 9],
        {"d": device("{distribution: deterministic, mean: 2us}")},
        nodes=2,
        sla="1ms",
        more=ROUND_ROBIN
        + "autoscaling: [{group: n, measure: backlog, target: 4, every: 10us, initial: 2}]\n"
        + "network: {delay: 3us}\nretries: {limit: 1}\n",
    )
    # At 10 the second node closes; at 12 query 1 gets there, fails and is sent to the first, where it is at 15.
    unavailable = AttemptEnd.FAILED + DropReason.UNAVAILABLE
    assert attempts(record) == [
        (0, Cause.FIRST, 0, 8, AttemptEnd.ANSWERED),
        (1, Cause.FIRST, 9, 12, unavailable),
        (1, Cause.RETRY, 12, 20, AttemptEnd.ANSWERED),
    ]
    assert parts(record) == [(0, 0, 3, 5), (1, 0, 15, 17)]


TEMPLATE_THAT_LASTS = """\
name: t
model: {representations: {table: {accuracy: {value: 90%, evidence: assumed}}}}
sla: 10ms
workload: {arrivals: {kind: poisson, rate: 100/s}, sizes: {kind: fixed, size: 400}, duration: 1s}
fleet:
  - name: n
    count: 2
    devices: {d: {kind: cpu, service: {distribution: exponential, mean: 1ms}}}
"""


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("group: m, measure: backlog, target: 1, every: 1s", "autoscaling[0].group: no group of the fleet"),
        (
            "group: n, measure: backlog, target: 1, every: 1s, min: 0",
            "autoscaling[0].min: has to be at least 1 (got 0)",
        ),
        ("group: n, measure: backlog, target: 1, every: 1s, max: 9", "autoscaling[0].max: n has fewer nodes"),
        ("group: n, measure: backlog, target: 1, every: 1s, min: 3", "min and max are the same"),
        ("group: n, measure: backlog, target: 1, every: 1s, min: 2, max: 1", "max 1 is below min 2"),
        ("group: n, measure: backlog, target: 1, every: 1s, min: 2, initial: 1", "initial 1 is not between"),
        ("group: n, measure: latency, target: 1, every: 1s", "autoscaling[0].measure: not one of the known names"),
        ("group: n, target: 1, every: 1s", "autoscaling[0].measure: measure is missing"),
        (
            "group: n, measure: sla-attainment, target: 99%, scale_in_above: 98%, every: 1s",
            "scale_in_above has to be more than target",
        ),
    ],
)
def test_contradictions(rule: str, expected: str, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r":\d+:\d+: ") as error:
        run(tmp_path, [0], {"d": device(TEN_US)}, nodes=3, more=f"autoscaling: [{{{rule}}}]")
    assert expected in str(error.value)


def test_a_node_that_comes_after_the_end_is_told(tmp_path: Path) -> None:
    lasting = "autoscaling: [{group: n, measure: backlog, target: 1, every: 1ms, provisioning: 1h}]"
    text = TEMPLATE_THAT_LASTS + lasting
    with pytest.raises(SpecError, match=r"9:\d+: autoscaling\[0\].provisioning: is longer") as error:
        prepare_text(tmp_path, text)
    assert "(got '1h'; allowed: up to 1.1s)" in str(error.value)
    assert prepare_text(tmp_path, text.replace("1h", "1100ms"))


def test_more_decisions_than_anybody_means_are_told(tmp_path: Path) -> None:
    lasting = "autoscaling: [{group: n, measure: backlog, target: 1, every: 1ns}]"
    with pytest.raises(
        SpecError, match=r"9:\d+: autoscaling\[0\].every: it would be decided about 1,100,000,000"
    ) as error:
        prepare_text(tmp_path, TEMPLATE_THAT_LASTS + lasting)
    assert "(got '1ns'; allowed: at least 110ns, which is 10,000,000 times)" in str(error.value)
    assert prepare_text(tmp_path, TEMPLATE_THAT_LASTS + lasting.replace("1ns", "110ns"))


UNKNOWN = "not every size is known: loading the unknown takes no time"


def test_loading_what_has_no_known_size_is_told(tmp_path: Path) -> None:
    lasting = "autoscaling: [{group: n, measure: backlog, target: 1, every: 1ms, load_bandwidth: 1GB/s}]"
    (scenario,) = prepare_text(tmp_path, TEMPLATE_THAT_LASTS + lasting)
    assert any(UNKNOWN in line for line in scenario.assumptions)
    known = TEMPLATE_THAT_LASTS.replace("table: {", "table: {bytes: 1GB, ")
    (scenario,) = prepare_text(tmp_path, known + lasting)
    assert not any(UNKNOWN in line for line in scenario.assumptions)
