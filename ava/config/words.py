"""Fields and values in the words of YAML, for messages: what is expected, what came, which range."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from ava.errors import Path
from ava.numbers import short
from ava.terms.base import Term

__all__ = ["choices", "expected", "field_schema", "got", "keys", "range_text", "subject"]

_TYPES = {
    "integer": "an integer",
    "number": "a number",
    "boolean": "`true` or `false`",
    "string": "text",
    "object": "a mapping",
    "null": "null",
}
_PLURALS = {"integer": "integers", "number": "numbers", "string": "texts"}
_NUMBERS = {1: "one", 2: "two", 3: "three", 4: "four"}


def _resolve(schema: dict[str, Any], root: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the alternatives of ``schema``, references followed."""
    if "$ref" in schema:
        yield from _resolve(root["definitions"][schema["$ref"].rsplit("/", 1)[1]], root)
    elif "anyOf" in schema or "allOf" in schema:
        for item in schema.get("anyOf", schema.get("allOf", ())):
            yield from _resolve(item, root)
    else:
        yield schema


def field_schema(path: Path, term: type[Term] | None = None) -> tuple[dict[str, Any], ...]:
    """Return the schemas that the value at ``path`` may have; none where there is no such field.

    ``term`` is the class of a term of another package, where the path leads into one.
    """
    from ava.config.schema import document_schema, section_schema

    if term is not None:
        root, steps = section_schema(term), path[2:]
    else:
        root, steps = document_schema(), path
    found = tuple(_resolve(root, root))
    for step in steps:
        below: list[dict[str, Any]] = []
        for schema in found:
            if isinstance(step, str):
                child = schema.get("properties", {}).get(step)
            else:
                items = schema.get("items")
                child = items[step] if isinstance(items, list) and step < len(items) else items
            if isinstance(child, dict):
                below.extend(_resolve(child, root))
        found = tuple(below)
    return found


def keys(schemas: tuple[dict[str, Any], ...]) -> tuple[str, ...]:
    """Return the keys of a mapping."""
    return tuple(key for schema in schemas for key in schema.get("properties", ()))


def choices(schemas: tuple[dict[str, Any], ...]) -> tuple[Any, ...]:
    """Return the values of a closed set."""
    return tuple(
        value for schema in schemas for value in schema.get("enum", (schema["const"],) if "const" in schema else ())
    )


def _literal(value: Any) -> str:
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def _join(words: list[str], last: str = "or") -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} {last} {words[-1]}"


def _kind(schema: dict[str, Any]) -> list[str]:
    if "enum" in schema or "const" in schema:
        return [_literal(value) for value in choices((schema,))]
    kind = schema.get("type", "")
    if kind == "array":
        items = schema.get("items")
        if isinstance(items, list):
            count = _NUMBERS.get(len(items), str(len(items)))
            return [f"a list of {count} {_PLURALS.get(items[0].get('type', ''), 'values')}"]
        return [f"a list of {_PLURALS.get((items or {}).get('type', ''), 'values')}"]
    if kind == "object" and "steps" in schema.get("properties", {}):
        return ["a schedule (`from`, `to`, `steps`)"]
    return [_TYPES.get(kind, "another value")]


def expected(schemas: tuple[dict[str, Any], ...]) -> str:
    """Return what the field accepts: ``an integer or null``."""
    words = list(dict.fromkeys(word for schema in schemas for word in _kind(schema)))
    return _join(words) if words else "another value"


def range_text(schemas: tuple[dict[str, Any], ...]) -> str | None:
    """Return the range of a number: ``at least 0 and below 1``."""
    for schema in schemas:
        words = [
            f"{word} {short(schema[key])}"
            for key, word in (
                ("minimum", "at least"),
                ("exclusiveMinimum", "above"),
                ("maximum", "at most"),
                ("exclusiveMaximum", "below"),
            )
            if key in schema
        ]
        if words:
            return _join(words, "and")
    return None


def shown(value: str, limit: int = 60) -> str:
    """Return ``value`` on one line, shortened."""
    text = "".join(char if char.isprintable() else " " for char in value[: limit + 1])
    return text if len(text) <= limit else text[: limit - 1] + "…"


def number(value: float) -> str:
    """Return a number as YAML has it, at most about twenty characters long."""
    if isinstance(value, float) and not math.isfinite(value):
        return ".nan" if math.isnan(value) else ".inf" if value > 0 else "-.inf"
    text = repr(value)
    return text if len(text) <= 24 else short(float(value))


def got(value: Any) -> str:
    """Return what stands in the file: ``the string `on```."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, (int, float)):
        return f"the number {number(value)}"
    if isinstance(value, str):
        return f"the string `{shown(value)}`" if value else "an empty string"
    if isinstance(value, (list, tuple)):
        return f"a list of {_NUMBERS.get(len(value), str(len(value)))}" if value else "an empty list"
    return "a mapping"


def subject(path: Path) -> str:
    """Return a field's name as messages have it: ``z_loss.weight``, ``primary.temperature.bounds[0]``."""
    steps = path[1:] if len(path) > 1 and path[0] == "terms" else path
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in steps).removeprefix(".")
