"""``python -m benchmarks.calibration_error``: how often intervals of a prediction's error hold it, with and without the
error of the calibration.

Sessions are drawn: a server with one lane whose speed differs from block to block, calibration blocks of it, and a
prediction that draws speeds by what these say. The prediction has no error but that of its calibration, so the true
ratio of predicted over measured is 1, and 95% of the intervals have to hold it.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sim.calibrate.observe.own_error import GROUPS, jackknife_error
from sim.report.calibration_error import CalibrationError
from sim.stats.interval import Interval, paired_ratio

__all__ = ["PERCENTILES", "Outcome", "main", "session"]

PERCENTILES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
CONFIDENCE = 0.95
BLOCK_S = 5.0
SIZE_CV, NOISE_CV = 0.8, 0.1
SIMULATIONS = 8
"""As `benchmarks.fidelity` averages over."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """One percentile of one session.

    Attributes
    ----------
    paired, widened : Interval
        Of predicted over measured: by the pairs of blocks, and with the error of the calibration.
    own_error : float
        Relative standard error of the prediction by its calibration, as it was found.
    """

    paired: Interval
    widened: Interval
    own_error: float


def _latency_ms(arrival_ms: NDArray[np.float64], service_ms: NDArray[np.float64]) -> NDArray[np.float64]:
    """Latency of one lane, first come first served: (blocks, queries)."""
    before = np.cumsum(service_ms, axis=1) - service_ms
    return np.maximum.accumulate(arrival_ms - before, axis=1) + before + service_ms - arrival_ms


def _lognormal(random: np.random.Generator, cv: float, shape: tuple[int, ...]) -> NDArray[np.float64]:
    variance = np.log1p(cv * cv)
    return random.lognormal(-variance / 2, np.sqrt(variance), shape)


def session(random: np.random.Generator, blocks: int, load: float, spread: float) -> dict[str, Outcome]:
    """Draw a session of as many observed as calibration blocks, and return what is said of its errors."""
    shape = (blocks, round(1000 * load * BLOCK_S))
    arrival_ms = np.cumsum(random.exponential(1 / load, shape), axis=1)
    size = _lognormal(random, SIZE_CV, shape)

    def percentiles(drawn: np.random.Generator, speed: NDArray[np.float64]) -> NDArray[np.float64]:
        service_ms = size * _lognormal(drawn, NOISE_CV, shape) * speed[:, None]
        return np.asarray(np.quantile(_latency_ms(arrival_ms, service_ms), list(PERCENTILES.values()), axis=1))

    def predicted(calibration: NDArray[np.float64], seed: int) -> NDArray[np.float64]:
        drawn = np.random.default_rng(seed)
        mean, deviation = calibration.mean(), calibration.std(ddof=1)
        return percentiles(drawn, mean + deviation * drawn.standard_normal(blocks))

    observed, calibration = 1.0 + spread * random.standard_normal((2, blocks))
    measured = percentiles(random, observed)
    seeds = random.integers(0, 2**32, SIMULATIONS).tolist()
    mean = np.mean([predicted(calibration, seed) for seed in seeds], axis=0)
    without = [
        predicted(calibration[np.arange(blocks) % GROUPS != group], seeds[0]).mean(axis=1) for group in range(GROUPS)
    ]
    found = {}
    for number, name in enumerate(PERCENTILES):
        groups = [float(one[number]) for one in without]
        error = jackknife_error(groups) / float(np.mean(groups))
        paired = paired_ratio(mean[number].tolist(), measured[number].tolist(), CONFIDENCE)
        widened = CalibrationError(GROUPS - 1, {name: error}, {}).of_ratio(paired, name, CONFIDENCE)
        found[name] = Outcome(paired, widened, error)
    return found


def _holds(one: Interval) -> bool:
    return one.low is not None and one.high is not None and one.low <= 1.0 <= one.high


def table(outcomes: Sequence[dict[str, Outcome]]) -> list[str]:
    """Return a row for each percentile: what errors are, and how many intervals hold 0."""
    rows = []
    for name in PERCENTILES:
        mine = [one[name] for one in outcomes]
        errors = np.array([one.paired.value for one in mine], dtype=np.float64) - 1.0
        held = [np.mean([_holds(one.paired) for one in mine]), np.mean([_holds(one.widened) for one in mine])]
        own = float(np.mean([one.own_error for one in mine]))
        rows.append(
            f"| {name} | {100 * errors.mean():+.2f}% | {100 * errors.std(ddof=1):.2f}% | {100 * own:.2f}% "
            f"| {100 * held[0]:.1f}% | {100 * held[1]:.1f}% |"
        )
    return rows


def main(arguments: Sequence[str] | None = None) -> int:
    """Print a table for each load."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.calibration_error", description=__doc__)
    parser.add_argument("--sessions", type=int, default=400, help="drawn for each load [400]")
    parser.add_argument("--blocks", type=int, default=100, help="observed, and of calibration [100]")
    parser.add_argument("--spread", type=float, default=0.03, help="standard deviation of the speed of blocks [0.03]")
    parser.add_argument("--loads", type=float, nargs="+", default=[0.3, 0.7, 0.85], metavar="LOAD")
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args(arguments)
    for load in asked.loads:
        random = np.random.default_rng([asked.seed, round(1000 * load)])
        outcomes = [session(random, asked.blocks, load, asked.spread) for _ in range(asked.sessions)]
        differ = f"{asked.blocks} blocks that differ by {100 * asked.spread:g}%"
        print(f"load {load:g}, {asked.sessions} sessions of {differ}\n")
        print("| metric | mean error | its spread | of the calibration | hold it, by pairs | with the calibration |")
        print("|---|---:|---:|---:|---:|---:|")
        print("\n".join(table(outcomes)) + "\n", flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
