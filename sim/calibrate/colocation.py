"""Derives the interference profiles that ship from published runs of co-located copies of a model.

``python -m sim.calibrate.colocation INFERENCE_DATA OUT_DIR`` writes the YAML files of ``hwprofiles/interference``.
INFERENCE_DATA is the folder `inference_data` of the source's repository: for 1 to 14 copies a JSON list of the
milliseconds that one of them took for each of 5,000 batches. A factor is the median with that many copies over the
median of the copy alone; only factors are kept.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

__all__ = ["SERIES", "Series", "interference_text", "main", "slowdown"]

MOST_COPIES = 14


@dataclass(frozen=True, slots=True)
class Series:
    """Runs of one model with a growing number of copies.

    Attributes
    ----------
    alone : str
        File of the copy that ran alone.
    together : str
        Files of 2 to 14 copies; ``{}`` stands for their number.
    model : str
        What each copy is.
    notes : str
        What is special about this series.
    """

    alone: str
    together: str
    model: str
    notes: str

    def files(self) -> list[str]:
        """Files of 1, 2, ..., 14 copies."""
        return [self.alone, *(self.together.format(copies) for copies in range(2, MOST_COPIES + 1))]


SERIES: dict[str, Series] = {
    "broadwell-dlrm-rmc1": Series(
        "rmc/rmc1.json",
        "rmc1_col/rmc1_{}.json",
        "8 tables of 4 million rows x 32, 80 look-ups each, MLPs 128-64-32 and 256-64-1",
        "Two copies took 2.2% less than the one alone; that factor is put at 1.",
    ),
    "broadwell-dlrm-rmc2": Series(
        "rmc/rmc2_archive/rmc2.json",
        "rmc2_col/rmc2_{}.json",
        "32 tables of half a million rows x 64, 120 look-ups each, MLPs 256-128-64 and 128-64-1",
        "The copy alone is in a folder that calls it the original rmc2; variants that came later have other names.",
    ),
    "broadwell-dlrm-rmc3": Series(
        "rmc/rmc3.json",
        "rmc3_col/rmc3_{}.json",
        "10 tables of 2 million rows x 32, 20 look-ups each, MLPs 2560-1024-256-32 and 512-256-1",
        "",
    ),
}
"""Every interference profile that is derived from measurements, by name."""

_NOTES = (
    "Medians of the batches over the median of the copy alone; not smoothed, so they are not monotone everywhere. "
    "By the source's scripts every copy serves batches of 32 on a core of its own, the copy alone too, and one of "
    "them is measured; the source's own plots set co-located runs against such runs alone. Other runs of 2, 4 and 8 "
    "copies in the source differ from these by up to 2.2%, and in one case (rmc1, 8 copies) by 7%. Processor model, "
    "software versions and dates are not in the source."
)


def slowdown(series: Series, folder: Path) -> tuple[float, ...]:
    """Return the factors of 1 to 14 copies of a series, rounded to four decimals and at least 1."""
    medians = [_median_ms(folder / file) for file in series.files()]
    return tuple(max(1.0, round(median / medians[0], 4)) for median in medians)


def _median_ms(file: Path) -> float:
    return float(np.median(json.loads(file.read_text(encoding="utf-8"))))


def interference_text(name: str, folder: Path) -> str:
    """Return the YAML file of an interference profile.

    Parameters
    ----------
    name : str
        A key of `SERIES`.
    folder : Path
        The folder `inference_data` of the source.
    """
    series = SERIES[name]
    files = series.files()
    samples = [len(json.loads((folder / file).read_text(encoding="utf-8"))) for file in files]
    digest = hashlib.sha256(b"".join((folder / file).read_bytes() for file in files)).hexdigest()
    notes = " ".join(
        filter(None, [_NOTES, series.notes, "The digest is that of the files of 1 to 14 copies in a row."])
    )
    factors = [f"{factor:g}" for factor in slowdown(series, folder)]
    lines = [
        "# Written by `python -m sim.calibrate.colocation`.",
        f"name: {name}",
        f"description: {json.dumps(f'Copies of a DLRM on one Broadwell CPU: {series.model}')}",
        "evidence: measured",
        "provenance:",
        "  source: github boringlee24/dlrm at 7978345, times of co-located copies",
        "  licence: MIT",
        "  host: A Broadwell CPU, one core for each copy",
        "  date: before 2020-06-22, when it was published",
        "  command: python -m sim.calibrate.colocation INFERENCE_DATA hwprofiles/interference",
        f"  repeats: {min(samples)}",
        f"  samples: {sum(samples)}",
        f"  sha256: {digest}",
        "  notes: >-",
        *textwrap.wrap(notes, width=100, initial_indent="    ", subsequent_indent="    "),
        f"slowdown: [{', '.join(factors)}]",
    ]
    return "\n".join(lines) + "\n"


def main(arguments: Sequence[str] | None = None) -> int:
    """Write every interference profile into a folder; the command line of this module."""
    parser = argparse.ArgumentParser(prog="python -m sim.calibrate.colocation", description=__doc__.split("\n")[0])
    parser.add_argument("inference_data", metavar="INFERENCE_DATA", type=Path, help="folder of the source's runs")
    parser.add_argument("out", metavar="OUT_DIR", type=Path, help="folder of the profiles")
    options = parser.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    for name in SERIES:
        (options.out / f"{name}.yaml").write_text(interference_text(name, options.inference_data), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
