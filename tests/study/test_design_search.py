"""Which designs a search proposes: each once, the same ones for the same seed, all of them in the end."""

from __future__ import annotations

import builtins
from collections.abc import Callable

import pytest

from sim.spec.design_space import Choice, Design, DesignSpace
from sim.spec.source import Node, Position
from sim.study.design_search import AllDesigns, Learnt, OptimiserMissing, OptunaSearch, search

HERE = Position("e.yaml", 1, 1)


def space(*sizes: int) -> DesignSpace:
    return DesignSpace(
        tuple(
            Choice(f"c{i}", (f"c{i}",), tuple(range(size)), tuple(Node(v, HERE) for v in range(size)), i % 2 == 0)
            for i, size in enumerate(sizes)
        )
    )


def bowl(design: Design) -> Learnt:
    """Two objectives that pull apart, and a constraint that forbids a part of the space."""
    x, y, z = design
    return Learnt((float((x - 1) ** 2 + z), float((x - 6) ** 2 + y)), (float(y + z - 8),))


def proposals(found: OptunaSearch, trials: int, batch: int, learn: Callable[[Design], Learnt] = bowl) -> list[Design]:
    designs: list[Design] = []
    while len(designs) < trials and (proposed := found.propose(min(batch, trials - len(designs)))):
        found.learn([learn(design) for design in proposed])
        designs += proposed
    return designs


def test_a_small_space_is_tried_in_full() -> None:
    found = search(space(2, 3), trials=6, objectives=2, seed=1)
    assert isinstance(found, AllDesigns)
    assert found.propose(4) == [(0, 0), (0, 1), (0, 2), (1, 0)]
    found.learn([])
    assert found.propose(4) == [(1, 1), (1, 2)]
    assert found.propose(4) == []
    assert isinstance(search(space(2, 3), trials=5, objectives=2, seed=1), OptunaSearch)


def test_the_same_seed_proposes_the_same_designs() -> None:
    designs = [proposals(OptunaSearch(space(8, 6, 5), objectives=2, seed=seed), 40, 8) for seed in (3, 3, 4)]
    assert designs[0] == designs[1]
    assert designs[0] != designs[2]
    assert len(set(designs[0])) == len(designs[0]) == 40


def test_a_search_finds_every_design_in_the_end() -> None:
    wanted = space(3, 3, 3)
    assert sorted(proposals(OptunaSearch(wanted, objectives=2, seed=1), 1000, 5)) == list(wanted.designs())


def test_a_search_learns() -> None:
    """A third of a space holds far more of its front than a third of it that is drawn evenly."""
    wanted = space(8, 6, 5)
    feasible = {d: bowl(d).objectives for d in wanted.designs() if bowl(d).violations[0] <= 0}
    front = {
        design
        for design, (a, b) in feasible.items()
        if not any((c, d) != (a, b) and c <= a and d <= b for c, d in feasible.values())
    }
    hits = sum(len(front & set(proposals(OptunaSearch(wanted, objectives=2, seed=s), 60, 8))) for s in range(3))
    # Drawn evenly, a quarter of the front's six designs each time: 4.5 expected of 18; 11 or more in one of 800.
    assert len(front) == 6
    assert hits >= 11


def test_designs_that_lack_an_objective_are_learnt_from() -> None:
    def half(design: Design) -> Learnt:
        return Learnt((None, None), (1.0,)) if design[0] < 4 else bowl(design)

    assert len(proposals(OptunaSearch(space(8, 6, 5), objectives=2, seed=1), 40, 8, half)) == 40


def test_without_optuna_the_way_out_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    imported = builtins.__import__

    def missing(name: str, *rest: object, **more: object) -> object:
        if name == "optuna":
            raise ImportError(name)
        return imported(name, *rest, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(
        OptimiserMissing, match=r"6 designs, more than optimise.trials.*pip install 'mprec-sim\[optimise\]'"
    ):
        search(space(2, 3), trials=5, objectives=2, seed=1)
    assert isinstance(search(space(2, 3), trials=6, objectives=2, seed=1), AllDesigns)
