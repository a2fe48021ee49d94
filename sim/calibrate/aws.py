"""Derive the shipped AWS profiles from the latency samples that Kairos and Ribbon published.

    python -m sim.calibrate.aws SAMPLES.csv.xz OUT_DIR --prices PRICES.csv [--campaign kairos|ribbon]

writes OUT_DIR/tables/*.csv and OUT_DIR/devices/*.yaml, the same bytes on every run. Type and model pairs that
are not recommendation are left out.
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from sim.calibrate.samples import LEVELS, Samples, quantile_row, read_samples, sums_of_all_pairs
from sim.profile.table_file import format_service_csv

__all__ = ["CAMPAIGNS", "Campaign", "cell_samples", "main", "table_rows", "write_profiles"]


@dataclass(frozen=True, slots=True)
class Campaign:
    """One measurement campaign and how to read it.

    Attributes
    ----------
    name : str
        Prefix of the profile names: two campaigns measured some of the same types, with other results.
    models, instances : tuple of str
        What is shipped.
    warm_up : dict
        Repeats to leave out at the start of every cell, by instance type.
    source, citation : str
        For the provenance block.
    notes : dict
        What to say of an instance type there.
    """

    name: Literal["kairos", "ribbon"]
    models: tuple[str, ...]
    instances: tuple[str, ...]
    warm_up: dict[str, int]
    source: str
    citation: str
    notes: dict[str, str]


_WARM_UP_NOTE = (
    "The first repeat of every cell is left out as warm-up: it is 1.3 to 2.7 times the median (about 540 ms "
    "at the first size, where the GPU context starts), while from the second repeat on nothing drifts. "
)
_BURSTABLE_NOTE = (
    "Burstable type, and it shows: within a cell the coefficient of variation is typically 0.24 to 0.32 "
    "(0.02 for rm2), and the mean falls from one size to the next at up to 38 of 99 steps. "
    "The noise is kept. "
)
_RIBBON_BURSTABLE_NOTE = (
    "Burstable type: within a cell the coefficient of variation is about 0.04, above the 0.004 to 0.02 of "
    "the other types but far below the Kairos measurement of the same type. "
)

CAMPAIGNS: dict[str, Campaign] = {
    "kairos": Campaign(
        name="kairos",
        models=("rm2", "ncf", "wnd", "mtwnd", "dien"),
        instances=("c5n.2xlarge", "g4dn.xlarge", "r5n.large", "t3.xlarge"),
        warm_up={"g4dn.xlarge": 1},
        source="github boringlee24/hpdc23-kairos, measured latencies per query size",
        citation="Li et al., Kairos, HPDC 2023",
        notes={"g4dn.xlarge": _WARM_UP_NOTE, "t3.xlarge": _BURSTABLE_NOTE},
    ),
    "ribbon": Campaign(
        name="ribbon",
        models=("mtwnd", "dien"),
        instances=(
            *("c5.2xlarge", "c5a.2xlarge", "g4dn.xlarge", "m5.xlarge"),
            *("m5n.xlarge", "r5.large", "r5n.large", "t3.xlarge"),
        ),
        warm_up={},
        source="github boringlee24/SC21_Ribbon, measured latencies per query size",
        citation="Li et al., Ribbon, SC 2021",
        notes={"t3.xlarge": _RIBBON_BURSTABLE_NOTE},
    ),
}

# Memory of the instance types as AWS documents it, GiB; a GPU type's host memory, since both hold the model.
_MEMORY_GIB = {
    "c5.2xlarge": 16,
    "c5a.2xlarge": 16,
    "c5n.2xlarge": 21,
    "g4dn.xlarge": 16,
    "m5.xlarge": 16,
    "m5n.xlarge": 16,
    "r5.large": 16,
    "r5n.large": 16,
    "t3.xlarge": 16,
}


def cell_samples(
    samples: Samples, campaign: Campaign, instance: str, model: str, size: int, *, data_loading: bool = False
) -> NDArray[np.int64]:
    """Latencies in ns that stand for one cell, int64.

    Compute times without the warm-up repeats; with `data_loading`, the sums of all pairs of a compute and a
    loading time, because the two were measured apart.
    """
    skip = campaign.warm_up.get(instance, 0)
    compute = samples.cells["compute", instance, model, size][skip:]
    if not data_loading:
        return compute
    return sums_of_all_pairs(compute, samples.cells["data_loading", instance, model, size][skip:])


def table_rows(
    samples: Samples, campaign: Campaign, instance: str, model: str, *, data_loading: bool = False
) -> tuple[tuple[int, ...], NDArray[np.int64]]:
    """Sizes and quantile rows (int64, sizes x `LEVELS`, ns) of one table."""
    sizes = samples.sizes("compute", instance, model)
    rows = [
        quantile_row(cell_samples(samples, campaign, instance, model, size, data_loading=data_loading))
        for size in sizes
    ]
    return sizes, np.array(rows, dtype=np.int64)


def write_profiles(
    samples: Samples, campaign: Campaign, prices: dict[str, str], out_dir: Path, file: str
) -> list[Path]:
    """Write tables and device files of a campaign; `file` names the source in the provenance."""
    written = []
    for folder in ("tables", "devices"):
        (out_dir / folder).mkdir(parents=True, exist_ok=True)
    has_loading = any(kind == "data_loading" for kind, *_ in samples.cells)
    for instance in campaign.instances:
        for model in campaign.models:
            for loading in (False, True) if has_loading else (False,):
                sizes, rows = table_rows(samples, campaign, instance, model, data_loading=loading)
                path = out_dir / "tables" / _table_name(campaign, instance, model, loading)
                path.write_text(format_service_csv(sizes, LEVELS, rows), encoding="utf-8")
                written.append(path)
        path = out_dir / "devices" / f"{campaign.name}-{instance}.yaml"
        path.write_text(
            _device_yaml(samples, campaign, instance, prices[instance], file, has_loading), encoding="utf-8"
        )
        written.append(path)
    return written


def _table_name(campaign: Campaign, instance: str, model: str, loading: bool) -> str:
    return f"{campaign.name}-{instance}-{model}{'-with-loading' if loading else ''}.csv"


def _device_yaml(samples: Samples, campaign: Campaign, instance: str, price: str, file: str, has_loading: bool) -> str:
    used = [
        cell for (_, where, model, _), cell in samples.cells.items() if where == instance and model in campaign.models
    ]
    repeats = max(cell.size for cell in used)
    sizes = samples.sizes("compute", instance, campaign.models[0])
    gpu = instance.startswith("g")
    notes = campaign.notes.get(instance, "") + (
        f"Sizes {sizes[0]} to {sizes[-1]}; queries outside are refused. Quantiles of the repeats of each "
        "size, with the sample mean, median, p99 and extremes kept. "
    )
    if has_loading:
        notes += (
            "Tables with loading hold the sums of all pairs of a compute and a loading time, which were "
            "measured apart. "
        )
    notes += "Software versions and dates are not in the source."
    price_usd = f"{float(price):g}"
    lines = [
        f"# Written by `python -m sim.calibrate.aws`; see {campaign.citation}.",
        f"name: {campaign.name}-{instance}",
        f"kind: {'gpu' if gpu else 'cpu'}",
        f"description: AWS EC2 {instance}, as measured for {campaign.citation}",
        "evidence: measured",
        f"memory: {_MEMORY_GIB[instance]}GiB{'  # of the host; the T4 has 16 GB' if gpu else ''}",
        "lanes: 1  # the whole instance serves one query at a time, as it was measured",
        f"price: {price_usd}USD/h",
        "provenance:",
        f"  source: {campaign.source}",
        f"  citation: {campaign.citation}",
        "  licence: MIT",
        f"  host: AWS EC2 {instance}",
        f"  command: python -m sim.calibrate.aws {file} hwprofiles --prices PRICES.csv",
        f"  repeats: {repeats}",
        f"  samples: {sum(cell.size for cell in used)}",
        f"  sha256: {samples.sha256}",
        "  notes: >-",
        *_wrapped(notes, indent=4),
        "service:",
    ]
    for model in campaign.models:
        lines += [f"  {model}:", "    table:"]
        lines.append(f"      table: ../tables/{_table_name(campaign, instance, model, False)}")
        if has_loading:
            lines.append(f"      data_loading: ../tables/{_table_name(campaign, instance, model, True)}")
    return "\n".join(lines) + "\n"


def _wrapped(text: str, indent: int) -> list[str]:
    import textwrap

    pad = " " * indent
    return textwrap.wrap(text, width=100, initial_indent=pad, subsequent_indent=pad)


def _read_prices(path: Path) -> dict[str, str]:
    with path.open(newline="", encoding="utf-8") as file:
        return {row["instance"].strip(): row["price"].strip() for row in csv.DictReader(file)}


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m sim.calibrate.aws", description=__doc__.split("\n")[0])
    parser.add_argument("samples", type=Path, metavar="SAMPLES.csv.xz")
    parser.add_argument("out_dir", type=Path, metavar="OUT_DIR")
    parser.add_argument("--prices", type=Path, required=True, metavar="PRICES.csv")
    parser.add_argument("--campaign", choices=sorted(CAMPAIGNS), help="default: the start of the file's name")
    given = parser.parse_args(arguments)
    name = given.campaign or given.samples.name.split("_")[0]
    if name not in CAMPAIGNS:
        parser.error(f"cannot tell the campaign from {given.samples.name}; give --campaign")
    samples = read_samples(given.samples)
    written = write_profiles(samples, CAMPAIGNS[name], _read_prices(given.prices), given.out_dir, given.samples.name)
    size = sum(path.stat().st_size for path in written)
    print(f"{len(written)} files, {size} bytes", file=sys.stderr)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
