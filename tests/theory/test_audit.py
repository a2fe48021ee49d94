"""Each law of the audit is broken once, and the audit says which."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from sim.engine.audit import audit
from sim.engine.engines import Engine
from sim.engine.record import AttemptEnd, Cause, Outcome, RunRecord
from sim.serving.clients import DropReason
from sim.serving.system import System
from tests.harness import run_record
from tests.theory.queues import experiment, prepared

pytestmark = pytest.mark.usefixtures("engine")

Tamper = Callable[[RunRecord], RunRecord]


@pytest.fixture(scope="module", name="sound")
def _sound(tmp_path_factory: pytest.TempPathFactory, engine: Engine) -> tuple[RunRecord, System]:
    text = (
        experiment(
            service="{distribution: exponential, mean: 1ms}", rate_per_s=1500, queries=500, lanes=2, replications=1
        )
        .replace("lanes: 2, ", "lanes: 2, ")
        .replace("}}}}]", "}, queue_limit: 6}}}]")
    )
    scenario = prepared(tmp_path_factory.mktemp("audit"), text)
    return run_record(scenario, 0), scenario.system


def test_a_sound_run_passes(sound: tuple[RunRecord, System]) -> None:
    record, system = sound
    assert audit(record, system) == []
    assert {Outcome.SERVED_IN_TIME, Outcome.DROPPED} <= set(record.outcome.tolist())


def changed(values: np.ndarray, index: int, value: float) -> np.ndarray:
    copy = values.copy()
    copy[index] = value
    return copy


def waited(record: RunRecord) -> int:
    """A part that waited."""
    return int(np.flatnonzero(record.part_start_ns > record.part_enqueue_ns)[5])


def lose_a_query(record: RunRecord) -> RunRecord:
    return replace(record, finish_ns=changed(record.finish_ns, 3, -1))


def drop_without_a_reason(record: RunRecord) -> RunRecord:
    dropped = int(np.flatnonzero(record.outcome == Outcome.DROPPED)[0])
    return replace(record, drop_reason=changed(record.drop_reason, dropped, -1))


def hold_the_generator_back(record: RunRecord) -> RunRecord:
    return replace(record, arrival_ns=changed(record.arrival_ns, 20, int(record.arrival_ns[22])))


def start_before_arrival(record: RunRecord) -> RunRecord:
    return replace(record, start_ns=changed(record.start_ns, 7, int(record.arrival_ns[7]) - 1))


def serve_half_a_query(record: RunRecord) -> RunRecord:
    return replace(record, part_size=changed(record.part_size, 4, 0))


def miscount_the_system(record: RunRecord) -> RunRecord:
    return replace(record, in_system_integral=record.in_system_integral + 1)


def miscount_the_queue(record: RunRecord) -> RunRecord:
    return replace(record, waiting_integral=record.waiting_integral - 1)


def serve_two_at_once(record: RunRecord) -> RunRecord:
    part = waited(record)
    other = 1 - int(record.part_lane[part])
    return replace(record, part_lane=changed(record.part_lane, part, other))


def idle_with_work_waiting(record: RunRecord) -> RunRecord:
    part = waited(record)
    return replace(record, part_start_ns=changed(record.part_start_ns, part, int(record.part_start_ns[part]) + 1))


def overtake(record: RunRecord) -> RunRecord:
    part = waited(record)
    query = changed(record.part_query, part, int(record.part_query[part + 1]))
    return replace(record, part_query=changed(query, part + 1, int(record.part_query[part])))


@pytest.mark.parametrize(
    ("tamper", "law"),
    [
        (lose_a_query, "conservation"),
        (drop_without_a_reason, "conservation"),
        (hold_the_generator_back, "conservation"),
        (start_before_arrival, "causality"),
        (serve_half_a_query, "causality"),
        (miscount_the_system, "Little's law"),
        (miscount_the_queue, "Little's law"),
        (serve_two_at_once, "lanes"),
        (idle_with_work_waiting, "work conservation"),
        (overtake, "order"),
    ],
)
def test_each_law_is_held(tamper: Tamper, law: str, sound: tuple[RunRecord, System]) -> None:
    record, system = sound
    violations = audit(tamper(record), system)
    assert any(violation.startswith(law) for violation in violations), violations


@pytest.fixture(scope="module", name="batched")
def _batched(tmp_path_factory: pytest.TempPathFactory, engine: Engine) -> tuple[RunRecord, System]:
    text = experiment(
        service="{distribution: exponential, mean: 1ms, per_sample: 1us}",
        rate_per_s=3000,
        queries=500,
        lanes=2,
        replications=1,
        more="batching: {queries: 4, samples: 300, timeout: 1ms}\nqueue: {order: smallest-first}",
    ).replace("{kind: fixed, size: 1}", "{kind: quantiles, values: [50, 90, 150]}")
    scenario = prepared(tmp_path_factory.mktemp("batched"), text)
    return run_record(scenario, 0), scenario.system


def member(record: RunRecord) -> int:
    """The second part of a batch."""
    return int(np.flatnonzero(record.part_batch[1:] == record.part_batch[:-1])[5]) + 1


def alone(record: RunRecord) -> int:
    """A part before and after which another batch starts."""
    batch = record.part_batch
    return int(np.flatnonzero((batch[2:] != batch[1:-1]) & (batch[1:-1] != batch[:-2]))[5]) + 1


def finish_before_the_rest(record: RunRecord) -> RunRecord:
    part = member(record)
    return replace(record, part_finish_ns=changed(record.part_finish_ns, part, int(record.part_finish_ns[part]) - 1))


def put_in_a_batch_too_many(record: RunRecord) -> RunRecord:
    batch = record.part_batch.copy()
    batch[:6] = batch[0]
    return replace(record, part_batch=batch)


def put_in_a_batch_too_much(record: RunRecord) -> RunRecord:
    return replace(record, part_size=changed(record.part_size, member(record), 300))


def split_a_batch(record: RunRecord) -> RunRecord:
    return replace(record, part_batch=changed(record.part_batch, member(record), -5))


def serve_the_larger_first(record: RunRecord) -> RunRecord:
    # Claim that the smallest of a long wait was the largest: what waited beside it should have gone first.
    waits = record.part_start_ns - record.part_enqueue_ns
    part = int(np.argmax(np.where(record.part_size == 50, waits, -1)))
    return replace(record, part_size=changed(record.part_size, part, 151))


def idle_with_a_batch_waiting(record: RunRecord) -> RunRecord:
    late = (record.part_batch == record.part_batch[waited(record)]).astype(np.int64)
    return replace(record, part_start_ns=record.part_start_ns + late)


@pytest.mark.parametrize(
    ("tamper", "law"),
    [
        (finish_before_the_rest, "batches: parts served together differ"),
        (put_in_a_batch_too_many, "batches: a batch has more parts"),
        (put_in_a_batch_too_much, "batches: a batch has more samples"),
        (split_a_batch, "lanes"),
        (idle_with_a_batch_waiting, "work conservation"),
        (serve_the_larger_first, "order"),
    ],
)
def test_each_law_of_batches_and_orders_is_held(tamper: Tamper, law: str, batched: tuple[RunRecord, System]) -> None:
    record, system = batched
    assert audit(record, system) == []
    violations = audit(tamper(record), system)
    assert any(violation.startswith(law) for violation in violations), violations


@pytest.fixture(scope="module", name="faulty")
def _faulty(tmp_path_factory: pytest.TempPathFactory, engine: Engine) -> tuple[RunRecord, System]:
    text = experiment(
        service="{distribution: exponential, mean: 1ms}",
        rate_per_s=2500,
        queries=500,
        lanes=2,
        nodes=2,
        replications=1,
        more="timeout: {after: 3ms}\nretries: {limit: 2}\nhedging: {after: 1ms, cancel: running}\n"
        "faults: {crashes: [{at: 50ms, for: 10ms, group: n, nodes: [0]}, {at: 90ms, for: 5ms, group: n, nodes: [1]}]}",
    )
    scenario = prepared(tmp_path_factory.mktemp("faulty"), text)
    return run_record(scenario, 0), scenario.system


def test_a_sound_run_with_attempts_and_faults_passes(faulty: tuple[RunRecord, System]) -> None:
    record, system = faulty
    assert audit(record, system) == []
    assert set(AttemptEnd) - {AttemptEnd.UNFINISHED, AttemptEnd.FAILED} <= set(record.attempt_end.tolist())
    assert set(Cause) == set(record.attempt_cause.tolist())
    assert np.any(record.part_cut) and len(record.span_device) == 2


def attempt(record: RunRecord, end: int) -> int:
    """An attempt that ended so."""
    return int(np.flatnonzero(record.attempt_end == end)[5])


def answer_a_query_twice(record: RunRecord) -> RunRecord:
    beaten = attempt(record, AttemptEnd.BEATEN)
    return replace(record, attempt_end=changed(record.attempt_end, beaten, AttemptEnd.ANSWERED))


def answer_a_dropped_query(record: RunRecord) -> RunRecord:
    dropped = int(np.flatnonzero(record.outcome == Outcome.DROPPED)[0])
    return replace(record, answered_by=changed(record.answered_by, dropped, 0))


def serve_by_no_attempt(record: RunRecord) -> RunRecord:
    served = int(np.flatnonzero(record.outcome == Outcome.SERVED_IN_TIME)[0])
    return replace(record, answered_by=changed(record.answered_by, served, -1))


def send_a_first_attempt_twice(record: RunRecord) -> RunRecord:
    hedge = int(np.flatnonzero(record.attempt_cause == Cause.HEDGE)[0])
    return replace(record, attempt_cause=changed(record.attempt_cause, hedge, Cause.FIRST))


def wait_on_after_the_end(record: RunRecord) -> RunRecord:
    beaten = attempt(record, AttemptEnd.BEATEN)
    return replace(
        record,
        attempt_end=changed(record.attempt_end, beaten, AttemptEnd.UNFINISHED),
        attempt_end_ns=changed(record.attempt_end_ns, beaten, -1),
    )


def end_before_it_was_sent(record: RunRecord) -> RunRecord:
    failed = attempt(record, AttemptEnd.FAILED + DropReason.TIMEOUT)
    early = int(record.attempt_sent_ns[failed]) - 1
    return replace(record, attempt_end_ns=changed(record.attempt_end_ns, failed, early))


def end_without_a_time(record: RunRecord) -> RunRecord:
    answered = attempt(record, AttemptEnd.ANSWERED)
    return replace(record, attempt_end_ns=changed(record.attempt_end_ns, answered, -1))


def be_answered_by_another(record: RunRecord) -> RunRecord:
    # The first attempt of a query that a copy answered: its own parts do not finish when the query does.
    copied = int(np.flatnonzero(record.answered_by == 1)[0])
    return replace(record, answered_by=changed(record.answered_by, copied, 0))


def be_answered_by_what_was_cut_off(record: RunRecord) -> RunRecord:
    answers = record.part_attempt == record.answered_by[record.part_query]
    return replace(record, part_cut=changed(record.part_cut, int(np.flatnonzero(answers)[0]), True))


def crash(record: RunRecord, span: int, from_ns: int, to_ns: int) -> RunRecord:
    return replace(
        record,
        span_from_ns=changed(record.span_from_ns, span, from_ns),
        span_to_ns=changed(record.span_to_ns, span, to_ns),
    )


def crash_a_nanosecond_earlier(record: RunRecord) -> RunRecord:
    # What the crash cut off had been in service until then.
    return crash(record, 0, int(record.span_from_ns[0]) - 1, int(record.span_to_ns[0]))


def come_back_too_late(record: RunRecord) -> RunRecord:
    on_first_node = (record.part_lane < 2) & (record.part_start_ns >= record.span_to_ns[0])
    first = int(record.part_start_ns[on_first_node].min())
    return crash(record, 0, int(record.span_from_ns[0]), first + 1)


def be_down_within_a_service(record: RunRecord) -> RunRecord:
    longest = int(np.argmax(np.where(record.part_lane >= 2, record.part_finish_ns - record.part_start_ns, 0)))
    middle = int(record.part_start_ns[longest] + record.part_finish_ns[longest]) // 2
    return crash(record, 1, middle, middle + 1)


@pytest.mark.parametrize(
    ("tamper", "law"),
    [
        (answer_a_query_twice, "attempts: a query that is served does not have exactly one answered"),
        (answer_a_dropped_query, "attempts: a query is served exactly if"),
        (serve_by_no_attempt, "attempts: a query is served exactly if"),
        (send_a_first_attempt_twice, "attempts: a query does not have exactly one first"),
        (wait_on_after_the_end, "attempts: somebody still waits"),
        (end_before_it_was_sent, "attempts: an attempt ended before"),
        (end_without_a_time, "attempts: an attempt ended before it was sent, or without a time"),
        (be_answered_by_another, "causality: a served query does not finish with its last part"),
        (be_answered_by_what_was_cut_off, "causality: a served query does not finish with its last part"),
        (crash_a_nanosecond_earlier, "availability: device 0"),
        (come_back_too_late, "availability: device 0"),
        (be_down_within_a_service, "availability: device 1"),
    ],
)
def test_each_law_of_attempts_and_availability_is_held(
    tamper: Tamper, law: str, faulty: tuple[RunRecord, System]
) -> None:
    record, system = faulty
    violations = audit(tamper(record), system)
    assert any(violation.startswith(law) for violation in violations), violations


def test_a_part_may_end_as_its_device_goes_down_and_start_as_it_comes_back(faulty: tuple[RunRecord, System]) -> None:
    record, system = faulty
    lane = record.part_lane < 2
    ended = int(record.part_finish_ns[lane & (record.part_finish_ns <= record.span_from_ns[0])].max())
    began = int(record.part_start_ns[lane & (record.part_start_ns >= record.span_to_ns[0])].min())
    assert audit(crash(record, 0, ended, began), system) == []
