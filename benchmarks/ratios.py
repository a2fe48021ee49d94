"""Ratios of two contenders, or of two systems, from measurements of the same round."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from benchmarks.rounds import Results

__all__ = ["asked_ratios", "cost_ratio", "speed_ratio"]

LEAST_OVER_PLAIN = 120.0
LEAST_AT_SCALE = 0.8
MOST_OVER_DRAWING = 2.5
LEAST_OVER_REFERENCE = 30.0

Place = tuple[str, str]
"""System and contender."""


def speed_ratio(results: Results, above: Place, below: Place) -> float | None:
    """Return the median over rounds of queries per CPU second of one over those of the other."""
    others = {one.round: one.queries_per_s for one in results.of(*below)}
    pairs = [one.queries_per_s / others[one.round] for one in results.of(*above) if one.round in others]
    return statistics.median(pairs) if pairs else None


def cost_ratio(results: Results, above: Place, below: Place) -> float | None:
    """Return the median over rounds of CPU time per query of one over that of the other."""
    return speed_ratio(results, below, above)


def asked_ratios(results: Results, systems: Sequence[str], mechanisms: Sequence[str]) -> list[str]:
    """Return a line for each ratio that the compiled engine is asked to reach, of what was measured."""
    lines = []
    compiled = [system for system in systems if (system, "compiled") in results.rehearsals]

    def line(what: str, ratio: float | None, least: float | None = None, most: float | None = None) -> None:
        asked = f"at least {least:g}" if least is not None else f"at most {most:g}" if most is not None else ""
        if ratio is None:
            verdict = "not measured"
        else:
            reached = (least is None or ratio >= least) and (most is None or ratio <= most)
            verdict = f"{ratio:.2f}" if ratio < 10 else f"{ratio:.1f}"
            verdict += ": reached" if asked and reached else ": MISSED" if asked else ""
        lines.append(f"{what}{f' (asked: {asked})' if asked else ''}: {verdict}")

    for system in compiled:
        for base, name in (("simpy", "plain SimPy"), ("simpy-tuned", "tuned SimPy")):
            if (system, base) in results.rehearsals:
                asked = LEAST_OVER_PLAIN if base == "simpy" and system in ("60", "1000") else None
                ratio = speed_ratio(results, (system, "compiled"), (system, base))
                line(f"compiled / {name}, {int(system):,} servers", ratio, least=asked)
    if {"60", "10000"} <= set(compiled):
        ratio = speed_ratio(results, ("10000", "compiled"), ("60", "compiled"))
        line("compiled, speed at 10,000 servers / at 60", ratio, least=LEAST_AT_SCALE)
    for system in compiled:
        if (system, "drawing") in results.rehearsals:
            ratio = cost_ratio(results, (system, "compiled"), (system, "drawing"))
            line(f"compiled, cost / drawing alone, {int(system):,} servers", ratio, most=MOST_OVER_DRAWING)
    for mechanism in mechanisms:
        ratio = speed_ratio(results, (mechanism, "compiled"), (mechanism, "reference"))
        line(f"compiled / reference with {mechanism}", ratio, least=LEAST_OVER_REFERENCE)
    return lines
