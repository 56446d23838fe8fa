"""The builder: one parser event after another → nodes, with the faults that the grammar allows found on the way."""

from __future__ import annotations

import re
from typing import Any, NoReturn

from ava.errors import Finding, Path, Rule, Span
from ava.load import rules
from ava.load.partial import MAX_DEPTH, MAX_NODES, MERGE, SKIPPED, Partial, Skipped
from ava.load.resolver import resolve
from ava.load.source import Entry, Node
from ava.load.text import Lines, Scalar, shown

__all__ = ["Builder", "DoubtError", "StopError"]

_PROPERTIES = re.compile(r"(?:(?:&[-\w]+|!\S*)(?:[ \r\n]|(?<=\s)#[^\r\n]*)*)+")
_GLUED_COMMENT = re.compile(r"[|>][-+0-9]*#")
_TAG = re.compile(r"!\S*")
_TEXT_TAGS = ("!", "tag:yaml.org,2002:str")
_BETWEEN_DOCUMENTS = re.compile(r"(?:[ \r\n]|\.\.\.(?=[ \r\n])|#[^\r\n]*)*")


class StopError(Exception):
    """The file cannot be read any further; the builder has the finding."""


class DoubtError(Exception):
    """libyaml and the pure parser may differ here: the pure one is to decide."""


_Measured = tuple[Node, int, int]  # an anchored node, how many nodes it stands for, how deeply it nests


class Builder:
    """Builds the tree of ``lines.text``: feed it each event, then :meth:`finish`; ``root`` and ``findings`` stay.

    ``reached`` is where a fault ended it. With ``doubts`` it raises :class:`DoubtError` at any fault and at whatever
    libyaml is known to read differently.
    """

    def __init__(self, lines: Lines, *, doubts: bool) -> None:
        self.root: Node | None = None
        self.findings: list[Finding] = []
        self.scalars: list[Scalar] = []
        self.reached: int | None = None
        self._lines = lines
        self._text = lines.text
        self._file = lines.file
        self._last = len(lines.text.rstrip())
        self._doubts = doubts
        self._stack: list[Partial] = []
        self._anchors: dict[str, _Measured | Partial] = {}
        self._count = 0
        self._documents = 0

    def feed(self, event: Any) -> None:
        """Take the parser's next event. Raises :class:`StopError` at what cannot be recovered from."""
        name = type(event).__name__  # by name, so that this module does not import yaml
        if name == "ScalarEvent":
            self._scalar(event)
        elif name == "MappingStartEvent" or name == "SequenceStartEvent":
            self._start(event, name == "MappingStartEvent")
        elif name == "MappingEndEvent" or name == "SequenceEndEvent":
            self._end(event)
        elif name == "AliasEvent":
            self._alias(event)
        elif name == "DocumentStartEvent":
            self._documents += 1
            if self._documents > 1:
                self._second_document(event.start_mark.index)
        elif name == "DocumentEndEvent" and event.explicit:
            match = _BETWEEN_DOCUMENTS.match(self._text, event.end_mark.index)
            if match and match.end() < len(self._text):
                self._second_document(match.end())

    def finish(self) -> None:
        """Close the stream: a text without a document holds a null of no length."""
        if self.root is None:
            self.root = Node(None, Span(self._file, 1, 1, 1, 1))

    def fail(self, finding: Finding, index: int) -> None:
        """Give the tree up at ``index``."""
        self.findings.append(finding)
        self.reached = index
        self.root = None

    def _find(self, rule: Rule, message: str, span: Span) -> None:
        if self._doubts:
            raise DoubtError
        self.findings.append(rule.finding(message, span, self._path()))

    def _stop(self, rule: Rule, message: str, span: Span, index: int) -> NoReturn:
        if self._doubts:
            raise DoubtError
        self.fail(rule.finding(message, span, self._path()), index)
        raise StopError

    def _path(self) -> Path:
        steps: list[str | int] = []
        for frame in self._stack:
            if not frame.mapping:
                steps.append(len(frame.items))
            elif frame.awaits_value and isinstance(frame.key, str):
                steps.append(frame.key)
        return tuple(steps)

    def _second_document(self, index: int) -> NoReturn:
        if self._doubts:
            raise DoubtError
        span = self._lines.span(index, min(index + 3, self._last))
        message = "a second document begins here; a file holds one"
        self.findings.append(rules.SEVERAL_DOCUMENTS.finding(message, span))
        self.reached = index
        raise StopError

    def _span(self, event: Any) -> Span:
        start, end = event.start_mark, event.end_mark
        return Span(self._file, start.line + 1, start.column + 1, end.line + 1, end.column + 1)

    def _content(self, event: Any) -> int:
        """Report the tag of ``event``, and return where its content starts: past the tag and the anchor."""
        start: int = event.start_mark.index
        if event.anchor is None and event.tag is None:
            return start
        if event.tag is not None:
            first = self._text.index("!", start)
            match = _TAG.match(self._text, first)
            span = self._lines.span(first, match.end() if match else first + 1)
            self._find(rules.TAG, "tags are not supported; write the plain value", span)
        match = _PROPERTIES.match(self._text, start)
        return match.end() if match else start

    def _scalar(self, event: Any) -> None:
        value, style = event.value, event.style or ""
        start, end = event.start_mark, event.end_mark
        flow = bool(self._stack) and self._stack[-1].flow
        if self._doubts and self._differs(event, flow):
            raise DoubtError
        content = self._content(event)
        self.scalars.append((min(content, end.index), end.index, style))
        span = self._span(event)
        if style == "|" or style == ">":
            stop = len(self._text[start.index : end.index].rstrip()) + start.index
            span = self._lines.span(start.index, stop)
        if not value and not style:
            at = min(end.index, self._last)
            span = self._lines.span(at, at)
        elif content != start.index:
            span = Span(self._file, *self._lines.position(content), span.end_line, span.end_column)
        self._count_nodes(1, span, start.index)
        plain = not style if event.tag is None else event.tag not in _TEXT_TAGS
        if style == '"' and not value.isascii() and any("\ud800" <= character <= "\udfff" for character in value):
            self._stop(rules.SYNTAX_ERROR, "half a surrogate pair is no character", span, start.index)
        node = Node(resolve(value) if plain else value, span)
        if event.anchor is not None:
            self._anchors[event.anchor] = (node, 1, 0)
        self._add(node, 1, 0, merge=value == "<<" and not style and event.tag is None)

    def _differs(self, event: Any, flow: bool) -> bool:
        """Return whether the pure parser may read this scalar otherwise, or place it elsewhere."""
        if event.style == "|" or event.style == ">":  # libyaml takes `|# text` for a header with its comment
            return bool(_GLUED_COMMENT.search(self._text, event.start_mark.index, event.end_mark.index))
        if event.style or not flow:
            return False
        # In a flow collection: a `?` inside a plain scalar, and the place of an empty value.
        return "?" in event.value or (not event.value and self._text[event.start_mark.index - 1].isspace())

    def _start(self, event: Any, mapping: bool) -> None:
        mark, content = event.start_mark, self._content(event)
        start = (mark.line + 1, mark.column + 1) if content == mark.index else self._lines.position(content)
        span = Span(self._file, *start, *start)
        self._count_nodes(1, span, mark.index)
        if len(self._stack) == MAX_DEPTH:
            message = f"more than {MAX_DEPTH} levels of nesting"
            self._stop(rules.TOO_DEEP, message, span, mark.index)
        frame = Partial(start, mapping, bool(event.flow_style), event.anchor)
        self._stack.append(frame)
        if event.anchor is not None:
            self._anchors[event.anchor] = frame

    def _end(self, event: Any) -> None:
        frame = self._stack.pop()
        if frame.flow:
            frame.end = (event.end_mark.line + 1, event.end_mark.column + 1)
        span = Span(self._file, *frame.start, *frame.end)
        node = Node(frame.value(), span)
        if frame.anchor is not None and self._anchors[frame.anchor] is frame:
            self._anchors[frame.anchor] = (node, frame.size, frame.height)
        self._add(node, frame.size, frame.height)

    def _alias(self, event: Any) -> None:
        span, index = self._span(event), event.start_mark.index
        found = self._anchors.get(event.anchor)
        if found is None:
            self._stop(rules.UNDEFINED_ALIAS, f"no anchor `&{event.anchor}` stands above this alias", span, index)
        elif isinstance(found, Partial):
            self._stop(rules.RECURSIVE_ALIAS, f"`*{event.anchor}` stands inside `&{event.anchor}` itself", span, index)
        else:
            node, size, height = found
            self._count_nodes(size, span, index)
            if len(self._stack) + height > MAX_DEPTH:
                self._stop(rules.TOO_DEEP, f"more than {MAX_DEPTH} levels of nesting", span, index)
            self._add(Node(node.value, span), size, height)

    def _count_nodes(self, size: int, span: Span, index: int) -> None:
        self._count += size
        if self._count > MAX_NODES:
            message = f"more than {MAX_NODES:,} keys and values (an alias counts as all that it stands for)"
            self._stop(rules.TOO_MANY_NODES, message, span, index)

    def _add(self, node: Node, size: int, height: int, *, merge: bool = False) -> None:
        if not self._stack:
            self.root = node
            return
        frame = self._stack[-1]
        frame.size += size
        frame.height = max(frame.height, height + 1)
        frame.end = (node.span.end_line, node.span.end_column)
        if not frame.mapping:
            frame.items.append(node)
        elif not frame.awaits_value:
            frame.key, frame.key_span = self._key(frame, node, merge), node.span
            frame.awaits_value = True
        else:
            if frame.key is MERGE:
                self._merge(frame, node)
            elif isinstance(frame.key, str) and frame.key_span is not None:
                frame.entries[frame.key] = Entry(frame.key, frame.key_span, node)
            frame.awaits_value = False

    def _key(self, frame: Partial, node: Node, merge: bool) -> str | Skipped:
        key = node.value
        if merge and not frame.has_merge:
            frame.has_merge = True
            return MERGE
        if not isinstance(key, str):
            found = "a mapping" if isinstance(key, dict) else "a list" if isinstance(key, tuple) else "nothing"
            if not isinstance(key, (dict, tuple, type(None))):
                found = "a number" if not isinstance(key, bool) else f"`{str(key).lower()}`"
            self._find(rules.KEY_TYPE, f"expected a name as the key, found {found}", node.span)
            return SKIPPED
        if merge or key in frame.entries:
            first = "" if merge else f"; the first is on line {frame.entries[key].key_span.line}"
            self._find(rules.DUPLICATE_KEY, f"`{shown(key)}` is here twice in one mapping{first}", node.span)
            return SKIPPED
        return key

    def _merge(self, frame: Partial, node: Node) -> None:
        parts = node.value if isinstance(node.value, tuple) else (node,)
        for part in parts:
            if isinstance(part.value, dict):
                frame.merges.append(part)
            else:
                self._find(rules.MERGE_KEY, "`<<` takes a mapping, or a list of mappings", part.span)
