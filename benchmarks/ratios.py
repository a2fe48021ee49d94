"""Ratios of two contenders, or of two systems, from measurements of the same round."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from benchmarks.rounds import Results

__all__ = ["asked_ratios", "cost_ratio", "speed_ratio"]

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
        here = (system, "compiled")
        asked = 120.0 if system in ("60", "1000") else None
        line(f"compiled / plain SimPy, {system} servers", speed_ratio(results, here, (system, "simpy")), least=asked)
        if (system, "simpy-tuned") in results.rehearsals:
            line(f"compiled / tuned SimPy, {system} servers", speed_ratio(results, here, (system, "simpy-tuned")))
    if {"60", "10000"} <= set(compiled):
        ratio = speed_ratio(results, ("10000", "compiled"), ("60", "compiled"))
        line("compiled, speed at 10000 servers / at 60", ratio, least=0.8)
    for system in compiled:
        ratio = cost_ratio(results, (system, "compiled"), (system, "drawing"))
        line(f"compiled, cost / drawing alone, {system} servers", ratio, most=2.5)
    for mechanism in mechanisms:
        ratio = speed_ratio(results, (mechanism, "compiled"), (mechanism, "reference"))
        line(f"compiled / reference with {mechanism}", ratio, least=30.0)
    return lines
