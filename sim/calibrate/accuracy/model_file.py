"""Measured scores put into a model file; every other character of the file stays."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path

import yaml

from sim.calibrate.accuracy.results import RepresentationScores
from sim.report.rundir import written_whole
from sim.spec.binding import bind
from sim.spec.model import ModelSpec
from sim.spec.problems import Position, Problem, SpecError, nearest_name
from sim.spec.source import parse_yaml
from sim.stats.interval import Interval

__all__ = ["accuracy_lines", "with_accuracies", "write_model_file"]

_WIDTH = 100


def accuracy_lines(result: RepresentationScores, source: str, centroids: int | None) -> list[str]:
    """Return the value of an `accuracy` key as lines of YAML, to be indented alike.

    Parameters
    ----------
    result : RepresentationScores
    source : str
        Which log, how it was split and trained.
    centroids : int or None
        Of the decoder cache that was measured.
    """
    value = result.interval("accuracy").value
    assert value is not None
    quoted = source.replace("\\", "\\\\").replace('"', '\\"')
    measured = [f"seeds: {len(result.seeds)}"]
    measured += [f"{metric}: {_score(result.interval(metric))}" for metric in ("accuracy", "auc", "log_loss")]
    if (cost := result.decoder_cache_cost) is not None:
        measured.append(f"decoder_cache: {{centroids: {centroids}, accuracy_cost: {_score(cost)}}}")
    return [
        f"{{value: {100 * value:.5g}%, evidence: measured,",
        # A line break between double quotes is read as a space.
        *textwrap.wrap(f' source: "{quoted}",', _WIDTH, subsequent_indent="   ", break_on_hyphens=False),
        " measured: {" + ",\n   ".join(measured) + "}}",
    ]


def with_accuracies(text: str, accuracies: Mapping[str, Sequence[str]], name: str) -> str:
    """Replace the accuracies of some representations in the text of a model file.

    Parameters
    ----------
    text : str
        A valid model file.
    accuracies : mapping
        Representation to lines of YAML, as of `accuracy_lines`.
    name : str
        What to call the file in problems.

    Raises
    ------
    SpecError
        If it has no such representation, or writes an accuracy in a way that cannot be replaced (through an anchor).
    """
    representations = _entries(_entries(yaml.compose(text, Loader=yaml.SafeLoader))["representations"])
    pieces: list[tuple[int, int, str]] = []
    problems = []
    for key, new in accuracies.items():
        found = representations.get(key)
        if found is None:
            known = list(representations)
            message = f"{name} has no such representation"
            nearest = nearest_name(key, known)
            problems.append(Problem(message, value=key, allowed=", ".join(known), nearest=nearest))
            continue
        old = _entries(found)["accuracy"]
        start = old.start_mark.index
        if start < found.start_mark.index or any(start == piece[0] for piece in pieces):
            where = Position(name, old.start_mark.line + 1, old.start_mark.column + 1)
            problems.append(Problem(f"the accuracy of {key} is shared through an alias; write it out", where))
            continue
        margin = "\n" + " " * (found.start_mark.column + 2)
        pieces.append((start, _end(old, text), margin.join("\n".join(new).split("\n"))))
    if problems:
        raise SpecError(problems)
    for start, end, new in sorted(pieces, reverse=True):
        text = text[:start] + new + text[end:]
    return text


def write_model_file(
    path: Path, text: str, results: Sequence[RepresentationScores], source: str, centroids: int | None
) -> None:
    """Write a model file with measured accuracies, whole or not at all.

    Parameters
    ----------
    path : Path
        Where to.
    text : str
        The model file to start from.
    results, source, centroids
        As for `accuracy_lines`.

    Raises
    ------
    SpecError
        As `with_accuracies`, or if what would be written is no valid model file.
    RunDirectoryError
        If it cannot be written.
    """
    new = with_accuracies(text, {one.name: accuracy_lines(one, source, centroids) for one in results}, path.name)
    bind(parse_yaml(new, path.name), ModelSpec)
    with written_whole(path) as stream:
        stream.write(new.encode())


def _score(interval: Interval) -> str:
    if interval.low is None or interval.high is None:
        return f"{{value: {interval.value:.6g}}}"
    return f"{{value: {interval.value:.6g}, low: {interval.low:.6g}, high: {interval.high:.6g}}}"


def _entries(node: yaml.Node | None) -> dict[str, yaml.Node]:
    """Keys and values of a mapping."""
    assert isinstance(node, yaml.MappingNode), "not a model file"
    return {name.value: value for name, value in node.value}


def _end(node: yaml.Node, text: str) -> int:
    """Index after the last character of a value; marks of a block end at the next token, after comments."""
    if isinstance(node, yaml.CollectionNode) and not node.flow_style and node.value:
        last = node.value[-1]
        return _end(last[1] if isinstance(last, tuple) else last, text)
    end = int(node.end_mark.index)
    folded = isinstance(node, yaml.ScalarNode) and node.style in ("|", ">")
    return len(text[:end].rstrip()) if folded else end
