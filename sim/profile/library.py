"""Finding devices, models and measured interference by name, from a wheel, an editable install or a checkout.

What ships is found from everywhere. Besides, a folder `hwprofiles` in the working directory is looked into, where a
user's own profiles are; and what ends in .yaml or .yml is the path of a file, from the folder of the file that names it
or from the working directory.
"""

from __future__ import annotations

import functools
import hashlib
import json
from pathlib import Path
from typing import Literal, TypeAlias

import sim
from sim.profile.device import Device, build_device
from sim.profile.dlrm import DheShape, DlrmShape, RepresentationName, dlrm_representation
from sim.profile.interference import InterferenceProfile, build_interference
from sim.profile.model import Model, Representation
from sim.spec.binding import bind
from sim.spec.device import DeviceSpec
from sim.spec.files import YAML_SUFFIXES, find_file, is_file, is_yaml
from sim.spec.interference import InterferenceProfileSpec
from sim.spec.model import DlrmSpec, ModelSpec
from sim.spec.source import load_yaml

__all__ = [
    "UnknownName",
    "build_device",
    "build_model",
    "data_dir",
    "dlrm_shape",
    "find_device",
    "find_dlrm_shape",
    "find_interference",
    "find_model",
    "list_devices",
    "list_interference",
    "list_models",
    "load_device",
    "load_dlrm_shape",
    "load_interference",
    "load_model",
    "model_file",
    "own_file",
    "profile_folder_of",
    "ships",
]


Folder: TypeAlias = Literal["devices", "models", "interference"]


class UnknownName(KeyError):
    """A name that no profile has.

    Attributes
    ----------
    name : str
        What was asked for.
    kind : str
        "device", "model" or "interference profile".
    known : tuple of str
        The names there are.
    problem : str
        What is wrong with it: whoever writes ``gpu.yaml`` means a file.
    """

    def __init__(self, name: str, kind: str, known: tuple[str, ...]) -> None:
        super().__init__(name)
        self.name = name
        self.kind = kind
        self.known = known
        no_file = "there is no such file, neither beside the file that names it nor in the working directory"
        self.problem = no_file if is_yaml(name) else f"unknown {kind}"

    def __str__(self) -> str:
        return f"unknown {self.kind} {self.name!r} (known: {', '.join(self.known)})"

    def __reduce__(self) -> tuple[type[UnknownName], tuple[str, str, tuple[str, ...]]]:
        return type(self), (self.name, self.kind, self.known)


def data_dir(name: Literal["hwprofiles", "workloads", "experiments"]) -> Path:
    """Folder of the shipped data: inside the installed package, or at the top of the checkout."""
    package = Path(sim.__file__).resolve().parent
    installed = package / "_data" / name
    return installed if installed.is_dir() else package.parent / name


def list_devices() -> tuple[str, ...]:
    """Names of the device profiles that are found by name, sorted."""
    return tuple(sorted(_files("devices")))


def list_models() -> tuple[str, ...]:
    """Names of the models that are found by name, sorted."""
    return tuple(sorted(_files("models")))


def list_interference() -> tuple[str, ...]:
    """Names of the interference profiles that are found by name, sorted."""
    return tuple(sorted(_files("interference")))


def ships(folder: Folder, name: str) -> bool:
    """Whether a profile of that name ships."""
    return is_file(data_dir("hwprofiles") / folder / f"{name}.yaml")


def find_device(name: str, base_dir: Path | None = None) -> Device:
    """Load a device profile by its name, or by the path of its file: from `base_dir`, else from the working directory.

    Raises
    ------
    UnknownName
        If there is none of that name.
    SpecError
        If its files are bad.
    """
    path = _path("devices", "device", name, base_dir)
    return _shipped_device(path) if path.parent == data_dir("hwprofiles") / "devices" else load_device(path)


@functools.cache
def _shipped_device(path: Path) -> Device:
    """Load a profile that ships, once a process: a search lays hundreds of variants out."""
    return load_device(path)


def find_model(name: str, base_dir: Path | None = None) -> Model:
    """Load a model by its name, or by the path of its file: from `base_dir`, else from the working directory.

    Raises
    ------
    UnknownName
        If there is none of that name.
    SpecError
        If its file is bad.
    """
    return load_model(_path("models", "model", name, base_dir))


def find_dlrm_shape(name: str) -> DlrmShape | None:
    """Shape of a shipped model, or None where the model is opaque.

    Raises
    ------
    UnknownName
        If there is none of that name.
    SpecError
        If its file is bad.
    """
    return load_dlrm_shape(_path("models", "model", name))


def find_interference(name: str, base_dir: Path | None = None) -> InterferenceProfile:
    """Load a slowdown by its name, or by the path of its file: from `base_dir`, else from the working directory.

    Raises
    ------
    UnknownName
        If there is none of that name.
    SpecError
        If its file is bad.
    """
    return load_interference(_path("interference", "interference profile", name, base_dir))


def model_file(name: str) -> Path:
    """Return the file of a model, by its name or its path.

    Raises
    ------
    UnknownName
        If there is none of that name.
    """
    return _path("models", "model", name)


def profile_folder_of(name: str) -> Folder | None:
    """Return the folder that a profile belongs into, by its name or by what stands in its file; None if there is none.

    A file that is neither a model nor measured interference is taken for a device, whose reader says what is wrong.

    Raises
    ------
    SpecError
        If the file of that path cannot be read.
    """
    file = own_file(name, None)
    if file is None:
        folders: tuple[Folder, ...] = ("devices", "models", "interference")
        return next((folder for folder in folders if name in _files(folder)), None)
    node = load_yaml(file)
    if node.child("representations") is not None:
        return "models"
    return "devices" if node.child("slowdown") is None else "interference"


def load_device(path: Path) -> Device:
    """Load a device file, with table files relative to it; unnamed, it gets the name of the file."""
    node = load_yaml(path)
    return build_device(bind(node, DeviceSpec), folder=path.parent, node=node, name=path.stem)


def load_model(path: Path) -> Model:
    """Load a model file; its name is that of the file unless it gives one."""
    return build_model(bind(load_yaml(path), ModelSpec), name=path.stem)


def load_dlrm_shape(path: Path) -> DlrmShape | None:
    """Shape of the model in a model file, or None where the model is opaque."""
    spec = bind(load_yaml(path), ModelSpec)
    return None if spec.dlrm is None else dlrm_shape(spec.dlrm)


def load_interference(path: Path) -> InterferenceProfile:
    """Load a file of measured slowdowns; its name is that of the file unless it gives one."""
    return build_interference(bind(load_yaml(path), InterferenceProfileSpec), name=path.stem)


def build_model(spec: ModelSpec, *, name: str | None = None) -> Model:
    """Make a model from its specification, computing bytes and FLOPs where the shape of a DLRM is given.

    Parameters
    ----------
    spec : ModelSpec
        From a model file, or inline in an experiment.
    name : str, optional
        Name where the specification gives none.
    """
    representations: dict[str, Representation] = {}
    for key, described in spec.representations.items():
        accuracy = described.accuracy
        if spec.dlrm is not None:
            # ModelSpec admits only these names beside a shape.
            known: RepresentationName = key  # type: ignore[assignment]
            representations[key] = dlrm_representation(
                dlrm_shape(spec.dlrm),
                known,
                accuracy=accuracy.value,
                accuracy_evidence=accuracy.evidence,
                accuracy_source=accuracy.source,
            )
        else:
            representations[key] = Representation(
                name=key,
                accuracy=accuracy.value,
                accuracy_evidence=accuracy.evidence,
                accuracy_source=accuracy.source,
                bytes=described.bytes,
            )
    canonical = json.dumps(spec.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))
    return Model(
        name=spec.name or name or "inline",
        representations=representations,
        content_hash=hashlib.sha256(canonical.encode()).hexdigest(),
        description=spec.description,
        family=spec.family,
    )


def dlrm_shape(spec: DlrmSpec) -> DlrmShape:
    """Shape of a DLRM from its specification."""
    dhe = spec.dhe
    return DlrmShape(
        embedding_dim=spec.embedding_dim,
        table_rows=spec.table_rows,
        bottom_mlp=spec.bottom_mlp,
        top_mlp=spec.top_mlp,
        interaction=spec.interaction,
        dhe=None if dhe is None else DheShape(k=dhe.k, hidden=dhe.decoder, transform=dhe.transform),
        select_dhe_features=spec.select.dhe_features,
        ids_per_feature=spec.ids_per_feature,
    )


def _files(folder: str) -> dict[str, Path]:
    """Files by name; what ships goes before a user's own of that name."""
    own = Path("hwprofiles")
    places = [place / folder for place in (own, data_dir("hwprofiles"))]
    return {path.stem: path for place in places for suffix in YAML_SUFFIXES[::-1] for path in place.glob(f"*{suffix}")}


def own_file(name: str, base_dir: Path | None) -> Path | None:
    """Return the file that a name ending in .yaml or .yml is the path of; None for a mere name, or if there is none."""
    return find_file(name, base_dir) if is_yaml(name) else None


def _path(folder: str, kind: str, name: str, base_dir: Path | None = None) -> Path:
    file = own_file(name, base_dir)
    if file is not None:
        return file
    known = _files(folder)
    if name not in known:
        raise UnknownName(name, kind, tuple(sorted(known)))
    return known[name]
