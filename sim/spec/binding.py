"""From a YAML tree to a validated object: pydantic's errors as problems with file, line and column."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Annotated, Any, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails

from sim.spec.problems import Problem, SpecError, nearest_name
from sim.spec.source import KeyPath, Node, format_path

__all__ = ["Contradiction", "Name", "SpecModel", "bind", "inline_or_name", "problem_at"]

T = TypeVar("T", bound=BaseModel)

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._+-]*$")]
"""A name that a user gives to something: a word that can stand in key paths, tables and file names."""


class SpecModel(BaseModel):
    """Base of everything that is written in a file: frozen, and unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, populate_by_name=True)


class Contradiction(ValueError):
    """Raised by a model's validator about keys that do not go together: what is wrong, at which key below the model."""

    def __init__(self, path: Sequence[str | int], message: str) -> None:
        super().__init__(message)
        self.path = tuple(path)


def inline_or_name(value: Any) -> str:
    """Discriminate ``name | mapping``: pass it to `pydantic.Discriminator`, with tags ``name`` and ``inline``.

    A mapping is then judged as the model it should be, and not also as a name that it is not.

    >>> # model: Annotated[Annotated[str, Tag("name")] | Annotated[ModelSpec, Tag("inline")],
    >>> #                  Discriminator(inline_or_name)]
    """
    return "inline" if isinstance(value, dict | BaseModel) else "name"


def bind(node: Node, model: type[T]) -> T:
    """Validate `node` as a `model`.

    Raises
    ------
    SpecError
        With every problem: where it stands, what was written, what is allowed, the nearest valid name.
    """
    if not isinstance(node.value, dict):
        raise SpecError([Problem("expected keys and values", node.position, value=node.plain())])
    try:
        bound = model.model_validate(node.plain())
    except ValidationError as error:
        found = (_problem(node, model, details) for details in error.errors())
        raise SpecError([problem for problem in found if problem is not None]) from error
    problems = list(_truths_for_numbers(node, bound, ()))
    if problems:
        raise SpecError(problems)
    return bound


def _truths_for_numbers(node: Node, bound: object, path: KeyPath) -> Iterator[Problem]:
    """Yield where true or false (so also yes or on) is written for a number; pydantic takes them for 1 and 0."""
    if isinstance(node.value, bool):
        if isinstance(bound, int | float) and not isinstance(bound, bool):
            yield Problem("expected a number", node.position, format_path(path), node.value)
        return
    steps: Iterable[tuple[str | int, object]] = ()
    if isinstance(bound, BaseModel):
        fields = type(bound).model_fields.items()
        steps = ((field.alias or name, getattr(bound, name)) for name, field in fields)
    elif isinstance(bound, dict):
        steps = bound.items()
    elif isinstance(bound, tuple | list):
        steps = enumerate(bound)
    for step, inner in steps:
        child = node.child(step)
        if child is not None:
            yield from _truths_for_numbers(child, inner, (*path, step))


def problem_at(
    node: Node,
    path: Sequence[str | int],
    message: str,
    *,
    allowed: str | None = None,
    names: Sequence[str] | None = None,
) -> Problem:
    """Return a problem at `path`, or at the nearest thing above it that is written in the file.

    `names` are the names that would be right there; the nearest to what was written is offered.
    """
    found, rest = node.nearest(path)
    written = None if rest or isinstance(found.value, dict | list) else found.value
    nearest = nearest_name(str(written), names) if names and written is not None else None
    if names and allowed is None:
        allowed = ", ".join(names)
    return Problem(message, found.position, format_path(path), written, allowed, nearest)


def _problem(node: Node, model: type[BaseModel], details: ErrorDetails) -> Problem | None:
    path, left = _path_in_file(node, details["loc"])
    kind = details["type"]
    context = details.get("ctx", {})
    error = context.get("error")
    if isinstance(error, Contradiction):
        path = (*path, *error.path)
    found, _ = node.nearest(path)
    if kind == "too_short" and isinstance(found.value, list) and len(found.value) >= context["min_length"]:
        return None  # pydantic counts the valid entries; the invalid ones are reported by themselves.
    if kind == "extra_forbidden":
        parent, _ = node.nearest(path[:-1])
        known = _fields_at(model, details["loc"][:-1], parent)
        if path[-1] in known:
            # A key of another form of the same thing, such as a time beside a lifetime.
            return Problem(
                "does not go with the keys beside it", found.key_position or found.position, format_path(path)
            )
        return Problem(
            "unknown key",
            found.key_position or found.position,
            format_path(path),
            allowed=", ".join(known) or None,
            nearest=nearest_name(str(path[-1]), known),
        )
    if kind == "missing":
        return Problem(f"{left[-1] if left else 'a key'} is missing", found.position, format_path((*path, *left)))
    written = None if isinstance(found.value, dict | list) else found.value
    if kind in ("literal_error", "union_tag_invalid", "union_tag_not_found"):
        names = _names(str(context.get("expected_tags", context.get("expected", ""))))
        if kind != "literal_error":
            key = str(context.get("discriminator", "")).strip("'")
            key = key if key.isidentifier() else "kind"
            tag = found.child(key)
            path = (*path, key)
            if tag is None:
                return Problem(f"{key} is missing", found.position, format_path(path), allowed=", ".join(names))
            found, written = tag, tag.plain()
        return Problem(
            "not one of the known names",
            found.position,
            format_path(path),
            written,
            ", ".join(names),
            nearest_name(str(written), names),
        )
    return Problem(_plain_words(details), found.position, format_path(path), written)


def _names(listed: str) -> list[str]:
    return [name.strip().strip("'\"") for name in listed.replace(" or ", ", ").split(",") if name.strip()]


def _path_in_file(node: Node, loc: Sequence[str | int]) -> tuple[KeyPath, KeyPath]:
    """Return the part of pydantic's location that exists in the file, and what does not.

    Tags of unions stand in the location although nothing in the file corresponds to them; a step that leads nowhere
    is such a tag, unless it is the last one: then it is a key that is missing.
    """
    path: list[str | int] = []
    current = node
    left: list[str | int] = []
    for step in loc:
        child = current.child(step) if not isinstance(current.value, list) or isinstance(step, int) else None
        if child is None:
            left.append(step)
        else:
            left = []
            path.append(step)
            current = child
    return tuple(path), tuple(left[-1:])


def _fields_at(model: type[BaseModel], loc: Sequence[str | int], parent: Node) -> list[str]:
    """Return the keys that are known at `loc`, following the models that it passes through."""
    models: list[type[BaseModel]] = [model]
    for step in loc:
        following: list[type[BaseModel]] = []
        for candidate in models:
            field = candidate.model_fields.get(str(step))
            if field is not None:
                following.extend(_models_in(field.annotation))
        if following:
            models = following
        elif isinstance(step, str):
            tagged = [m for m in models if _has_kind(m, step)]
            models = tagged or models
    kind = parent.child("kind")
    if kind is not None:
        models = [m for m in models if _has_kind(m, str(kind.value))] or models
    names: dict[str, None] = {}
    for candidate in models:
        names.update(dict.fromkeys(field.alias or name for name, field in candidate.model_fields.items()))
    return list(names)


def _has_kind(model: type[BaseModel], kind: str) -> bool:
    # One kind only: the kinds of a device are no names of different models, and may be the name of a device.
    field = model.model_fields.get("kind")
    return field is not None and get_args(field.annotation) == (kind,)


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [found for inner in get_args(annotation) for found in _models_in(inner)]


WORDS = {
    "string_type": "expected text",
    "int_type": "expected a whole number",
    "int_parsing": "expected a whole number",
    "int_from_float": "expected a whole number",
    "float_type": "expected a number",
    "float_parsing": "expected a number",
    "finite_number": "expected a finite number",
    "bool_type": "expected true or false",
    "bool_parsing": "expected true or false",
    "list_type": "expected a list",
    "tuple_type": "expected a list",
    "dict_type": "expected keys and values",
    "model_type": "expected keys and values",
    "model_attributes_type": "expected keys and values",
    "too_short": "has too few entries",
    "too_long": "has too many entries",
    "string_too_short": "must not be empty",
}


def _plain_words(details: ErrorDetails) -> str:
    kind = details["type"]
    context = details.get("ctx", {})
    if kind == "value_error":
        return str(context.get("error", details["msg"]))
    for bound, words in (
        ("ge", "has to be at least"),
        ("gt", "has to be more than"),
        ("le", "has to be at most"),
        ("lt", "has to be less than"),
    ):
        if bound in context:
            return f"{words} {context[bound]}"
    if kind == "string_pattern_mismatch":
        return f"has to match {context.get('pattern')}"
    return WORDS.get(kind, details["msg"])
