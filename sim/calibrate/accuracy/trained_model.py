"""The model whose representations are trained: its shape, the text of its file, and where the scores go."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from sim.profile.dlrm import DlrmShape, RepresentationName
from sim.profile.library import UnknownName, data_dir, dlrm_shape, model_file
from sim.spec.binding import bind
from sim.spec.model import ModelSpec
from sim.spec.problems import Problem, SpecError, nearest_name
from sim.spec.source import load_yaml

__all__ = ["TrainedModel", "find_trained_model"]


@dataclass(frozen=True)
class TrainedModel:
    """What is trained and where it is written.

    Attributes
    ----------
    shape : DlrmShape
    representations : tuple of str
        In the order asked for.
    text : str
        Of the model file.
    out : Path
        Model file to write.
    """

    shape: DlrmShape
    representations: tuple[RepresentationName, ...]
    text: str
    out: Path


def find_trained_model(
    name: str, representations: str | None, out: Path | None, *, replace_there: bool = False
) -> TrainedModel:
    """Find a model and check what is asked of it.

    Parameters
    ----------
    name : str
        Name of a model, or path of a model file.
    representations : str or None
        Names between commas; None for all of the file.
    out : Path or None
        Model file to write; None changes the file that was found.
    replace_there : bool
        Whether `out` may be a file that is there and not the one that was found: all that it holds would be lost, where
        the one that was found keeps what is not measured anew.

    Raises
    ------
    SpecError
        If there is no such model, it has no shape or no such representation, it ships and `out` is None, or the file
        cannot be written or may not be replaced.
    """
    try:
        path = model_file(name)
    except UnknownName as error:
        known = error.known
        raise SpecError(
            [Problem("no such model", value=name, allowed=", ".join(known), nearest=nearest_name(name, known))]
        ) from error
    spec = bind(load_yaml(path), ModelSpec)
    if spec.dlrm is None:
        raise SpecError([Problem(f"model {name} is opaque: only one with a dlrm shape can be trained")])
    if out is None and path.is_relative_to(data_dir("hwprofiles")):
        raise SpecError([Problem(f"{name} ships with mprec; name the model file to write with --out")])
    target = path if out is None else out
    if not _can_be_written(target):
        raise SpecError([Problem(f"{target} cannot be written", key_path="--out")])
    if target.exists() and not target.samefile(path) and not replace_there:
        raise SpecError([Problem(f"{target} is there already; give --replace, or take another name", key_path="--out")])
    there: dict[str, RepresentationName] = {one: one for one in spec.representations}  # type: ignore[misc]
    asked = list(there) if representations is None else [one.strip() for one in representations.split(",")]
    problems = [
        Problem(
            f"model {name} has no such representation",
            value=one,
            allowed=", ".join(there),
            nearest=nearest_name(one, list(there)),
        )
        for one in asked
        if one not in there
    ]
    problems += [Problem("a representation is asked for twice", value=one) for one in there if asked.count(one) > 1]
    if problems:
        raise SpecError(problems)
    return TrainedModel(
        shape=dlrm_shape(spec.dlrm),
        representations=tuple(there[one] for one in asked),
        text=path.read_text(encoding="utf-8"),
        out=target,
    )


def _can_be_written(file: Path) -> bool:
    """Whether a file, and folders that lead to it, could be made: told before hours of training, not after."""
    if file.is_dir():
        return False
    there = next(folder for folder in (file.absolute(), *file.absolute().parents) if folder.exists())
    return os.access(there, os.W_OK) and (there.is_dir() or there == file.absolute())
