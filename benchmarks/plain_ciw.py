"""The system of the benchmark as one would write it by hand in Ciw: a node a device, arrivals that are routed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import Any

import ciw

from benchmarks.plain_dispatch import Dispatcher, Queries, Record

__all__ = ["run"]


class Fleet(ciw.Simulation):  # type: ignore[misc]
    """The simulation, with the router's and the policy's knowledge of it.

    The clock is Ciw's, a float: it holds whole nanoseconds exactly.
    """

    def __init__(
        self,
        dispatcher: Dispatcher,
        choose_node: Callable[[Sequence[float]], int],
        queries: Queries,
        network: ciw.network.Network,
    ) -> None:
        self.dispatcher = dispatcher
        self.choose_node = choose_node
        self.queries = iter(queries)
        self.arriving: tuple[int, int, list[float]] | None = None
        super().__init__(network, node_class=Device, arrival_node_class=Source)

    def find_next_active_node(self) -> Any:
        """Return the node with the next event: of equal ones a device, so that completions go before arrivals.

        Ciw's own takes one of them at random.
        """
        return min(self.nodes[-2::-1], key=attrgetter("next_event_date"))


class Gaps(ciw.dists.Distribution):  # type: ignore[misc]
    """The gap from one query to the next, in ns."""

    def sample(self, t: float | None = None, ind: Any = None) -> float:
        fleet = self.simulation
        last = 0 if fleet.arriving is None else fleet.arriving[0]
        fleet.arriving = next(fleet.queries, None)
        return float("inf") if fleet.arriving is None else float(fleet.arriving[0] - last)


class Source(ciw.ArrivalNode):  # type: ignore[misc]
    """Sends a query to the device of the path that is picked for it."""

    def send_individual(self, next_node: Any, next_individual: Any) -> None:
        fleet = self.simulation
        at, size, draws = fleet.arriving
        device, path, service = fleet.dispatcher.place(fleet.choose_node(draws), size, at)
        next_individual.size, next_individual.path, next_individual.service_ns = size, path, service
        super().send_individual(fleet.transitive_nodes[device], next_individual)


class Device(ciw.Node):  # type: ignore[misc]
    """A device: the service times are those that the policy looked up."""

    def get_service_time(self, ind: Any) -> int:
        service: int = ind.service_ns
        self.simulation.dispatcher.starts(self.id_number - 1, self.now, service)
        return service

    def release(self, next_individual: Any, next_node: Any, reroute: bool = False) -> None:
        self.simulation.dispatcher.ends(self.id_number - 1)
        super().release(next_individual, next_node, reroute)


def run(
    dispatcher: Dispatcher,
    choose_node: Callable[[Sequence[float]], int],
    queries: Queries,
    count: int,
) -> list[Record]:
    """Serve the queries, `count` of them."""
    devices = dispatcher.nodes * dispatcher.devices
    network = ciw.create_network(
        arrival_distributions=[Gaps(), *[None] * (devices - 1)],
        service_distributions=[ciw.dists.Deterministic(0)] * devices,
        number_of_servers=[1] * devices,
        routing=ciw.routing.NetworkRouting([ciw.routing.Leave() for _ in range(devices)]),
    )
    fleet = Fleet(dispatcher, choose_node, queries, network)
    fleet.simulate_until_max_customers(count, method="Finish")
    records = []
    for served in fleet.nodes[-1].all_individuals:
        (record,) = served.data_records
        records.append(
            (
                served.id_number - 1,
                record.arrival_date,
                served.size,
                record.service_start_date,
                record.exit_date,
                served.path,
            )
        )
    return records
