"""Suppression comments: where they are comments, and what they suppress."""

from __future__ import annotations

import pytest

from ava.lint.comments import suppressions
from ava.lint.run import Job, lint_sources
from ava.load import load, load_text


def found(text: str) -> list[tuple[int, str]]:
    """Return line and code of what linting finds."""
    return [(finding.span.line, finding.code) for finding in lint_sources([Job(load_text(text, "x.yaml"))])]


@pytest.mark.parametrize(
    ("text", "rules"),
    [
        ("a: 1  # ava: ignore[X]", ["X"]),
        ("a: 1 #ava:ignore[X]", ["X"]),
        ("a: 1  # ava: ignore [X, weight-range ,Y]", ["X", "weight-range", "Y"]),
        ("a: 1  # meant so  # ava: ignore[X] as measured", ["X"]),
        ("a: {b: 1}# ava: ignore[X]", ["X"]),
        ("a: |  # ava: ignore[X]\n  text", ["X"]),
        ("a: >-\n  # ava: ignore[X]\n  text\n# ava: ignore[Y]", ["Y"]),
        ("a: '# ava: ignore[X]'", []),
        ('a: "x # ava: ignore[X]"', []),
        ('a: "x\n  # ava: ignore[X]"', []),
        ("a: b# ava: ignore[X]", []),
        ("a: 1  # ava: ignores[X]", []),
        ("a: 1  # ava: ignore", [None]),
        ("a: 1  # ava: ignore[]", [None]),
        ("a: 1\t# ava: ignore[X]", ["X"]),
        ("%YAML 1.2\n---\na: 1  # ava: ignore[X]", ["X"]),
        ("a: [1, # ava: ignore[X]\n  2]", ["X"]),
        ("a: &x 1  # ava: ignore[X]\nb: *x  # ava: ignore[Y]", ["X", "Y"]),
    ],
)
@pytest.mark.parametrize("ending", ["\n", "\r\n"])
def test_what_is_a_comment(text: str, rules: list[str | None], ending: str) -> None:
    assert [item.rule for item in suppressions(text.replace("\n", ending), "x.yaml")] == rules


def test_a_span_is_that_of_the_rule() -> None:
    (one, two) = suppressions("a: é  # ava: ignore[AVA2, x-y]\n", "x.yaml")
    assert (str(one.span), one.span.end_column) == ("x.yaml:1:21", 25)
    assert (str(two.span), two.span.end_column) == ("x.yaml:1:27", 30)


@pytest.mark.parametrize("rule", ["AVA201", "AVA2", "ava201", "weight-range", "AVA4, AVA201"])
def test_a_code_its_beginning_or_a_name(rule: str) -> None:
    text = f"version: 1\nterms:\n  ngram_penalty: {{weight: 0.6}}  # ava: ignore[{rule}]\n"
    assert found(text) == ([(3, "AVA390")] if "," in rule else [])


def test_on_the_line_of_the_key_the_value_or_its_end() -> None:
    head = "version: 1\nterms:\n  z_loss:\n"
    for body in (
        "    weight:  # ava: ignore[AVA303]\n      from: 1e-4\n      to: 1e-4\n      steps: 5\n",
        "    weight: {from: 1e-4, to: 1e-4,\n             steps: 5}  # ava: ignore[AVA303]\n",
    ):
        assert found(head + body) == []
    assert found(head + "    # ava: ignore[AVA201]\n    weight: 1e-2\n") == [(4, "AVA390"), (5, "AVA201")]


def test_a_comment_in_a_parent_suppresses_there_and_is_used_by_whoever_builds_on_it(tmp_path) -> None:
    base, child = tmp_path / "base.yaml", tmp_path / "child.yaml"
    base.write_text("version: 1\nprimary: {label_smoothing: 0.1}  # ava: ignore[AVA314]\n")
    child.write_text("version: 1\nextends: ./base.yaml\nterms: {focal_loss: {weight: 0.9}}\n")
    assert [item.code for item in lint_sources([Job(load(child))])] == ["AVA314", "AVA201"]
    base.write_text("version: 1\nterms: {focal_loss: {weight: 0.9}}  # ava: ignore[AVA201]\n")
    child.write_text("version: 1\nextends: ./base.yaml\n")
    assert lint_sources([Job(load(base)), Job(load(child))]) == []
    assert lint_sources([Job(load(child))]) == []


def test_with_an_override_no_comment_is_called_unused() -> None:
    text = "version: 1\nterms: {ngram_penalty: {weight: 0.6}}  # ava: ignore[AVA201]\n"
    source = load_text(text, "x.yaml", overrides={"terms.ngram_penalty.weight": 0.1})
    assert lint_sources([Job(source)]) == []


def test_in_a_file_with_errors_no_comment_is_called_unused() -> None:
    text = "version: 1\nterms: {ngram_penalty: {weigth: 0.6}}  # ava: ignore[AVA201]\n"
    assert found(text) == [(2, "AVA101")]
