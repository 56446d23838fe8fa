"""What ``docs/ci.md`` and ``docs/migrate.md`` show works, and their tables are complete."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from ava.cli import main
from ava.cli.formats import FindingsFormat
from ava.losses.migrate import migrate
from tests.ci.checkouts import BAD, ROOT

BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.DOTALL | re.MULTILINE)
CI = (ROOT / "docs" / "ci.md").read_text(encoding="utf-8")
PRE_COMMIT, WORKFLOW, SCANNING, GITLAB = (yaml.safe_load(body) for _, body in BLOCK.findall(CI))
ACTION = yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))


def rows(section: str) -> list[str]:
    """Return the first cells of the tables in a section."""
    (body,) = re.findall(rf"^## {section}\n(.*?)(?=^## |\Z)", CI, re.DOTALL | re.MULTILINE)
    return re.findall(r"^\| `([^|]+)` \|", body, re.MULTILINE)


def test_the_tables_are_complete():
    assert rows("Formats") == [str(format) for format in ("text", "json", "github", "sarif", "junit", "markdown")]
    assert set(rows("Formats")) == {str(format) for format in FindingsFormat}
    assert rows("GitHub") == list(ACTION["inputs"])
    hooks = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text(encoding="utf-8"))
    assert {name for row in rows("pre-commit") for name in row.split("`, `")} == {hook["id"] for hook in hooks}


def test_the_hooks_configuration_is_one(tmp_path: Path):
    path = tmp_path / ".pre-commit-config.yaml"
    path.write_text(yaml.safe_dump(PRE_COMMIT))
    subprocess.run([sys.executable, "-m", "pre_commit", "validate-config", path], check=True)


def test_the_workflow_gives_inputs_that_there_are():
    (step,) = [step for step in WORKFLOW["jobs"]["loss"]["steps"] if "ava-loss" in step["uses"]]
    assert set(step["with"]) <= set(ACTION["inputs"])
    needed = {name for name, item in ACTION["inputs"].items() if item.get("required")}
    assert needed <= set(step["with"])
    assert WORKFLOW["jobs"]["loss"]["permissions"]["pull-requests"] == "write"


@pytest.mark.parametrize(
    ("command", "file"),
    [
        (SCANNING["steps"][0]["run"], SCANNING["steps"][1]["with"]["sarif_file"]),
        (GITLAB["loss"]["script"][1], GITLAB["loss"]["artifacts"]["reports"]["junit"]),
    ],
)
def test_the_commands_write_the_files_that_are_handed_on(
    command: str, file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "configs" / "loss").mkdir(parents=True)
    (tmp_path / "configs" / "loss" / "bad.yaml").write_text(BAD)
    program, *arguments = shlex.split(command)
    assert (program, main(arguments)) == ("ava-loss", 1)
    assert "AVA101" in (tmp_path / file).read_text()
    assert capsys.readouterr().out == ""


def test_the_migrated_file_is_the_one_shown():
    old, new = BLOCK.findall((ROOT / "docs" / "migrate.md").read_text(encoding="utf-8"))
    assert (old[0], new[0]) == ("json", "yaml")
    assert migrate(old[1], "old.json").text == new[1]
