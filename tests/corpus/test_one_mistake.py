"""One mistake is one finding: every field of the language, wrong in every way, alone and at a known place."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from ava.config import validate
from ava.config.schema import document_schema
from ava.errors import Finding
from ava.load import load_text

ROOT = document_schema()
VALUES = (
    "null",
    "true",
    "word",
    '"1"',
    "-1000.5",
    "2.5",
    "0",
    "-7",
    "[]",
    "[x]",
    "[1, 2, 3]",
    "{}",
    "{x: 1}",
    ".nan",
    "-.inf",
)


def _alternatives(schema: dict[str, Any]) -> Iterator[dict[str, Any]]:
    if "$ref" in schema:
        yield from _alternatives(ROOT["definitions"][schema["$ref"].rsplit("/", 1)[1]])
    for item in schema.get("anyOf", schema.get("allOf", ())):
        yield from _alternatives(item)
    yield schema


def _fields(schema: dict[str, Any], above: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for option in _alternatives(schema):
        for name, field in option.get("properties", {}).items():
            yield (*above, name)
            yield from _fields(field, (*above, name))


FIELDS = [path for path in _fields(ROOT) if path[0] not in ("version", "extends")]
NEEDED = {"weight": {"from": "0", "to": "1", "steps": "5"}}  # of a schedule


def _document(path: tuple[str, ...], key: str, value: str) -> tuple[str, int]:
    """Return a file that says ``key: value`` in the mapping at ``path`` and is right but for that; the key's column."""
    text = "".join(f"{step}: {{" for step in path)
    if path[:1] == ("primary",):
        text = text.replace("primary: {", "primary: {type: deepseek, ", 1)
    others = {name: item for name, item in NEEDED.get(path[-1] if path else "", {}).items() if name != key}
    text += "".join(f"{name}: {item}, " for name, item in others.items())
    return f"version: 1\n{text}{key}: {value}{'}' * len(path)}\n", len(text) + 1


def _errors(text: str) -> list[Finding]:
    return [item for item in validate(load_text(text))[1] if item.severity == "error"]


@pytest.mark.parametrize("path", FIELDS, ids=".".join)
def test_a_wrong_value(path: tuple[str, ...]) -> None:
    wrong = 0
    for value in VALUES:
        text, column = _document(path[:-1], path[-1], value)
        if path == ("primary", "type"):
            text, column = f"version: 1\nprimary: {{type: {value}}}\n", 11
        errors = _errors(text)
        start = column + len(path[-1]) + 2
        inside = value[:1] in "[{"
        schedule = path[-1] == "weight" and value in ("{}", "{x: 1}")  # lacks three keys
        assert len(errors) <= 1 or (value in ("[x]", "[1, 2, 3]") and len(errors) == 2) or schedule, text
        for item in errors:
            assert item.span.line == 2, text
            assert item.span.column == start or (inside and start < item.span.column < start + len(value)), (text, item)
        wrong += bool(errors)
    assert wrong >= 4


SECTIONS = sorted({path[:-1] for path in FIELDS})


@pytest.mark.parametrize("section", SECTIONS, ids=lambda section: ".".join(section) or "top")
@pytest.mark.parametrize("value", ["1", "{a: {b: c}}", "null"])
def test_an_unknown_key(section: tuple[str, ...], value: str) -> None:
    text, column = _document(section, "zzz_zzz", value)
    (error,) = _errors(text)
    assert (error.code, error.span.line, error.span.column) == ("AVA101", 2, column)
    assert error.span.end_column == column + len("zzz_zzz")
    assert error.path == (*section, "zzz_zzz")
