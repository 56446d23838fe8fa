"""Old versions of the language → the present one: a table of steps, each the edits that one file needs.

A step looks at a file of one version and yields the edits that make it one of the next; comments and layout stay.
The edit of ``version`` itself is not a step's business. There is only version 1 so far, so the table is empty.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from ava.errors import Fix
from ava.load.read import Document, read_document
from ava.load.source import Node

__all__ = ["MIGRATIONS", "Step", "Upgraded", "apply_edits", "upgrade", "version_of"]

Step = Callable[[Document], Iterable[Fix]]

MIGRATIONS: dict[int, Step] = {}
"""Version to the step that leads to the next one."""

_BREAK = re.compile(r"\r\n|\n|\r")


@dataclass(frozen=True, slots=True)
class Upgraded:
    """A text of the present version, and what was done to it: the titles of the edits."""

    text: str
    notes: tuple[str, ...]


def version_of(document: Document) -> int | None:
    """Return the version that a file says, or None where it says none, or something else than an integer."""
    node = _version_node(document)
    value = None if node is None else node.value
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _version_node(document: Document) -> Node | None:
    root = document.root.value if document.root is not None else None
    entry = root.get("version") if isinstance(root, dict) else None
    return None if entry is None else entry.node


def upgrade(document: Document, file: str, target: int, steps: Mapping[int, Step] = MIGRATIONS) -> Upgraded:
    """Return the text of ``document`` as one of version ``target``, or as near to it as ``steps`` lead."""
    notes: list[str] = []
    while (version := version_of(document)) is not None and version < target and version in steps:
        node = _version_node(document)
        assert node is not None  # it has a version
        edits = list(steps[version](document))
        notes += [edit.title for edit in edits]
        title = f"Write `version: {version + 1}`"
        edits.append(Fix(title, node.span, str(version + 1)))
        document = read_document(apply_edits(document.text, edits), file)
    return Upgraded(document.text, tuple(notes))


def apply_edits(text: str, edits: Iterable[Fix]) -> str:
    """Return ``text`` with the spans of ``edits``, which must not overlap, replaced.

    >>> from ava.errors import Span
    >>> apply_edits("a: 1\\nb: 2\\n", [Fix("", Span("x", 2, 1, 2, 2), "c"), Fix("", Span("x", 1, 4, 1, 5), "10")])
    'a: 10\\nc: 2\\n'
    """
    starts = [0, *(match.end() for match in _BREAK.finditer(text))]

    def offset(line: int, column: int) -> int:
        return min(starts[line - 1] + column - 1, len(text))

    for edit in sorted(edits, key=lambda edit: (edit.span.line, edit.span.column), reverse=True):
        span = edit.span
        text = (
            text[: offset(span.line, span.column)] + edit.replacement + text[offset(span.end_line, span.end_column) :]
        )
    return text
