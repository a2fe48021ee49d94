"""Which designs are tried next: all of a small space, in order; of a large one, those that Optuna proposes.

Optuna's multi-objective TPE is asked for a batch of designs, and told the results in the order of the batch. So what it
proposes depends on the seed and the results alone, not on the number of processes or on what finished first, and a
search that was interrupted is taken up by asking again from the start: finished results are known, and lead to the
same questions.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from sim.spec.design_space import Design, DesignSpace

if TYPE_CHECKING:
    from optuna.trial import Trial

__all__ = ["AllDesigns", "Learnt", "OptimiserMissing", "OptunaSearch", "Search", "search"]

MOST_REPEATS = 20
"""Proposals of known designs, for each new one of a batch, before it is filled up with designs drawn at random."""

WORST = 1e12
"""Stands for an objective that a design lacks. Such a design violates a constraint, which counts before it."""


class OptimiserMissing(RuntimeError):
    """Optuna, which is an extra, is not installed."""


@dataclass(frozen=True, slots=True)
class Learnt:
    """What a finished design says to the search.

    Attributes
    ----------
    objectives : tuple of float or None
        Less is better; None where the design lacks one.
    violations : tuple of float
        How far it is beyond each constraint; zero or less within.
    """

    objectives: tuple[float | None, ...]
    violations: tuple[float, ...]


class Search(Protocol):
    """Proposes designs, each once, and learns from what came of them."""

    name: str

    def propose(self, count: int) -> list[Design]:
        """Return at most `count` designs; none when all have been proposed."""

    def learn(self, results: Sequence[Learnt]) -> None:
        """Take what came of the designs proposed last, in their order."""


def search(space: DesignSpace, *, trials: int, objectives: int, seed: int) -> Search:
    """Return the search for a space: all of it if `trials` are enough for that.

    Raises
    ------
    OptimiserMissing
        If the space is too large for that, and Optuna is not installed.
    """
    if space.size <= trials:
        return AllDesigns(space)
    return OptunaSearch(space, objectives=objectives, seed=seed)


class AllDesigns:
    """Every design of a space, in order."""

    name = "all designs"

    def __init__(self, space: DesignSpace) -> None:
        self._designs = space.designs()

    def propose(self, count: int) -> list[Design]:
        """Return the next designs."""
        return list(islice(self._designs, count))

    def learn(self, results: Sequence[Learnt]) -> None:
        """Learn nothing: the order is given."""


class OptunaSearch:
    """Designs proposed by Optuna's sampler, each once.

    Parameters
    ----------
    space : DesignSpace
    objectives : int
    seed : int
    sampler : {"tpe", "nsga-ii", "random"}
        Which of Optuna's samplers; docs/optimise.md says what they were measured to find.
    """

    def __init__(self, space: DesignSpace, *, objectives: int, seed: int, sampler: str = "tpe") -> None:
        try:
            import optuna
        except ImportError as error:
            raise OptimiserMissing(
                f"there are {space.size:,} designs, more than optimise.trials, and the search needs Optuna: "
                "pip install 'mprec-sim[optimise]', or allow enough trials to try them all"
            ) from error
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        samplers: dict[str, Any] = {
            "tpe": optuna.samplers.TPESampler,
            "nsga-ii": optuna.samplers.NSGAIISampler,
            "random": optuna.samplers.RandomSampler,
        }
        self.name = f"Optuna {optuna.__version__}, {sampler}"
        self._space = space
        self._study = optuna.create_study(directions=["minimize"] * objectives, sampler=samplers[sampler](seed=seed))
        self._random = np.random.default_rng(seed)
        self._known: dict[Design, Learnt | None] = {}
        self._asked: list[tuple[Trial, Design]] = []
        self._repeated: list[tuple[Trial, Design]] = []

    def propose(self, count: int) -> list[Design]:
        """Return new designs; one that is proposed again is answered with what is known of it."""
        count = min(count, self._space.size - len(self._known))
        repeats = 0
        while len(self._asked) < count:
            if repeats >= MOST_REPEATS * count:
                self._study.enqueue_trial(self._parameters(self._unknown()))
            trial = self._study.ask()
            design = self._design(trial)
            if design not in self._known:
                self._known[design] = None
                self._asked.append((trial, design))
                continue
            repeats += 1
            known = self._known[design]
            if known is None:
                self._repeated.append((trial, design))
            else:
                self._tell(trial, known)
        return [design for _, design in self._asked]

    def learn(self, results: Sequence[Learnt]) -> None:
        """Tell the sampler, in the order of the designs."""
        for (trial, design), result in zip(self._asked, results, strict=True):
            self._known[design] = result
            self._tell(trial, result)
        for trial, design in self._repeated:
            known = self._known[design]
            assert known is not None
            self._tell(trial, known)
        self._asked, self._repeated = [], []

    def _design(self, trial: Trial) -> Design:
        """Have the sampler choose; quantities are integers to it, whose neighbours are alike, all else are names."""
        return tuple(
            trial.suggest_int(choice.key, 0, len(choice.nodes) - 1)
            if choice.ordered
            else int(trial.suggest_categorical(choice.key, range(len(choice.nodes))))
            for choice in self._space.choices
        )

    def _parameters(self, design: Design) -> dict[str, int]:
        return {choice.key: number for choice, number in zip(self._space.choices, design, strict=True)}

    def _unknown(self) -> Design:
        """Return a design drawn evenly from those that were not proposed."""
        while True:
            drawn = tuple(int(self._random.integers(len(choice.nodes))) for choice in self._space.choices)
            if drawn not in self._known:
                return drawn

    def _tell(self, trial: Trial, result: Learnt) -> None:
        for number, violation in enumerate(result.violations):
            trial.set_constraint(str(number), violation)
        lacking = sum(value is None for value in result.objectives)
        trial.set_constraint("lacking", float(lacking))
        values = [WORST if value is None or not math.isfinite(value) else value for value in result.objectives]
        self._study.tell(trial, values)
