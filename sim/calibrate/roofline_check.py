"""A roofline held against measurements: predicted over measured mean service time, by representation and size."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sim.profile.device import Device
from sim.profile.model import Model
from sim.profile.roofline import roofline_seconds
from sim.profile.service import ServiceTable

__all__ = ["CONTRADICTED", "RooflineCheck", "check_lines", "check_roofline", "summary_lines"]

CONTRADICTED = 2.0
"""A prediction that is this many times too fast or too slow is called contradicted."""

_MOST_ROWS = 14


@dataclass(frozen=True, eq=False)
class RooflineCheck:
    """Predictions of a model under one representation, and what was measured.

    Attributes
    ----------
    predicted_device, measured_device : str
    evidence : str
        Of the measured side: "measured" or "published", and whether it is unfit.
    model, representation : str
    sizes : int64, shape (N,)
        The measured sizes.
    predicted_ns, measured_ns : float64, shape (N,)
        Mean service times.
    stages : dict
        Stage -> predicted over measured mean time at each size, float64 shape (N,), where stages were measured.
    """

    predicted_device: str
    measured_device: str
    evidence: str
    model: str
    representation: str
    sizes: NDArray[np.int64]
    predicted_ns: NDArray[np.float64]
    measured_ns: NDArray[np.float64]
    stages: Mapping[str, NDArray[np.float64]]

    @property
    def ratio(self) -> NDArray[np.float64]:
        """Predicted over measured, by size."""
        return self.predicted_ns / self.measured_ns

    @property
    def mean_ratio(self) -> float:
        """Geometric mean of the ratio over the sizes."""
        return float(np.exp(np.mean(np.log(self.ratio))))

    @property
    def contradicted(self) -> bool:
        """Whether the geometric mean is off by more than `CONTRADICTED` times."""
        return not 1 / CONTRADICTED <= self.mean_ratio <= CONTRADICTED


def check_roofline(predicted: Device, measured: Device, model: Model) -> Iterator[RooflineCheck]:
    """Predict every representation of a model that was measured, at the sizes that were measured.

    Parameters
    ----------
    predicted : Device
        With a roofline.
    measured : Device
        With tables; a representation without one, or that the roofline cannot time, is passed over.
    model : Model
    """
    assert predicted.roofline is not None
    for name, representation in model.representations.items():
        profile = measured.profiles.get((model.name, name))
        if profile is None or not isinstance(profile.service, ServiceTable):
            continue
        sizes = profile.service.sizes
        times = [roofline_seconds(predicted.roofline, representation, int(size)) for size in sizes]
        parts = [seconds for seconds in times if seconds is not None]
        if len(parts) < sizes.size:
            continue
        stages = {}
        for stage in () if profile.stages is None else profile.stages.stages:
            own = np.array([1e9 * seconds.get(stage, 0.0) for seconds in parts])
            other = profile.stages.mean_at(stage, sizes) if profile.stages is not None else own
            if np.all(own > 0) and np.all(other > 0):
                stages[stage] = own / other
        yield RooflineCheck(
            predicted.name,
            measured.name,
            measured.standing,
            model.name,
            name,
            sizes,
            np.array([1e9 * sum(seconds.values()) for seconds in parts]),
            profile.service.mean_at(sizes),
            stages,
        )


def check_lines(check: RooflineCheck) -> list[str]:
    """The error by size, and of the stages."""
    lines = [
        f"{check.predicted_device} against {check.measured_device} ({check.evidence}), {check.model}, "
        f"{check.representation}: {_words(check)}",
        f"  {'samples':>8}  {'predicted ms':>12}  {'measured ms':>12}  {'predicted/measured':>18}",
    ]
    count = check.sizes.size
    rows = (
        range(count) if count <= _MOST_ROWS else np.unique(np.linspace(0, count - 1, _MOST_ROWS).astype(int)).tolist()
    )
    lines += [
        f"  {check.sizes[i]:>8}  {check.predicted_ns[i] / 1e6:>12.4g}  {check.measured_ns[i] / 1e6:>12.4g}  "
        f"{check.ratio[i]:>18.2f}"
        for i in rows
    ]
    for stage, ratio in check.stages.items():
        mean = float(np.exp(np.mean(np.log(ratio))))
        lines.append(f"  {stage}: {mean:.2f} of what was measured ({ratio.min():.2f} to {ratio.max():.2f})")
    return lines


def _words(check: RooflineCheck) -> str:
    ratio = check.mean_ratio
    wrong = f"{ratio:.2f} times too slow" if ratio > 1 else f"{1 / ratio:.2f} times too fast"
    verdict = "; contradicted" if check.contradicted else ""
    return f"{wrong} ({check.ratio.min():.2f} to {check.ratio.max():.2f} of the measured time){verdict}"


def summary_lines(checks: Sequence[RooflineCheck]) -> list[str]:
    """How wrong the predictions are over everything."""
    off = np.concatenate([np.maximum(check.ratio, 1 / check.ratio) for check in checks])
    contradicted = sum(check.contradicted for check in checks)
    return [
        f"{len(checks)} predictions of {off.size} sizes: off by {np.median(off):.2f} times in the median, "
        f"{np.quantile(off, 0.9):.2f} times at the 90th percentile, {off.max():.2f} times at worst; "
        f"{contradicted} contradicted by more than {CONTRADICTED:g} times"
    ]
