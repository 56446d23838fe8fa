"""A JSON Schema validator over the corpus: the verdicts of the validator, but for what draft 7 has no words for."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft7Validator  # type: ignore[import-untyped,unused-ignore]

from ava.cli import main
from ava.config import quick, validate
from ava.config.schema import document_schema
from ava.config.starter import starter
from ava.errors import Finding
from ava.load import data_folder, list_presets, load, load_text
from ava.load.read import read_document
from ava.load.source import plain
from tests.config import documents
from tests.corpus import files

VALIDATOR = Draft7Validator(document_schema())
DOCUMENTS: dict[str, bytes | str] = {
    **{f"good: {name}": text for name, text in {**files.GOOD, **documents.GOOD}.items()},
    **{f"bad: {name}": data for name, data in files.BAD.items()},
    **{f"bad: {name}": text for name, (text, _) in {**documents.BAD, **documents.BEYOND_THE_SCHEMA}.items()},
}
BEYOND = {
    "AVA020": "whether a preset is there",
    "AVA021": "whether a file is there",
    "AVA024": "an address in `extends`, which is text like any other",
    "AVA106": "numbers that are not finite",
    "AVA108": "the order of two bounds",
    "AVA111": "a temperature without `deepseek`",
    "AVA112": "a vocabulary larger than its padding",
    "AVA113": "tokens outside the vocabulary",
    "AVA114": "`adaptive_mtp` with another weighting, or without its term",
    "AVA115": "shares that do not sum to 1",
    "AVA116": "more experts picked than there are",
}


def is_beyond(finding: Finding) -> bool:
    """Return whether no schema could find it; `4.0` is an integer in JSON Schema, and not in the language."""
    whole = finding.code == "AVA103" and re.search(
        r"expected (an integer|`1`).* got the number \d+\.0", finding.message
    )
    return finding.code in BEYOND or bool(whole)


def raw(data: bytes | str) -> Any:
    """Return the document as an editor sees it, or None where it cannot be read."""
    document = read_document(data, "x.yaml")
    return None if document.root is None or document.findings else plain(document.root)


@pytest.mark.parametrize("name", [name for name, data in DOCUMENTS.items() if raw(data) is not None])
def test_the_schema_gives_the_validators_verdict(name: str) -> None:
    errors = [item for item in validate(load_text(DOCUMENTS[name]))[1] if item.severity == "error"]
    accepted = VALIDATOR.is_valid(raw(DOCUMENTS[name]))
    if all(is_beyond(item) for item in errors):
        assert accepted or any(item.code == "AVA106" for item in errors)  # minus infinity is below a minimum too
    else:
        assert not accepted


def test_each_exception_is_in_the_corpus() -> None:
    found = {item.code for data in DOCUMENTS.values() for item in validate(load_text(data))[1]}
    assert set(BEYOND) <= found


def test_a_part_of_a_schedule_over_a_parents_is_the_validators_business(tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text("version: 1\nterms: {z_loss: {weight: {from: 0, to: 1, steps: 5}}}\n")
    child = tmp_path / "child.yaml"
    child.write_text("version: 1\nextends: ./base.yaml\nterms: {z_loss: {weight: {steps: 9}}}\n")
    assert validate(load(child))[1] == ()
    assert not VALIDATOR.is_valid(raw(child.read_bytes()))


def keywords(schema: Any, named: bool = False) -> set[str]:
    """Return the schema's words, without the names of fields and definitions."""
    if isinstance(schema, list):
        return set().union(*map(keywords, schema)) if schema else set()
    if not isinstance(schema, dict):
        return set()
    below = [keywords(item, key in ("properties", "definitions")) for key, item in schema.items()]
    return set().union(() if named else schema, *below)


def test_the_quick_answer_knows_every_word_of_the_schema() -> None:
    told = {"$schema", "$id", "title", "description", "default", "definitions", "additionalItems", "pattern"}
    read = {"$ref", "type", "anyOf", "allOf", "enum", "const", "properties", "required", "additionalProperties"}
    numbers = {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "items", "minItems", "maxItems"}
    assert keywords(quick._schema()) <= told | read | numbers


@pytest.mark.parametrize("preset", [preset.name for preset in list_presets()])
def test_every_preset_names_the_schema_beside_it(preset: str) -> None:
    path = data_folder("presets") / f"{preset}.yaml"
    modeline = path.read_text(encoding="utf-8").splitlines()[0]
    prefix = "# yaml-language-server: $schema="
    assert modeline.startswith(prefix)
    assert (path.parent / modeline.removeprefix(prefix)).resolve() == data_folder("schemas") / "ava-loss.schema.json"


def test_what_init_writes_names_the_schema_and_passes_it(tmp_path: Path) -> None:
    target = tmp_path / "new.yaml"
    assert main(["init", str(target), "--quiet"]) == 0
    text = target.read_text(encoding="utf-8")
    assert text == starter()
    assert text.splitlines()[0] == f"# yaml-language-server: $schema={document_schema()['$id']}"
    assert list(VALIDATOR.iter_errors(raw(text))) == []
