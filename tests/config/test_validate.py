"""Every mistake is one finding, at its place, that says what was expected and what came."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ava.config import validate
from ava.errors import Finding
from ava.load import load, load_text
from tests.config.documents import BAD, BEYOND_THE_SCHEMA, GOOD

ALL_BAD = {**BAD, **BEYOND_THE_SCHEMA}


def findings(text: str) -> tuple[Finding, ...]:
    config, found = validate(load_text(text))
    assert (config is None) == any(finding.severity == "error" for finding in found)
    return found


@pytest.mark.parametrize("name", GOOD)
def test_good_documents_have_no_findings(name: str) -> None:
    assert [finding for finding in findings(GOOD[name]) if finding.severity == "error"] == []


@pytest.mark.parametrize("name", ALL_BAD)
def test_bad_documents_have_exactly_their_findings(name: str) -> None:
    text, wanted = ALL_BAD[name]
    found = findings(text)
    assert [f"{item.span.line}:{item.span.column} {item.code}" for item in found] == [place for place, _ in wanted]
    for item, (_, part) in zip(found, wanted, strict=True):
        assert part in item.message


def test_the_span_covers_the_key_or_the_value() -> None:
    unknown, wrong = findings("version: 1\nterms:\n  ngram_penalty: {windw: 50, size: four}")
    assert (unknown.span.column, unknown.span.end_column) == (19, 24)
    assert (wrong.span.column, wrong.span.end_column) == (36, 40)


@pytest.mark.parametrize(
    ("text", "replacement"),
    [
        ("version: 1\nterms: {ngram_penalty: {windw: 50}}", "window"),
        ('version: 1\nterms: {ngram_penalty: {"windw": 50}}', "window"),
        ("version: 1\nprimary: {type: deepsek}", "deepseek"),
        ("version: 1\nterms: {foo: {}}", None),
        ("version: 1\nz_loss: {}", None),
        ("version: 1\nterms: {repetition_penalty: {}}", None),
        ("version: 1\nterms: {ngram_penalty: {windw: 50, window: 3}}", None),
    ],
)
def test_a_fix_needs_a_near_name_that_is_free(text: str, replacement: str | None) -> None:
    (finding,) = findings(text)
    assert (finding.fix.replacement if finding.fix else None) == replacement
    if finding.fix:
        line = text.splitlines()[finding.fix.span.line - 1]
        mended = line[: finding.fix.span.column - 1] + finding.fix.replacement + line[finding.fix.span.end_column - 1 :]
        assert findings(text.replace(line, mended)) == ()


def test_a_null_term_is_advice_unless_it_switches_one_off(tmp_path: Path) -> None:
    config, (advice,) = validate(load_text("version: 1\nterms:\n  z_loss:\n"))
    assert config is not None
    assert (advice.code, advice.severity, str(advice.span)) == ("AVA301", "warning", "<text>:3:3")
    (tmp_path / "base.yaml").write_text("version: 1\nterms: {z_loss: {}}")
    (tmp_path / "child.yaml").write_text("version: 1\nextends: ./base.yaml\nterms: {z_loss: null}")
    config, found = validate(load(tmp_path / "child.yaml"))
    assert config is not None
    assert config.enabled == ()
    assert found == ()


def test_a_parents_mistake_is_found_once_at_its_place(tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text("version: 1\nterms:\n  z_loss: {weight: on}")
    (tmp_path / "one.yaml").write_text("version: 1\nextends: ./base.yaml\ntargets: {shift: 3}")
    (tmp_path / "two.yaml").write_text("version: 1\nextends: [./one.yaml, ./base.yaml]\nmodel: {top_k: 0}")
    _, found = validate(load(tmp_path / "two.yaml"))
    assert [(Path(item.span.file).name, item.span.line, item.code) for item in found] == [
        ("two.yaml", 3, "AVA105"),
        ("one.yaml", 3, "AVA103"),
        ("base.yaml", 3, "AVA103"),
    ]
    assert found[0].note is None
    assert f"set in {found[2].span}, which" in (found[2].note or "")


def test_every_file_needs_a_version(tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text("terms: {z_loss: {}}")
    (tmp_path / "child.yaml").write_text("version: 1\nextends: ./base.yaml")
    _, (finding,) = validate(load(tmp_path / "child.yaml"))
    assert (finding.code, Path(finding.span.file).name) == ("AVA102", "base.yaml")


def test_an_override_says_that_it_is_one() -> None:
    source = load({"version": 1, "terms": {"z_loss": {"weight": 0.1}}}, overrides=["terms.z_loss.weight=on"])
    _, (finding,) = validate(source)
    assert str(finding.span) == "--set:1:21"
    assert finding.note == "set by `--set`, in place of the value at <dict>:1:1"


def test_reading_and_validation_come_together() -> None:
    found = findings("version: 1\nterms:\n  z_loss: {weight: on}\n  z_loss: {weight: -1}\n")
    assert {item.code for item in found} >= {"AVA002"}
    assert len(found) == 2


def test_what_cannot_be_read_is_not_reported_as_missing() -> None:
    assert [item.code for item in findings("a: [")] == ["AVA001"]


WORDS = st.sampled_from(
    ["version", "model", "terms", "primary", "temperature", "bounds", "type", "adaptive_mtp", "compile", "enabled"]
) | st.sampled_from(
    ["z_loss", "mtp_loss", "moe_balance_loss", "target_expert_usage", "weight", "number", "schedule", "list", "from"]
)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | WORDS | st.text(max_size=4)
ANYTHING = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=5))


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(WORDS, ANYTHING, max_size=6))
def test_no_document_makes_it_stumble(document: dict[str, Any]) -> None:
    source = load({**document, "version": 1})
    config, found = validate(source)
    assert (config is None) == any(finding.severity == "error" for finding in found)
    assert len(set(found)) == len(found)
    for item in found:
        assert item.message.isprintable()
        assert len(item.message) < 600


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("terms: {eos_penalty: 0.1}", "write `{weight: 0.1}`"),
        ("terms: {z_loss: true}", "write `{}` for its defaults"),
        ("terms: {z_loss: off}", "write `null` to switch the term off"),
        ("terms: {z_loss: false}", "write `null` to switch the term off"),
        ("primary: deepseek", "write `{type: deepseek}`"),
        ("compile: false", "write `{enabled: false}`"),
        ("targets: true", "write `{shift: true}`"),
        ("reduction: data_parallel", "write `{across: data_parallel}`"),
    ],
)
def test_a_value_where_a_mapping_belongs_is_told_as_one(text: str, hint: str) -> None:
    (found,) = findings(f"version: 1\n{text}\n")
    assert found.code == "AVA103"
    assert found.message.endswith(f"; {hint}")
