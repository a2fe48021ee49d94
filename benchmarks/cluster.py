"""``python -m benchmarks.cluster``: what a second worker of a Dask cluster adds to the throughput, on this machine."""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.host import host_facts
from benchmarks.table import render_facts
from sim.study.cluster import DaskCluster
from sim.study.scenario import load_scenarios
from sim.study.study import Study

__all__ = ["Run", "main", "verdict"]

ASKED = 1.7
"""Least ratio of the throughput of two workers to that of one."""

BUSY = 0.9
"""Workers that had less CPU time than this part of their time shared the machine with others."""


@dataclass(frozen=True, slots=True)
class Run:
    """One study on a cluster.

    Attributes
    ----------
    workers : int
    queries : int
    wall_s : float
        From the first task that is sent to the last result.
    cpu_s : float
        User and system time of the workers in it.
    """

    workers: int
    queries: int
    wall_s: float
    cpu_s: float

    @property
    def queries_per_s(self) -> float:
        """Throughput."""
        return self.queries / self.wall_s

    @property
    def busy(self) -> float:
        """Part of their time in which the workers had a core."""
        return self.cpu_s / self.wall_s / self.workers


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure in turn, print, and return the exit code: 1 if the second worker adds less than is asked."""
    given = _options().parse_args(arguments)
    study = Study.of(load_scenarios(given.experiment, given.overrides, replications=given.replications))
    print(render_facts(host_facts()), flush=True)
    print(f"{given.experiment}: {len(study.tasks)} replications on the reference engine, sent to local workers")
    pairs = []
    with DaskCluster("local:1", _say) as one, DaskCluster("local:2", _say) as two:
        # What is imported and read once a worker is no part of the throughput.
        for cluster in (one, two):
            _run(study, cluster)
        for number in range(given.rounds):
            pairs.append((_run(study, one), _run(study, two)))
            shown = ", ".join(f"{run.queries_per_s:,.0f} queries/s ({run.busy:.0%} busy)" for run in pairs[-1])
            print(f"round {number + 1}: one worker, two workers: {shown}", flush=True)
    text, enough = verdict(pairs)
    print(text)
    return 0 if enough else 1


def verdict(pairs: Sequence[tuple[Run, Run]]) -> tuple[str, bool]:
    """Return what the rounds come to, and whether it is what is asked."""
    ratios = sorted(two.queries_per_s / one.queries_per_s for one, two in pairs)
    ratio = statistics.median(ratios)
    text = f"two workers have {ratio:.2f} times the throughput of one ({ratios[0]:.2f} to {ratios[-1]:.2f}); "
    text += f"asked: at least {ASKED}"
    least = min(run.busy for pair in pairs for run in pair)
    if least < BUSY:
        text += f"\nworkers had a core for only {least:.0%} of some run: the machine had other work, or too few cores"
    return text, ratio >= ASKED


def _run(study: Study, cluster: DaskCluster) -> Run:
    before_s = cluster.cpu_s()
    begun = time.perf_counter()
    result = study.run(executor=cluster)
    wall_s = time.perf_counter() - begun
    return Run(cluster.workers, result.queries, wall_s, cluster.cpu_s() - before_s)


def _say(line: str) -> None:
    print(line, file=sys.stderr)


def _options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.cluster", description=(__doc__ or "").replace("``", ""))
    add = parser.add_argument
    add("--experiment", default="quickstart", help="file or name (default: quickstart)")
    add("--set", dest="overrides", action="append", default=[], metavar="KEY=VALUE", help="set a key of the experiment")
    add("--replications", type=int, default=8, metavar="N", help="of each scenario (default: 8)")
    add("--rounds", type=int, default=5, metavar="N", help="rounds, of which the median is given (default: 5)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
