"""Overrides: ``--set terms.z_loss.weight=0.2``, and ``overrides={"terms.z_loss.weight": 0.2}`` in Python.

The text of a value parses as YAML, by the same strict reader. All stand on one line of the file ``--set``,
which is what they would look like on a command line, so that each has its own columns.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ava.errors import Path, SourceError, Span
from ava.load.mapping import from_python, is_unicode
from ava.load.partial import MAX_DEPTH
from ava.load.read import read_value
from ava.load.source import OVERRIDES, Entry, Node, merge, plain
from ava.load.text import shown

__all__ = ["Overrides", "parse_overrides"]

Overrides = Mapping[str, Any] | Iterable[str]

_NOWHERE = Span(OVERRIDES, 1, 1, 1, 1)


def parse_overrides(overrides: Overrides) -> tuple[Node, str]:
    """Return the overrides as one mapping to lay over a file, and their line of text; a later one wins.

    Takes ``key=value`` texts, or a mapping of dotted keys or nested mappings. Raises
    :class:`~ava.errors.SourceError` on whatever cannot be read: no ``=``, an empty key, an index into a list,
    ``extends``, or a value that is not YAML.

    >>> node, text = parse_overrides(["terms.z_loss.weight=0.2"])
    >>> text, str(node.value["terms"].node.value["z_loss"].node.value["weight"].node.span)
    ('terms.z_loss.weight=0.2', '--set:1:21')
    """
    if isinstance(overrides, (str, bytes)):
        raise SourceError("overrides: expected a mapping, or a list of `KEY=VALUE` texts, found one text")
    if isinstance(overrides, Mapping):
        items = [(_key_text(key), value) for key, value in overrides.items()]
    elif not isinstance(overrides, Iterable):
        raise SourceError(f"overrides: expected a mapping, or a list of texts, found {type(overrides).__name__}")
    else:
        items = [_split(item) for item in overrides]
    root = Node({}, _NOWHERE)
    texts: list[str] = []
    column = 1
    for key, value in items:
        steps = _steps(key)
        node, line = _value(value, key)
        start = column + len(key) + 1
        end = start + len(line)
        node = _shift(node, start - 1, end)
        for depth in range(len(steps) - 1, -1, -1):
            start = column + sum(len(step) + 1 for step in steps[:depth])
            key_span = Span(OVERRIDES, 1, start, 1, start + len(steps[depth]))
            node = Node({steps[depth]: Entry(steps[depth], key_span, node)}, Span(OVERRIDES, 1, start, 1, end))
        _check(node, key)
        root = merge(root, node)
        texts.append(f"{_one_line(key)}={line}")
        column = end + 1
    return root, " ".join(texts)


def _split(item: object) -> tuple[str, str]:
    if not isinstance(item, str):
        raise SourceError(f"overrides: expected `KEY=VALUE`, found {type(item).__name__}")
    key, equals, value = item.partition("=")
    if not equals:
        raise SourceError(f"--set {shown(item, 200)}: expected KEY=VALUE, as in `terms.z_loss.weight=0.1`")
    return key.strip(), value


def _key_text(key: object) -> str:
    if not isinstance(key, str):
        raise SourceError(f"overrides: expected text as the key, found {type(key).__name__}")
    return str.__str__(key)


def _steps(key: str) -> list[str]:
    steps = key.split(".")
    name = shown(key, 200)
    if not is_unicode(key):
        raise SourceError(f"--set {name}=…: the key holds half a surrogate pair, which is no character")
    if not all(step.strip() for step in steps):
        raise SourceError(f"--set {name}=…: a part of the key is empty")
    if len(steps) > MAX_DEPTH:
        raise SourceError(f"--set {name}=…: more than {MAX_DEPTH} levels of nesting")
    index = next((step for step in steps if step.isdecimal()), None)
    if index is not None:
        raise SourceError(f"--set {name}=…: `{index}` would be a list's item; set the whole list, as in `key=[1, 2]`")
    return steps


def _one_line(text: str) -> str:
    """Return ``text`` with a space for each character that does not print, line breaks among them."""
    return text if text.isprintable() else "".join(char if char.isprintable() else " " for char in text)


def _value(value: Any, key: str) -> tuple[Node, str]:
    """Return ``value`` as a node, with the columns of its text where it is one, and its line."""
    if isinstance(value, str):
        text = str.__str__(value)
        return _parse(text, key), _one_line(text)
    node, findings = from_python(value, _NOWHERE, lambda text, path: _parse(text, _dotted(key, path)))
    if node is None or findings:
        raise SourceError(f"--set {shown(_dotted(key, findings[0].path), 200)}: {findings[0].message}")
    text = json.dumps(plain(node), ensure_ascii=False)
    return _map_spans(node, lambda _: Span(OVERRIDES, 1, 1, 1, len(text) + 1)), _one_line(text)


def _dotted(key: str, path: Path) -> str:
    return ".".join([key, *map(str, path)])


def _parse(text: str, key: str) -> Node:
    document = read_value(text, OVERRIDES)
    if document.root is None or document.findings:
        finding = document.findings[0]
        raise SourceError(f"--set {shown(key, 200)}={shown(text, 200)}: {finding.message}")
    if "\n" in text or "\r" in text:  # on one line the columns of the others mean nothing
        return _map_spans(document.root, lambda _: Span(OVERRIDES, 1, 1, 1, len(text) + 1))
    return document.root


def _shift(node: Node, columns: int, limit: int) -> Node:
    """Move ``node`` to the right; a place after the value, as of a bracket that is missing, stays before ``limit``."""

    def shifted(span: Span) -> Span:
        return Span(OVERRIDES, 1, span.column + columns, 1, min(span.end_column + columns, limit))

    return _map_spans(node, shifted)


def _map_spans(node: Node, change: Callable[[Span], Span]) -> Node:
    value = node.value
    if isinstance(value, dict):
        value = {
            key: Entry(key, change(entry.key_span), _map_spans(entry.node, change), entry.over)
            for key, entry in value.items()
        }
    elif isinstance(value, tuple):
        value = tuple(_map_spans(item, change) for item in value)
    return Node(value, change(node.span))


def _check(node: Node, key: str) -> None:
    """Refuse ``extends``, and what nests too deeply together with its key."""
    if isinstance(node.value, dict) and "extends" in node.value:
        raise SourceError("--set extends=…: `extends` cannot be overridden; name another file or preset instead")
    level, depth = [node], 0
    while level:
        depth += 1
        if depth > MAX_DEPTH + 1:
            raise SourceError(f"--set {shown(key, 200)}=…: more than {MAX_DEPTH} levels of nesting")
        level = [
            child
            for parent in level
            for child in (
                [entry.node for entry in parent.value.values()]
                if isinstance(parent.value, dict)
                else parent.value
                if isinstance(parent.value, tuple)
                else ()
            )
        ]
