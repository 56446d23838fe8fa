"""``extends``: a file laid over its parents, each read once, every value keeping the place it came from."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ava.errors import Finding, Rule, Span
from ava.load import rules
from ava.load.presets import Preset, find_preset, is_preset_name, unknown_preset
from ava.load.read import Document, read_document
from ava.load.source import DICT, FileInfo, Node, merge
from ava.load.text import MAX_BYTES, shown

__all__ = ["ReadBytes", "Resolver", "display_name", "read_file"]

MAX_CHAIN = 100

ReadBytes = Callable[[str], bytes]


def read_file(path: str) -> bytes:
    """Return the bytes of the file at ``path``, at most one more than reading accepts. Raises ``OSError``."""
    with open(path, "rb") as file:
        return file.read(MAX_BYTES + 1)


def _read_parent(path: str) -> bytes:
    """Return the bytes of a parent, which a file names and nobody typed: so it is no pipe or device to wait for."""
    mode = os.stat(path).st_mode  # noqa: PTH116  (a text may be a path that no system call takes)
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise OSError(errno.EINVAL, "not a regular file")
    return read_file(path)


@dataclass
class _File:
    """A file being resolved: ``name`` is shown, ``folder`` is where its paths start, ``key`` tells it apart."""

    key: str
    name: str
    folder: str
    preset: str | None
    parents: list[str] = field(default_factory=list)


class Resolver:
    """Resolves one loaded file and all that it extends; ``files``, ``texts`` and ``findings`` then tell of them.

    ``read_bytes`` opens a parent by its path: the disk's files unless a caller has them elsewhere, as in git.
    """

    def __init__(self, preset_path: Sequence[str | os.PathLike[str]] = (), read_bytes: ReadBytes | None = None) -> None:
        self.texts: dict[str, str] = {}
        self._preset_path = preset_path
        self._read_bytes = read_bytes or _read_parent
        self._done: dict[str, tuple[str, Node]] = {}
        self._open: list[_File] = []
        self._files: dict[str, FileInfo | None] = {}
        self._findings: dict[str, list[Finding]] = {}
        self._presets: dict[str, Preset | str] = {}

    @property
    def files(self) -> tuple[FileInfo, ...]:
        """What was read, in the order in which it was met."""
        return tuple(info for info in self._files.values() if info is not None)

    @property
    def findings(self) -> tuple[Finding, ...]:
        """All findings, file by file in that order, each file's in the order of its text."""
        return tuple(
            finding for found in self._findings.values() for finding in sorted(found, key=lambda item: item.span)
        )

    def resolve(self, document: Document, name: str, folder: str, *, key: str = "", preset: str | None = None) -> Node:
        """Return the mapping of ``document`` laid over its parents, without ``extends``.

        ``key`` is the file's real path where it has one. What could not be read counts as empty.
        """
        file = _File(key or f"\0{name}", name, folder, preset)
        self._files[name] = None  # keeps the file's place before its parents
        self._findings[name] = list(document.findings)
        if name != DICT:
            self.texts[name] = document.text
        root = document.root if document.root is not None else Node({}, Span(name, 1, 1, 1, 1))
        entries = dict(root.value) if isinstance(root.value, dict) else {}
        extends = entries.pop("extends", None)
        own = Node(entries, root.span)
        version = entries["version"].node if "version" in entries else None
        merged = own
        if extends is not None:
            self._open.append(file)
            base: Node | None = None
            for reference in self._references(extends.node, file):
                parent = self._parent(reference, file)
                if parent is not None:
                    base = parent if base is None else merge(base, parent)
            self._open.pop()
            merged = own if base is None else merge(base, own)
        self._files[name] = FileInfo(
            name, root.span, version, preset, document.root is not None, tuple(dict.fromkeys(file.parents))
        )
        self._done[file.key] = (name, merged)
        return merged

    def _find(self, rule: Rule, message: str, node: Node, file: _File) -> None:
        # A text shared through an anchor is at the alias, so each finding is in the file that extends.
        self._findings[file.name].append(rule.finding(message, node.span, ("extends",)))

    def _references(self, extends: Node, file: _File) -> list[Node]:
        """Return the texts that ``extends`` names, with a finding for whatever else is there."""
        items = extends.value if isinstance(extends.value, tuple) else (extends,)
        texts = [item for item in items if isinstance(item.value, str) and item.value.strip()]
        for item in items:
            if not (isinstance(item.value, str) and item.value.strip()):
                expected = "a preset's name or a path" if items is extends.value else "text or a list of texts"
                self._find(rules.EXTENDS_TYPE, f"expected {expected}, found {_kind(item)}", item, file)
        return texts

    def _parent(self, reference: Node, file: _File) -> Node | None:
        """Return the resolved parent that ``reference`` names, or None with a finding."""
        text = str(reference.value)
        if "://" in text:
            self._find(rules.EXTENDS_URL, "an address cannot be extended; give the path of a file", reference, file)
            return None
        preset: str | None = None
        if is_preset_name(text):
            found = self._preset(text)
            if isinstance(found, str):
                self._find(rules.UNKNOWN_PRESET, found, reference, file)
                return None
            preset, path = found.name, str(found.path)
        else:
            path = str(Path(file.folder) / text)
        return self._load(path, preset, reference, file)

    def _preset(self, name: str) -> Preset | str:
        """Return the preset called ``name``, or the message that there is none."""
        if name not in self._presets:
            found = find_preset(name, self._preset_path)
            self._presets[name] = unknown_preset(name, self._preset_path) if found is None else found
        return self._presets[name]

    def _load(self, path: str, preset: str | None, reference: Node, file: _File) -> Node | None:
        name = os.path.normpath(path) if preset is None else display_name(path)
        try:
            key = os.path.realpath(path)
            if key in self._done:
                known, node = self._done[key]
                file.parents.append(known)
                return node
            chain = [opened.key for opened in self._open]
            if key in chain:
                names = [opened.name for opened in self._open[chain.index(key) :]]
                circle = " → ".join([*names, names[0]])
                self._find(rules.CIRCULAR_EXTENDS, f"this leads back to itself: {circle}", reference, file)
                return None
            if len(chain) >= MAX_CHAIN:
                self._find(rules.TOO_DEEP, f"more than {MAX_CHAIN} files extend one another", reference, file)
                return None
            data = self._read_bytes(path)
        except (OSError, ValueError) as error:
            reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
            self._find(rules.MISSING_PARENT, f"cannot read {shown(name, 200)}: {reason}", reference, file)
            return None
        file.parents.append(name)
        return self.resolve(read_document(data, name), name, str(Path(path).parent), key=key, preset=preset)


def display_name(path: str) -> str:
    """Return ``path`` as findings show it: tidied, and relative where it lies under the current folder.

    A relative path is what editors and continuous integration attach a finding to.
    """
    name = os.path.normpath(path)
    here = Path.cwd()
    return str(Path(name).relative_to(here)) if Path(name).is_relative_to(here) else name


def _kind(node: Node) -> str:
    value = node.value
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, tuple):
        return "a list"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    return "a number" if isinstance(value, (int, float)) else "nothing"
