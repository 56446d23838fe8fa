"""The roster, the folder, the schema, the pages, the references and the tests name the same terms."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ava.config import ROSTER
from ava.config.schema import document_schema

ROOT = Path(__file__).parents[2]
INTERFACE = {"__init__", "advice", "base", "fields", "items", "rows", "main_loss"}
"""Files of ``ava/terms`` that are no term of the roster: the interface, and the primary loss."""
SHARED_REFERENCES = {
    "__init__", "experts", "head", "main_loss", "metrics", "naive", "positions", "rows", "samples", "temperature",
    "test_reference", "total",
}  # fmt: skip
"""Files of ``tests/reference`` that several terms share."""
TERM_TESTS = ROOT / "tests" / "terms"


def stems(folder: str, pattern: str = "*.py") -> set[str]:
    return {path.stem for path in (ROOT / folder).glob(pattern)}


def test_the_folder() -> None:
    assert stems("ava/terms") - INTERFACE == set(ROSTER)
    assert stems("ava/terms") >= INTERFACE


@pytest.mark.parametrize("source", ["generated", "shipped"])
def test_the_schema(source: str) -> None:
    shipped = json.loads((ROOT / "schemas" / "ava-loss.schema.json").read_text(encoding="utf-8"))
    schema = document_schema() if source == "generated" else shipped
    assert list(schema["definitions"]["Terms"]["properties"]) == list(ROSTER)


def test_the_pages() -> None:
    assert stems("docs/terms", "*.md") == {"index", "main_loss", *ROSTER}


def test_the_references() -> None:
    assert stems("tests/reference") - SHARED_REFERENCES == set(ROSTER)
    assert stems("tests/reference") >= SHARED_REFERENCES


@pytest.mark.skipif(not any(TERM_TESTS.glob("test_*.py")), reason="there are no tests of single terms yet")
def test_the_tests() -> None:
    tested = {name.removeprefix("test_") for name in stems("tests/terms", "test_*.py")}
    assert set(ROSTER) - tested == set()
