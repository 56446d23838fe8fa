"""Finding presets by name, and the data folders that travel with the package."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ava.errors import SourceError, did_you_mean
from ava.load.text import MAX_BYTES, shown

__all__ = [
    "SUFFIXES",
    "Preset",
    "data_folder",
    "find_preset",
    "is_file",
    "is_preset_name",
    "list_presets",
    "unknown_preset",
]

SUFFIXES = (".yaml", ".yml")
SHIPPED = "shipped"

_PACKAGE = Path(__file__).resolve().parents[1]


@dataclass(frozen=True, slots=True)
class Preset:
    """A preset: ``origin`` is ``shipped``, or the folder it was found in; ``description`` its first line."""

    name: str
    path: Path
    origin: str
    description: str = ""


def data_folder(name: str) -> Path:
    """Return the folder of shipped files called ``name`` (``presets``, ``schemas``).

    In an installed package it is ``ava/_data/NAME``, in a checkout ``NAME`` beside ``pyproject.toml``. Raises
    :class:`~ava.errors.SourceError` where there is neither.
    """
    packaged = _PACKAGE / "_data" / name
    if packaged.is_dir():
        return packaged
    checkout = _PACKAGE.parent
    if (checkout / "pyproject.toml").is_file() and (checkout / name).is_dir():
        return checkout / name
    raise SourceError(f"the shipped folder `{name}` is missing from {_PACKAGE}; install the package again")


def is_preset_name(text: str) -> bool:
    """Return whether ``text`` names a preset rather than a path.

    >>> [is_preset_name(text) for text in ("standard", "my.preset", "./standard", "base.yaml", "C:\\\\base")]
    [True, True, False, False, False]
    """
    return not ("/" in text or "\\" in text or text.lower().endswith(SUFFIXES))


def _folders(preset_path: Sequence[str | os.PathLike[str]]) -> list[tuple[Path, str]]:
    """Return the folders to search with what to call them: given ones, ``AVA_PRESET_PATH``, then the shipped.

    A given folder has to exist; one in the environment need not.
    """
    if isinstance(preset_path, (str, bytes)) or not all(isinstance(item, (str, os.PathLike)) for item in preset_path):
        raise SourceError(f"expected a list of folders as the preset path, found {preset_path!r:.60}")
    folders = [Path(folder) for folder in preset_path]
    for folder in folders:
        if not os.path.isdir(folder):  # noqa: PTH112  (False where no system call takes the path)
            raise SourceError(f"{shown(str(folder), 200)}: the preset path is not a folder")
    variable = os.environ.get("AVA_PRESET_PATH", "")
    folders += [Path(part) for part in variable.split(os.pathsep) if part and os.path.isdir(part)]  # noqa: PTH112
    return [*((folder, str(folder)) for folder in folders), (data_folder("presets"), SHIPPED)]


def find_preset(name: str, preset_path: Sequence[str | os.PathLike[str]] = ()) -> Preset | None:
    """Return the first preset called ``name`` in ``preset_path``, ``AVA_PRESET_PATH`` and the shipped ones, or None."""
    for folder, origin in _folders(preset_path):
        for suffix in SUFFIXES:
            path = folder / (name + suffix)
            if is_file(path):
                return Preset(name, path, origin)
    return None


def list_presets(preset_path: Sequence[str | os.PathLike[str]] = ()) -> list[Preset]:
    """Return every preset that a name reaches, folder by folder in the order of search, by name in each.

    A preset that an earlier folder hides is not listed. One that cannot be read has no description.
    """
    listed: dict[str, Preset] = {}
    for folder, origin in _folders(preset_path):
        for path in _files(folder):
            if path.stem not in listed:
                listed[path.stem] = Preset(path.stem, path, origin, _description(path))
    return list(listed.values())


def unknown_preset(name: str, preset_path: Sequence[str | os.PathLike[str]] = ()) -> str:
    """Return the message for a ``name`` that no preset has, with the nearest one or else all there are."""
    names = sorted({path.stem for folder, _ in _folders(preset_path) for path in _files(folder)})
    near = did_you_mean(name[:60], names)
    known = f"; there are {', '.join(names)}" if names else "; there are none"
    return f"no preset is named `{shown(name)}`{near or known}"


def _files(folder: Path) -> list[Path]:
    """Return the presets' files of ``folder`` by name; none where it cannot be listed."""
    try:
        paths = sorted(folder.iterdir())
    except OSError:
        return []
    return [path for path in paths if path.suffix in SUFFIXES and is_file(path)]


def is_file(path: Path) -> bool:
    """Return whether there is a file at ``path``; a path that no system call accepts has none."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def _description(path: Path) -> str:
    from ava.load.read import read_document

    try:
        with path.open("rb") as file:
            root = read_document(file.read(MAX_BYTES + 1), str(path)).root
    except OSError:
        return ""
    entry = root.value.get("description") if root is not None and isinstance(root.value, dict) else None
    text = entry.node.value if entry is not None else None
    return next(iter(text.strip().splitlines()), "") if isinstance(text, str) else ""
