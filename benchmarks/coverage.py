"""``python -m benchmarks.coverage``: how often intervals cover the true value, on queues whose values are known.

Every cell of the table repeats an experiment, each time with another seed, through the study that ``mprec run`` runs,
and counts the intervals that hold the closed form. Runs that are finished are kept in a file and not repeated.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import groupby, product
from pathlib import Path
from typing import Any

from scipy.optimize import brentq

from sim.engine.engines import Engine
from sim.stats.summary import ScenarioSummary
from sim.study.executor import local_executor, usable_cores
from sim.study.scenario import load_scenarios
from sim.study.study import Study
from tests.theory.queues import MODEL, erlang_c, mmc_in_system_cdf

__all__ = ["CASES", "Case", "Outcome", "main", "repeat", "table", "true_values_ms"]

METRICS = {"mean": "latency_ms_mean", "p95": "latency_ms_p95", "p99": "latency_ms_p99"}
MEAN_MS = 1.0
"""Mean service time; the values are in units of it."""


@dataclass(frozen=True, slots=True)
class Case:
    """An experiment that is repeated.

    Attributes
    ----------
    servers : int
    load : float
        Of each server.
    queries : int
        Of a replication.
    goal : str
        What `precision` asks, as it is written; empty for ten replications.
    replications : int
        The first ones, where `precision` adds more.
    """

    servers: int
    load: float
    queries: int
    goal: str = ""
    replications: int = 10

    @property
    def name(self) -> str:
        """Say which it is."""
        queue = f"M/M/{self.servers} load {self.load:g} {self.queries:,} queries"
        return f"{queue}, from {self.replications}: {self.goal}" if self.goal else queue

    @property
    def experiment(self) -> str:
        """Return the experiment's file: settings that it does not name are the defaults."""
        rate_per_s = 1000 * self.servers * self.load / MEAN_MS
        service = f"{{distribution: exponential, mean: {MEAN_MS:g}ms}}"
        device = f"{{profile: {{kind: cpu, lanes: {self.servers}, service: {service}}}}}"
        lines = [
            f"name: {self.name!r}",
            f"model: {MODEL}",
            "sla: 1s",
            "workload:",
            f"  arrivals: {{kind: poisson, rate: {rate_per_s!r}/s}}",
            "  sizes: {kind: fixed, size: 1}",
            f"  queries: {self.queries}",
            f"fleet: [{{name: n, devices: {{d: {device}}}}}]",
            "policy: {kind: fastest}",
        ]
        if self.goal:
            lines += [f"replications: {self.replications}", f"precision: {self.goal}"]
        return "\n".join(lines) + "\n"


LONG = {0.5: 8_000, 0.8: 40_000, 0.9: 150_000}
SHORT = {0.5: 2_000, 0.8: 5_000, 0.9: 10_000}
"""Queries of a replication, by load: enough for p99, and too few."""

CASES = (
    *(Case(servers, load, LONG[load]) for servers in (1, 4) for load in LONG),
    *(Case(servers, load, SHORT[load]) for servers in (1, 4) for load in SHORT),
    Case(1, 0.5, 8_000, "{metric: latency_ms_p99, half_width: 3%}"),
    Case(1, 0.8, 10_000, "{metric: latency_ms_p95, half_width: 5%}"),
    Case(1, 0.8, 10_000, "{metric: latency_ms_p95, half_width: 5%}", 5),
    Case(4, 0.8, 10_000, "{metric: latency_ms_p95, half_width: 5%}"),
    Case(1, 0.9, 12_000, "{metric: latency_ms_mean, half_width: 7%}"),
)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one repeat said.

    Attributes
    ----------
    covered, warned : dict of bool
        By metric: whether its interval holds the true value, and whether it is warned of.
    replications : int
    reached : bool
        Whether the precision was reached, where it was asked for.
    """

    covered: dict[str, bool]
    warned: dict[str, bool]
    replications: int
    reached: bool


@cache
def true_values_ms(servers: int, load: float) -> dict[str, float]:
    """Return the closed forms of the time in system of M/M/c, by metric."""
    mean_ms = MEAN_MS * (1 + erlang_c(servers, load) / (servers * (1 - load)))

    def percentile_ms(p: float) -> float:
        return float(brentq(lambda t: mmc_in_system_cdf(servers, load, MEAN_MS, t) - p, 1e-6, 1e4 * MEAN_MS))

    return {"mean": mean_ms, "p95": percentile_ms(0.95), "p99": percentile_ms(0.99)}


def repeat(case: Case, seed: int) -> Outcome:
    """Run `case` with a seed of its own on the compiled engine."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "experiment.yaml"
        file.write_text(case.experiment, encoding="utf-8")
        study = Study.of(load_scenarios(str(file), seed=seed))
    (summary,) = study.run(engines=[Engine.COMPILED]).summaries
    return _outcome(summary, true_values_ms(case.servers, case.load))


def _outcome(summary: ScenarioSummary, true_ms: dict[str, float]) -> Outcome:
    covered, warned = {}, {}
    metrics_warned = {warning.metric for warning in summary.warnings}
    for label, name in METRICS.items():
        metric = summary.metrics[name]
        # An interval that is not given covers nothing.
        low, high = metric.low, metric.high
        covered[label] = low is not None and high is not None and low <= true_ms[label] <= high
        warned[label] = name in metrics_warned
    reached = summary.precision is None or summary.precision.reached
    return Outcome(covered, warned, summary.replications, reached)


def _repeat(_given: None, task: tuple[Case, int]) -> Outcome:
    return repeat(*task)


def table(outcomes: dict[Case, list[Outcome]]) -> Iterator[str]:
    """Yield the rows of a Markdown table: coverage, and in brackets the share of repeats that were warned."""
    yield "| experiment | repeats | mean | p95 | p99 | replications |"
    yield "|---|---|---|---|---|---|"
    for case, found in outcomes.items():
        if not found:
            continue
        cells = []
        for label in METRICS:
            covered, warned = (sum(getattr(one, what)[label] for one in found) for what in ("covered", "warned"))
            cells.append(f"{covered / len(found):.1%}" + (f" ({warned / len(found):.0%} warned)" if warned else ""))
        counts = sorted(one.replications for one in found)
        spread = f"{counts[0]}" if counts[0] == counts[-1] else f"{counts[0]} to {counts[-1]}, half {_median(counts)}"
        if not all(one.reached for one in found):
            spread += f"; {sum(not one.reached for one in found)} not precise"
        yield f"| {case.name} | {len(found)} | {' | '.join(cells)} | {spread} |"


def _median(ordered: Sequence[int]) -> str:
    return f"at most {ordered[(len(ordered) - 1) // 2]}"


def _cost(case: Case) -> tuple[bool, int]:
    """Order cases: those of a given number of replications first, and short ones."""
    return bool(case.goal), case.queries


def _read(file: Path) -> dict[tuple[str, int], Outcome]:
    if not file.exists():
        return {}
    text = file.read_text(encoding="utf-8")
    if text and not text.endswith("\n"):
        # What was being written when it was interrupted.
        text = text[: text.rfind("\n") + 1]
        file.write_text(text, encoding="utf-8")
    lines = [json.loads(line) for line in text.splitlines()]
    return {(one.pop("case"), one.pop("seed")): Outcome(**one) for one in lines}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what is missing of every case, print the table as it stands."""
    options = argparse.ArgumentParser(prog="python -m benchmarks.coverage", description=__doc__)
    options.add_argument("--repeats", type=int, default=500, help="experiments of each kind [500]")
    options.add_argument("--seed", type=int, default=1, help="first seed; each repeat takes the next [1]")
    options.add_argument("--jobs", type=int, default=usable_cores(), help="processes [all cores]")
    options.add_argument("--only", default="", metavar="TEXT", help="cases whose name contains this")
    options.add_argument("--out", type=Path, default=Path("runs/coverage.jsonl"), help="what is finished is kept here")
    given = options.parse_args(arguments)
    cases = [case for case in CASES if given.only in case.name]
    seeds = range(given.seed, given.seed + given.repeats)
    done = _read(given.out)
    tasks = [
        (case, seed)
        for _, alike in groupby(sorted(cases, key=_cost), key=_cost)
        for seed, case in product(seeds, list(alike))
        if (case.name, seed) not in done
    ]
    given.out.parent.mkdir(parents=True, exist_ok=True)
    try:
        with local_executor(given.jobs) as executor, given.out.open("a", encoding="utf-8") as kept:
            for (case, seed), outcome in executor.run(_repeat, None, tasks):
                done[case.name, seed] = outcome
                kept.write(json.dumps(_line(case, seed, outcome)) + "\n")
                kept.flush()
    except KeyboardInterrupt:
        print("interrupted; the same command goes on", file=sys.stderr)
    found = {case: [done[case.name, seed] for seed in seeds if (case.name, seed) in done] for case in cases}
    print(f"Seeds {seeds[0]} to {seeds[-1]}, nominal 95% intervals.\n")
    print("\n".join(table(found)))
    return 0


def _line(case: Case, seed: int, outcome: Outcome) -> dict[str, Any]:
    return {
        "case": case.name,
        "seed": seed,
        "covered": outcome.covered,
        "warned": outcome.warned,
        "replications": outcome.replications,
        "reached": outcome.reached,
    }


if __name__ == "__main__":
    sys.exit(main())
