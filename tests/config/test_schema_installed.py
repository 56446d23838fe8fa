"""``ava-loss schema`` knows the terms of installed packages; the shipped file does not."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft7Validator  # type: ignore[import-untyped,unused-ignore]

from ava.cli import main
from ava.config import roster, validate
from ava.config.schema import document_schema, schema_text
from ava.load import load

MODULE = '''
from typing import ClassVar
from pydantic import Field
from ava.terms.base import Needs, RowTerm, Schedule, Weight

class FarTerm(RowTerm):
    """A term of another package.

    With a second paragraph.
    """
    name: ClassVar[str] = "far_term"
    formula: ClassVar[str] = "0"
    recommended: ClassVar[dict[str, tuple[float, float]]] = {"weight": (0, 1)}
    weight: Weight = Field(default=1.0, description="Factor.")
    size: int = Field(default=2, ge=1, description="Size.")
    other: Schedule | None = Field(default=None, description="Moves.")

    def needs(self):
        return Needs()

    def value(self, rows):
        return rows.nll

    def untrained(self, vocab_size):
        return 0.0
'''


@pytest.fixture
def far_term(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """Return a function that installs a package whose entry point is ``far_term``."""
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "far_terms.py").write_text(MODULE)

    def install(value: str) -> None:
        info = tmp_path / "far_terms-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: far-terms\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[ava.terms]\nfar_term = {value}\n")
        roster.external_names.cache_clear()
        roster.find_term.cache_clear()

    yield install
    roster.external_names.cache_clear()
    roster.find_term.cache_clear()


def printed(capsys: pytest.CaptureFixture[str]) -> tuple[dict[str, Any], str]:
    capsys.readouterr()
    assert main(["schema"]) == 0
    captured = capsys.readouterr()
    return json.loads(captured.out), captured.err


def test_an_installed_term_is_in_the_printed_schema(
    far_term: Callable[[str], None], capsys: pytest.CaptureFixture[str]
) -> None:
    far_term("far_terms:FarTerm")
    schema, said = printed(capsys)
    assert said == ""
    Draft7Validator.check_schema(schema)
    field = schema["definitions"]["Terms"]["properties"]["far_term"]
    assert field["description"] == "A term of another package."
    for value in ({}, {"size": 3}, {"weight": {"from": 0, "to": 1, "steps": 2}}, None, {"size": 0}, {"sise": 3}, 3):
        document = {"version": 1, "terms": {"far_term": value, "z_loss": {}}}
        errors = [item for item in validate(load(document))[1] if item.severity == "error"]
        assert Draft7Validator(schema).is_valid(document) == (not errors), value
        assert not Draft7Validator(document_schema()).is_valid(document)


def test_all_else_is_as_shipped(far_term: Callable[[str], None], capsys: pytest.CaptureFixture[str]) -> None:
    far_term("far_terms:FarTerm")
    schema, _ = printed(capsys)
    del schema["definitions"]["Terms"]["properties"]["far_term"]
    del schema["definitions"]["FarTerm"]
    assert schema == document_schema()


def test_a_broken_term_is_left_out_and_said(
    far_term: Callable[[str], None], capsys: pytest.CaptureFixture[str]
) -> None:
    far_term("far_terms:Nothing")
    schema, said = printed(capsys)
    assert schema == document_schema()
    assert said.startswith("warning: the term `far_term` (far_terms:Nothing) cannot be imported")


def test_it_goes_to_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "schema.json"
    assert main(["schema", "--output", str(target)]) == 0
    assert target.read_text(encoding="utf-8") == schema_text()
    assert capsys.readouterr().out == ""
