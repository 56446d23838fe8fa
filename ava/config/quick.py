"""Whether a document is valid, answered from the shipped JSON Schema: without pydantic, so in a tenth of a second.

Most files that are looked at are valid, and then building the models would be most of the work. A yes is certain; at
a no, :func:`ava.config.validate` has the last word, and says what is wrong.
"""

from __future__ import annotations

import json
import math
from functools import cache
from typing import TYPE_CHECKING, Any, cast

from ava.config.conflicts import conflicts
from ava.config.implied import with_mtp
from ava.load import data_folder

if TYPE_CHECKING:
    from ava.config.model import Config
    from ava.load import Source

__all__ = ["is_surely_valid"]

Schema = dict[str, Any]

_TYPES: dict[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "null": (type(None),),
}


def is_surely_valid(source: Source) -> bool:
    """Return whether ``source`` certainly has no errors; False where a closer look is needed.

    >>> from ava.load import load
    >>> [is_surely_valid(load({"version": 1, "targets": {"shift": value}})) for value in (True, "on")]
    [True, False]
    """
    if source.findings:
        return False
    schema, data = _schema(), source.data
    version = schema["properties"]["version"]
    if not all(info.version is not None and _fits(info.version.value, version, schema) for info in source.files):
        return False
    if not _fits(data, schema, schema):
        return False
    return not any(conflicts(cast("Config", _Section(with_mtp(data), schema, schema))))


@cache
def _schema() -> Schema:
    text = (data_folder("schemas") / "ava-loss.schema.json").read_text(encoding="utf-8")
    schema: Schema = json.loads(text)
    return schema


def _resolve(schema: Schema, root: Schema) -> Schema:
    while "$ref" in schema:
        schema = root["definitions"][schema["$ref"].rpartition("/")[2]]
    return schema


def _fits(value: Any, schema: Schema, root: Schema) -> bool:
    """Return whether ``value`` is as ``schema`` says, and is what YAML calls an integer and a finite number."""
    schema = _resolve(schema, root)
    if "anyOf" in schema:
        return any(_fits(value, item, root) for item in schema["anyOf"])
    if "allOf" in schema:
        return all(_fits(value, item, root) for item in schema["allOf"])
    if "type" in schema and type(value) not in _TYPES[schema["type"]]:
        return False
    choices = [schema["const"]] if "const" in schema else schema.get("enum")
    if choices is not None and not any(type(value) is type(choice) and value == choice for choice in choices):
        return False
    if isinstance(value, dict):
        return _fits_object(value, schema, root)
    if isinstance(value, list):
        return _fits_array(value, schema, root)
    return isinstance(value, (str, bool, type(None))) or _fits_range(value, schema)


def _fits_object(value: dict[str, Any], schema: Schema, root: Schema) -> bool:
    properties = schema.get("properties", {})
    return all(key in value for key in schema.get("required", ())) and all(
        key in properties and _fits(item, properties[key], root) for key, item in value.items()
    )


def _fits_array(value: list[Any], schema: Schema, root: Schema) -> bool:
    items = schema.get("items", {})
    if not schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", len(value)):
        return False
    if isinstance(items, dict):
        return all(_fits(item, items, root) for item in value)
    # A list of fixed length is a lower and an upper bound. Draft 7 has no words for their order.
    return all(_fits(item, of, root) for item, of in zip(value, items, strict=True)) and value == sorted(value)


def _fits_range(value: float, schema: Schema) -> bool:
    return (
        math.isfinite(value)
        and value >= schema.get("minimum", value)
        and value <= schema.get("maximum", value)
        and ("exclusiveMinimum" not in schema or value > schema["exclusiveMinimum"])
        and ("exclusiveMaximum" not in schema or value < schema["exclusiveMaximum"])
    )


class _Section:
    """A mapping that fits its schema, read as the rules between fields read a configuration's section."""

    def __init__(self, data: dict[str, Any], schema: Schema, root: Schema) -> None:
        self.model_fields_set = data.keys()
        self._data = data
        self._fields = schema["properties"]
        self._root = root

    def __getattr__(self, name: str) -> Any:
        field = self._fields[name]
        value = self._data.get(name, {} if "allOf" in field else field.get("default"))
        if isinstance(value, dict):
            return _Section(value, self._of(field), self._root)
        return tuple(value) if isinstance(value, list) else value

    def _of(self, field: Schema) -> Schema:
        """Return the schema of the mapping that ``field`` may hold."""
        options = [_resolve(item, self._root) for item in field.get("allOf") or field["anyOf"]]
        return next(item for item in options if "properties" in item)
