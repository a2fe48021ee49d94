"""``python -m benchmarks``: queries per CPU second and peak memory of the engines and of plain models, in one table."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from benchmarks.agreement import disagreements
from benchmarks.contenders import CONTENDERS, ENGINES
from benchmarks.host import host_facts
from benchmarks.mechanisms import MECHANISMS
from benchmarks.ratios import asked_ratios
from benchmarks.rounds import Results, measure_rounds
from benchmarks.table import render_facts, render_table

__all__ = ["main", "report"]

INTERRUPTED = 130
QUICK_S, QUICK_LIMIT_S = 0.2, 10.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, and return the exit code: 1 if a contender disagrees with the reference engine."""
    given = _options().parse_args(arguments)
    quick = given.quick
    systems = given.servers or (["6", "60"] if quick else ["6", "60", "1000", "10000"])
    if given.mechanisms == "only":
        systems = []
    mechanisms = list(MECHANISMS) if given.mechanisms else []
    engines = [name for name in ENGINES if name in given.contenders]
    facts = host_facts()
    print(render_facts(facts), flush=True)
    results = Results()
    interrupted = False
    try:
        for chosen, contenders in ((systems, given.contenders), (mechanisms, engines)):
            measure_rounds(
                results,
                chosen,
                contenders,
                rounds=given.repeats or (1 if quick else 5),
                seconds=QUICK_S if quick else given.seconds,
                limit_s=QUICK_LIMIT_S if quick else given.limit,
                say=lambda line: print(line, file=sys.stderr, flush=True),
            )
    except KeyboardInterrupt:
        interrupted = True
    if quick:
        print("\nA quick look: too rough to be quoted.")
    print(report(results, systems, mechanisms, given.contenders))
    if given.json is not None:
        _write(given.json, facts, results)
    wrong = disagreements(results)
    for line in wrong:
        print(line, file=sys.stderr)
    if interrupted:
        print("interrupted: the tables hold what was measured until then", file=sys.stderr)
        return INTERRUPTED
    return 1 if wrong else 0


def report(results: Results, systems: Sequence[str], mechanisms: Sequence[str], contenders: Sequence[str]) -> str:
    """Return the tables and the ratios that are asked for."""
    titles = {name: CONTENDERS[name].title for name in CONTENDERS if name in contenders}
    engines = {name: title for name, title in titles.items() if name in ENGINES}
    parts = []
    if systems:
        base = "simpy" if "simpy" in titles else next(iter(titles))
        floor = "drawing" if "drawing" in titles else None
        parts.append(render_table(results, systems, titles, first="servers", base=base, floor=floor))
    if mechanisms and engines:
        base = "reference" if "reference" in engines else next(iter(engines))
        parts.append(render_table(results, mechanisms, engines, first="60 servers with", base=base, floor=None))
    asked = asked_ratios(results, systems, mechanisms) if "compiled" in titles else []
    if asked:
        parts.append("\n".join(asked))
    return "".join(f"\n{part}\n" for part in parts).rstrip("\n")


def _options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=(__doc__ or "").replace("``", ""))
    add = parser.add_argument
    add("--servers", type=_servers, metavar="N,...", help="two a node (default: 6,60,1000,10000; quick: 6,60)")
    add("--contenders", type=_contenders, metavar="NAME,...", default=list(CONTENDERS), help=", ".join(CONTENDERS))
    add("--repeats", type=_positive, metavar="N", help="rounds, of which medians are given (default: 5; quick: 1)")
    add("--seconds", type=float, default=3.0, metavar="S", help="CPU time that a run is to take (default: 3)")
    add("--limit", type=float, default=60.0, metavar="S", help="longest run (default: 60)")
    add(
        "--mechanisms",
        nargs="?",
        const="also",
        choices=("also", "only"),
        help=f"a second table, or only that: the engines with {', '.join(MECHANISMS)}",
    )
    add("--quick", action="store_true", help="short runs, once: does it work, and about how fast is it")
    add("--json", type=Path, metavar="FILE", help="write every measurement to a file as well")
    return parser


def _servers(given: str) -> list[str]:
    numbers = given.split(",")
    for number in numbers:
        if not number.isdecimal() or int(number) < 2 or int(number) % 2:
            raise argparse.ArgumentTypeError(f"{number!r} is not a positive, even number of servers")
    return [str(int(number)) for number in numbers]


def _contenders(given: str) -> list[str]:
    names = given.split(",")
    for name in names:
        if name not in CONTENDERS:
            raise argparse.ArgumentTypeError(f"{name!r} is none of {', '.join(CONTENDERS)}")
    return [name for name in CONTENDERS if name in names]


def _positive(given: str) -> int:
    if not given.isdecimal() or int(given) < 1:
        raise argparse.ArgumentTypeError(f"{given!r} is not a positive number")
    return int(given)


def _write(file: Path, facts: dict[str, str], results: Results) -> None:
    places = results.rehearsals
    entry = {
        "host": facts,
        "measurements": [asdict(one) | {"queries_per_s": one.queries_per_s} for one in results.measurements],
        "checks": [
            {"system": system, "contender": contender, "checks": known.checks}
            for (system, contender), known in places.items()
            if known.checks
        ],
        "not_measured": [
            {"system": system, "contender": contender, "reason": results.reason(system, contender)}
            for system, contender in places
            if not results.of(system, contender)
        ],
    }
    file.write_text(json.dumps(entry, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
