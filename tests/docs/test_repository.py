"""What whoever carries on finds beside the code: templates, the workflow, CONTRIBUTING, the changelog."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from ava import __version__
from tests.docs.blocks import DOCS, ROOT

WORKFLOW = ROOT / ".github" / "workflows" / "ci.yml"
FORMS = sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml"))
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
TARGETS = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))


def targets(text: str) -> set[str]:
    """Return the targets of every `make …` in a text."""
    lines = re.findall(r"(?:`|\$ |run: )make ([a-z ]+)", text)
    return {name for line in lines for name in line.split()}


def test_the_workflow_runs_what_there_is() -> None:
    text = WORKFLOW.read_text(encoding="utf-8")
    jobs: dict[str, Any] = yaml.safe_load(text)["jobs"]
    commands = "\n".join(step.get("run", "") for job in jobs.values() for step in job["steps"])
    assert targets(text) == {"check", "test", "docs", "wheel"} <= TARGETS
    assert "make check test" in commands
    for command in re.findall(r"bin/ava-loss (.*)", commands):
        from ava.cli import main

        assert main(command.split()) == 0


def test_the_versions_of_python_are_those_of_the_package() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    named = {line.rsplit(" ", 1)[1] for line in project["classifiers"] if "Python :: 3." in line}
    tested = yaml.safe_load(WORKFLOW.read_text())["jobs"]["test"]["strategy"]["matrix"]["python"]
    assert {min(named), max(named)} == set(tested)
    assert project["version"] == __version__


@pytest.mark.parametrize("path", [path for path in FORMS if path.stem != "config"], ids=lambda path: path.stem)
def test_a_form_is_one(path: Path) -> None:
    form = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert {"name", "description", "body"} <= set(form)
    names = [item["id"] for item in form["body"]]
    assert len(names) == len(set(names)) >= 3
    for item in form["body"]:
        assert item["type"] in ("textarea", "input", "dropdown", "checkboxes")
        assert item["attributes"]["label"]


def test_contributing_names_what_there_is() -> None:
    assert targets(CONTRIBUTING) <= TARGETS
    paths = set(re.findall(r"`((?:ava|tests|docs|examples|benchmarks)/[\w/.-]*)`", CONTRIBUTING))
    missing = {path for path in paths if not (ROOT / path).exists()} - {
        "ava/terms/poly_loss.py",  # what the recipe adds
        "tests/reference/poly_loss.py",
        "tests/terms/test_poly_loss.py",
    }
    assert not missing
    for target in re.findall(r"\]\(([^)#:]+)(?:#[\w-]+)?\)", CONTRIBUTING):
        assert (ROOT / target).exists(), target
    folders = {path.parent.name for path in ROOT.glob("ava/*/__init__.py")}
    assert folders <= set(re.findall(r"^\| `ava/(\w+)/`", CONTRIBUTING, re.MULTILINE))


def test_the_changelog_and_the_notes_name_the_version() -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    notes = (DOCS / "release-notes.md").read_text(encoding="utf-8")
    headings = re.findall(r"^## \[(.+?)\]", changelog, re.MULTILINE)
    assert headings[0] == "Unreleased" or headings[0] == __version__
    assert re.findall(r"^## ([\d.]+)", notes, re.MULTILINE)[0] == __version__
