"""``[tool.ava-loss]``: found upward, read strictly, under the command line."""

from __future__ import annotations

import pytest

from ava.errors import SourceError
from ava.lint import Project, find_settings
from ava.lint import lint as lint_source

WARNS = "version: 1\nterms:\n  ngram_penalty: {weight: 0.6, window: 64}\ncompile: {checks: full}\n"


def codes(ran) -> list[str]:
    return [finding["code"] for finding in ran.json]


def test_it_is_found_upward_and_the_nearest_with_the_table_counts(lint, write):
    write("a/b/x.yaml", WARNS)
    write("pyproject.toml", "[tool.ava-loss]\nignore = ['AVA2']\n")
    assert codes(lint("a/b/x.yaml", "--format", "json")) == ["AVA405"]
    write("a/pyproject.toml", "[project]\nname = 'another'\n[tool.ruff]\n")
    assert codes(lint("a/b/x.yaml", "--format", "json")) == ["AVA405"]
    write("a/pyproject.toml", "[tool.ava-loss]\nignore = ['full-checks']\n")
    assert codes(lint("a/b/x.yaml", "--format", "json")) == ["AVA201"]


def test_the_command_line_goes_over_it(lint, write):
    write("x.yaml", WARNS)
    write("pyproject.toml", "[tool.ava-loss]\nselect = ['AVA4']\nignore = ['AVA405']\n")
    assert codes(lint("x.yaml", "--format", "json")) == []
    assert codes(lint("x.yaml", "--format", "json", "--ignore", "AVA2")) == ["AVA405"]
    assert codes(lint("x.yaml", "--format", "json", "--select", "ALL")) == ["AVA201"]


@pytest.mark.parametrize("key", ["sequence-length", "sequence_length"])
def test_it_says_what_rules_compare_with(lint, write, key):
    write("x.yaml", "version: 1\nextends: standard\n")
    write("pyproject.toml", f"[tool.ava-loss]\n{key} = 50\n")
    assert codes(lint("x.yaml", "--format", "json")) == ["AVA401"]
    assert codes(lint("standard", "--format", "json")) == ["AVA401"]


def test_per_file_ignores(lint, write):
    for name in ("a/x.yaml", "a/b/y.yaml", "z.yaml"):
        write(name, WARNS)
    write("pyproject.toml", "[tool.ava-loss.per-file-ignores]\n'a/*' = ['AVA2']\n'z.yaml' = ['full-checks']\n")
    found = lint("a", "z.yaml", "--format", "json").json
    assert [(item["file"], item["code"]) for item in found] == [
        ("a/x.yaml", "AVA405"),
        ("a/b/y.yaml", "AVA405"),
        ("z.yaml", "AVA201"),
    ]
    write("a/x.yaml", "version: 1\nterms: {z_los: {}}\n")
    assert "AVA101" in codes(lint("a/x.yaml", "--format", "json"))


def test_a_comment_for_what_is_ignored_is_not_called_unused(lint, write):
    write("x.yaml", "version: 1\nterms: {ngram_penalty: {weight: 0.6}}  # ava: ignore[AVA201]\n")
    assert lint("x.yaml", "--fail-on", "info").code == 0
    assert codes(lint("x.yaml", "--ignore", "AVA2", "--format", "json")) == []
    write("pyproject.toml", "[tool.ava-loss.per-file-ignores]\n'*.yaml' = ['weight-range']\n")
    assert codes(lint("x.yaml", "--format", "json")) == []


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("selct = []", "has no key `selct`; did you mean `select`?"),
        ("select = 'AVA2'", 'select: expected a list of texts, found "AVA2"'),
        ("select = ['AVA2', 3]", "select: expected a list of texts"),
        ("ignore = ['wieght-range']", "did you mean `weight-range`?"),
        ("fail_on = 'warn'", 'expected one of "error", "warning", "info", found "warn"; did you mean `warning`?'),
        ("fail-on = 1", "fail-on: expected one of"),
        ("sequence_length = '2048'", 'sequence_length: expected an integer of at least 1, found "2048"'),
        ("sequence_length = true", "expected an integer of at least 1, found `true`"),
        ("sequence_length = 0", "at least 1"),
        ("batch-size = 1.5", "expected an integer"),
        ("dtype = 'bf16'", 'expected one of "float16", "bfloat16"'),
        ("per-file-ignores = ['x']", "a table of patterns"),
        ("per-file-ignores = {'*' = ['AVA9']}", "no rule is called `AVA9`"),
        ("preset-path = [1]", "a list of texts"),
        ("fail-on = 'info'\nfail_on = 'info'", "says `fail-on` twice"),
        ("select = [", "not TOML"),
    ],
)
def test_what_it_may_not_say_is_2_and_names_the_file(lint, write, table, message):
    write("x.yaml", WARNS)
    path = write("pyproject.toml", f"[tool.ava-loss]\n{table}\n")
    ran = lint("x.yaml")
    assert (ran.code, ran.out) == (2, "")
    assert str(path) in ran.err
    assert message in ran.err


def test_no_table_is_a_setting_of_its_own_kind(lint, write):
    write("x.yaml", WARNS)
    write("pyproject.toml", "[tool]\nava-loss = 3\n")
    assert "should be a table" in lint("x.yaml").err


def test_from_python(write, tmp_path):
    path = write("x.yaml", WARNS)
    write("pyproject.toml", "[tool.ava-loss]\nsequence-length = 64\ntraining-steps = 10\nignore = ['AVA405']\n")
    settings = find_settings(tmp_path)
    assert settings.file == tmp_path / "pyproject.toml"
    assert settings.project == Project(sequence_length=64, training_steps=10)
    assert [finding.code for finding in lint_source(path)] == ["AVA201", "AVA401"]
    assert [finding.code for finding in lint_source(str(path), select="AVA4", ignore=())] == ["AVA401", "AVA405"]
    assert lint_source("standard", overrides={"terms.ngram_penalty.weight": 1}, select=["AVA2"])[0].code == "AVA201"
    with pytest.raises(SourceError, match="select: no rule is called `nope`"):
        lint_source(path, select="nope")
