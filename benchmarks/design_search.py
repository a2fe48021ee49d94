"""What Optuna's samplers find of a front that is known: searches replayed over a space of which every design was run.

    mprec optimise design-search --trials 360 --set optimise.front_replications=null --out all
    python -m benchmarks.design_search all --trials 60 --seeds 20

Nothing is simulated: each search is told what the finished one found. Found is the share of the front's points that a
search has, or has equals of to the resolution; reached is the hypervolume of what it has over that of all designs, with
the objectives scaled to [0, 1] over the feasible designs and in the steps of the resolution.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sim.spec.design_space import Choice, Design, DesignSpace
from sim.spec.source import Node, Position
from sim.stats.dominance import in_steps
from sim.study.design_search import Learnt, OptunaSearch

SAMPLERS = ("tpe", "nsga-ii", "random")
DARTS = 200_000


class Known:
    """A finished search of all designs."""

    def __init__(self, folder: Path) -> None:
        found: dict[str, Any] = json.loads((folder / "optimise.json").read_text(encoding="utf-8"))
        if found["tried"] != found["designs"]:
            raise SystemExit(f"{folder}: {found['tried']} of {found['designs']} designs were tried; all are needed")
        self.objectives = [(one["metric"], 1.0 if one["direction"] == "min" else -1.0) for one in found["objectives"]]
        self.resolution = found["resolution"]
        self.constraints = [text.split() for text in found["constraints"]]
        self.sla_ms = json.loads((folder / "points" / "0001" / "summary.json").read_text())["scenarios"][0]["sla_ms"]
        nowhere = Position("", 1, 1)
        self.space = DesignSpace(
            tuple(
                Choice(key, (key,), tuple(labels), tuple(Node(one, nowhere) for one in labels), _ascends(labels))
                for key, labels in found["choices"].items()
            )
        )
        self.points = dict(zip(self.space.designs(), found["points"], strict=True))
        feasible = [
            self.box(design) for design, point in self.points.items() if point["status"] in ("feasible", "close")
        ]
        self.low = np.min(feasible, axis=0)
        self.span = np.maximum(np.max(feasible, axis=0) - self.low, 1e-12)
        self.front = _best(feasible)

    def learnt(self, design: Design) -> Learnt:
        """Return what a design says to a search."""
        metrics = self.points[design]["metrics"]
        values = tuple(
            None
            if metrics.get(name, {}).get("value") is None
            else in_steps(sign * metrics[name]["value"], self.resolution.get(name, 0.0))
            for name, sign in self.objectives
        )
        return Learnt(values, tuple(self._violation(metrics, *constraint) for constraint in self.constraints))

    def _violation(self, metrics: dict[str, Any], name: str, relation: str, limit: str) -> float:
        value = metrics.get(name, {}).get("value")
        bound = self.sla_ms if limit == "sla" else float(limit)
        return 1.0 if value is None else (1 if relation == "<=" else -1) * (value - bound) / abs(bound)

    def box(self, design: Design) -> tuple[float, ...]:
        """Return the objectives of a design in the steps of the resolution; less is better."""
        metrics = self.points[design]["metrics"]
        return tuple(
            in_steps(sign * metrics[name]["value"], self.resolution.get(name, 0.0)) for name, sign in self.objectives
        )


def _ascends(labels: list[Any]) -> bool:
    return all(isinstance(one, int | float) for one in labels) and labels in (sorted(labels), sorted(labels)[::-1])


def _best(boxes: list[tuple[float, ...]]) -> set[tuple[float, ...]]:
    distinct = set(boxes)
    return {
        one
        for one in distinct
        if not any(other != one and all(a <= b for a, b in zip(other, one, strict=True)) for other in distinct)
    }


def _hypervolume(known: Known, front: set[tuple[float, ...]], darts: NDArray[np.float64]) -> float:
    """Return the share of darts in the unit cube that some point dominates."""
    hit = np.zeros(len(darts), dtype=np.bool_)
    for box in front:
        hit |= np.all(darts >= (np.array(box) - known.low) / known.span, axis=1)
    return float(hit.mean())


def main() -> None:
    """Print, for each sampler, what its searches found: median, least and most over the seeds."""
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("search", type=Path, help="directory of a finished search of all designs")
    asked.add_argument("--trials", type=int, default=60)
    asked.add_argument("--batch", type=int, default=8)
    asked.add_argument("--seeds", type=int, default=20)
    options = asked.parse_args()
    known = Known(options.search)
    darts = np.random.default_rng(0).random((DARTS, len(known.objectives)))
    whole = _hypervolume(known, known.front, darts)
    print(f"{options.trials} of {known.space.size} designs, {len(known.front)} on the front, {options.seeds} seeds")
    for sampler in SAMPLERS:
        found, reached = [], []
        for seed in range(options.seeds):
            search = OptunaSearch(known.space, objectives=len(known.objectives), seed=seed, sampler=sampler)
            tried: list[Design] = []
            while len(tried) < options.trials:
                batch = search.propose(min(options.batch, options.trials - len(tried)))
                search.learn([known.learnt(design) for design in batch])
                tried += batch
            boxes = [known.box(one) for one in tried if known.points[one]["status"] in ("feasible", "close")]
            found.append(len(known.front & set(boxes)) / len(known.front))
            reached.append(_hypervolume(known, _best(boxes), darts) / whole)
        print(f"{sampler:8}  found {_spread(found)}  reached {_spread(reached)}")


def _spread(shares: list[float]) -> str:
    return f"{np.median(shares):6.1%} [{min(shares):.1%}, {max(shares):.1%}]"


if __name__ == "__main__":
    main()
