"""A real server: the picks and records of the simulator where time is the same, and every query accounted for."""

from __future__ import annotations

import gc
import os
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from multiprocessing import Pipe, get_context
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from numpy.typing import NDArray

from sim.calibrate.measure.interference import BlockReading
from sim.calibrate.measure.readings import WHILE_IDLE, Look
from sim.calibrate.observe import server as server_module
from sim.calibrate.observe import worker as worker_module
from sim.calibrate.observe.arrivals import WITH_IT, Queries, back_to_back, on_schedule, with_pauses
from sim.calibrate.observe.mailbox import Mailbox, shared_cells
from sim.calibrate.observe.practice import STEPS_OF_ACCOUNTS, Practice
from sim.calibrate.observe.server import Server
from sim.calibrate.observe.subject import BusyLoop, Empty, TorchModel
from sim.calibrate.observe.worker import BEGIN_BLOCK, END_BLOCK, STOP, Waiting, Worker, WorkerFailed
from sim.engine.record import Outcome, RunRecord
from sim.engine.reference import simulate
from sim.study.variation import LaidOut, Variable
from sim.workload.popularity import UniformPopularity

ONE_WORKER = """
name: one worker
model:
  name: m
  representations:
    table: {accuracy: {value: 70%, evidence: assumed}}
    dhe: {accuracy: {value: 75%, evidence: assumed}}
    hybrid: {accuracy: {value: 80%, evidence: assumed}}
sla: 6ms
workload:
  arrivals: {kind: poisson, rate: 300/s}
  sizes: {kind: lognormal, mean: 64, sigma: 0.8, max: 512}
  queries: 150
fleet:
  - name: n
    devices:
      cpu:
        profile:
          service:
            m:
              table: {distribution: deterministic, mean: 1ms, per_sample: 10us}
              dhe: {distribution: deterministic, mean: 2ms, per_sample: 20us}
              hybrid: {distribution: deterministic, mean: 3ms, per_sample: 30us}
policy: {kind: mp-rec}
replications: 1
"""


def laid_out(tmp_path: Path, *overrides: str) -> LaidOut:
    file = tmp_path / "experiment.yaml"
    file.write_text(ONE_WORKER)
    (scenario,) = Variable(str(file), overrides).lay_out()
    return scenario


def drawn(scenario: LaidOut) -> Queries:
    stream = scenario.stream(0)
    (chunk,) = stream.chunks()
    return on_schedule(chunk.arrival_ns, chunk.size, chunk.router_u, stream.end_ns)


class FakeTime:
    """A clock that goes on to the next thing that happens whenever it is read and nothing is left to be dealt with."""

    def __init__(self) -> None:
        self.now_ns = 0
        self.server: Server | None = None

    def monotonic_ns(self) -> int:
        assert self.server is not None
        origin_ns = self.server.origin_ns
        if origin_ns:
            ledger = self.server.ledger
            arrived = ledger.in_system + ledger.ended
            coming = [int(one) + origin_ns for one in ledger.recorder.arrival_ns[arrived : arrived + 1]]
            coming += [lane.worker.finish_ns for lane in self.server.lanes if lane.busy]  # type: ignore[attr-defined]
            self.now_ns = max(self.now_ns, min(coming, default=0))
        return self.now_ns


class FakeWorker:
    """Takes exactly what the profile says, by a fake clock."""

    def __init__(self, time: FakeTime, scenario: LaidOut) -> None:
        self.time = time
        self.services = [path.service for path in scenario.plan.eligible]
        self.finish_ns = 0
        self.worked_ns = 0
        self.mailbox = self

    def ask(self, subject: int, size: int) -> None:
        self.worked_ns = int(self.services[subject].mean_at(size))
        self.finish_ns = self.time.now_ns + self.worked_ns

    def is_done(self) -> bool:
        return self.time.now_ns >= self.finish_ns

    def check(self) -> None:
        self.time.monotonic_ns()


def replayed(
    scenario: LaidOut,
    monkeypatch: pytest.MonkeyPatch,
    queries: Queries,
    drain_ns: int,
    practice: Practice | None = None,
) -> RunRecord:
    """Serve by a fake clock; the record has passed the audit."""
    time = FakeTime()
    monkeypatch.setattr(server_module, "time", time)
    workers = [FakeWorker(time, scenario) for _ in range(int(scenario.system.device_lane[-1]))]
    subjects = range(len(scenario.plan.eligible))
    time.server = Server(scenario.system, workers, subjects)
    return time.server.replay(queries, drain_ns, None if practice is None else practice.step).record


TWO_NODES = ("fleet.n.count=2", "router={kind: least-backlog}", "workload.arrivals.rate=600/s")


@pytest.mark.parametrize(
    "overrides",
    [
        (),
        ("policy={kind: mp-rec, queue: ignored}",),
        ("policy={kind: fastest}",),
        TWO_NODES,
        (*TWO_NODES, "router={kind: power-of-d, d: 2}"),
        (*TWO_NODES, "router={kind: round-robin}"),
        ("fleet.n.devices.cpu={profile: {lanes: 2, service: {m: {table: {distribution: deterministic, mean: 4ms}}}}}",),
        (*TWO_NODES[:1], "binding={kind: late}", "policy={kind: static, representation: dhe}"),
        ("queue={order: smallest-first}", "workload.arrivals.rate=500/s"),
        ("queue={shed: late}", "workload.arrivals.rate=900/s"),
        ("queue={limit: 2}", "workload.arrivals.rate=900/s"),
    ],
)
def test_the_server_does_what_the_simulator_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, overrides: tuple[str, ...]
) -> None:
    scenario = laid_out(tmp_path, *overrides)
    queries = drawn(scenario)
    practice = Practice(scenario.system, range(len(scenario.plan.eligible)), queries)
    real = replayed(scenario, monkeypatch, queries, scenario.drain_ns, practice)
    assert practice.done > 10
    expected = simulate(scenario.system, scenario.stream(0), drain_ns=scenario.drain_ns)
    for name in ("arrival_ns", "size", "path", "node", "finish_ns", "outcome", "drop_reason", "drop_ns"):
        np.testing.assert_array_equal(getattr(real, name), getattr(expected, name), err_msg=name)
    for name in ("part_query", "part_path", "part_lane", "part_enqueue_ns", "part_start_ns", "part_finish_ns"):
        np.testing.assert_array_equal(getattr(real, name), getattr(expected, name), err_msg=name)
    assert real.in_system_integral == expected.in_system_integral
    assert real.waiting_integral == expected.waiting_integral


@pytest.mark.parametrize("more", [(), ("queue={limit: 0}",), ("binding={kind: late}",)])
@pytest.mark.parametrize("given", [False, True])
def test_practice_goes_through_every_step_of_dispatch(tmp_path: Path, given: bool, more: tuple[str, ...]) -> None:
    scenario = laid_out(tmp_path, f"fleet.n.count={1 if given else 2}", *more)
    queries = back_to_back([0, 2], [10, 30]) if given else drawn(scenario)
    practice = Practice(scenario.system, range(len(scenario.plan.eligible)), queries)
    ledger = practice.server.ledger
    for begun in (0, STEPS_OF_ACCOUNTS):
        steps = np.arange(begun, begun + 200)
        for number in steps.tolist():
            practice.step(1000 * number)
        recorder = ledger.recorder
        assert recorder.arrival_ns[:200].tolist() == recorder.finish_ns[:200].tolist() == (1000 * steps).tolist()
        assert recorder.size[:200].tolist() == np.array(queries.size)[steps % len(queries)].tolist()
        assert len(recorder.part_query) == len(practice.server.worked_ns) == 200
        if given:
            assert recorder.path[:200].tolist() == np.array([0, 2])[steps % 2].tolist()
        for number in range(begun + 200, begun + STEPS_OF_ACCOUNTS):
            practice.step(1000 * number)
    assert practice.done == ledger.ended == 2 * STEPS_OF_ACCOUNTS
    assert ledger.in_system == 0


def test_a_block_leaves_no_cycles_behind(tmp_path: Path) -> None:
    """Nothing collects them while it lasts."""
    scenario = laid_out(tmp_path)
    practice = Practice(scenario.system, range(len(scenario.plan.eligible)), drawn(scenario))
    practice.step(0)  # The first one compiles.
    gc.collect()
    gc.disable()
    try:
        for number in range(1, 100):
            practice.step(number)
        assert gc.collect() == 0
    finally:
        gc.enable()


def test_a_look_at_the_clock_takes_the_place_of_a_step(tmp_path: Path) -> None:
    scenario = laid_out(tmp_path)
    due = iter([False, True, True, False])
    practice = Practice(scenario.system, [0, 1, 2], drawn(scenario), glance=lambda: next(due))
    done = []
    for number in range(4):
        practice.step(number)
        done.append(practice.done)
    assert done == [1, 1, 1, 2]


def test_practice_of_a_block_without_queries_does_nothing(tmp_path: Path) -> None:
    scenario = laid_out(tmp_path)
    practice = Practice(scenario.system, [0, 1, 2], back_to_back([], []))
    practice.step(5)
    assert practice.done == 0


def test_overload_leaves_queries_in_flight(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scenario = laid_out(tmp_path, "policy={kind: static, representation: hybrid}", "workload.arrivals.rate=2000/s")
    record = replayed(scenario, monkeypatch, drawn(scenario), 0)
    counts = np.bincount(record.outcome, minlength=4)
    assert counts.sum() == 150
    assert counts[Outcome.IN_FLIGHT] > 100
    # One was in service when the clock stopped: its worker went on to the end, beyond the stop.
    assert (record.part_finish_ns > record.stop_ns).sum() == 1


def test_back_to_back_leaves_no_gap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scenario = laid_out(tmp_path)
    record = replayed(scenario, monkeypatch, back_to_back([0, 1, 2, 1, 0], [10, 20, 30, 40, 50]), 0)
    assert record.path.tolist() == [0, 1, 2, 1, 0], "the paths asked for, whatever the policy would pick"
    np.testing.assert_array_equal(record.part_start_ns[1:], record.part_finish_ns[:-1])
    np.testing.assert_array_equal(record.arrival_ns[2:], record.finish_ns[:-2])


def test_pauses_leave_the_server_idle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scenario = laid_out(tmp_path)
    record = replayed(scenario, monkeypatch, with_pauses([2, 0, 1], [10, 20, 30], [0, 5000, 7000]), 0)
    assert record.path.tolist() == [2, 0, 1]
    np.testing.assert_array_equal(record.arrival_ns[1:] - record.finish_ns[:-1], [5000, 7000])
    np.testing.assert_array_equal(record.part_start_ns, record.arrival_ns)


def test_queries_without_a_pause_are_there_when_the_one_before_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scenario = laid_out(tmp_path)
    pause_ns = [0, WITH_IT, 5000, WITH_IT, WITH_IT, 7000]
    record = replayed(scenario, monkeypatch, with_pauses([0] * 6, [10, 20, 30, 40, 50, 60], pause_ns), 0)
    idle_ns = record.part_start_ns[1:] - record.part_finish_ns[:-1]
    assert record.part_query.tolist() == list(range(6))
    assert idle_ns.tolist() == [0, 5000, 0, 0, 7000]
    arrival_ns, finish_ns = record.arrival_ns, record.finish_ns
    assert arrival_ns.tolist() == [0, 0, *[finish_ns[1] + 5000] * 3, finish_ns[4] + 7000]


# -- real workers: what is checked does not depend on how fast or busy the machine is ---------------------------


@pytest.fixture(params=["poll", "block"])
def worker(request: pytest.FixtureRequest) -> Iterator[Worker]:
    waiting: Waiting = request.param
    one = Worker("w", [Empty(), BusyLoop(200_000, 1000)], None, waiting, seed=1)
    one.wait_until_loaded()
    yield one
    one.stop()
    assert not one.process.is_alive()


def times_ns(record: RunRecord) -> NDArray[np.int64]:
    return record.part_finish_ns - record.part_start_ns


def test_a_real_worker_serves_every_query(tmp_path: Path, worker: Worker) -> None:
    scenario = laid_out(tmp_path)
    queries = drawn(scenario)
    seen = Server(scenario.system, [worker], [1, 1, 1]).replay(queries, 60_000_000_000)
    record = seen.record
    assert np.all(record.outcome <= Outcome.SERVED_LATE)
    assert record.arrival_ns.tolist() == queries.arrival_ns
    assert record.size.tolist() == queries.size
    busy_ns = 200_000 + 1000 * record.part_size
    assert np.all(seen.worked_ns >= busy_ns)
    assert np.all(times_ns(record) >= seen.worked_ns)
    assert np.all(seen.lag_ns >= 0)
    assert len(seen.lag_ns) == 150


def test_a_worker_says_what_disturbed_it(worker: Worker) -> None:
    worker.begin_block()
    worker.serve(1, 100)
    reading = worker.end_block()
    assert reading.duration_ns >= 300_000
    assert reading.spin_ns > 0


class CountedLooks:
    """Says how often it was told to look at the clock."""

    last: ClassVar[CountedLooks]

    def __init__(self, _cores: Sequence[int], *, look: Look) -> None:
        assert look is WHILE_IDLE
        self.looks = 0
        CountedLooks.last = self

    def glance(self) -> bool:
        self.looks += 1
        return True

    def reading(self) -> BlockReading:
        return BlockReading(duration_ns=1, spin_ns=self.looks)


def test_a_worker_looks_at_its_clock_while_it_polls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_module, "Observer", CountedLooks)
    mailbox = Mailbox(shared_cells(get_context("spawn")))
    pipe, _ = Pipe()

    def ask(order: int) -> None:
        mailbox.ask(order, 0)
        until = time.monotonic() + 10
        while not mailbox.is_done() and time.monotonic() < until:
            time.sleep(0.001)
        assert mailbox.is_done()

    body = threading.Thread(target=worker_module._serve, args=(mailbox, pipe, [], [], "poll"), daemon=True)
    body.start()
    # Between blocks nobody looks; within one it polls some hundred thousand times in 50 ms.
    for _ in range(2):
        ask(BEGIN_BLOCK)
        time.sleep(0.05)
        ask(END_BLOCK)
        _duration_ns, looks, *_ = mailbox.reading
        assert looks >= 5
        time.sleep(0.02)
        assert CountedLooks.last.looks == looks
    ask(STOP)
    body.join(timeout=10)
    assert not body.is_alive()


def test_a_worker_that_dies_is_noticed(tmp_path: Path) -> None:
    scenario = laid_out(tmp_path)
    worker = Worker("the worker", [Empty(), BusyLoop(60_000_000_000)], None, "poll", seed=1)
    worker.wait_until_loaded()
    assert worker.process.pid is not None
    os.kill(worker.process.pid, signal.SIGKILL)
    worker.process.join()
    with pytest.raises(WorkerFailed, match="the worker ended"):
        Server(scenario.system, [worker], [1, 1, 1]).replay(back_to_back([0, 0], [1, 1]), 0)
    worker.stop()


def test_a_subject_that_cannot_be_made_is_told() -> None:
    worker = Worker("the worker", [TorchModel(None, "table", "cpu", UniformPopularity())], None, "poll", seed=1)  # type: ignore[arg-type]
    with pytest.raises(WorkerFailed, match="the worker could not load its models"):
        worker.wait_until_loaded()
    worker.stop()
