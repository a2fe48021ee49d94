"""Runs the measurements: each in a fresh process, contender after contender, and then the whole round again."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

__all__ = ["Measurement", "Rehearsal", "Results", "measure_rounds", "queries_for"]

ROOT = Path(__file__).resolve().parent.parent
FEWEST = 100
STARTING_S = 60.0
"""What a process may take besides its runs: to start, and to compile what it needs."""


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """What is known of a contender on a system before it is measured.

    Attributes
    ----------
    query_s, setup_s : float or None
        CPU time of a query, and of building the model; None where it cannot run.
    reason : str
        Why it cannot, if so.
    checks : dict
        By number of queries: what a run of so many came to, as from `Outcome.to_json_dict`.
    """

    query_s: float | None = None
    setup_s: float | None = None
    reason: str = ""
    checks: dict[int, dict[str, Any]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Measurement:
    """One measured run.

    Attributes
    ----------
    contender, system : str
    round : int
        Measurements of one round belong together.
    queries : int
    cpu_s : float
        User and system time of the run.
    peak_bytes, before_bytes : int
        Most resident memory of the process in all, and up to the run.
    """

    contender: str
    system: str
    round: int
    queries: int
    cpu_s: float
    peak_bytes: int
    before_bytes: int

    @property
    def queries_per_s(self) -> float:
        """Queries per CPU second."""
        return self.queries / self.cpu_s


@dataclass(slots=True)
class Results:
    """Everything that was measured, as far as it got.

    Attributes
    ----------
    rehearsals : dict of (system, contender) to Rehearsal
    measurements : list of Measurement
    failures : dict of (system, contender) to str
        Why one that was rehearsed was not measured.
    """

    rehearsals: dict[tuple[str, str], Rehearsal] = field(default_factory=dict)
    measurements: list[Measurement] = field(default_factory=list)
    failures: dict[tuple[str, str], str] = field(default_factory=dict)

    def of(self, system: str, contender: str) -> list[Measurement]:
        """Return the measurements of a contender on a system, round after round."""
        return [one for one in self.measurements if (one.system, one.contender) == (system, contender)]

    def reason(self, system: str, contender: str) -> str:
        """Return why there is no measurement."""
        rehearsal = self.rehearsals.get((system, contender))
        return self.failures.get((system, contender)) or (rehearsal.reason if rehearsal else "") or "not measured"


def queries_for(query_s: float, setup_s: float, seconds: float, limit_s: float) -> int:
    """Return how many queries take about `seconds`, to two digits; more of them where the model is slow to build.

    To build it is to be a fifth of the run at most, as far as the run stays within half of `limit_s`.
    """
    wanted_s = max(seconds, min(4 * setup_s, limit_s / 2 - setup_s))
    count = max(wanted_s / query_s, FEWEST)
    unit: int = 10 ** (int(math.log10(count)) - 1)
    return round(count / unit) * unit


def measure_rounds(
    results: Results,
    systems: Iterable[str],
    contenders: Sequence[str],
    *,
    rounds: int,
    seconds: float,
    limit_s: float,
    say: Callable[[str], None],
) -> None:
    """Measure every contender on every system, and add to `results` what is known as soon as it is.

    Parameters
    ----------
    results : Results
        To add to; after an interrupt it holds what was finished.
    systems : iterable of str
        Numbers of servers, or names of mechanisms.
    contenders : sequence of str
        In the order in which they take turns.
    rounds : int
    seconds : float
        CPU time that a run is to take.
    limit_s : float
        Longest time of a run, above which a contender is left out.
    say : callable
        Gets a line for each process that is started.
    """
    for system in systems:
        for contender in contenders:
            say(f"{system}: {contender}, finding its pace")
            results.rehearsals[system, contender] = _rehearse(contender, system, limit_s)
        for turn in range(rounds):
            for contender in contenders:
                known = results.rehearsals[system, contender]
                if known.query_s is None or known.setup_s is None or (system, contender) in results.failures:
                    continue
                queries = queries_for(known.query_s, known.setup_s, seconds, limit_s)
                say(f"{system}: {contender}, {queries:,} queries, round {turn + 1} of {rounds}")
                answer = _ask([contender, system, "--queries", str(queries)], limit_s)
                if "unavailable" in answer:
                    results.failures[system, contender] = answer["unavailable"]
                    continue
                numbers = {name: answer[name] for name in ("queries", "cpu_s", "peak_bytes", "before_bytes")}
                results.measurements.append(Measurement(contender, system, turn, **numbers))


def _rehearse(contender: str, system: str, limit_s: float) -> Rehearsal:
    # The comparison may not take up the time that the first runs leave.
    answer = _ask([contender, system, "--limit", str(limit_s / 4)], limit_s)
    if "unavailable" in answer:
        return Rehearsal(reason=answer["unavailable"])
    checks = {int(queries): check for queries, check in answer["checks"].items()}
    return Rehearsal(answer["query_s"], answer["setup_s"], checks=checks)


def _ask(arguments: Sequence[str], limit_s: float) -> dict[str, Any]:
    """Run a measurement in a process of its own; return what it prints."""
    command = [sys.executable, "-m", "benchmarks.one", *arguments]
    try:
        done = subprocess.run(
            command, cwd=ROOT, capture_output=True, text=True, timeout=limit_s + STARTING_S, check=False
        )
    except subprocess.TimeoutExpired:
        return {"unavailable": f"takes longer than {limit_s:g} s"}
    if done.returncode:
        said = done.stderr.strip().splitlines()
        return {"unavailable": f"failed with code {done.returncode}" + (f": {said[-1]}" if said else "")}
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer
