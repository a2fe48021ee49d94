"""Figures of a run directory."""

from pathlib import Path


def plot_run(run_dir: Path) -> list[Path]:
    return []
