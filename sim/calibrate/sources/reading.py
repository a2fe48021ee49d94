"""Files of other tools by their format: which one a file has, and what all files of an import hold together."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, get_args

from sim.calibrate.measured_text import about_and_body, decoded_text
from sim.calibrate.sample_set import COLUMNS, SampleSet, parse_sample_csv
from sim.calibrate.sources import loadgen_detail, loadgen_summary, published_samples
from sim.calibrate.sources.choices import Choices
from sim.calibrate.sources.columns import percentile_level
from sim.calibrate.sources.percentile_rows import PercentileRow
from sim.calibrate.sources.percentile_table import read_percentile_table, read_perf_analyzer
from sim.calibrate.sources.sample_table import read_sample_table
from sim.spec.problems import Problem, SpecError

__all__ = ["FORMATS", "Format", "Imported", "detect_format", "read_runs"]

Format = Literal["samples", "percentiles", "loadgen", "loadgen-detail", "perf-analyzer", "kairos", "ribbon"]
FORMATS: tuple[Format, ...] = get_args(Format)
PERCENTILE_FORMATS = ("percentiles", "loadgen", "loadgen-detail", "perf-analyzer")


@dataclass
class Imported:
    """What the files of an import hold.

    Attributes
    ----------
    formats : list of str
        Of the files, in their order.
    samples : dict of str to SampleSet
        By device.
    rows : list of PercentileRow
    remarks : list of str
        What the user should know of them.
    sha256 : list of str
        Digests of the files.
    """

    formats: list[Format] = field(default_factory=list)
    samples: dict[str, SampleSet] = field(default_factory=dict)
    rows: list[PercentileRow] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    sha256: list[str] = field(default_factory=list)


def detect_format(text: str, path: Path) -> Format:
    """Return the format of a file by its content, and by its name between Kairos and Ribbon, which have the same.

    Raises
    ------
    SpecError
        If it could be either of these two.
    """
    if loadgen_summary.HEADING in text[:10_000]:
        return "loadgen"
    if loadgen_detail.MARK in text[:10_000]:
        return "loadgen-detail"
    _, _, body = about_and_body(text)
    header = [name.strip() for name in body.partition("\n")[0].split(",")]
    if ",".join(header) == published_samples.HEADER:
        for campaign in ("kairos", "ribbon"):
            if campaign in path.name.lower():
                return "kairos" if campaign == "kairos" else "ribbon"
        raise SpecError([Problem(f"{path} is of Kairos or of Ribbon, and does not say of which", allowed="--format")])
    if "Inferences/Second" in header:
        return "perf-analyzer"
    return "percentiles" if any(percentile_level(name) is not None for name in header) else "samples"


def read_runs(
    files: Sequence[Path], choices: Choices, *, sizes: Sequence[int] = (), wanted: Format | None = None
) -> Imported:
    """Read all files of an import.

    Parameters
    ----------
    files : sequence of Path
    choices : Choices
    sizes : sequence of int
        Query sizes of the files, one a file, or one for all; where the files do not say it themselves.
    wanted : str, optional
        Format of all files; found for each file if left out.

    Raises
    ------
    SpecError
        With everything that is wrong in any of the files, if two of them hold the same, or if some hold samples and
        others percentiles.
    """
    if sizes and len(sizes) not in (1, len(files)):
        message = "as many query sizes as files are needed, or one for all"
        raise SpecError([Problem(message, value=len(sizes), allowed=f"1 or {len(files)}")])
    found = Imported()
    problems: list[Problem] = []
    sets: dict[str, list[SampleSet]] = {}
    texts: dict[str, Path] = {}
    more = False
    for number, file in enumerate(files):
        size = sizes[number % len(sizes)] if sizes else None
        try:
            text, sha256 = decoded_text(file)
            kind = wanted or detect_format(text, file)
            # By their text, so that a packed copy is the same, too.
            digest = hashlib.sha256(text.encode()).hexdigest()
            if digest in texts:
                first = texts[digest]
                what = "percentiles" if kind in PERCENTILE_FORMATS else "samples"
                twice = "is given twice" if first == file else f"holds the same as {first}"
                problems.append(Problem(f"{file} {twice}: its {what} would count twice"))
                continue
            texts[digest] = file
            found.formats.append(kind)
            found.sha256.append(sha256)
            if kind not in ("loadgen", "loadgen-detail") and not text.endswith(("\n", "\r")):
                found.remarks.append(f"{file}: the last line has no end; if the file was cut, so is its last number")
            for device, samples in _read(text, file, kind, replace(choices, size=size), found).items():
                sets.setdefault(device, []).append(replace(samples, sha256=sha256))
        except SpecError as error:
            problems += error.problems
            more |= error.more
    if sets and found.rows:
        problems.append(Problem("some of the files hold samples, others percentiles; import them apart"))
    if problems:
        raise SpecError(problems, more=more)
    found.samples = {device: SampleSet.joined(parts) for device, parts in sets.items()}
    return found


def _read(text: str, file: Path, kind: Format, choices: Choices, found: Imported) -> dict[str, SampleSet]:
    """Return the samples of a file, or add its percentiles to what was found."""
    name = str(file)
    if kind in ("kairos", "ribbon"):
        return published_samples.read_published(text, name, choices, kind)
    if kind == "samples":
        default = file.name.split(".csv")[0]
        if about_and_body(text)[2].partition("\n")[0].strip() == ",".join(COLUMNS):
            samples = parse_sample_csv(text, name)
            device = choices.device or samples.about.get("device", default)
            return {device: samples.with_about(device=device)}
        return read_sample_table(text, name, choices, default)
    if kind in ("percentiles", "perf-analyzer"):
        table_reader = read_percentile_table if kind == "percentiles" else read_perf_analyzer
        rows, remarks = table_reader(text, name, choices)
        found.rows += rows
    else:
        reader = loadgen_summary.read_loadgen_summary if kind == "loadgen" else loadgen_detail.read_loadgen_detail
        row, remarks = reader(text, name, choices)
        found.rows.append(row)
    found.remarks += remarks
    return {}
