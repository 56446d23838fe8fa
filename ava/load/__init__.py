"""Text → :class:`Source`: raw values, a position for every key and value, ``extends`` and overrides applied.

Knows no term and no field but ``extends``, ``version`` (whether each file has it) and ``description`` (for the
list of presets). In the order of the work: ``text`` · ``events`` (``pure``) · ``resolver`` · ``build`` · ``read`` (or
``mapping``) · ``presets`` · ``extends`` · ``overrides`` · ``source``; ``frame`` draws a position, ``rules``
documents the faults; ``project`` finds ``[tool.ava-loss]``.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ava.errors import SourceError
from ava.load.extends import ReadBytes, Resolver, display_name, read_file
from ava.load.frame import render_frame
from ava.load.mapping import from_mapping
from ava.load.overrides import Overrides, parse_overrides
from ava.load.presets import Preset, data_folder, find_preset, is_file, is_preset_name, list_presets, unknown_preset
from ava.load.read import Document, read_document
from ava.load.rules import RULES
from ava.load.source import DICT, OVERRIDES, Entry, FileInfo, Node, Origin, Source, merge

__all__ = [
    "DICT",
    "OVERRIDES",
    "RULES",
    "Entry",
    "FileInfo",
    "Node",
    "Origin",
    "Preset",
    "Source",
    "data_folder",
    "find_preset",
    "is_preset_name",
    "list_presets",
    "load",
    "load_text",
    "render_frame",
]

PresetPath = Sequence[str | os.PathLike[str]]


def load(
    source: str | os.PathLike[str] | Mapping[str, Any],
    *,
    overrides: Overrides | None = None,
    preset_path: PresetPath = (),
    read_bytes: ReadBytes | None = None,
) -> Source:
    """Load a path, a preset's name, or a mapping, with all that it extends; ``overrides`` lie on top.

    A text without ``/``, ``\\`` and ``.yaml`` is a preset's name, a path object always a path. What a file
    contains never raises: the faults are in ``findings``. Raises :class:`~ava.errors.SourceError` where there is
    nothing to read (no such file or preset), or an override cannot be read. ``read_bytes`` opens paths, for
    files that are not on the disk.

    >>> load({"version": 1, "terms": {"z_loss": {}}}, overrides=["terms.z_loss.weight=1e-3"]).data
    {'version': 1, 'terms': {'z_loss': {'weight': 0.001}}}
    """
    resolver = Resolver(preset_path, read_bytes)
    if isinstance(source, Mapping):
        root, findings = from_mapping(source)
        return _finish(resolver, Document("", root, findings), DICT, "", overrides=overrides)
    path, preset = _locate(source, preset_path)
    try:
        data = (read_bytes or read_file)(path) if preset is None else read_file(path)
    except (OSError, ValueError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
        raise SourceError(f"{path}: {reason}") from error
    key, folder = os.path.realpath(path), str(Path(path).parent)
    name = path if preset is None else display_name(path)
    return _finish(resolver, read_document(data, name), name, folder, key=key, preset=preset, overrides=overrides)


def load_text(
    text: str | bytes,
    name: str = "<text>",
    *,
    folder: str | os.PathLike[str] = "",
    overrides: Overrides | None = None,
    preset_path: PresetPath = (),
    read_bytes: ReadBytes | None = None,
) -> Source:
    """Load a text that is already there, as standard input is, under ``name``.

    Paths in ``extends`` start at ``folder``, by default the current one. For the rest as :func:`load`.

    >>> [str(finding) for finding in load_text("version: 1\\nversion: 1\\n", "<stdin>").findings]
    ['<stdin>:2:1: error AVA002 duplicate-key: `version` is here twice in one mapping; the first is on line 1']
    """
    return _finish(
        Resolver(preset_path, read_bytes), read_document(text, name), name, os.fspath(folder), overrides=overrides
    )


def _locate(source: str | os.PathLike[str], preset_path: PresetPath) -> tuple[str, str | None]:
    """Return the path to open, and the preset's name where ``source`` is one."""
    if not isinstance(source, (str, os.PathLike)):
        raise SourceError(f"expected a path, a preset's name or a mapping, found {type(source).__name__}")
    text = os.fspath(source)
    if not isinstance(text, str):
        text = os.fsdecode(text)
    if "\n" in text:
        raise SourceError("expected a path or a preset's name, found several lines; `load_text` takes YAML itself")
    if isinstance(source, str) and is_preset_name(text):
        preset = find_preset(text, preset_path) if text else None
        if preset is None:
            hint = f"; the file of that name is `./{text}`" if is_file(Path(text)) else ""
            raise SourceError(unknown_preset(text, preset_path) + hint)
        return str(preset.path), preset.name
    return text, None


def _finish(
    resolver: Resolver,
    document: Document,
    name: str,
    folder: str,
    *,
    key: str = "",
    preset: str | None = None,
    overrides: Overrides | None,
) -> Source:
    root = resolver.resolve(document, name, folder, key=key, preset=preset)
    source = Source(name, root, resolver.files, resolver.texts, resolver.findings)
    if overrides is None:
        return source
    node, text = parse_overrides(overrides)
    laid = merge(root, node)
    return replace(source, root=Node(laid.value, root.span), texts={**resolver.texts, OVERRIDES: text})
