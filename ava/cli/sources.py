"""From what stands on the command line to loaded configurations."""

from __future__ import annotations

import glob
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from ava.errors import AvaError, Finding, SourceError

if TYPE_CHECKING:
    from ava.config import Config
    from ava.load import Preset, Source

__all__ = [
    "STDIN",
    "Checked",
    "InvalidError",
    "check_all",
    "expand",
    "load_config",
    "open_source",
    "preset_folders",
    "preset_named",
    "read_stdin",
]

STDIN = "<stdin>"
_SUFFIXES = (".yaml", ".yml")


class InvalidError(AvaError):
    """A configuration that is needed has mistakes; they are said with their frames, and the exit code is 1."""

    def __init__(self, source: Source, findings: tuple[Finding, ...]) -> None:
        self.source = source
        self.findings = findings
        super().__init__(f"{source.name}: {len(findings)} errors")


def open_source(reference: str, sets: Sequence[str] | None, preset_path: Sequence[Path] | None) -> Source:
    """Return the source that ``reference`` names: a preset, a path, or ``-``."""
    from ava.load import load, load_text

    folders = preset_folders(preset_path, reference)
    if reference == "-":
        return load_text(read_stdin(), STDIN, overrides=sets or None, preset_path=folders)
    return load(reference, overrides=sets or None, preset_path=folders)


def preset_folders(preset_path: Sequence[Path] | None, reference: str = "-") -> tuple[Path, ...]:
    """Return where a configuration's presets are looked for first: in the folders given, then in its project's.

    By default the project is that of the current folder.
    """
    from ava.load.project import folder_of, project_presets

    return (*(preset_path or ()), *project_presets(folder_of(reference)))


def load_config(reference: str, sets: Sequence[str] | None, preset_path: Sequence[Path] | None) -> Config:
    """Return a valid configuration, or raise :class:`InvalidError`."""
    from ava.config import validate

    source = open_source(reference, sets, preset_path)
    config, findings = validate(source)
    if config is None:
        raise InvalidError(source, tuple(finding for finding in findings if finding.severity == "error"))
    return config


def preset_named(name: str, preset_path: Sequence[Path] | None) -> Preset:
    """Return the preset called ``name``, or raise :class:`~ava.errors.SourceError`."""
    from ava.load import find_preset, is_preset_name
    from ava.load.presets import unknown_preset

    folders = preset_folders(preset_path)
    found = find_preset(name, folders) if name and is_preset_name(name) else None
    if found is None:
        raise SourceError(unknown_preset(name, folders))
    return found


def read_stdin() -> bytes:
    """Return standard input, at most one byte more than reading accepts."""
    from ava.load.text import MAX_BYTES

    return sys.stdin.buffer.read(MAX_BYTES + 1)


@dataclass
class Checked:
    """What several configurations hold: findings once each, the texts they point into, and what could not be read."""

    findings: list[Finding] = field(default_factory=list)
    texts: dict[str, str] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)
    count: int = 0


def check_all(paths: Sequence[str], sets: Sequence[str] | None, preset_path: Sequence[Path] | None) -> Checked:
    """Validate everything that ``paths`` name. What a parent got wrong is in the answer once."""
    from ava.config import validate
    from ava.load.overrides import parse_overrides

    parse_overrides(sets or ())  # what cannot be read is wrong for all of them
    checked, seen = Checked(), set()
    for reference in expand(paths, preset_folders(preset_path), checked.failures):
        try:
            source = open_source(reference, sets, preset_path)
        except SourceError as error:
            checked.failures.append(str(error))
            continue
        checked.count += 1
        checked.texts.update(source.texts)
        for finding in validate(source)[1]:
            span = finding.span
            key = (finding.code, _same_file(span.file), span.line, span.column, finding.path, finding.message)
            if key not in seen:
                seen.add(key)
                checked.findings.append(finding)
    return checked


def expand(paths: Iterable[str], preset_path: Sequence[Path] | None, failures: list[str]) -> Iterator[str]:
    """Yield each configuration once: presets, files, what folders hold and globs find, and ``-``.

    A folder stands for every YAML file in it and below, hidden ones apart. One that holds none, and a glob that finds
    none, is added to ``failures``.
    """
    seen: set[str] = set()
    for path in paths:
        for reference in _expanded(path, preset_path, failures):
            key = reference if _is_name(reference) else _same_file(reference)
            if key not in seen:
                seen.add(key)
                yield reference


def _same_file(path: str) -> str:
    """Return what every way to write ``path`` has in common."""
    try:
        return os.path.realpath(path)
    except (OSError, ValueError):  # no system call takes it
        return path


def _is_name(reference: str) -> bool:
    from ava.load import is_preset_name

    return is_preset_name(reference)


def _expanded(path: str, preset_path: Sequence[Path] | None, failures: list[str]) -> Iterable[str]:
    from ava.load import find_preset

    if path == "-" or (path and _is_name(path) and find_preset(path, preset_path or ())):
        return [path]
    if os.path.isdir(path):  # noqa: PTH112  (False where no system call takes the path)
        return _folder(path, failures)
    if any(sign in path for sign in "*?[") and not os.path.exists(path):  # noqa: PTH110
        return _glob(path, failures)
    return [path]


def _folder(path: str, failures: list[str]) -> list[str]:
    found: list[str] = []

    def refused(error: OSError) -> None:
        failures.append(f"{error.filename}: {error.strerror}")

    before = len(failures)
    for folder, names, files in os.walk(path, onerror=refused):
        names[:] = sorted(name for name in names if not name.startswith("."))
        found += [
            os.path.normpath(Path(folder) / name)
            for name in sorted(files)
            if name.lower().endswith(_SUFFIXES) and not name.startswith(".") and _is_readable(folder, name)
        ]
    if not found and len(failures) == before:
        failures.append(f"{path}: the folder holds no YAML file")
    return [_as_path(item) for item in found]


def _is_readable(folder: str, name: str) -> bool:
    """Return whether reading a file ends: not a named pipe, not a device. A link to nothing is said when it is read."""
    path = Path(folder) / name
    return path.is_file() or not path.exists()


def _glob(path: str, failures: list[str]) -> list[str]:
    found: list[str] = []
    for item in sorted(glob.glob(path, recursive=True)):  # noqa: PTH207  (keeps the path as it was written)
        if not _is_readable("", item):  # a folder, too
            continue
        found.append(_as_path(item))
    if not found:
        failures.append(f"{path}: the pattern matches no file")
    return found


def _as_path(path: str) -> str:
    """Return ``path`` so that it is no preset's name."""
    return path if not _is_name(path) else os.path.join(os.curdir, path)  # noqa: PTH118
