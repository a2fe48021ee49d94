"""Each law of the audit is broken once, and the audit says which."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from sim.engine.audit import audit
from sim.engine.record import Outcome, RunRecord
from sim.serving.system import System
from sim.study.replication import run_record
from tests.theory.queues import experiment, prepared

Tamper = Callable[[RunRecord], RunRecord]


@pytest.fixture(scope="module", name="sound")
def _sound(tmp_path_factory: pytest.TempPathFactory) -> tuple[RunRecord, System]:
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
