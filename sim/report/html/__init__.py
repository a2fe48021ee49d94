"""A run as one HTML page that needs nothing else: no network, no scripts."""

from __future__ import annotations

from pathlib import Path

from sim.report.figures import plot_run
from sim.report.finished import read_finished
from sim.report.html.drawings import drawing, figure_files, of_a_comparison
from sim.report.html.page import page
from sim.report.rundir import encoded, written_whole

__all__ = ["write_page"]


def write_page(run_dir: Path, out: Path | None = None) -> Path:
    """Write the page of a run; its figures are drawn if there are none.

    Parameters
    ----------
    run_dir : Path
        A run directory with ``summary.json``.
    out : Path, optional
        The file, ``report.html`` in the run directory by default.

    Returns
    -------
    Path
        The file. The same run directory gives the same bytes.

    Raises
    ------
    RunDirectoryError
        If there is no summary, something in the directory is damaged, or a file cannot be written.
    """
    run = read_finished(run_dir)
    folder = run_dir / "figures"
    files = figure_files(folder)
    if all(of_a_comparison(file) for file in files):
        plot_run(run_dir)
        files = figure_files(folder)
    text = page(run, [drawing(file, number) for number, file in enumerate(files, start=1)])
    file = run_dir / "report.html" if out is None else out
    with written_whole(file) as stream:
        stream.write(encoded(text))
    return file
