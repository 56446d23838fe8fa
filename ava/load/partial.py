"""A collection while it is built, and how much of one a file may hold."""

from __future__ import annotations

from ava.errors import Span
from ava.load.source import Entry, Node

__all__ = ["MAX_DEPTH", "MAX_NODES", "MERGE", "SKIPPED", "Partial", "Skipped"]

MAX_NODES = 10_000
MAX_DEPTH = 100


class Skipped:
    """In place of a key that is none: of a wrong one the value is read, and dropped."""


SKIPPED = Skipped()
MERGE = Skipped()


class Partial:
    """A collection whose end has not come yet."""

    __slots__ = (
        "anchor",
        "awaits_value",
        "end",
        "entries",
        "flow",
        "has_merge",
        "height",
        "items",
        "key",
        "key_span",
        "mapping",
        "merges",
        "size",
        "start",
    )

    def __init__(self, start: tuple[int, int], mapping: bool, flow: bool, anchor: str | None) -> None:
        self.start = self.end = start
        self.mapping = mapping
        self.flow = flow
        self.anchor = anchor
        self.items: list[Node] = []
        self.entries: dict[str, Entry] = {}
        self.merges: list[Node] = []
        self.has_merge = False
        self.key: str | Skipped = ""
        self.key_span: Span | None = None
        self.awaits_value = False
        self.size = 1
        self.height = 1

    def value(self) -> tuple[Node, ...] | dict[str, Entry]:
        """Return what was collected; in a mapping over its merge keys, of which the earlier wins."""
        if not self.mapping:
            return tuple(self.items)
        if not self.merges:
            return self.entries
        merged: dict[str, Entry] = {}
        for node in self.merges:
            if isinstance(node.value, dict):
                for key, entry in node.value.items():
                    merged.setdefault(key, entry)
        for key, entry in self.entries.items():
            below = merged.get(key)
            merged[key] = Entry(key, entry.key_span, entry.node, below.node if below is not None else None)
        return merged
