"""What a measured run knows of the error of its own calibration, and how that widens the intervals of a comparison."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from sim.stats.interval import Interval, student_t_quantile

__all__ = ["CalibrationError", "are_predictions_of", "calibration_errors"]


@dataclass(frozen=True, slots=True)
class CalibrationError:
    """Standard errors of what a scenario's calibration predicts, as `mprec calibrate observe` leaves them.

    Attributes
    ----------
    degrees : int
        Degrees of freedom of them.
    metrics : mapping of str to float
        Relative, by the names of metrics in ``summary.json``.
    path_mix : mapping of str to float
        Of the shares of paths.
    """

    degrees: int
    metrics: Mapping[str, float]
    path_mix: Mapping[str, float]

    def of_ratio(self, found: Interval, metric: str, confidence: float) -> Interval:
        """Return the interval of predicted over measured with the error of the calibration, which all pairs share."""
        return self._widened(found, abs(found.value or 0.0) * self.metrics.get(metric, 0.0), confidence)

    def of_share(self, found: Interval, path: str, confidence: float) -> Interval:
        """Return the same of the difference of a path's shares."""
        return self._widened(found, self.path_mix.get(path, 0.0), confidence)

    def _widened(self, found: Interval, error: float, confidence: float) -> Interval:
        if found.value is None or found.low is None or found.high is None:
            return found
        half = student_t_quantile((1.0 + confidence) / 2.0, self.degrees) * error
        low, high = math.hypot(found.value - found.low, half), math.hypot(found.high - found.value, half)
        return Interval(found.value, found.value - low, found.value + high)


def calibration_errors(summary: Mapping[str, Any]) -> list[CalibrationError | None]:
    """Return what ``summary.json`` of a run says, scenario by scenario; None where it does not."""
    observation = summary.get("observation")
    known = observation.get("calibration_error") if isinstance(observation, Mapping) else None
    if known is None:
        return [None] * len(summary["scenarios"])
    return [CalibrationError(known["groups"] - 1, one["metrics"], one["path_mix"]) for one in known["scenarios"]]


def are_predictions_of(predicted: Sequence[Path], measured: Path) -> bool:
    """Return whether simulated runs stand on the profiles that a measured run calibrated: with the same fleet."""
    calibrated = _fleet(measured)
    return calibrated is not None and all(_fleet(run) == calibrated for run in predicted)


def _fleet(run: Path) -> Any:
    try:
        experiment = yaml.safe_load((run / "experiment.yaml").read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError):
        return None
    return experiment.get("fleet") if isinstance(experiment, dict) else None
