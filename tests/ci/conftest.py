"""Temporary git repositories, apart from the machine's own settings."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.ci.checkouts import BIN, ROOT, USED, Repository


@pytest.fixture(autouse=True)
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the machine's own settings, and those of a CI that runs these tests, out."""
    for name in [name for name in os.environ if name.startswith(("GITHUB_", "GIT_", "RUNNER_", "PRE_COMMIT"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    for person in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{person}_NAME", "Test")
        monkeypatch.setenv(f"GIT_{person}_EMAIL", "test@example.com")
    monkeypatch.setenv("PRE_COMMIT_HOME", str(tmp_path / "pre-commit"))
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("PATH", f"{BIN}{os.pathsep}{os.environ['PATH']}")


@pytest.fixture
def repository(tmp_path: Path) -> Callable[[str], Repository]:
    """Return a function that makes an empty repository."""

    def make(name: str) -> Repository:
        path = tmp_path / name
        path.mkdir()
        made = Repository(path)
        made.git("init", "--quiet", "--initial-branch=main")
        return made

    return make


@pytest.fixture
def project(repository: Callable[[str], Repository]) -> Repository:
    """Return a repository that holds this project as it is in the working tree, committed."""
    made = repository("ava-loss")
    for name in USED:
        source, target = ROOT / name, made.path / name
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, target)
    made.commit()
    return made


@pytest.fixture
def pip_index(tmp_path: Path) -> None:
    """Skip the test where pip reaches no index, so that nothing can be installed."""
    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--quiet",
        "--no-deps",
        "--dest",
        tmp_path / "wheels",
        "hatchling",
    ]
    if subprocess.run(command, capture_output=True, check=False).returncode != 0:
        pytest.skip("pip reaches no index here")
