"""Texts that are held against files, so that a change in one shows up in review."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

__all__ = ["Golden", "golden"]

Golden = Callable[[str, str], None]


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Golden:
    """Return a function that compares a text with ``snapshots/NAME.txt``; ``--snapshot-update`` writes it anew."""
    folder = Path(str(request.path)).parent / "snapshots"
    update = request.config.getoption("update_snapshots", default=False)

    def same(name: str, text: str) -> None:
        path = folder / f"{name}.txt"
        if update:
            folder.mkdir(exist_ok=True)
            path.write_text(text, encoding="utf-8")
        assert path.is_file(), f"run `pytest tests/{folder.parent.name} --snapshot-update`"
        assert text == path.read_text(encoding="utf-8")

    return same
