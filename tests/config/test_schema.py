"""The schema and the validator give the same verdict, and the shipped file is the generated one."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft7Validator  # type: ignore[import-untyped,unused-ignore]

from ava.config import validate
from ava.config.quick import is_surely_valid
from ava.config.schema import document_schema, schema_text
from ava.load import data_folder, list_presets, load, load_text
from tests.config.documents import BAD, GOOD

VALIDATOR = Draft7Validator(document_schema())
BETWEEN_FIELDS = {"AVA108", "AVA111", "AVA112", "AVA113", "AVA114", "AVA115", "AVA116"}


def test_it_is_draft_7_and_has_not_drifted() -> None:
    Draft7Validator.check_schema(document_schema())
    shipped = data_folder("schemas") / "ava-loss.schema.json"
    assert shipped.read_text(encoding="utf-8") == schema_text(), "run `python -m ava.config.schema`"


def _described(schema: dict[str, Any], where: str) -> list[str]:
    missing = []
    for name, field in schema.get("properties", {}).items():
        if not field.get("description"):
            missing.append(f"{where}.{name}")
    return missing


def test_every_field_is_described_and_nothing_else_is_allowed() -> None:
    schema = document_schema()
    sections = {"": schema, **schema["definitions"]}
    assert [item for where, section in sections.items() for item in _described(section, where)] == []
    assert [where for where, section in sections.items() if section.get("additionalProperties") is not False] == []


@pytest.mark.parametrize("name", GOOD)
def test_good_documents_pass(name: str) -> None:
    assert list(VALIDATOR.iter_errors(load_text(GOOD[name]).data)) == []


@pytest.mark.parametrize("name", BAD)
def test_bad_documents_fail(name: str) -> None:
    assert not VALIDATOR.is_valid(load_text(BAD[name][0]).data)


@pytest.mark.parametrize("preset", [preset.name for preset in list_presets()])
def test_presets_pass(preset: str) -> None:
    assert list(VALIDATOR.iter_errors({"version": 1, **load(preset).data})) == []


NOT_INTEGRAL = st.floats(-3, 3, allow_nan=False).filter(lambda value: not value.is_integer())
JUNK = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 3),
    NOT_INTEGRAL,
    st.sampled_from(["", "on", "auto", "standard", "0.1"]),
    st.lists(st.integers(-1, 3) | NOT_INTEGRAL, max_size=3),
    st.dictionaries(st.sampled_from(["weight", "from", "to", "steps", "x"]), st.integers(-1, 2), max_size=3),
)


def _values(schema: dict[str, Any]) -> st.SearchStrategy[Any]:
    """Return values near ``schema``: mostly right, sometimes anything."""
    return st.one_of(_right(schema), _right(schema), _right(schema), JUNK)


def _right(schema: dict[str, Any]) -> st.SearchStrategy[Any]:
    if "$ref" in schema:
        return _right(document_schema()["definitions"][schema["$ref"].rsplit("/", 1)[1]])
    options = schema.get("anyOf") or schema.get("allOf")
    if options:
        return st.one_of(*map(_right, options))
    if "enum" in schema or "const" in schema:
        return st.sampled_from(schema.get("enum") or [schema["const"]])
    kind = schema["type"]
    if kind == "object":
        fields = {name: _values(field) for name, field in schema["properties"].items() if name != "extends"}
        required = {name: fields.pop(name) for name in schema.get("required", ())}
        whole = st.fixed_dictionaries(required, optional=fields)
        return st.one_of(whole, whole, whole, st.fixed_dictionaries({"x": JUNK}, optional=fields | required))
    if kind == "array":
        items = schema["items"]
        return (
            st.tuples(*map(_values, items)).map(list)
            if isinstance(items, list)
            else st.lists(_values(items), max_size=3)
        )
    simple: dict[str, st.SearchStrategy[Any]] = {
        "integer": st.integers(-1, 4),
        "number": st.integers(-1, 3) | NOT_INTEGRAL,
        "boolean": st.booleans(),
        "string": st.text(max_size=3),
        "null": st.none(),
    }
    return simple[kind]


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(_right(document_schema()))
def test_schema_and_validator_agree(document: dict[str, Any]) -> None:
    source = load(document)
    if source.findings:
        return
    _, findings = validate(source)
    errors = [item for item in findings if item.severity == "error" and item.code not in BETWEEN_FIELDS]
    assert VALIDATOR.is_valid(document) == (not errors), errors
    assert is_surely_valid(source) == all(item.severity != "error" for item in findings)
