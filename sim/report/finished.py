"""A finished run as its directory tells it: what was printed, what it was made with, and the resolved experiment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

from sim.report.comparison import Gain
from sim.report.json_files import ManifestFile, read_json, read_summary
from sim.report.rundir import RunDirectoryError, check_finished
from sim.report.table import Report
from sim.spec.source import leading_comment
from sim.stats.classes import ClassSummary
from sim.stats.independence import ShortRun
from sim.stats.interval import Interval
from sim.stats.merge import CurvePoint
from sim.stats.precision import PrecisionOutcome
from sim.stats.saturation import SaturationVerdict
from sim.stats.summary import Metric, ScenarioSummary, Warmup

__all__ = ["Finished", "read_finished"]

Told = TypeVar("Told")

NEEDS = (
    *(
        "evidence",
        "sla_ms",
        "counts",
        "path_mix",
        "utilisation",
        "waiting_parts",
        "percentile_curve",
        "dropped_by_reason",
    ),
    *("measured", "replications", "confidence", "warmup", "saturation"),
)
"""What a report needs of every scenario."""

SHOWN = ("drop_rate", "sla_attainment", "accuracy_served", "correct_predictions_within_sla_per_s")
"""Metrics that every report has, besides the percentile of the SLA."""


@dataclass(frozen=True, slots=True)
class Finished:
    """A run directory, read.

    Attributes
    ----------
    path : Path
    report : Report
        What the run printed; its metrics come without the values of single replications, which are not kept.
    gains : tuple of Gain or None
        Of every scenario over its baseline.
    manifest : mapping
        Content of ``manifest.json``; empty where there is none.
    experiment : str
        Text of ``experiment.yaml``; empty where there is none.
    question : str
        The comment that the experiment's file begins with.
    unfit : tuple of str
        Why a run that was measured is not to be used; empty for others.
    """

    path: Path
    report: Report
    gains: tuple[Gain | None, ...]
    manifest: Mapping[str, Any]
    experiment: str
    question: str
    unfit: tuple[str, ...]


def read_finished(path: Path) -> Finished:
    """Read a run directory.

    Raises
    ------
    RunDirectoryError
        If there is no summary, the run is not finished, or a file is damaged.
    """
    check_finished(path)
    summary = read_summary(path, NEEDS)
    try:
        report, gains = _report(summary, path), tuple(_gain(entry.get("gain")) for entry in summary["scenarios"])
        for scenario in report.summaries:
            for metrics in (scenario.metrics, *(one.metrics for one in scenario.classes.values())):
                _ = [metrics[name] for name in (f"latency_ms_{report.percentile}", *SHOWN)]
    except KeyError as error:
        raise RunDirectoryError(f"{path / 'summary.json'} is damaged: it lacks {error.args[0]}") from error
    experiment = _text(path / "experiment.yaml")
    observation = summary.get("observation")
    unfit: tuple[str, ...] = ()
    if isinstance(observation, Mapping) and not observation.get("fit", True):
        unfit = tuple(str(reason) for reason in observation.get("reasons", ())) or ("it was marked unfit",)
    return Finished(path, report, gains, _manifest(path), experiment, " ".join(leading_comment(experiment)), unfit)


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeDecodeError) as error:
        raise RunDirectoryError(f"{file} cannot be read: {error}") from error


def _manifest(path: Path) -> Mapping[str, Any]:
    try:
        return read_json(path / "manifest.json", ManifestFile)
    except FileNotFoundError:
        return {}


def _report(summary: Mapping[str, Any], path: Path) -> Report:
    return Report(
        name=str(summary["name"]),
        model=str(summary["model"]),
        percentile=str(summary["percentile"]),
        baseline=summary["baseline"],
        summaries=tuple(_scenario(entry) for entry in summary["scenarios"]),
        assumptions=tuple(str(line) for line in summary["assumptions"]),
        seed=int(summary["seed"]),
        out_dir=path,
    )


def _scenario(entry: Mapping[str, Any]) -> ScenarioSummary:
    return ScenarioSummary(
        parameters=entry["parameters"],
        evidence=entry["evidence"],
        warmup=_known(Warmup, entry["warmup"]),
        replications=entry["replications"],
        confidence=entry["confidence"],
        utilisation=entry["utilisation"],
        precision=None if "precision" not in entry else _known(PrecisionOutcome, entry["precision"]),
        independent_latencies=entry.get("independent_latencies"),
        warnings=tuple(_known(ShortRun, one) for one in entry.get("warnings", ())),
        classes={name: ClassSummary(**_shared(one)) for name, one in entry.get("classes", {}).items()},
        **_shared(entry),
    )


def _shared(entry: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the summaries of a scenario and of a class have in common."""
    return {
        "sla_ms": entry["sla_ms"],
        "saturation": _known(SaturationVerdict, {**entry["saturation"], "saturated": entry["saturated"]}),
        "counts": entry["counts"],
        "dropped_by_reason": entry["dropped_by_reason"],
        "measured": entry["measured"],
        "metrics": {
            name: Metric(one["value"], one["low"], one["high"], one.get("reason"), ())
            for name, one in entry["metrics"].items()
        },
        "path_mix": entry["path_mix"],
        "waiting_parts": entry["waiting_parts"],
        "percentile_curve": tuple(CurvePoint(**point) for point in entry["percentile_curve"]),
    }


def _known(kind: type[Told], saved: Mapping[str, Any]) -> Told:
    """Return the object of `kind` that was saved; what it has and was not saved is None."""
    return kind(**{one.name: saved.get(one.name) for one in fields(kind)})  # type: ignore[arg-type]


def _gain(saved: Mapping[str, Any] | None) -> Gain | None:
    if saved is None:
        return None
    of = ("correct_predictions_per_s", "correct_predictions_within_sla_per_s")
    return Gain(*(Interval(saved[name]["value"], saved[name]["low"], saved[name]["high"]) for name in of))
