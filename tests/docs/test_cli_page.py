"""The page of the command line: complete, and its exit codes are those of the commands."""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from ava.cli import main
from ava.cli.app import COMMANDS
from tests.docs.blocks import DOCS

PAGE = (DOCS / "reference" / "cli.md").read_text(encoding="utf-8")
HEADINGS = re.findall(r"^## (.+)$", PAGE, re.MULTILINE)
BROKEN = "version: 1\nterms:\n  z_los: {}\n"


@pytest.fixture(scope="module")
def commands(generate) -> dict[str, Callable[..., object]]:
    sys.path.insert(0, str(DOCS))
    try:
        return dict(importlib.import_module("cli_pages").commands())
    finally:
        sys.path.remove(str(DOCS))


def test_every_command_has_its_section(commands: dict[str, Callable[..., object]]) -> None:
    assert {name.split()[0] for name in commands} == set(COMMANDS)
    assert [name for name in HEADINGS if name in commands] == list(commands)


def test_every_option_of_the_help_is_on_the_page(
    commands: dict[str, Callable[..., object]], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "200")
    for name in commands:
        assert main([*name.split(), "--help"]) == 0
        options = set(re.findall(r"^│ \*? *(--[a-z-]+)", capsys.readouterr().out, re.MULTILINE)) - {"--help"}
        section = PAGE.split(f"\n## {name}\n")[1].split("\n## ")[0]
        assert options <= set(re.findall(r"`(--[a-z-]+)`", section)), name
        assert "Exit code 0: " in section
        assert "```console\n$ ava-loss" in section


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("validate missing.yaml", 2),
        ("lint missing.yaml", 2),
        ("lint --diff --fail-on error fixable.yaml", 1),
        ("explain broken.yaml", 1),
        ("explain no_such_preset", 2),
        ("explain standard no_such_term", 2),
        ("dry-run no_such_preset", 2),
        ("report no_such_preset", 2),
        ("diff standard production --exit-code", 1),
        ("diff standard standard --exit-code", 0),
        ("diff standard no_such_preset", 2),
        ("presets show no_such_preset", 2),
        ("presets path no_such_preset", 2),
        ("init broken.yaml", 2),
        ("migrate old.yaml", 1),
        ("migrate missing.yaml", 2),
        ("graph broken.yaml", 1),
        ("graph no_such_preset", 2),
        ("rule no-such-rule", 2),
        ("rules no-such-rule", 2),
        ("validate --no-such-option standard", 2),
    ],
)
def test_exit_codes(line: str, code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("broken.yaml").write_text(BROKEN)
    Path("fixable.yaml").write_text(BROKEN)
    Path("old.yaml").write_text("vocab_size: 10\nuse_focal_los: true\n")
    assert main(line.split()) == code
