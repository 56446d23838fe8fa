"""Pydantic's errors as plain problems: a path in the file, a kind of mistake, the value that came."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from pydantic import ValidationError

from ava.errors import Path

__all__ = ["Kind", "Problem", "problems"]

Kind = Literal["unknown", "missing", "type", "length", "choice", "range", "invalid"]

_KINDS: dict[str, Kind] = {
    "extra_forbidden": "unknown",
    "is_instance_of": "unknown",  # a name under `terms` that no term has
    "missing": "missing",
    "literal_error": "choice",
    "greater_than": "range",
    "greater_than_equal": "range",
    "less_than": "range",
    "less_than_equal": "range",
    "out_of_range": "range",
    "too_long": "length",
    "too_short": "length",
    "wrong_type": "type",
    "finite_number": "type",
}

_TAGS = ("number", "schedule", "list")  # of the alternatives of a term's field, see `ava.terms`


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake: ``path`` is that of the wrong value, of the unknown key, or of the key that is missing."""

    path: Path
    kind: Kind
    value: Any
    message: str


def problems(error: ValidationError, above: Path = ()) -> list[Problem]:
    """Return every mistake that ``error`` holds, in a section that stands at ``above``."""
    return [_problem(item, above) for item in error.errors(include_url=False) if not _is_echo(item)]


def _is_echo(item: Any) -> bool:
    """Return whether a list is called too short only because pydantic leaves out the items that are wrong."""
    return bool(item["type"] == "too_short" and len(item["input"]) > item["ctx"]["actual_length"])


def _problem(item: Any, above: Path) -> Problem:
    path = _without_tags((*above, *item["loc"]))
    name: str = item["type"]
    kind = _KINDS.get(name) or ("type" if name.endswith(("_type", "_parsing", "_from_float")) else "invalid")
    if kind == "missing" and isinstance(path[-1], int):  # too few items
        return Problem(path[:-1], "length", item["input"], item["msg"])
    return Problem(path, kind, item["input"], str(item["msg"]).removeprefix("Value error, "))


def _without_tags(path: Path) -> Path:
    """Drop the name of the alternative that pydantic took, as in a weight that is a number or a schedule."""
    if len(path) > 3 and path[0] == "terms" and path[3] in _TAGS:
        return (*path[:3], *path[4:])
    return path
