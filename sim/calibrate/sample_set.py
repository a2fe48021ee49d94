"""Service-time samples in the common form that measuring and importing write and that fitting reads.

A file is a CSV (optionally .xz) with the columns of `COLUMNS`, one sample a row, repeats of a cell in the order in
which they were taken. Lines `# KEY: VALUE` before the header say what was measured: `device`, `host`, `date`, ...
"""

from __future__ import annotations

import csv
import hashlib
import io
import lzma
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sim.calibrate.measured_text import LARGEST, Complaints, about_and_body, column_of, decoded_text, numbered_rows
from sim.profile.stage_times import KNOWN_STAGES, is_known_stage
from sim.report.rundir import written_whole

__all__ = [
    "COLUMNS",
    "STAGES",
    "TOTAL",
    "SampleKey",
    "SampleSet",
    "format_sample_csv",
    "parse_sample_csv",
    "read_sample_csv",
    "write_sample_csv",
]

COLUMNS = ("model", "representation", "stage", "size", "block", "service_ns")

TOTAL = "total"
"""The stage that stands for the whole query."""

STAGES = (TOTAL, *KNOWN_STAGES)
"""The whole query, and what may be measured of it; `decoder cache N` besides."""


class SampleKey(NamedTuple):
    """What the samples of a cell are samples of; `block` numbers the stretch of time in which they were taken."""

    model: str
    representation: str
    stage: str
    size: int
    block: int


@dataclass(frozen=True, eq=False)
class SampleSet:
    """Service-time samples of one device.

    Attributes
    ----------
    cells : dict
        `SampleKey` -> int64 array of service times in ns, positive, in the order of the repeats.
    about : dict of str to str
        What was measured and how (`device`, `host`, `date`, `command`, ...), for the provenance of a profile.
    sha256 : str
        Digest of the file it was read from, hexadecimal; empty if it was not read.
    """

    cells: Mapping[SampleKey, NDArray[np.int64]]
    about: Mapping[str, str] = field(default_factory=dict)
    sha256: str = ""

    def pairs(self) -> tuple[tuple[str, str], ...]:
        """(model, representation) pairs, in the order in which they come."""
        return tuple(dict.fromkeys((key.model, key.representation) for key in self.cells))

    def stages(self, model: str, representation: str) -> tuple[str, ...]:
        """Stages that were measured of a pair, in the order of `STAGES`, then the searches among centroids."""
        found = {key.stage for key in self.cells if key[:2] == (model, representation)}
        return (*(stage for stage in STAGES if stage in found), *sorted(found.difference(STAGES)))

    def sizes(self, model: str, representation: str, stage: str = TOTAL) -> tuple[int, ...]:
        """Measured sizes, increasing."""
        return tuple(sorted({key.size for key in self.cells if key[:3] == (model, representation, stage)}))

    def blocks(self, model: str, representation: str, size: int, stage: str = TOTAL) -> tuple[int, ...]:
        """Blocks in which a size was measured, increasing."""
        wanted = (model, representation, stage, size)
        return tuple(sorted(key.block for key in self.cells if key[:4] == wanted))

    def service_ns(self, model: str, representation: str, size: int, stage: str = TOTAL) -> NDArray[np.int64]:
        """Samples of a size over all its blocks, block by block, int64; empty if there are none."""
        parts = [
            self.cells[SampleKey(model, representation, stage, size, block)]
            for block in self.blocks(model, representation, size, stage)
        ]
        return np.concatenate(parts) if parts else np.empty(0, dtype=np.int64)

    def samples(self, stage: str = TOTAL) -> int:
        """Return the number of samples of a stage over everything."""
        return sum(cell.size for key, cell in self.cells.items() if key.stage == stage)

    def with_about(self, **about: str) -> SampleSet:
        """Return the same samples with more, or other, said about them."""
        return SampleSet(self.cells, {**self.about, **about}, self.sha256)

    @classmethod
    def joined(cls, sets: Iterable[SampleSet]) -> SampleSet:
        """Return the samples of several sets as one; where they share a cell, the later set's blocks count on.

        What is said about them is kept where all that say it agree, and joined by "; " where not.
        """
        cells: dict[SampleKey, NDArray[np.int64]] = {}
        about: dict[str, list[str]] = {}
        digests = []
        for one in sets:
            shift = 1 + max((key.block for key in cells), default=-1)
            clash = any(key in cells for key in one.cells)
            for key, cell in one.cells.items():
                cells[key._replace(block=key.block + shift) if clash else key] = cell
            for name, value in one.about.items():
                if value not in about.setdefault(name, []):
                    about[name].append(value)
            digests.append(one.sha256)
        digest = digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest()
        return cls(cells, {name: "; ".join(values) for name, values in about.items()}, digest if all(digests) else "")


def read_sample_csv(path: Path) -> SampleSet:
    """Read a sample file, .csv or .csv.xz.

    Raises
    ------
    SpecError
        With the line and column of what is wrong: other columns, an unknown stage, a size or time that is not a
        positive whole number, a file that is cut off.
    """
    text, sha256 = decoded_text(path)
    samples = parse_sample_csv(text, str(path))
    return SampleSet(samples.cells, samples.about, sha256)


def parse_sample_csv(text: str, file: str) -> SampleSet:
    """Parse the text of a sample file; `file` is what positions call it. Raises as `read_sample_csv`."""
    complaints = Complaints(file)
    about, skipped, body = about_and_body(text)
    rows = numbered_rows(body, complaints, skipped)
    header_line, header = next(rows, (skipped + 1, []))
    complaints.raise_any()
    if tuple(header) != COLUMNS:
        complaints.report(
            header_line,
            1,
            "not the columns of a sample file",
            ",".join(header),
            allowed=f"{','.join(COLUMNS)}; `mprec calibrate import` reads other files",
        )
        complaints.raise_any()
    cells: dict[SampleKey, list[int]] = {}
    line = header_line
    for line, row in rows:
        if complaints.enough:
            break
        if len(row) != len(COLUMNS):
            complaints.report(line, 1, f"{len(row)} columns, the header has {len(COLUMNS)}", ",".join(row))
            continue
        size, block, service_ns = (
            _whole(row, index, least, line, complaints) for index, least in ((3, 1), (4, 0), (5, 1))
        )
        if row[2] != TOTAL and not is_known_stage(row[2]):
            complaints.report(line, column_of(row, 2), "unknown stage", row[2], allowed=STAGES)
        cells.setdefault(SampleKey(row[0], row[1], row[2], size, block), []).append(service_ns)
    if not complaints.problems and not cells:
        complaints.report(header_line, 1, "a header but no samples")
    if not complaints.problems and not text.endswith("\n"):
        complaints.report(line, 1, "the last line has no end: the file was cut off")
    complaints.raise_any()
    return SampleSet({key: np.array(cell, dtype=np.int64) for key, cell in cells.items()}, about)


def _whole(row: list[str], index: int, least: int, line: int, complaints: Complaints) -> int:
    written = row[index]
    value = int(written) if written.isascii() and written.isdigit() and len(written) < 20 else -1
    if not least <= value < LARGEST:
        allowed = f"a whole number of at least {least}"
        complaints.report(line, column_of(row, index), f"bad {COLUMNS[index]}", written, allowed=allowed)
    return value


def format_sample_csv(samples: SampleSet) -> str:
    """Text of a sample file with these samples; parsing it gives them back exactly."""
    text = io.StringIO(newline="")
    for key, value in samples.about.items():
        text.write(f"# {key}: {' '.join(value.split())}\n")
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(COLUMNS)
    for cell_key, cell in samples.cells.items():
        rows.writerows([*cell_key, service_ns] for service_ns in cell.tolist())
    return text.getvalue()


def write_sample_csv(path: Path, samples: SampleSet) -> Path:
    """Write a sample file, packed where the name ends in .xz; it is there whole or not at all.

    Raises
    ------
    RunDirectoryError
        If it cannot be written.
    """
    content = format_sample_csv(samples).encode()
    with written_whole(path) as stream:
        stream.write(lzma.compress(content) if path.suffix == ".xz" else content)
    return path
