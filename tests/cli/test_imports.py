"""What each command imports: torch where it computes, pydantic where it builds a configuration, rich where it draws."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ava.cli.app import COMMANDS

ROOT = Path(__file__).resolve().parents[2]
COMPUTE = {"dry-run", "bench"}  # their work is torch's
CALLS: dict[str, list[str]] = {
    "validate": ["validate", "standard", "--format", "json"],
    "lint": ["lint", "standard"],
    "explain": ["explain", "mtp"],
    "report": ["report", "--help"],
    "diff": ["diff", "standard", "production"],
    "presets": ["presets", "list"],
    "init": ["init", "{tmp}/new.yaml"],
    "migrate": ["migrate", "presets/standard.yaml"],
    "schema": ["schema"],
    "graph": ["graph", "moe"],
    "rule": ["rule", "AVA101"],
    "rules": ["rules"],
}
WATCH = """
import io, sys, contextlib
from ava.cli import main
for arguments in ([sys.argv[1], "--help"], sys.argv[1:]):
    with contextlib.redirect_stdout(io.StringIO()):
        code = main(arguments)
    assert code == 0, (arguments, code)
print(*[name for name in ("torch", "numpy", "transformers", "jsonschema") if name in sys.modules])
"""
QUICK = """
import sys
from ava.cli import main
assert main(sys.argv[1:]) == 0
print(*[name for name in ("torch", "numpy", "typer", "pydantic", "rich") if name in sys.modules])
"""


def python(code: str, *arguments: str) -> list[str]:
    """Return the words of the last line that ``code`` prints in a process of its own."""
    environment = {key: value for key, value in os.environ.items() if key not in ("GITHUB_ACTIONS", "AVA_PRESET_PATH")}
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, cwd=ROOT, env=environment, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split("\n")[-2].split()


def test_every_command_is_here() -> None:
    assert set(CALLS) == set(COMMANDS) - COMPUTE


@pytest.mark.parametrize("command", CALLS)
def test_a_command_does_without_torch(command: str, tmp_path: Path) -> None:
    assert python(WATCH, *(item.format(tmp=tmp_path) for item in CALLS[command])) == []


def test_valid_files_need_neither_typer_nor_pydantic() -> None:
    assert python(QUICK, "validate", "standard", "presets/moe.yaml") == []


def test_the_layers_below_the_configuration_need_no_pydantic() -> None:
    code = "import sys, ava, ava.errors, ava.load, ava.config.quick\nprint(*['x'] * ('pydantic' in sys.modules))"
    assert python(code) == []
