"""Where a change was made: the value's place in the new files, or of what lacks it now."""

from __future__ import annotations

from collections.abc import Iterator

from ava.errors import Path, Span
from ava.load import Source
from ava.load.source import Entry, Node

__all__ = ["place"]


def place(before: Source | None, after: Source | None, path: Path) -> Span | None:
    """Return the span to show for a change at ``path``, or None where nothing was read from a file.

    A value that is gone is shown where it should stand: in the parent that had it, if that was a parent.
    """
    if after is None:
        return None
    node = after.get(path)
    if node is not None:
        return node.span
    gone = before.get(path) if before is not None else None
    names = [info.name for info in after.files]
    if gone is not None and gone.span.file in names[1:]:
        spans = [span for span in _spans(after.root, path) if span.file == gone.span.file]
        info = after.files[names.index(gone.span.file)]
        return spans[-1] if spans else info.root_span
    return after.span(path)


def _spans(root: Node, path: Path) -> Iterator[Span]:
    """Yield the places along ``path``, those of the values that were laid over included."""
    node = root
    for step in path:
        entry: Entry | None = node.value.get(step) if isinstance(node.value, dict) and isinstance(step, str) else None
        if entry is None:
            return
        if entry.over is not None:
            yield entry.over.span
        yield entry.key_span
        node = entry.node
