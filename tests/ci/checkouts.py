"""What the tests of the hooks and of the action share: files, and repositories to put them in."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent
GOOD = "version: 1\nterms:\n  z_loss: {weight: 1e-4}\n"
BAD = "version: 1\nterms:\n  z_los: {}\n"
USED = (
    "ava",
    "presets",
    "schemas",
    "pyproject.toml",
    "README.md",
    ".pre-commit-hooks.yaml",
    "action.yml",
    "scripts/action",
)
"""What an installation of this project, its hooks and its action take from a checkout."""


@dataclass(frozen=True)
class Repository:
    """A git repository in a temporary folder."""

    path: Path

    def git(self, *arguments: str) -> str:
        """Run git and return what it prints."""
        made = subprocess.run(["git", *arguments], cwd=self.path, check=True, capture_output=True, text=True)
        return made.stdout.strip()

    def commit(self, **files: str | None) -> str:
        """Write files (``a__b`` is ``a/b.yaml``; None deletes), commit them, and return the revision."""
        for name, text in files.items():
            path = self.path / (name.replace("__", "/") + ".yaml")
            if text is None:
                path.unlink()
            else:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text, encoding="utf-8")
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "--message", "change")
        return self.git("rev-parse", "HEAD")
