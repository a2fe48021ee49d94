"""Traces of a window: hand-worked events, and what holds of every trace of any scenario."""

from __future__ import annotations

import json
import tempfile
from collections import Counter, defaultdict
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from sim.engine.engines import Engine, run_engine
from sim.engine.record import NEVER, RunRecord
from sim.report.trace import Event, Observed, trace_events
from sim.spec.problems import SpecError
from sim.study import trace
from sim.study.prepare import PreparedScenario
from sim.study.replication import query_stream
from sim.study.trace import TraceRequest, observe_window, parse_window, take_trace
from tests.engine.test_event_logs import TEN_US, device
from tests.engine.variations import Generated, generated
from tests.harness import faults_of, prepare_text, write_trace

EASY = [HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large, HealthCheck.large_base_example]

PHASE_KEYS = {
    "X": ["dur", "tid"],
    "b": ["id", "cat"],
    "e": ["id", "cat"],
    "C": ["args"],
    "i": ["s"],
    "M": ["args"],
}
"""What the Trace Event Format asks of each phase beside `name`, `ph`, `pid` and, but for metadata, `ts`."""

SCHEMA = {
    "type": "object",
    "required": ["traceEvents"],
    "properties": {
        "displayTimeUnit": {"enum": ["ms", "ns"]},
        "otherData": {"type": "object"},
        "traceEvents": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["name", "ph", "pid"],
                "properties": {
                    "name": {"type": "string", "minLength": 1},
                    "ph": {"enum": list(PHASE_KEYS)},
                    "ts": {"type": "number", "minimum": 0},
                    "dur": {"type": "number", "minimum": 0},
                    "pid": {"type": "integer", "minimum": 1},
                    "tid": {"type": "integer", "minimum": 0},
                    "id": {"type": "string"},
                    "s": {"enum": ["g", "p", "t"]},
                    "args": {"type": "object"},
                },
                "allOf": [
                    {"if": {"properties": {"ph": {"const": phase}}}, "then": {"required": keys}}
                    for phase, keys in PHASE_KEYS.items()
                ]
                + [
                    {"if": {"properties": {"ph": {"not": {"const": "M"}}}}, "then": {"required": ["ts"]}},
                    {
                        "if": {"properties": {"ph": {"const": "C"}}},
                        "then": {"properties": {"args": {"additionalProperties": {"type": "number"}}}},
                    },
                ],
            },
        },
    },
}


def hand_worked(folder: Path, more: str = "", lanes: int = 1) -> PreparedScenario:
    """Queries at 0, 4 and 5 us on a device that serves each in 10 us."""
    write_trace(folder, [0, 4, 5])
    (scenario,) = prepare_text(
        folder,
        f"""
name: hand-worked
model: {{representations: {{table: {{accuracy: {{value: 80%, evidence: assumed}}}}}}}}
sla: 25us
workload:
  arrivals: {{kind: trace, file: arrivals.csv, unit: us}}
  sizes: {{kind: fixed, size: 7}}
  queries: 3
  warmup: 0s
fleet: [{{name: n, devices: {{d: {device(TEN_US, lanes)}}}}}]
replications: 1
{more}
""",
    )
    return scenario


def events_of(scenario: PreparedScenario, window: str) -> list[Event]:
    text = take_trace(TraceRequest(window), [scenario]).text
    content = json.loads(text)
    assert not list(Draft202012Validator(SCHEMA).iter_errors(content))
    found: list[Event] = content["traceEvents"]
    return found


def only(events: list[Event], phase: str) -> list[Event]:
    return [event for event in events if event["ph"] == phase]


def query(number: int, begin: float, end: float, arrival_us: int, outcome: str, latency_us: int | None) -> list[Event]:
    shared = {"name": f"query {number}", "cat": "query", "id": str(number), "pid": 1, "tid": 1}
    over = {} if latency_us is None else {"latency_ms": latency_us / 1e3, "path": "table@d"}
    return [
        {"ph": "b", "ts": begin, **shared, "args": {"size": 7, "arrival_ms": arrival_us / 1e3}},
        {"ph": "e", "ts": end, **shared, "args": {"outcome": outcome, **over, "node": 0}},
    ]


def part(number: int, begin: float, length: float, waited_us: int, **more: Any) -> Event:
    args = {"query": number, "size": 7, "path": "table@d", "waited_ms": waited_us / 1e3, **more}
    where = {"pid": 2, "tid": 1}
    return {"name": f"query {number}", "cat": "part", "ph": "X", "ts": begin, "dur": length, **where, "args": args}


def counted(pid: int, name: str, what: str, *points: tuple[float, int]) -> list[Event]:
    shared = {"name": name, "cat": "count", "ph": "C"}
    return [{**shared, "ts": ts, "pid": pid, "tid": 0, "args": {what: count}} for ts, count in points]


def named(pid: int, tid: int, kind: str, name: str) -> list[Event]:
    at = {"ph": "M", "pid": pid, "tid": tid}
    return [
        {"name": f"{kind}_name", **at, "args": {"name": name}},
        {"name": f"{kind}_sort_index", **at, "args": {"sort_index": tid or pid}},
    ]


NAMES = [
    *named(1, 0, "process", "queries"),
    *named(2, 0, "process", "node 0, n"),
    *named(2, 1, "thread", "d lane 0"),
]


def test_every_event_of_a_short_run(tmp_path: Path) -> None:
    # One lane, ten microseconds each: 0-10, 10-20, 20-30; the last one is answered 25 us after it came, just in time.
    assert events_of(hand_worked(tmp_path), "0s..1ms") == [
        *query(0, 0, 10, 0, "served in time", 10),
        *query(1, 4, 20, 4, "served in time", 16),
        *query(2, 5, 30, 5, "served in time", 25),
        part(0, 0, 10, 0),
        part(1, 10, 10, 6),
        part(2, 20, 10, 15),
        *counted(1, "queries in the system", "queries", (0, 1), (4, 2), (5, 3), (10, 2), (20, 1), (30, 0)),
        *counted(2, "waiting at d", "parts", (0, 0), (4, 1), (5, 2), (10, 1), (20, 0)),
        *NAMES,
    ]


def test_what_reaches_beyond_the_window_is_cut(tmp_path: Path) -> None:
    # At 6 us one is in service and two wait; at 12 us the first is over, the second in service until 20.
    open_end = "not over when the window ends"
    assert events_of(hand_worked(tmp_path), "6us+6us") == [
        *query(0, 6, 10, 0, "served in time", 10),
        *(query(1, 6, 12, 4, open_end, None)),
        *(query(2, 6, 12, 5, open_end, None)),
        part(0, 6, 4, 0, start_ms=0.0, finish_ms=0.01),
        part(1, 10, 2, 6, start_ms=0.01, finish_ms=0.02),
        *counted(1, "queries in the system", "queries", (6, 3), (10, 2)),
        *counted(2, "waiting at d", "parts", (6, 2), (10, 1)),
        *NAMES,
    ]


def test_a_drop_says_why_and_a_batch_is_one_event(tmp_path: Path) -> None:
    events = events_of(hand_worked(tmp_path, "queue: {limit: 1}"), "0s..1ms")
    (dropped,) = [event for event in only(events, "e") if event["args"]["outcome"] == "dropped"]
    assert dropped["ts"] == 5.0 and dropped["args"]["reason"] == "queue-full" and dropped["id"] == "2"
    events = events_of(hand_worked(tmp_path, "batching: {queries: 2}"), "0s..1ms")
    first, second = only(events, "X")
    assert second["name"] == "batch of 2" and (second["ts"], second["args"]["queries"]) == (10.0, [1, 2])
    assert second["args"]["sizes"] == [7, 7] and first["args"]["query"] == 0


def test_faults_and_attempts_are_told(tmp_path: Path) -> None:
    faults = """
faults:
  crashes: [{at: 6us, for: 2us}]
  slow: [{at: 1us, for: 2us, factor: 2}]
retries: {limit: 1, on: [fault], backoff: 1us}
"""
    events = events_of(hand_worked(tmp_path, faults, lanes=2), "0s..1ms")
    assert [(event["ts"], event["name"]) for event in only(events, "i")] == [
        (1.0, "d slowed"),
        (3.0, "d not slowed"),
        (6.0, "d down"),
        (8.0, "d up"),
    ]
    attempts = [event for event in events if event.get("cat") == "attempt"]
    names = Counter(event["name"].split(" ", 2)[2] for event in attempts if event["ph"] == "b")
    assert names["first"] == 3 and names["retry"] >= 1
    assert any(event["args"].get("cut_off") for event in only(events, "X"))


# -- any scenario -------------------------------------------------------------------------------------------


def whole(scenario: PreparedScenario) -> RunRecord:
    stream, faults = query_stream(scenario, 0, 0), faults_of(scenario, 0, 0)
    return run_engine(Engine.REFERENCE, scenario.system, stream, drain_ns=scenario.drain_ns, faults=faults)


def ns(us: float) -> int:
    return round(us * 1e3)


@settings(max_examples=40, deadline=None, derandomize=True, suppress_health_check=EASY, phases=[Phase.generate])
@given(one=generated(), begin=st.floats(0, 1), length=st.floats(0.01, 1))
def test_a_trace_tells_everything_of_its_window_once(one: Generated, begin: float, length: float) -> None:
    with tempfile.TemporaryDirectory() as folder:
        try:
            scenario = one.prepare(Path(folder))
        except SpecError:
            return
        record = whole(scenario)
        from_ns = int(begin * record.end_ns)
        to_ns = min(from_ns + 1 + int(length * record.end_ns), record.stop_ns)
        if from_ns >= to_ns:
            return
        seen = observe_window(scenario, 0, from_ns, to_ns)
        uncut = observe_window(scenario, 0, 0, record.stop_ns)
    events = list(trace_events(seen))
    _check_record(seen.record, record, to_ns)
    _check_pairs(events, from_ns, to_ns)
    _check_parts(events, record, seen, from_ns, to_ns)
    assert not list(Draft202012Validator(SCHEMA).iter_errors({"traceEvents": json.loads(json.dumps(events))}))
    totals = _integrals(list(trace_events(uncut)), record.stop_ns)
    assert totals.pop("queries in the system", 0) == record.in_system_integral
    assert sum(totals.values()) == record.waiting_integral


def _check_record(cut: RunRecord, record: RunRecord, to_ns: int) -> None:
    """What began before the end of the window is the same in a run that goes on."""
    early, before = cut.part_start_ns < to_ns, record.part_start_ns < to_ns
    for name in ("part_query", "part_lane", "part_path", "part_size", "part_enqueue_ns", "part_start_ns"):
        assert np.array_equal(getattr(cut, name)[early], getattr(record, name)[before]), name
    arrived = record.arrival_ns < to_ns
    assert np.array_equal(cut.arrival_ns, record.arrival_ns[arrived])
    for name in ("finish_ns", "drop_ns"):
        mine, theirs = getattr(cut, name), getattr(record, name)[arrived]
        assert np.array_equal(np.where(mine < to_ns, mine, NEVER), np.where(theirs < to_ns, theirs, NEVER)), name


def _check_pairs(events: list[Event], from_ns: int, to_ns: int) -> None:
    opened: dict[tuple[str, str], float] = {}
    for event in events:
        if event["ph"] == "b":
            assert (event["cat"], event["id"]) not in opened
            opened[event["cat"], event["id"]] = event["ts"]
        elif event["ph"] == "e":
            assert from_ns <= ns(opened.pop((event["cat"], event["id"]))) <= ns(event["ts"]) <= to_ns
        elif event["ph"] != "M":
            assert from_ns <= ns(event["ts"]) < to_ns
    assert not opened


def _check_parts(events: list[Event], record: RunRecord, seen: Observed, from_ns: int, to_ns: int) -> None:
    told: Counter[tuple[int, int]] = Counter()
    busy: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for event in only(events, "X"):
        begin_ns = ns(event["ts"])
        end_ns = begin_ns + ns(event["dur"])
        assert from_ns <= begin_ns <= end_ns <= to_ns
        busy[event["tid"]].append((begin_ns, end_ns))
        for number in event["args"].get("queries") or [event["args"]["query"]]:
            told[number, event["tid"] - 1] += 1
    start_ns, finish_ns = record.part_start_ns, seen.record.part_finish_ns
    happened: Counter[tuple[int, int]] = Counter()
    for i, (number, lane) in enumerate(zip(record.part_query.tolist(), record.part_lane.tolist(), strict=True)):
        if start_ns[i] < to_ns and (start_ns[i] >= from_ns or finish_ns[i] > from_ns):
            happened[number, lane] += 1
    assert told == happened
    for stretches in busy.values():
        stretches.sort()
        assert all(one[1] <= other[0] for one, other in pairwise(stretches))


def _integrals(events: list[Event], stop_ns: int) -> dict[str, int]:
    """What each counter adds up to over time, in unit nanoseconds; those of the same name on several nodes together."""
    points: dict[tuple[int, str], list[tuple[int, int]]] = defaultdict(list)
    for event in only(events, "C"):
        (count,) = event["args"].values()
        points[event["pid"], event["name"]].append((ns(event["ts"]), count))
    totals: Counter[str] = Counter()
    for (_, name), steps in points.items():
        ends = [at for at, _ in steps[1:]] + [stop_ns]
        totals[name] += sum((end - at) * count for (at, count), end in zip(steps, ends, strict=True))
    return dict(totals)


# -- what is asked for --------------------------------------------------------------------------------------


def test_windows_are_written_in_two_ways() -> None:
    assert parse_window("10ms..20ms") == (10_000_000, 20_000_000)
    assert parse_window("1s+50ms") == (1_000_000_000, 1_050_000_000)
    assert parse_window(" 0s .. 1.5us ") == (0, 1500)


@pytest.mark.parametrize(
    ("window", "said"),
    [
        ("10ms", "not a window of time"),
        ("10..20", "a unit"),
        ("20ms..10ms", "ends before it has begun"),
        ("5ms+0s", "ends before it has begun"),
        ("-1s..1s", "--trace"),
        ("1h..2h", "the run is over at"),
    ],
)
def test_a_window_that_cannot_be_had_is_told(tmp_path: Path, window: str, said: str) -> None:
    with pytest.raises(SpecError, match=said):
        take_trace(TraceRequest(window), [hand_worked(tmp_path)])


def test_scenarios_and_replications_are_found_by_name(tmp_path: Path) -> None:
    write_trace(tmp_path, [0, 4, 5])
    (one,) = [hand_worked(tmp_path)]
    with pytest.raises(SpecError, match=r"--trace-scenario: no such scenario .* did you mean 'hand-worked'"):
        take_trace(TraceRequest("0s..1ms", "hand-work"), [one])
    with pytest.raises(SpecError, match=r"--trace-replication: no such replication .*allowed: 0 to 0"):
        take_trace(TraceRequest("0s..1ms", None, 1), [one])
    assert take_trace(TraceRequest("0s..1ms", "hand-worked"), [one]).about["to_ns"] < 1_000_000


def test_too_much_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = hand_worked(tmp_path)
    monkeypatch.setattr(trace, "MOST_EVENTS", 10)
    with pytest.raises(SpecError, match="more than 10 events lie in the window"):
        take_trace(TraceRequest("0s..1ms"), [one])
    monkeypatch.setattr(trace, "MOST_QUERIES", 2)
    with pytest.raises(SpecError, match="more than 2 queries arrive before the window ends"):
        take_trace(TraceRequest("0s..1ms"), [one])
