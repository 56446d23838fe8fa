"""The console script as a process: what it imports, and its exit codes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
WATCH = """
import sys
from ava.cli import main
code = main(sys.argv[1:])
print(" ".join(name for name in ("torch", "numpy", "rich") if name in sys.modules), file=sys.stderr)
sys.exit(code)
"""


def process(*arguments: str, code: str | None = None, stdin: bytes | None = None) -> subprocess.CompletedProcess[bytes]:
    start = ["-m", "ava"] if code is None else ["-c", code]
    environment = {**os.environ, "COLUMNS": "80"}
    return subprocess.run(
        [sys.executable, *start, *arguments], capture_output=True, cwd=ROOT, input=stdin, env=environment, check=False
    )


@pytest.mark.parametrize(
    "arguments",
    [
        ["validate", "standard"],
        ["explain", "mtp"],
        ["presets", "list"],
        ["schema"],
        ["graph", "moe"],
        ["rules"],
    ],
    ids=" ".join,
)
def test_no_command_imports_torch(arguments):
    done = process(*arguments, code=WATCH)
    assert done.returncode == 0, done.stderr
    imported = done.stderr.decode().split()
    assert "torch" not in imported
    assert "numpy" not in imported
    if arguments[0] in ("validate", "schema", "graph"):
        assert "rich" not in imported


def test_exit_codes_of_the_process(tmp_path):
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text("versoin: 1\n")
    assert process("validate", "standard").returncode == 0
    assert process("validate", str(wrong)).returncode == 1
    assert process("validate", str(tmp_path)).returncode == 1
    assert process("validate", "nothing-of-that-name").returncode == 2
    assert process("validate", "-", stdin=b"version: 1\n").returncode == 0


def test_dry_run_without_torch_says_what_to_install():
    hidden = "import sys; sys.modules['torch'] = None\n" + WATCH
    done = process("dry-run", "standard", code=hidden)
    assert done.returncode == 2
    assert "pip install 'ava-loss[torch]'" in done.stderr.decode()


def test_a_reader_that_stops_reading_is_no_traceback():
    command = f"COLUMNS=80 {sys.executable} -m ava explain standard | head -1"
    done = subprocess.run(command, shell=True, capture_output=True, cwd=ROOT, check=False)
    assert done.stdout.startswith(b"standard")
    assert b"Traceback" not in done.stderr
