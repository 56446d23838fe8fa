"""The page about linting is true, rules have pages, and nothing here imports torch."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from ava.cli import main
from ava.cli.rule import every_rule
from ava.errors import DOCS_URL
from ava.lint import RULES, lint
from ava.lint.run import Job, lint_sources
from ava.lint.settings import read_settings
from ava.load import load_text

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "lint.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.DOTALL | re.MULTILINE)


def blocks(language: str) -> list[str]:
    return [body for kind, body in BLOCK.findall(PAGE) if kind == language]


def test_the_python_on_the_page_prints_what_it_says(capsys: pytest.CaptureFixture[str]) -> None:
    example, own_rule = blocks("python")
    exec(example, {})
    assert capsys.readouterr().out == blocks("text")[0]
    names: dict[str, object] = {}
    exec(own_rule, names)
    assert names["RULE"].code == "MY001"  # type: ignore[attr-defined]


def test_the_files_on_the_page_are_good(tmp_path: Path) -> None:
    for text in blocks("yaml"):
        assert lint_sources([Job(load_text(text))]) == []
    for text in blocks("toml"):
        settings = read_settings(tomllib.loads(text)["tool"]["ava-loss"], tmp_path / "pyproject.toml")
        assert settings.project.sequence_length == 2048


def test_the_commands_on_the_page_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for folder in ("configs", "presets"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a.yaml").write_text("version: 1\n")
    (tmp_path / "loss.yaml").write_text("version: 1\n")
    commands = re.findall(r"^\$ ava-loss (.*?)(?:  .*)?$", blocks("console")[0], re.MULTILINE)
    assert len(commands) == 6
    assert [main(command.split()) for command in commands] == [0] * 6


@pytest.mark.parametrize("rule", every_rule(), ids=lambda rule: rule.code)
def test_a_rule_has_its_page(rule) -> None:
    text = (DOCS / "rules" / f"{rule.name}.md").read_text(encoding="utf-8")
    assert text.startswith(f"# {rule.name} ({rule.code})\n")
    assert rule.doc.strip() in text
    assert f"]({rule.name}.md)" in (DOCS / "rules" / "index.md").read_text(encoding="utf-8")


def test_a_finding_links_to_its_page() -> None:
    (finding,) = lint({"version": 1, "terms": {"ngram_penalty": {"weight": 0.9}}})
    assert finding.url == f"{DOCS_URL}weight-range/"
    assert {rule.code for rule in RULES} <= {rule.code for rule in every_rule()}


def test_rules_are_listed_by_code_name_and_severity(capsys: pytest.CaptureFixture[str]) -> None:
    import json

    def listed(*arguments: str) -> list[str]:
        capsys.readouterr()
        assert main(["rules", *arguments, "--format", "json"]) == 0
        return [rule["code"] for rule in json.loads(capsys.readouterr().out)]

    assert listed("AVA2", "missing-eos")[-1] == "AVA304"
    assert all(code.startswith("AVA4") for code in listed("AVA4", "--severity", "info"))
    assert len(listed()) >= len(RULES)
    assert main(["rules", "weight-rnage"]) == 2
    assert "did you mean `weight-range`?" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["lint", "standard"], ["lint", "production", "--format", "sarif"], ["rules"]])
def test_no_torch(arguments: list[str]) -> None:
    code = (
        "import sys; from ava.cli import main\n"
        f"assert main({arguments!r}) == 0; assert 'torch' not in sys.modules, 'torch was imported'"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
