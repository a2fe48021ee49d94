"""Hand-worked event logs of the network and of routers that do not share what they know."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sim.engine.record import NEVER
from sim.serving.clients import DROP_REASONS
from sim.spec.problems import SpecError
from tests.engine.test_client_logs import attempts
from tests.engine.test_event_logs import (
    DROPPED,
    IN_TIME,
    LATE,
    MP_REC_DEVICES,
    MP_REC_MODEL,
    TEN_US,
    US,
    device,
    log,
    parts,
    run,
)
from tests.theory.queues import assert_close, experiment, replications, waiting_ms

pytestmark = pytest.mark.usefixtures("engine")


def test_a_query_takes_the_way_out_and_the_way_back(tmp_path: Path) -> None:
    record = run(tmp_path, [0, 1], {"d": device(TEN_US)}, sla="20us", more="network: {delay: 3us}")
    # At the node at 3 and 4; served 3-13 and 13-23; answers arrive at 16 and 26.
    assert parts(record) == [(0, 0, 3, 13), (1, 0, 13, 23)]
    assert log(record) == [(0, 3, 16, IN_TIME), (1, 13, 26, LATE)]
    # The way is part of the time in the system, not of the wait.
    assert record.in_system_integral == (16 + 25) * US
    assert record.waiting_integral == 9 * US
    assert record.part_enqueue_ns.tolist() == [3 * US, 4 * US]


@pytest.mark.parametrize(
    ("sla", "lane", "last"),
    [
        # There at 3, of which the answer needs 3: dhe, which takes 20, ends at 26, and table at 16.
        ("26us", 1, (0, 3, 26, IN_TIME)),
        ("25us", 0, (0, 3, 16, IN_TIME)),
    ],
)
def test_mp_rec_leaves_time_for_the_way_back(sla: str, lane: int, last: tuple[object, ...], tmp_path: Path) -> None:
    more = "policy: {kind: mp-rec}\nnetwork: {delay: 3us}"
    record = run(tmp_path, [0], MP_REC_DEVICES, model=MP_REC_MODEL, sla=sla, more=more)
    assert record.part_lane.tolist() == [lane] and log(record) == [last]


@pytest.mark.parametrize(("sla", "last"), [("16us", (0, 3, 16, IN_TIME)), ("15us", (0, NEVER, NEVER, DROPPED))])
def test_what_is_hopeless_with_the_way_back_is_shed(sla: str, last: tuple[object, ...], tmp_path: Path) -> None:
    more = "queue: {shed: hopeless}\nnetwork: {delay: 3us}"
    assert log(run(tmp_path, [0], {"d": device(TEN_US)}, sla=sla, more=more)) == [last]


def test_a_query_under_way_counts_as_backlog(tmp_path: Path) -> None:
    record = run(
        tmp_path, [0, 1], {"d": device(TEN_US)}, nodes=2, more="network: {delay: 3us}\nrouter: {kind: least-backlog}"
    )
    assert record.node.tolist() == [0, 1]


def test_a_query_finds_the_queue_full_when_it_gets_there(tmp_path: Path) -> None:
    record = run(tmp_path, [0, 1], {"d": device(TEN_US)}, more="network: {delay: 3us}\nqueue: {limit: 0}")
    assert log(record) == [(0, 3, 16, IN_TIME), (1, NEVER, NEVER, DROPPED)]
    assert record.drop_ns.tolist() == [NEVER, 4 * US]
    assert DROP_REASONS[record.drop_reason[1]] == "queue-full"


def test_a_copy_that_is_called_back_under_way_never_starts(tmp_path: Path) -> None:
    more = "network: {delay: 3us}\nrouter: {kind: round-robin}\nhedging: {after: 15us, cancel: CANCEL}"
    told = run(tmp_path, [0], {"d": device(TEN_US)}, nodes=2, more=more.replace("CANCEL", "waiting"))
    # The answer is there at 16; the copy, sent at 15, would reach the other node at 18.
    assert parts(told) == [(0, 0, 3, 13)]
    assert [sent for _, _, sent, *_ in attempts(told)] == [0, 15]
    untold = run(tmp_path, [0], {"d": device(TEN_US)}, nodes=2, more=more.replace("CANCEL", "none"))
    assert parts(untold) == [(0, 0, 3, 13), (0, 1, 18, 28)]


def test_an_answer_that_is_under_way_at_the_timeout_is_too_late(tmp_path: Path) -> None:
    record = run(tmp_path, [0], {"d": device(TEN_US)}, more="network: {delay: 3us}\ntimeout: {after: 15us}")
    assert log(record) == [(0, 3, NEVER, DROPPED)]
    assert record.drop_ns.tolist() == [15 * US]


def test_delays_have_the_law_that_was_asked_for(tmp_path: Path) -> None:
    text = experiment(
        service="{distribution: deterministic, mean: 1ms}",
        rate_per_s=0.01,
        queries=20_000,
        replications=1,
        more="network: {delay: 300us, cv: 1, floor: 100us}",
    )
    (record,) = replications(tmp_path, text)
    way_ms = (record.part_start_ns - record.arrival_ns) / 1e6
    assert way_ms.min() >= 0.1
    assert np.mean(way_ms) == pytest.approx(0.3, abs=4 * 0.2 / np.sqrt(20_000))
    assert np.std(way_ms) == pytest.approx(0.2, rel=0.05)
    back_ms = (record.finish_ns - record.part_finish_ns) / 1e6
    assert abs(np.corrcoef(way_ms, back_ms)[0, 1]) < 0.03


def test_routers_that_see_their_own_queries_alone_collide(tmp_path: Path) -> None:
    # Many routers have hardly a query under way each, so two choices are one: M/M/1 on every node.
    text = experiment(
        service="{distribution: exponential, mean: 1ms}",
        rate_per_s=7_000,
        queries=30_000,
        nodes=10,
        more="router: {kind: power-of-d, d: 2}\nknowledge: {routers: 5000}",
    )
    assert_close(replications(tmp_path, text), lambda r: waiting_ms(r).mean(), 0.7 / 0.3, allowance=0.02)


def test_a_router_counts_what_it_sent(tmp_path: Path) -> None:
    # Two routers, three queries at once: whoever sends two sends them to different nodes.
    record = run(
        tmp_path,
        [0, 0.1, 0.2],
        {"d": device(TEN_US)},
        nodes=3,
        sla="1ms",
        more="router: {kind: least-backlog}\nknowledge: {routers: 2}\nseed: 4",
    )
    assert record.outcome.tolist() == [IN_TIME] * 3
    assert len(set(record.node.tolist())) >= 2


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ("knowledge: {routers: 4}\nrouter: {kind: random}", "knowledge.routers: several random routers do what one"),
        (
            "knowledge: {routers: 4}\nrouter: {kind: least-backlog, measure: work}",
            "knowledge.routers: a router that sees only its own queries can count them",
        ),
        ("knowledge: {delay: 4us}\nrouter: {kind: random}", "knowledge.delay: knowledge has no effect on the random"),
        ("knowledge: {}", "knowledge: knowledge is either a delay or a number of routers"),
        ("knowledge: {delay: 1us}\nbinding: {kind: late}", "knowledge: knowledge is about a router"),
        ("network: {delay: 1us}\nbinding: {kind: late}", "network: network is about a router"),
        ("network: {delay: 1us, floor: 2us, cv: 1}", "network.floor: the floor is beyond the mean delay"),
        ("network: {delay: 3us, floor: 2us}", "network.floor: floor has no effect on a constant delay"),
    ],
)
def test_contradictions(more: str, expected: str, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r":\d+:\d+: ") as error:
        run(tmp_path, [0], {"d": device(TEN_US)}, nodes=2, more=more)
    assert expected in str(error.value)


def test_a_lane_that_is_free_earlier_than_expected_has_no_work_left(tmp_path: Path) -> None:
    """Services of 1 to 19 us are expected to take 10; one that took 3 leaves nothing of the other 7 behind."""
    service = "{sizes: [1], quantiles: [0.0, 1.0], service: [[1us, 19us]]}"
    record = run(
        tmp_path,
        [8 * number for number in range(400)],
        {"d": device(service)},
        nodes=2,
        more="router: {kind: least-backlog, measure: work}",
    )
    first = record.node == 0
    free_ns = np.concatenate([[0], np.maximum.accumulate(np.where(first, record.finish_ns, 0))[:-1]])
    idle = free_ns <= record.arrival_ns
    expected_ns = np.concatenate([[0], np.maximum.accumulate(np.where(first, record.start_ns + 10 * US, 0))[:-1]])
    assert np.sum(idle & (expected_ns > record.arrival_ns)) > 10
    assert np.all(first[idle])
