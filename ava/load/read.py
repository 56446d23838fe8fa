"""Text → nodes, strictly: one mapping, every key and value with its place, every fault a finding.

Works through the parser's events with its own stack, so that no nesting can overflow Python's or libyaml's.
"""

from __future__ import annotations

from dataclasses import dataclass

from ava.errors import Finding, Span
from ava.load import rules
from ava.load.build import Builder, DoubtError, StopError
from ava.load.events import SyntaxFaultError, events, has_c_parser
from ava.load.source import Node
from ava.load.text import Lines, decode, directives, forbidden_character, misplaced_tabs, tabs_matter, too_large

__all__ = ["Document", "read_document", "read_value"]


@dataclass(frozen=True, slots=True)
class Document:
    """What a file says: ``root`` is None where reading ended early, and ``findings`` then say why."""

    text: str
    root: Node | None
    findings: tuple[Finding, ...] = ()


def read_document(data: bytes | str, file: str, *, fast: bool | None = None) -> Document:
    """Return the mapping that ``data`` holds; an empty file holds an empty one.

    ``fast`` chooses the parser: libyaml's where it is there (None), always (True), or never (False). All give the
    same document. Never raises on what ``data`` contains.

    >>> document = read_document("terms:\\n  z_loss: {weight: 1e-3}\\n", "x.yaml")
    >>> str(document.root.value["terms"].node.value["z_loss"].key_span)
    'x.yaml:2:3'
    """
    document = read_value(data, file, fast=fast)
    root = document.root
    if root is None:
        return document
    if root.value is None and root.span.line == root.span.end_line and root.span.column == root.span.end_column:
        return Document(document.text, Node({}, Span(file, 1, 1, 1, 1)), document.findings)
    if not isinstance(root.value, dict):
        kind = "a list" if isinstance(root.value, tuple) else "a single value"
        finding = rules.NOT_A_MAPPING.finding(f"expected a mapping (`key: value`), found {kind}", root.span)
        return Document(document.text, None, _ordered([*document.findings, finding]))
    return document


def read_value(data: bytes | str, file: str, *, fast: bool | None = None) -> Document:
    """Return the one value of any kind that ``data`` holds; a null of no length where it holds none."""
    large = too_large(data, file)
    if large is not None:
        return Document("", None, (large,))
    text, fault = decode(data, file) if isinstance(data, bytes) else (data.removeprefix("\ufeff"), None)
    fault = fault or forbidden_character(text, file)
    if fault is not None:
        return Document(text, None, (fault,))
    clean, findings = directives(text, file)
    fast = has_c_parser() if fast is None else fast
    builder = None
    if "\t" in text:
        builder = _build(clean.replace("\t", " "), file, fast)  # to learn where the scalars stand
        end = len(clean) if builder.reached is None else builder.reached
        clean, tabs, indents = misplaced_tabs(clean, file, builder.scalars, end)
        findings += tabs
        if indents:
            return Document(text, None, _ordered(findings))
        known = len(clean) if builder.reached is None else max((stop for _, stop, _ in builder.scalars), default=0)
        if tabs_matter(clean, builder.scalars, known):
            builder = None
    if builder is None:
        builder = _build(clean, file, fast)
    return Document(text, builder.root, _ordered([*findings, *builder.findings]))


def _ordered(findings: list[Finding]) -> tuple[Finding, ...]:
    return tuple(sorted(findings, key=lambda finding: finding.span))


def _build(text: str, file: str, fast: bool) -> Builder:
    """Return the builder after it has seen all of ``text``, or the part up to its first irrecoverable fault."""
    if not text.endswith(("\n", "\r")):
        text += "\n"  # the parsers place the end of a last line without its break differently
    lines = Lines(text, file)
    builder = Builder(lines, doubts=fast)
    try:
        for event in events(text, lines, fast=fast):
            builder.feed(event)
        builder.finish()
    except DoubtError:
        return _build(text, file, False)
    except SyntaxFaultError as fault:
        if fast and not (fault.sure and "\t" not in text):  # libyaml goes past a tab that the other refuses
            return _build(text, file, False)
        builder.fail(fault.finding, fault.index)
    except StopError:
        pass
    return builder
