"""The two sides of a comparison: files, folders, presets and revisions, matched into pairs."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ava.cli.git import Revision
from ava.errors import ArgumentValueError, SourceError

if TYPE_CHECKING:
    from ava.load import Source

__all__ = ["Side", "Sides", "against", "between"]

_SUFFIXES = (".yaml", ".yml")
_STDIN = "-"


@dataclass(frozen=True)
class Side:
    """One configuration to compare: ``label`` names it, ``name`` is its file's; ``load`` is None where there is none.

    ``where`` says in which place a file is absent: ``at main``.
    """

    label: str
    name: str
    load: Callable[[], Source] | None
    where: str = ""
    saved: Path | None = None


Sides = tuple[Side, Side]


@dataclass(frozen=True)
class _Place:
    """What an argument stands for: a path in the working tree or at a revision, a preset, or standard input."""

    text: str
    path: str
    revision: Revision | None = None
    preset: bool = False

    @property
    def kind(self) -> str | None:
        if self.preset or self.text == _STDIN:
            return "file"
        if self.revision is not None:
            return self.revision.kind(self.path)
        # os.path, since it answers False for a path that no system call takes
        return "folder" if os.path.isdir(self.path) else "file" if os.path.exists(self.path) else None  # noqa: PTH110, PTH112

    @property
    def where(self) -> str:
        return f"at {self.revision.name}" if self.revision is not None else "on the disk"

    def below(self, name: str) -> _Place:
        path = os.path.join(self.path, name)  # noqa: PTH118  (keeps `./` and what was written)
        return _Place(f"{self.revision.name}:{path}" if self.revision else path, path, self.revision)

    def files(self) -> list[str]:
        if self.revision is not None:
            return self.revision.files(self.path, _SUFFIXES)
        from ava.cli.sources import expand

        failures: list[str] = []
        found = [os.path.relpath(path, self.path) for path in expand([self.path], None, failures)]
        problems = [text for text in failures if "holds no YAML file" not in text]
        if problems:
            raise SourceError(problems[0])
        return [Path(name).as_posix() for name in found]


def between(one: str, other: str, sets: Sequence[str] | None, preset_path: Sequence[Path] | None) -> list[Sides]:
    """Return the pairs of ``ava-loss diff A B``; ``sets`` lie on the second side.

    Raises :class:`~ava.errors.SourceError` where the two cannot be compared.
    """
    places = [_place(text, preset_path) for text in (one, other)]
    if one == other == _STDIN:
        raise ArgumentValueError("standard input can be one side only; give a path or a preset's name for the other")
    return list(_pairs(places[0], places[1], sets, preset_path))


def against(
    name: str, paths: Sequence[str], sets: Sequence[str] | None, preset_path: Sequence[Path] | None
) -> list[Sides]:
    """Return the pairs of ``ava-loss diff --against REV PATH…``: each path as it was, and as it is."""
    revision = Revision.open(name)
    pairs: list[Sides] = []
    for path in paths:
        if revision.inside(path) is None:
            raise SourceError(f"{path}: it lies outside the git repository of the current folder")
        then, now = _Place(f"{name}:{path}", path, revision), _Place(path, path)
        if then.kind is None and now.kind is None and _preset(path, preset_path):
            raise SourceError(f"{path}: a preset's name has no revisions; compare two names, or give its file's path")
        pairs += _pairs(then, now, sets, preset_path)
    return pairs


def _place(text: str, preset_path: Sequence[Path] | None) -> _Place:
    if text == _STDIN:
        return _Place(text, text)
    if text and _preset(text, preset_path):
        return _Place(text, text, preset=True)
    name, colon, path = text.partition(":")
    if colon and name and not os.path.exists(text) and not (len(name) == 1 and path[:1] in "/\\"):  # noqa: PTH110
        return _at_revision(text, Revision.open(name), path)
    return _Place(text, text)


def _at_revision(text: str, revision: Revision, path: str) -> _Place:
    """Return the place of ``REV:path``: from the repository's root as git has it, ``./path`` from here.

    A path that is there from here alone is taken too.
    """
    if path.startswith("/"):
        raise SourceError(f"{text}: after `REV:` the path starts at the repository's root, without `/`")
    root, here = os.path.normpath(revision.outside(path or ".")), os.path.normpath(path or ".")
    dotted = path.startswith(("./", "../")) or path in (".", "..")
    places = [_Place(text, item, revision) for item in ((here,) if dotted else (root, here))]
    return next((place for place in places if place.kind is not None), places[0])


def _preset(text: str, preset_path: Sequence[Path] | None) -> bool:
    from ava.cli.sources import preset_folders
    from ava.load import find_preset, is_preset_name

    return is_preset_name(text) and find_preset(text, preset_folders(preset_path)) is not None


def _pairs(
    before: _Place, after: _Place, sets: Sequence[str] | None, preset_path: Sequence[Path] | None
) -> Iterator[Sides]:
    kinds = before.kind, after.kind
    if "folder" not in kinds:
        if kinds[0] is None and (kinds[1] is None or before.revision is None):
            raise _nothing(before, preset_path)
        if kinds[1] is None and after.revision is None and not _same(before, after):
            raise _nothing(after, preset_path)
        yield _side(before, (), preset_path), _side(after, sets, preset_path)
        return
    if "file" in kinds or (None in kinds and before.revision is None and after.revision is None):
        folder, other = (before, after) if kinds[0] == "folder" else (after, before)
        what = "a file" if "file" in kinds else "not there"
        raise SourceError(f"{folder.text} is a folder and {other.text} is {what}; a folder compares with a folder")
    names = sorted({*before.files(), *after.files()})
    if not names:
        raise SourceError(f"{before.text} and {after.text}: the folders hold no YAML file")
    for name in names:
        yield _side(before.below(name), (), preset_path), _side(after.below(name), sets, preset_path)


def _same(before: _Place, after: _Place) -> bool:
    return before.revision is not None and before.revision.inside(after.path) == before.revision.inside(before.path)


def _nothing(place: _Place, preset_path: Sequence[Path] | None) -> SourceError:
    from ava.cli.sources import preset_folders
    from ava.load import is_preset_name
    from ava.load.presets import unknown_preset

    if place.revision is None and is_preset_name(place.text) and not place.text.lower().endswith(".json"):
        return SourceError(unknown_preset(place.text, preset_folders(preset_path)))
    return SourceError(f"{place.text}: there is no such file {place.where}")


def _side(place: _Place, sets: Sequence[str] | None, preset_path: Sequence[Path] | None) -> Side:
    name = os.path.normpath(place.path) if not place.preset else place.path
    if place.kind is None:
        return Side(place.text, name, None, place.where)
    if place.path.lower().endswith(".json") and place.revision is None:
        return Side(place.text, name, _loader(place, sets, preset_path), place.where, Path(place.path))
    return Side(place.text, name, _loader(place, sets, preset_path), place.where)


def _loader(place: _Place, sets: Sequence[str] | None, preset_path: Sequence[Path] | None) -> Callable[[], Source]:
    def load() -> Source:
        if place.preset or place.text == _STDIN:
            from ava.cli.sources import open_source

            return open_source(place.text, sets, preset_path)
        from ava.cli.sources import preset_folders
        from ava.load import load as load_file

        reader = None if place.revision is None else place.revision.read_bytes
        path = Path(os.path.normpath(place.path))
        folders = preset_folders(preset_path, place.path if place.revision is None else "-")
        return load_file(path, overrides=sets or None, preset_path=folders, read_bytes=reader)

    return load
