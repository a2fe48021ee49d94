"""The plain models of the benchmark are the engine's system: equal finish times and metrics."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from benchmarks.contenders import CONTENDERS
from benchmarks.outcome import COMPARED, Outcome
from benchmarks.plain_dispatch import Dispatcher, Queries, Record
from benchmarks.system import DEVICES, PathTable, experiment_text, subject

PLAIN = [name for name in CONTENDERS if name not in ("drawing", "compiled", "reference")]


def given_values(outcome: Outcome) -> dict[str, float]:
    """Return the metrics that 2,000 queries can support: all but the 99.9th percentile."""
    values = {name: value for name, value in outcome.metrics.items() if value is not None}
    assert values.keys() == set(COMPARED) - {"latency_ms_p999"}
    return values


@pytest.mark.parametrize("servers", [6, 60])
def test_plain_models_agree_with_the_reference_engine_to_the_nanosecond(servers: int) -> None:
    given = subject(experiment_text(servers, 2_000))
    assert given.nodes == servers // DEVICES
    assert len(given.prepared.view.path_names) == 6
    expected = CONTENDERS["reference"].run(given)
    assert expected.finish_ns is not None
    for name in PLAIN:
        if CONTENDERS[name].missing():
            continue
        found = CONTENDERS[name].run(given)
        assert found.finish_ns is not None
        assert found.finish_ns.tolist() == expected.finish_ns.tolist(), name
        assert given_values(found) == pytest.approx(given_values(expected), rel=1e-12), name
        assert found.path_mix == pytest.approx(expected.path_mix), name


def simpy_model(dispatcher: Dispatcher, queries: Queries) -> list[Record]:
    from benchmarks.plain_simpy import PlainModel

    return PlainModel(dispatcher, dispatcher.power_of_two).run(queries)


def tuned_simpy_model(dispatcher: Dispatcher, queries: Queries) -> list[Record]:
    from benchmarks.plain_simpy import TunedModel

    return TunedModel(dispatcher, dispatcher.power_of_two).run(queries)


def ciw_model(dispatcher: Dispatcher, queries: Queries) -> list[Record]:
    pytest.importorskip("ciw")
    from benchmarks.plain_ciw import run

    return run(dispatcher, dispatcher.power_of_two, queries, 2)


def salabim_model(dispatcher: Dispatcher, queries: Queries) -> list[Record]:
    pytest.importorskip("salabim")
    from benchmarks.plain_salabim import run

    return run(dispatcher, dispatcher.power_of_two, queries)


@pytest.mark.parametrize("serve", [simpy_model, tuned_simpy_model, ciw_model, salabim_model])
def test_a_completion_goes_before_an_arrival_of_the_same_nanosecond(
    serve: Callable[[Dispatcher, Queries], list[Record]],
) -> None:
    # The second query arrives as the first ends. Node 0 is then as empty as node 1, and was drawn first.
    dispatcher = Dispatcher(2, 1, [PathTable(0, 0.5, [1.0, 2.0], [10.0, 10.0])], sla_ns=100)
    records = serve(dispatcher, [(5, 1, [0.0, 0.0]), (15, 1, [0.0, 0.0])])
    assert sorted(records) == [(0, 5, 1, 5, 15, 0), (1, 15, 1, 15, 25, 0)]
    assert dispatcher.busy_until_ns == [25, 0]
    assert dispatcher.unfinished == [0, 0]


def test_two_different_nodes_are_drawn_and_the_less_loaded_is_taken() -> None:
    dispatcher = Dispatcher(3, 1, [PathTable(0, 0.5, [1.0, 2.0], [10.0, 10.0])], sla_ns=100)
    dispatcher.unfinished = [2, 1, 1]
    # Of the nodes that are left after node 0, the draw 0.4 picks the first, node 1; after node 1, node 0.
    assert dispatcher.power_of_two([0.0, 0.4]) == 1
    assert dispatcher.power_of_two([0.4, 0.4]) == 1
    assert dispatcher.power_of_two([0.9, 0.9]) == 2
    assert dispatcher.power_of_two([0.4, 0.9]) == 1
