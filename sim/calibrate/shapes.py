"""Derives the load shapes that ship from published traces.

``python -m sim.calibrate.shapes TRACES_DIR OUT_DIR`` writes the YAML files of ``workloads/shapes``. TRACES_DIR holds
the raw files of the sources that each shape names; only relative rates over equal windows are kept.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import io
import json
import lzma
import sys
import tarfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sim.workload.traces import read_time_stamps

__all__ = ["SHAPES", "Shape", "shape_text"]

DAY_S = 86_400


@dataclass(frozen=True, slots=True)
class Shape:
    """How a shape comes from its source.

    Attributes
    ----------
    file, source, licence, how : str
    derive : callable
        ``derive(file) -> (rates, notes)``: relative rates before scaling, and what else was measured.
    """

    file: str
    source: str
    licence: str
    how: str
    derive: Callable[[Path], tuple[NDArray[np.float64], str]]


def _counts_in_windows(window_s: int) -> Callable[[Path], tuple[NDArray[np.float64], str]]:
    def derive(file: Path) -> tuple[NDArray[np.float64], str]:
        stamps = read_time_stamps(file, "TIMESTAMP", "s")
        windows = int(stamps[-1]) // (window_s * 10**9)
        counts = np.bincount(stamps // (window_s * 10**9), minlength=windows)[:windows]
        gaps = np.diff(stamps)
        return counts.astype(np.float64), f"gaps between arrivals have CV {np.std(gaps) / np.mean(gaps):.3f}"

    return derive


def _mean_day_of_counts(file: Path) -> tuple[NDArray[np.float64], str]:
    total = np.zeros(DAY_S // 300)
    rows = np.zeros(DAY_S // 300)
    with file.open(newline="", encoding="utf-8") as stream:
        for row in csv.DictReader(stream):
            at = datetime.fromisoformat(row["timestamp"])
            window = (at.hour * 3600 + at.minute * 60 + at.second) // 300
            total[window] += float(row["value"])
            rows[window] += 1
    return total / rows, f"{int(rows.sum())} counts over {int(rows.max())} days"


def _mean_day_of_clients(file: Path) -> tuple[NDArray[np.float64], str]:
    """Add up the rates of all clients by window of 600 s, and average the windows of a day."""
    total: dict[int, float] = {}
    clients = 0
    # Members stand in another order in the archive, and an xz stream that goes back is unpacked again from its start.
    with tarfile.open(fileobj=io.BytesIO(lzma.decompress(file.read_bytes()))) as archive:
        for member in sorted(archive.getmembers(), key=lambda member: member.name):
            if not member.name.endswith("trace.csv"):
                continue
            content = archive.extractfile(member)
            if content is None:
                continue
            clients += 1
            for row in csv.reader(io.TextIOWrapper(content, encoding="utf-8")):
                start, rate = float(row[0]), float(row[1])
                total[int(start) // 600] = total.get(int(start) // 600, 0.0) + rate
    day = np.zeros(DAY_S // 600)
    days = np.zeros(DAY_S // 600)
    for window, rate in total.items():
        day[window % len(day)] += rate
        days[window % len(day)] += 1
    return day / np.maximum(days, 1), f"{clients} clients over {int(days.max())} days"


SHAPES: dict[str, Shape] = {
    "azure-llm-conversation": Shape(
        "arrivals/AzureLLMInferenceTrace_conv.csv",
        "Azure/AzurePublicDataset, AzureLLMInferenceTrace_conv (2023)",
        "CC-BY-4.0",
        "requests per window of 10 s over the 58 minutes of the trace",
        _counts_in_windows(10),
    ),
    "azure-llm-code": Shape(
        "arrivals/AzureLLMInferenceTrace_code.csv",
        "Azure/AzurePublicDataset, AzureLLMInferenceTrace_code (2023)",
        "CC-BY-4.0",
        "requests per window of 10 s over the 58 minutes of the trace",
        _counts_in_windows(10),
    ),
    "nab-elb-day": Shape(
        "arrivals/nab_elb_request_count_8c0756.csv",
        "numenta/NAB, realAWSCloudwatch/elb_request_count_8c0756",
        "MIT",
        "mean over days of the requests per window of 300 s",
        _mean_day_of_counts,
    ),
    "servegen-day": Shape(
        "arrivals/servegen_m-large_m-mid_traces.tar.xz",
        "alibaba/ServeGen, traces of m-large and m-mid",
        "Apache-2.0",
        "rates of all clients added up by window of 600 s, mean over days",
        _mean_day_of_clients,
    ),
}
"""Every shape that is derived from a published trace, by name."""


def shape_text(name: str, traces: Path) -> str:
    """Return the YAML file of a shape.

    Parameters
    ----------
    name : str
        A key of `SHAPES`.
    traces : Path
        Folder of the raw files.
    """
    shape = SHAPES[name]
    file = traces / shape.file
    rates, notes = shape.derive(file)
    scaled = rates / rates.mean()
    lines = [
        f"# Relative arrival rates over {len(scaled)} equal windows, mean 1.",
        "provenance:",
        f"  source: {json.dumps(shape.source)}",
        f"  licence: {shape.licence}",
        f"  how: {json.dumps(shape.how)}",
        f"  notes: {json.dumps(notes)}",
        f"  sha256: {hashlib.sha256(file.read_bytes()).hexdigest()}",
        "  command: python -m sim.calibrate.shapes TRACES_DIR OUT_DIR",
        "rates:",
    ]
    for start in range(0, len(scaled), 12):
        row = ", ".join(f"{rate:.4f}" for rate in scaled[start : start + 12])
        lines.append(f"  {'[' if start == 0 else ' '}{row}{']' if start + 12 >= len(scaled) else ','}")
    return "\n".join(lines) + "\n"


def main(arguments: Sequence[str] | None = None) -> int:
    """Write every shape into a folder; the command line of this module."""
    parser = argparse.ArgumentParser(prog="python -m sim.calibrate.shapes", description=__doc__)
    parser.add_argument("traces", metavar="TRACES_DIR", type=Path, help="folder of the raw files")
    parser.add_argument("out", metavar="OUT_DIR", type=Path, help="folder of the shapes")
    options = parser.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    for name in SHAPES:
        (options.out / f"{name}.yaml").write_text(shape_text(name, options.traces), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
