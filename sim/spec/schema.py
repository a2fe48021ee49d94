"""The JSON Schema of experiment files, so that editors complete and check them."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

__all__ = ["json_schema"]


def json_schema(model: type[BaseModel]) -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of a file that `model` describes.

    A file that extends another may leave out what that one says; without `extends`, required keys are required.
    """
    schema = model.model_json_schema(mode="validation")
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}
    required = schema.pop("required", [])
    if "extends" in schema.get("properties", {}):
        schema["anyOf"] = [{"required": required}, {"required": ["extends"]}]
    else:
        schema["required"] = required
    return schema
