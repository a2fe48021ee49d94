"""JSON files of a run directory, read back: damage is told by its file and place."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AllowInfNan,
    BaseModel,
    ConfigDict,
    Field,
    StrictBool,
    StrictFloat,
    StrictInt,
    StrictStr,
    ValidationError,
    model_validator,
)

from sim.report.rundir import RunDirectoryError

__all__ = ["ManifestFile", "ReplicationsFile", "SummaryFile", "read_json", "read_summary"]

Number = Annotated[StrictFloat, AllowInfNan(False)]
Measured = dict[str, Number | None]
"""Means by name, None where one is missing."""


class _Part(BaseModel):
    """Keys with a default may be missing: not every reader needs them, and older versions did not write them all."""

    model_config = ConfigDict(extra="ignore", strict=True)


class _Point(_Part):
    value: Number | None = None
    low: Number | None = None
    high: Number | None = None
    reason: StrictStr | None = None


class _CurvePoint(_Part):
    p: Annotated[StrictFloat, Field(gt=0.0, lt=1.0)]
    value: Number
    low: Number | None = None
    high: Number | None = None


class _Saturation(_Part):
    growth_fraction: Number
    growth_low: Number | None = None
    offered_load: Number | None = None
    reason: StrictStr | None = None


class _Warmup(_Part):
    method: StrictStr
    fraction: Number
    established: StrictBool


class _Warning(_Part):
    metric: StrictStr
    independent_latencies: Number
    needed: Number
    times: StrictInt


class _Precision(_Part):
    reached: StrictBool
    metric: StrictStr
    half_width: Number | None
    asked: Number
    relative: StrictBool
    reason: StrictStr | None = None


class _Gain(_Part):
    correct_predictions_per_s: _Point
    correct_predictions_within_sla_per_s: _Point


class _Class(_Part):
    saturated: StrictBool
    metrics: dict[str, _Point]
    sla_ms: Number = 0.0
    counts: dict[str, StrictInt] = {}
    measured: dict[str, StrictInt] = {}
    dropped_by_reason: dict[str, StrictInt] = {}
    path_mix: Measured = {}
    waiting_parts: Measured = {}
    percentile_curve: list[_CurvePoint] = []
    saturation: _Saturation = _Saturation(growth_fraction=0.0)
    verdict: StrictStr = ""


class _Scenario(_Class):
    parameters: dict[str, Any]
    evidence: Literal["measured", "published", "modelled"] = "modelled"
    utilisation: Measured = {}
    replications: Annotated[StrictInt, Field(ge=1)] = 1
    confidence: Annotated[StrictFloat, Field(gt=0.0, lt=1.0)] = 0.95
    warmup: _Warmup = _Warmup(method="none", fraction=0.0, established=True)
    classes: dict[str, _Class] = {}
    independent_latencies: Number | None = None
    warnings: list[_Warning] = []
    precision: _Precision | None = None
    gain: _Gain | None = None


class _OwnError(_Part):
    metrics: dict[str, Number]
    path_mix: dict[str, Number]


class _CalibrationError(_Part):
    groups: Annotated[StrictInt, Field(ge=2)]
    scenarios: list[_OwnError]


class _Observation(_Part):
    fit: StrictBool = True
    reasons: list[StrictStr] = []
    calibration_error: _CalibrationError | None = None


class SummaryFile(_Part):
    """``summary.json``."""

    name: StrictStr
    percentile: Annotated[StrictStr, Field(pattern=r"^p\d+$")]
    scenarios: Annotated[list[_Scenario], Field(min_length=1)]
    model: StrictStr = ""
    seed: StrictInt = 0
    baseline: StrictStr | dict[str, Any] | None = None
    assumptions: list[StrictStr] = []
    observation: _Observation | None = None


class _Replications(_Part):
    numbers: Annotated[list[StrictInt], Field(min_length=1)]
    metrics: dict[str, list[Number | None]]
    path_mix: dict[str, list[Number | None]]
    utilisation: dict[str, list[Number | None]]
    waiting_parts: dict[str, list[Number | None]]
    curve_ms: list[list[Number]]
    classes: dict[str, _Replications]

    @model_validator(mode="after")
    def _one_value_each(self) -> _Replications:
        """Refuse lists that are not in the order of the replications; empty ones have no steady value."""
        for group in ("metrics", "path_mix", "utilisation", "waiting_parts"):
            for name, values in getattr(self, group).items():
                if values and len(values) != len(self.numbers):
                    raise ValueError(f"{group}.{name} has {len(values)} values for {len(self.numbers)} replications")
        return self


class ReplicationsFile(_Part):
    """``replications.json``."""

    seed: StrictInt
    scenarios: list[_Replications]


class _Profile(_Part):
    evidence: StrictStr = ""
    provenance: StrictStr = ""
    content_hash: StrictStr = ""


class ManifestFile(_Part):
    """``manifest.json``."""

    profiles: dict[str, _Profile] = {}
    command: list[StrictStr] = []
    engines: list[StrictStr] = []
    versions: dict[str, StrictStr | None] = {}


def read_summary(path: Path, needs: Sequence[str] = ()) -> dict[str, Any]:
    """Read ``summary.json`` of a run directory.

    Parameters
    ----------
    path : Path
    needs : sequence of str
        What every scenario has to have besides that which all readers need.

    Raises
    ------
    RunDirectoryError
        If there is none, or it is not one.
    """
    file = path / "summary.json"
    try:
        summary = read_json(file, SummaryFile)
    except FileNotFoundError as error:
        raise RunDirectoryError(f"{file} cannot be read: {error.strerror}") from error
    for number, scenario in enumerate(summary["scenarios"]):
        for key in needs:
            if key not in scenario:
                raise RunDirectoryError(f"{file} is damaged: it lacks scenarios[{number}].{key}")
    return summary


def read_json(file: Path, kind: type[_Part]) -> dict[str, Any]:
    """Read a file of JSON that a run left.

    Parameters
    ----------
    file : Path
    kind : type
        What it has to be.

    Raises
    ------
    FileNotFoundError
        If there is none.
    RunDirectoryError
        If it cannot be read, or is damaged; the message says where.
    """
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise
    except OSError as error:
        raise RunDirectoryError(f"{file} cannot be read: {error.strerror or error}") from error
    except json.JSONDecodeError as error:
        raise RunDirectoryError(
            f"{file}:{error.lineno}:{error.colno} is damaged: from here on it is no JSON, or the rest is missing"
        ) from error
    except (ValueError, RecursionError) as error:
        raise RunDirectoryError(f"{file} is damaged: it is no JSON in UTF-8") from error
    try:
        kind.model_validate(content)
    except ValidationError as error:
        raise RunDirectoryError(f"{file} is damaged: {_told(error)}") from error
    assert isinstance(content, dict)
    return content


def _told(error: ValidationError) -> str:
    """Return the first thing that is wrong, and how many more are."""
    first, *more = error.errors(include_url=False)
    place = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in first["loc"]).lstrip(".")
    if first["type"] == "missing":
        said = f"it lacks {place}"
    elif first["type"] == "value_error":
        said = f"{place}: {first['ctx']['error']}"
    elif first["type"] in ("model_type", "dict_type"):
        said = f"{place or 'it'} should be a mapping"
    else:
        said = f"{place}: {first['msg'][0].lower()}{first['msg'][1:]}, got {_shown(first['input'])}"
    return f"{said}; {len(more)} more like it" if more else said


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 40 else text[:37] + "..."
