"""Changes as GitHub annotations, worst first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ava.cli.render.diff import shown
from ava.config.change import Change, worst_first
from ava.load import DICT, OVERRIDES

if TYPE_CHECKING:
    from ava.cli.compare import Comparison, Uncomparable

__all__ = ["diff_github"]

_LEVELS = {"breaking": "error", "objective": "warning"}


def diff_github(compared: Sequence[Comparison], failed: Sequence[Uncomparable] = ()) -> str:
    """Return a workflow command for each change; what could not be compared comes first."""
    lines = [f"::error title=ava-loss diff::{_data(f'{item.title}: {item.reason}')}" for item in failed]
    changes = worst_first(change for item in compared for change in item.changes)
    lines += dict.fromkeys(map(_line, changes))  # what a shared parent changed is said once
    return "".join(f"{line}\n" for line in lines)


def _line(change: Change) -> str:
    level = _LEVELS.get(change.class_, "notice")
    fields = {}
    if change.file is not None and change.file not in (DICT, OVERRIDES, "<stdin>"):
        fields = {"file": change.file, "line": str(change.line)}
    fields["title"] = f"{change.class_}: {change.name or change.file}"
    values = f"{shown(change.before, change)} → {shown(change.after, change)}: " if change.path else ""
    properties = ",".join(f"{key}={_data(value, ':,')}" for key, value in fields.items())
    return f"::{level} {properties}::{_data(values + change.consequence)}"


def _data(text: str, also: str = "") -> str:
    for sign in "%\r\n" + also:  # the percent sign first
        text = text.replace(sign, f"%{ord(sign):02X}")
    return text
