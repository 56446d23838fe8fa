"""Command lines, run in this process as the console script runs them."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from ava.cli import main
from tests.golden import golden

__all__ = ["Ran", "Run", "golden", "run", "wrong"]

ROOT = Path(__file__).resolve().parents[2]
ENVIRONMENT = ("GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY", "AVA_PRESET_PATH", "FORCE_COLOR", "NO_COLOR")


@dataclass(frozen=True)
class Ran:
    """What a command line came to."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Run = Callable[..., Ran]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Return a function that runs a command line; tests start in the checkout, 80 columns wide."""
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("COLUMNS", "80")
    for name in ENVIRONMENT:
        monkeypatch.delenv(name, raising=False)

    def call(*arguments: object) -> Ran:
        capsys.readouterr()
        code = main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        assert "Traceback" not in captured.err
        return Ran(code, captured.out, captured.err)

    return call


@pytest.fixture
def wrong(tmp_path: Path) -> Path:
    """Return a file with two mistakes."""
    path = tmp_path / "wrong.yaml"
    path.write_text("version: 1\nterms:\n  ngram_penalty:\n    windw: 50\n    size: on\n", encoding="utf-8")
    return path
