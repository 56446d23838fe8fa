"""A Python mapping → nodes, by the same rules as a text: plain values only, and bounded."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ava.errors import Finding, Path, Rule, Span
from ava.load import rules
from ava.load.partial import MAX_DEPTH, MAX_NODES
from ava.load.resolver import bounded
from ava.load.source import DICT, Entry, Node

__all__ = ["from_mapping", "from_python", "is_unicode"]

Leaf = Callable[[str, Path], Node]
_START = Span(DICT, 1, 1, 1, 1)


class _StopError(Exception):
    """Too large or too deep: nothing more is looked at."""


class _Reader:
    def __init__(self, span: Span) -> None:
        self.span = span
        self.findings: list[Finding] = []
        self.count = 0

    def find(self, rule: Rule, message: str, path: Path) -> None:
        self.findings.append(rule.finding(message, self.span, path))

    def node(self, value: Any, path: Path, text: Leaf | None) -> Node | None:
        """Return ``value`` as a node, or None with a finding."""
        self.count += 1
        if self.count > MAX_NODES:
            self.find(rules.TOO_MANY_NODES, f"more than {MAX_NODES:,} keys and values", path)
            raise _StopError
        if isinstance(value, (Mapping, list, tuple)) and len(path) >= MAX_DEPTH:
            self.find(rules.TOO_DEEP, f"more than {MAX_DEPTH} levels of nesting", path)
            raise _StopError
        if isinstance(value, Mapping):
            return Node(self.entries(value, path, text), self.span)
        if isinstance(value, (list, tuple)):
            items = [self.node(item, (*path, index), None) for index, item in enumerate(value)]
            return Node(tuple(item for item in items if item is not None), self.span)
        if isinstance(value, str) and text is not None:
            return text(str.__str__(value), path)
        return self.scalar(value, path)

    def entries(self, value: Mapping[Any, Any], path: Path, text: Leaf | None) -> dict[str, Entry]:
        entries: dict[str, Entry] = {}
        for key, item in value.items():
            self.count += 1
            if isinstance(key, str) and is_unicode(key):
                name = str.__str__(key)
                node = self.node(item, (*path, name), text)
                if node is not None:
                    entries[name] = Entry(name, self.span, node)
            else:
                self.find(rules.KEY_TYPE, f"expected a name as the key, found {_type(key)}", path)
        return entries

    def scalar(self, value: Any, path: Path) -> Node | None:
        if value is None or isinstance(value, bool):
            return Node(value, self.span)
        if isinstance(value, int):
            return Node(bounded(int(value)), self.span)
        if isinstance(value, float):
            return Node(float(value), self.span)
        if isinstance(value, str) and is_unicode(value):
            return Node(str.__str__(value), self.span)
        self.find(rules.NOT_PLAIN, f"expected a plain value, found {_type(value)}; convert it first", path)
        return None


def is_unicode(text: str) -> bool:
    """Return whether ``text`` has no half of a surrogate pair, which UTF-8 cannot hold."""
    return text.isascii() or not any("\ud800" <= character <= "\udfff" for character in text)


def _type(value: object) -> str:
    if isinstance(value, str):
        return "text with half a surrogate pair"
    kind = type(value)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def from_python(value: Any, span: Span, text: Leaf | None = None) -> tuple[Node | None, tuple[Finding, ...]]:
    """Return ``value`` as a node at ``span``, without what in it is not plain, which becomes findings.

    The node is None where ``value`` is not plain itself, or is too large or too deep.
    ``text`` turns the texts of mappings (not those inside lists) into nodes, where that is not simply the text.
    """
    reader = _Reader(span)
    try:
        node = reader.node(value, (), text)
    except _StopError:
        return None, tuple(reader.findings)
    return node, tuple(reader.findings)


def from_mapping(value: Mapping[Any, Any]) -> tuple[Node | None, tuple[Finding, ...]]:
    """Return a configuration that came as a Python mapping: file ``<dict>``, all of it at 1:1.

    >>> from_mapping({"version": 1, "terms": {"z_loss": {"weight": object()}}})[1][0].message
    'expected a plain value, found object; convert it first'
    """
    return from_python(value, _START)
