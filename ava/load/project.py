"""``[tool.ava-loss]`` of the nearest ``pyproject.toml``: where it is, and the presets' folders that it names.

Every command looks for presets there. The rest of the table concerns linting, which reads it whole, in
:mod:`ava.lint.settings`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from ava.errors import SourceError
from ava.load.presets import is_preset_name

__all__ = ["TABLE", "find_table", "folder_of", "project_presets"]

TABLE = "[tool.ava-loss]"
_MENTIONED = re.compile(
    r"""tool["']?\s*\.\s*["']?ava-loss|^\s*\[\s*["']?tool["']?\s*\]|^\s*["']?tool["']?\s*=""", re.MULTILINE
)
"""Every way to write the table; the word alone is in many files, and reading TOML costs as much as reading the rest."""


def folder_of(source: str | os.PathLike[str]) -> Path:
    """Return the folder in and above which a configuration's ``pyproject.toml`` is looked for.

    For a preset's name and standard input it is the current one.
    """
    if isinstance(source, str) and (source == "-" or is_preset_name(source)):
        return Path.cwd()
    return Path(os.fspath(source)).parent


def find_table(start: str | os.PathLike[str]) -> tuple[Path, Mapping[str, Any]] | None:
    """Return the nearest ``pyproject.toml`` with the table, in the folder ``start`` or above, and the table.

    Raises :class:`~ava.errors.SourceError` where it cannot be read, or is no TOML.
    """
    folder = os.path.abspath(start)  # noqa: PTH100  (links stay as they are)
    while True:
        file = os.path.join(folder, "pyproject.toml")  # noqa: PTH118
        table = _table(file)
        if table is not None:
            return Path(file), table
        above = os.path.dirname(folder)  # noqa: PTH120
        if above == folder:
            return None
        folder = above


def project_presets(start: str | os.PathLike[str]) -> tuple[Path, ...]:
    """Return the folders that ``preset-path`` of the project around ``start`` names, as paths from its file.

    Raises :class:`~ava.errors.SourceError` where it is neither a text nor a list of texts.
    """
    found = find_table(start)
    if found is None:
        return ()
    file, table = found
    value = table.get("preset-path", table.get("preset_path", []))
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise SourceError(f"{file}: {TABLE} preset-path: expected a list of texts, found {value!r:.60}")
    return tuple(file.parent / text for text in texts)


def _table(file: str) -> Mapping[str, Any] | None:
    """Return the table of ``file``, or None where the file or the table is not there."""
    try:
        with open(file, "rb") as stream:
            text = stream.read().decode("utf-8")
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:
        raise SourceError(f"{file}: {getattr(error, 'strerror', None) or error}") from error
    return _parsed(file, text) if "ava-loss" in text and _MENTIONED.search(text) else None


@lru_cache(maxsize=16)
def _parsed(file: str, text: str) -> Mapping[str, Any] | None:
    import tomllib

    try:
        tool = tomllib.loads(text).get("tool", {})
    except tomllib.TOMLDecodeError as error:
        raise SourceError(f"{file}: not TOML: {error}") from error
    table = tool.get("ava-loss") if isinstance(tool, dict) else None
    if table is not None and not isinstance(table, dict):
        raise SourceError(f"{file}: {TABLE} should be a table")
    return table
