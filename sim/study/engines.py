"""Which engine runs a study: the compiled one where the work is worth what compiling takes, if it can."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

from sim.engine.engines import Engine, compile_engine, is_compiled, why_not_compiled
from sim.study.prepare import PreparedScenario
from sim.study.tasks import reference_s

__all__ = ["EngineChoice", "choose_engines"]

EngineChoice = Literal["auto", "reference", "compiled"]

COMPILING_S = 30.0
LOADING_S = 1.0
"""What the compiled engine costs before it starts, about: where it was not compiled on this machine before, and where
it was."""

COMPILING = "compiling the engine, once for this version on this machine; this takes some 30 s"

COMPILING_THERE = "a worker that has not run this version compiles the engine first; this takes some 30 s"


def choose_engines(
    asked: EngineChoice,
    scenarios: Sequence[PreparedScenario],
    *,
    jobs: int,
    tell: Callable[[str], None],
    elsewhere: bool = False,
) -> tuple[Engine, ...]:
    """Return the engine of each scenario, compiled if it has to be. The results do not depend on it.

    Parameters
    ----------
    asked : str
        ``auto`` is compiled where that is expected to be faster.
    scenarios : sequence of PreparedScenario
    jobs : int
        Processes that share the work.
    tell : callable
        ``tell(line)`` says what takes long, and what cannot be done as asked.
    elsewhere : bool
        Whether other machines run it; each compiles for itself then.
    """
    if asked == "reference":
        return (Engine.REFERENCE,) * len(scenarios)
    if asked == "auto" and not _is_worth_it(scenarios, jobs, elsewhere):
        return (Engine.REFERENCE,) * len(scenarios)
    engines = []
    for scenario in scenarios:
        reason = why_not_compiled(scenario.system)
        if reason is not None:
            tell(f"{scenario.label}: {reason}; the reference engine runs it, with the same results")
        engines.append(Engine.COMPILED if reason is None else Engine.REFERENCE)
    if elsewhere:
        if Engine.COMPILED in engines:
            tell(COMPILING_THERE)
        return tuple(engines)
    for scenario, engine in zip(scenarios, engines, strict=True):
        if engine is Engine.COMPILED:
            if not is_compiled(scenario.system):
                tell(COMPILING)
            compile_engine(scenario.system)
    return tuple(engines)


def _is_worth_it(scenarios: Sequence[PreparedScenario], jobs: int, elsewhere: bool) -> bool:
    known = not elsewhere and all(is_compiled(scenario.system) for scenario in scenarios)
    return reference_s(scenarios) / jobs > (LOADING_S if known else COMPILING_S)
