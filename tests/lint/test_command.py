"""``ava-loss lint``: which advice, from where, in which form, and the exit code."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

KEYS = [
    "code",
    "name",
    "severity",
    "message",
    "file",
    "line",
    "column",
    "end_line",
    "end_column",
    "path",
    "fix",
    "url",
]
WARNS = "version: 1\nterms:\n  ngram_penalty: {weight: 0.6}\n"
INFORMS = "version: 1\ncompile: {checks: full}\n"
WRONG = "version: 1\nterms:\n  ngram_penalty: {windw: 64, weight: 0.6}\ncompile: {checks: full}\n"


def codes(ran) -> list[str]:
    return [finding["code"] for finding in ran.json]


def test_json_is_a_list_of_objects_with_all_keys(lint, write):
    write("x.yaml", WARNS)
    (finding,) = lint("x.yaml", "--format", "json").json
    assert list(finding) == KEYS
    assert (finding["file"], finding["line"], finding["column"]) == ("x.yaml", 3, 27)
    assert (finding["end_line"], finding["end_column"], finding["path"]) == (3, 30, "terms.ngram_penalty.weight")
    assert finding["url"].endswith("/rules/weight-range/")
    ran = lint("standard", "--format", "json")
    assert (ran.code, ran.out) == (0, "[]\n")


@pytest.mark.parametrize(
    ("text", "failing"),
    [(WARNS, {"warning", "info"}), (INFORMS, {"info"}), (WRONG, {"error", "warning", "info"}), ("version: 1\n", set())],
)
@pytest.mark.parametrize("fail_on", ["error", "warning", "info"])
def test_the_exit_code_follows_fail_on(lint, write, text, failing, fail_on):
    write("x.yaml", text)
    assert lint("x.yaml", "--fail-on", fail_on).code == (fail_on in failing)
    assert lint("x.yaml").code == ("warning" in failing)
    write("pyproject.toml", f'[tool.ava-loss]\nfail-on = "{fail_on}"\n')
    assert lint("x.yaml").code == (fail_on in failing)
    assert lint("x.yaml", "--fail-on", "info").code == ("info" in failing)


def test_rules_are_selected_by_code_prefix_and_name(lint, write):
    write("x.yaml", WRONG)
    assert codes(lint("x.yaml", "--format", "json")) == ["AVA101", "AVA201", "AVA405"]
    assert codes(lint("x.yaml", "--format", "json", "--select", "AVA4")) == ["AVA101", "AVA405"]
    assert codes(lint("x.yaml", "--format", "json", "--select", "weight-range,full-checks")) == [
        "AVA101",
        "AVA201",
        "AVA405",
    ]
    assert codes(lint("x.yaml", "--format", "json", "--select", "AVA2", "--select", "ava4")) == [
        "AVA101",
        "AVA201",
        "AVA405",
    ]
    assert codes(lint("x.yaml", "--format", "json", "--ignore", "AVA2", "--ignore", "full-checks")) == ["AVA101"]
    assert codes(lint("x.yaml", "--format", "json", "--select", "AVA201", "--ignore", "AVA2")) == ["AVA101", "AVA201"]


@pytest.mark.parametrize("option", ["--ignore", "--select"])
def test_errors_cannot_be_left_out(lint, write, option):
    write("x.yaml", "version: 1\nterms: {z_los: {}}  # ava: ignore[AVA101]\n")
    ran = lint("x.yaml", "--format", "json", option, "AVA101" if option == "--ignore" else "AVA4")
    assert ran.code == 1
    assert "AVA101" in codes(ran)


def test_what_is_not_there_is_2(lint, write):
    write("x.yaml", WARNS)
    ran = lint("x.yaml", "--select", "weigth-range")
    assert (ran.code, ran.out) == (2, "")
    assert "--select: no rule is called `weigth-range`; did you mean `weight-range`?" in ran.err
    assert lint("x.yaml", "--ignore", "AVA9").code == 2
    assert lint("missing.yaml").code == 2
    assert lint("x.yaml", "--set", "terms").code == 2
    assert lint("x.yaml", "--fail-on", "never").code == 2
    assert lint("x.yaml", "--fix", "--diff").code == 2
    ran = lint("-", "--fix", stdin=WARNS)
    assert (ran.code, ran.out) == (2, "")
    ran = lint("missing.yaml", "x.yaml", "--format", "json")
    assert (ran.code, codes(ran)) == (2, ["AVA201"])


def test_paths_are_those_of_validate(lint, write):
    write("a/b/x.yaml", WARNS)
    write("a/y.yml", INFORMS)
    assert sorted(codes(lint("a", "--format", "json"))) == ["AVA201", "AVA405"]
    assert codes(lint("a/*.yml", "--format", "json")) == ["AVA405"]
    assert codes(lint("-", "--format", "json", stdin=WARNS)) == ["AVA201"]
    assert codes(lint("a/y.yml", "a", "a/y.yml", "--format", "json")).count("AVA405") == 1
    (tmp := Path("empty")).mkdir()
    assert lint(tmp).code == 2


def test_overrides_and_presets_of_your_own(lint, write):
    write("mine/base.yaml", WARNS)
    write("x.yaml", "version: 1\nextends: base\n")
    assert codes(lint("x.yaml", "--preset-path", "mine", "--format", "json")) == ["AVA201"]
    assert lint("x.yaml", "--preset-path", "mine", "--set", "terms.ngram_penalty.weight=0.1").code == 0
    (finding,) = lint("standard", "--set", "terms.ngram_penalty.weight=9", "--format", "json").json
    assert (finding["file"], finding["line"], finding["code"]) == ("--set", 1, "AVA201")
    write("pyproject.toml", '[tool.ava-loss]\npreset-path = ["mine"]\n')
    assert codes(lint("x.yaml", "--format", "json")) == ["AVA201"]
    assert codes(lint("base", "--format", "json")) == ["AVA201"]


def test_a_parents_mistake_is_there_and_once(lint, write):
    write("base.yaml", WARNS)
    write("x.yaml", "version: 1\nextends: ./base.yaml\n")
    write("y.yaml", "version: 1\nextends: ./base.yaml\nterms: {ngram_penalty: {weight: 0.7}}\n")
    found = lint("x.yaml", "y.yaml", "base.yaml", "--format", "json").json
    assert [(item["file"], item["line"]) for item in found] == [("base.yaml", 3), ("y.yaml", 3)]


def test_a_conflict_is_said_in_the_file_that_makes_it(lint, write):
    write("x.yaml", "version: 1\nextends: standard\nbalancing: fixed\nterms: {focal_loss: {}}\n")
    write("y.yaml", "version: 1\nextends: ./x.yaml\nprimary: {label_smoothing: 0.12}\nterms: {z_loss: {}}\n")
    write("z.yaml", "version: 1\nextends: production\nprimary: {temperature: {initial: 1.6}}\n")
    found = lint("x.yaml", "z.yaml", "--format", "json").json
    assert [(item["file"], item["line"], item["code"]) for item in found] == [
        ("x.yaml", 4, "AVA314"),
        ("z.yaml", 3, "AVA309"),
    ]
    found = lint("y.yaml", "--format", "json").json
    assert [(item["file"], item["line"], item["path"]) for item in found] == [("y.yaml", 3, "primary.label_smoothing")]


@pytest.mark.parametrize("format", ["text", "json", "markdown", "github", "sarif", "junit"])
def test_every_format(lint, write, format, tmp_path):
    write("x.yaml", WRONG)
    ran = lint("x.yaml", "--format", format)
    assert ran.code == 1
    assert all(code in ran.out for code in ("AVA101", "AVA201", "AVA405"))
    assert lint("x.yaml", "--format", format, "--output", "report").out == ""
    assert (tmp_path / "report").read_text() == ran.out
    assert lint("standard", "--format", format).code == 0


def test_sarif_holds_the_rules_of_terms(lint, write):
    write("x.yaml", "version: 1\nterms: {focal_loss: {gamma: 0}}\n")
    log = lint("x.yaml", "--format", "sarif").json
    (rule,) = log["runs"][0]["tool"]["driver"]["rules"]
    assert rule["id"] == "AVA321"
    assert "cross-entropy" in rule["help"]["text"]


def test_under_github_actions_it_annotates(lint, write, monkeypatch, tmp_path):
    write("x.yaml", WRONG)
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary.md"))
    ran = lint("x.yaml")
    assert "::error " in ran.out
    assert "::warning " in ran.out
    assert "::notice " in ran.out
    assert "AVA405" in (tmp_path / "summary.md").read_text()
    assert "::" not in lint("x.yaml", "--format", "json").out


def test_statistics(lint, write):
    write("x.yaml", WRONG)
    write("y.yaml", WRONG + "primary: {label_smoothing: 0.9}\n")
    rows = lint("x.yaml", "y.yaml", "--statistics", "--format", "json").json
    assert rows[0] == {"code": "AVA101", "name": "unknown-key", "severity": "error", "count": 2, "fixable": 2}
    assert [(row["code"], row["count"]) for row in rows[1:]] == [("AVA201", 2), ("AVA405", 2), ("AVA205", 1)]
    ran = lint("x.yaml", "--statistics")
    assert ran.code == 1
    assert "AVA201" in ran.out
    assert "No findings" not in lint("standard", "--statistics").out
    assert lint("x.yaml", "--statistics", "--format", "sarif").code == 2


def test_a_text_is_what_it_was(lint, write, golden):
    write(
        "loss.yaml",
        "version: 1\n"
        "extends: standard\n"
        "model: {vocab_size: 50257}\n"
        "primary: {label_smoothing: 0.3}\n"
        "terms:\n"
        "  ngram_penalty: {windw: 128, weight: 0.6}\n"
        "  focal_loss:\n"
        "  z_loss: {weight: 1.0}  # ava: ignore[AVA202]\n"
        "  mtp_loss: {weight: 0}  # ava: ignore[mtp]\n",
    )
    golden("text_80", lint("loss.yaml").out)


def test_json_stays_alone_on_standard_output(lint, write):
    write("x.yaml", WRONG)
    ran = lint("x.yaml", "missing.yaml", "--format", "json", "--fix")
    assert json.loads(ran.out)
    assert "Fixed 1 in x.yaml" in ran.err
    assert "missing.yaml" in ran.err
