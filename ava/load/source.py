"""What loading yields: every value with the place it was written at, and which file that place is in."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from ava.errors import Finding, Path, Span

__all__ = ["DICT", "OVERRIDES", "Entry", "FileInfo", "Node", "Origin", "Source", "Value", "merge", "plain"]

DICT = "<dict>"  # the file name of what came as a Python mapping
OVERRIDES = "--set"  # the file name of what came as an override

Value: TypeAlias = "bool | int | float | str | tuple[Node, ...] | dict[str, Entry] | None"


@dataclass(frozen=True, slots=True)
class Node:
    """A value and where it is written. The value of an alias is at the alias, what is inside at its anchor."""

    value: Value
    span: Span


@dataclass(frozen=True, slots=True)
class Entry:
    """One key of a mapping with its value.

    ``over`` is the value that this one took the place of: the nearest beneath it that is not null, from a
    parent, a merge key, or the file beneath an override. A null over nothing switches nothing off.
    """

    key: str
    key_span: Span
    node: Node
    over: Node | None = None


@dataclass(frozen=True, slots=True)
class FileInfo:
    """One file that was read: ``version`` and ``extends`` are as this file itself says them.

    ``preset`` is its name where it was found by name. ``readable`` is False where reading ended early, so
    that what is absent may still have been meant. ``extends`` holds the names of the parents' files.
    """

    name: str
    root_span: Span
    version: Node | None = None
    preset: str | None = None
    readable: bool = True
    extends: tuple[str, ...] = ()

    @property
    def has_version(self) -> bool:
        """Whether the file says ``version``, or could not be read far enough to know."""
        return self.version is not None or not self.readable


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a value was set: ``FILE:LINE:COLUMN``, ``preset `NAME```, or ``--set``.

    ``inherited`` is True where that is not the file that was loaded.
    """

    span: Span
    preset: str | None = None
    inherited: bool = False

    def __str__(self) -> str:
        if self.preset is not None:
            return f"preset `{self.preset}`"
        return self.span.file if self.span.file in (DICT, OVERRIDES) else str(self.span)


@dataclass(frozen=True, slots=True)
class Source:
    """A loaded configuration, parents merged in, before validation.

    ``files`` holds what was read, the loaded file first and then its parents as they were met; ``texts`` their
    texts for source frames (without a byte order mark); ``findings`` every reading fault, file by file.
    """

    name: str
    root: Node
    files: tuple[FileInfo, ...]
    texts: Mapping[str, str] = field(default_factory=dict, repr=False)
    findings: tuple[Finding, ...] = ()

    @property
    def data(self) -> dict[str, Any]:
        """The values alone, as fresh plain dicts, lists and scalars."""
        data = plain(self.root)
        return data if isinstance(data, dict) else {}

    @property
    def readable(self) -> bool:
        """Whether the loaded file itself could be read to its end."""
        return self.files[0].readable

    def get(self, path: Path) -> Node | None:
        """Return the node at ``path``, or None where there is none."""
        nodes = list(_walk(self.root, path))
        return nodes[-1][1] if len(nodes) == len(path) + 1 else None

    def entry(self, path: Path) -> Entry | None:
        """Return the entry whose value is at ``path``, or None where there is none (or a list's item)."""
        nodes = list(_walk(self.root, path))
        return nodes[-1][0] if len(nodes) == len(path) + 1 else None

    def span(self, path: Path, *, key: bool = False) -> Span:
        """Return the place of the value at ``path``, with ``key`` that of its key.

        Where the path does not exist, that of the nearest ancestor that does; so a missing key is at the
        mapping that lacks it.
        """
        nodes = list(_walk(self.root, path))
        entry, node = nodes[-1]
        return entry.key_span if key and entry is not None and len(nodes) == len(path) + 1 else node.span

    def origin(self, path: Path) -> Origin:
        """Return where the value at ``path`` was set, or its nearest existing ancestor."""
        span = self.span(path)
        preset = next((info.preset for info in self.files if info.name == span.file), None)
        return Origin(span, preset, span.file != self.files[0].name)


def _walk(root: Node, path: Path) -> Iterator[tuple[Entry | None, Node]]:
    """Yield the entry and node at each step of ``path``, as far as it exists; the first is the root."""
    yield None, root
    node = root
    for step in path:
        if isinstance(node.value, dict) and isinstance(step, str) and step in node.value:
            entry = node.value[step]
            node = entry.node
            yield entry, node
        elif isinstance(node.value, tuple) and isinstance(step, int) and 0 <= step < len(node.value):
            node = node.value[step]
            yield None, node
        else:
            return


def plain(node: Node) -> Any:
    """Return the value of ``node`` without positions. (Reading bounds the depth, so recursion is safe.)"""
    value = node.value
    if isinstance(value, dict):
        return {key: plain(entry.node) for key, entry in value.items()}
    if isinstance(value, tuple):
        return [plain(item) for item in value]
    return value


def merge(under: Node, over: Node) -> Node:
    """Return ``over`` laid on ``under``: mappings merge key by key, anything else replaces.

    What is in both is at its place in ``over``.
    """
    if not isinstance(under.value, dict) or not isinstance(over.value, dict):
        return over
    merged = dict(under.value)
    for key, entry in over.value.items():
        below = under.value.get(key)
        if below is not None:
            hidden = below.over if below.node.value is None else below.node
            entry = Entry(key, entry.key_span, merge(below.node, entry.node), hidden or entry.over)
        merged[key] = entry
    return Node(merged, over.span)
