"""``[tool.ava-loss]`` of the nearest ``pyproject.toml``: what a project wants of linting, and says of its training.

::

    [tool.ava-loss]
    select = ["AVA2", "AVA3"]            # rules: codes, beginnings of codes, names; by default all
    ignore = ["uncompiled"]
    fail-on = "warning"                  # or "error", "info"
    preset-path = ["configs/presets"]    # relative to this file
    sequence-length = 2048               # what the rules about cost and length compare with
    batch-size = 8
    training-steps = 100_000
    dtype = "bfloat16"

    [tool.ava-loss.per-file-ignores]
    "experiments/*.yaml" = ["AVA2"]

Every key may also be written with underscores.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, get_args

from ava.errors import Severity, SourceError, did_you_mean
from ava.lint.select import selectors
from ava.load.project import TABLE, find_table
from ava.terms.advice import Dtype, Project

__all__ = ["Settings", "find_settings", "read_settings"]

SEVERITIES = get_args(Severity)


@dataclass(frozen=True, slots=True)
class Settings:
    """What a project wants of linting; ``file`` is the ``pyproject.toml`` that says so, None where there is none."""

    file: Path | None = None
    select: tuple[str, ...] | None = None
    ignore: tuple[str, ...] = ()
    fail_on: Severity | None = None
    per_file_ignores: tuple[tuple[str, tuple[str, ...]], ...] = ()
    preset_path: tuple[Path, ...] = ()
    project: Project = field(default=Project())

    def ignored_in(self, file: str) -> tuple[str, ...]:
        """Return what ``per-file-ignores`` says of ``file``, matched by its path from the project, or its name."""
        path = os.path.abspath(file)  # noqa: PTH100  (links stay as they are)
        base = os.path.abspath(self.file.parent) if self.file is not None else os.curdir  # noqa: PTH100
        relative = os.path.relpath(path, base).replace(os.sep, "/")
        found: list[str] = []
        for pattern, rules in self.per_file_ignores:
            if fnmatch(relative, pattern) or fnmatch(os.path.basename(path), pattern):  # noqa: PTH119
                found += rules
        return tuple(found)


def find_settings(start: str | os.PathLike[str]) -> Settings:
    """Return the settings of the nearest ``pyproject.toml`` with the table, in the folder ``start`` or above.

    Raises :class:`~ava.errors.SourceError` where it cannot be read, or says what it may not.
    """
    found = find_table(start)
    return Settings() if found is None else read_settings(found[1], found[0])


def read_settings(table: Mapping[str, Any], file: Path) -> Settings:
    """Return what ``table`` of ``file`` says. Raises :class:`~ava.errors.SourceError`, which names the key."""
    values: dict[str, Any] = {}
    project: dict[str, Any] = {}
    for key, value in table.items():
        name = key.replace("-", "_")
        reader = _READERS.get(name)
        if reader is None:
            known = [item.replace("_", "-") for item in _READERS]
            near = did_you_mean(key.replace("_", "-"), known) or f"; there are {', '.join(known)}"
            raise SourceError(f"{file}: {TABLE} has no key `{key}`{near}")
        if name in values or name in project:
            raise SourceError(f"{file}: {TABLE} says `{name.replace('_', '-')}` twice, with `-` and with `_`")
        read = reader(value, _Place(file, key))
        (project if name in _PROJECT else values)[name] = read
    return Settings(file=file, project=Project(**project), **values)


@dataclass(frozen=True, slots=True)
class _Place:
    file: Path
    key: str

    def __str__(self) -> str:
        return f"{self.file}: {TABLE} {self.key}"

    def wrong(self, expected: str, value: object) -> SourceError:
        return SourceError(f"{self}: expected {expected}, found {_shown(value)}")


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, str):
        return f'"{value}"'
    if isinstance(value, (int, float)):
        return f"`{value}`"
    return "a table" if isinstance(value, dict) else "a list" if isinstance(value, list) else type(value).__name__


def _texts(value: object, place: _Place) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise place.wrong("a list of texts", value)
    return tuple(value)


def _rules(value: object, place: _Place) -> tuple[str, ...]:
    return selectors(_texts(value, place), str(place))


def _ignores(value: object, place: _Place) -> tuple[tuple[str, tuple[str, ...]], ...]:
    if not isinstance(value, dict):
        raise place.wrong("a table of patterns, each with a list of rules", value)
    return tuple((pattern, _rules(item, place)) for pattern, item in value.items())


def _paths(value: object, place: _Place) -> tuple[Path, ...]:
    texts = _texts([value] if isinstance(value, str) else value, place)
    return tuple(place.file.parent / text for text in texts)


def _count(value: object, place: _Place) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise place.wrong("an integer of at least 1", value)
    return value


def _one_of(choices: Sequence[str]) -> Callable[[object, _Place], str]:
    def read(value: object, place: _Place) -> str:
        if not isinstance(value, str) or value not in choices:
            near = did_you_mean(value, choices) if isinstance(value, str) else ""
            expected = ", ".join(f'"{item}"' for item in choices)
            raise SourceError(f"{place}: expected one of {expected}, found {_shown(value)}{near}")
        return value

    return read


_PROJECT = tuple(item.name for item in fields(Project))
_READERS: dict[str, Callable[[object, _Place], Any]] = {
    "select": _rules,
    "ignore": _rules,
    "fail_on": _one_of(SEVERITIES),
    "per_file_ignores": _ignores,
    "preset_path": _paths,
    "sequence_length": _count,
    "batch_size": _count,
    "training_steps": _count,
    "dtype": _one_of(get_args(Dtype)),
}
