"""What a scenario's records come to, observed or predicted: the same metrics, cut and merged the same way."""

from __future__ import annotations

from collections.abc import Iterable

from sim.calibrate.observe.layout import LaidOut
from sim.engine.record import RunRecord
from sim.stats.summary import ScenarioSummary, reduce_record, summarise

__all__ = ["summarised"]


def summarised(scenario: LaidOut, evidence: str, records: Iterable[tuple[int, RunRecord]]) -> ScenarioSummary:
    """Merge replications of a scenario, each with its number."""
    results = [
        reduce_record(
            record,
            scenario.view,
            replication=replication,
            warmup_ns=scenario.warmup_ns,
            time_varying=scenario.time_varying,
        )
        for replication, record in records
    ]
    return summarise(
        scenario.parameters,
        evidence,
        results,
        confidence=scenario.experiment.report.confidence,
        sla_ns=scenario.experiment.sla,
        offered_load=scenario.offered_load,
        time_varying=scenario.time_varying,
    )
