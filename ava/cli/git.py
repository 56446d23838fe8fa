"""Files as they are at a revision, read from git's objects; the working tree is never touched."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath

from ava.errors import SourceError

__all__ = ["Revision"]

_LINK, _FOLDER = "120000", "040000"
_MAX_LINKS = 20


@dataclass(frozen=True)
class Revision:
    """A revision of the repository that holds the current folder.

    Paths are those of the working tree, absolute or relative to the current folder. :meth:`open` raises
    :class:`~ava.errors.SourceError` where there is no repository or no such revision.
    """

    name: str
    root: Path
    tree: str

    @classmethod
    def open(cls, name: str) -> Revision:
        """Return the revision called ``name``: a branch, a tag, a commit, ``HEAD~2``."""
        top = _git(Path.cwd(), "rev-parse", "--show-toplevel")
        if top.returncode:
            raise SourceError(f"{name}: the current folder is not in a git repository's working tree")
        root = Path(os.fsdecode(top.stdout.removesuffix(b"\n")))
        found = _git(root, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{tree}}")
        if not name or found.returncode:
            raise SourceError(f"{name}: git knows no such revision; a shallow clone lacks older ones")
        return cls(name, Path(os.path.realpath(root)), found.stdout.decode().strip())

    @cached_property
    def _here(self) -> Path:
        return Path(os.path.realpath(Path.cwd()))

    def inside(self, path: str) -> str | None:
        """Return ``path`` as git has it, from the repository's root, or None where it lies outside."""
        full = Path(os.path.normpath(self._here / path))
        for candidate in (full, Path(os.path.realpath(full.parent)) / full.name):
            if candidate.is_relative_to(self.root):
                return candidate.relative_to(self.root).as_posix()
        return None

    def outside(self, inside: str) -> str:
        """Return a path from the root of the repository as one relative to the current folder."""
        return os.path.relpath(self.root / inside, self._here)

    def kind(self, path: str) -> str | None:
        """Return ``"file"`` or ``"folder"``, or None where ``path`` is not there at this revision."""
        inside = self.inside(path)
        found = None if inside is None else self._follow(inside)
        return None if found is None else "folder" if found[0] == _FOLDER else "file"

    def read_bytes(self, path: str) -> bytes:
        """Return what the file at ``path`` held; a file outside the repository has one version, the disk's.

        Raises ``OSError`` where there is none.
        """
        inside = self.inside(path)
        if inside is None:
            from ava.load.extends import read_file

            return read_file(path)
        found = self._follow(inside)
        if found is None:
            raise FileNotFoundError(f"there is no such file at {self.name}")
        if found[0] == _FOLDER:
            raise IsADirectoryError(f"it is a folder at {self.name}")
        return self._blob(found[1])

    def files(self, folder: str, suffixes: tuple[str, ...]) -> list[str]:
        """Return the files below ``folder`` with these suffixes, relative to it; hidden ones are left out."""
        inside = self.inside(folder)
        found = None if inside is None else self._follow(inside)
        if found is None or found[0] != _FOLDER:
            return []
        listed = self._run("ls-tree", "-r", "-z", "--name-only", "--full-tree", found[1])
        names = [os.fsdecode(name) for name in listed.split(b"\0") if name]
        return sorted(
            name
            for name in names
            if name.lower().endswith(suffixes) and not any(part.startswith(".") for part in name.split("/"))
        )

    @cached_property
    def _known(self) -> dict[str, tuple[str, str] | None]:
        return {}

    def _follow(self, inside: str) -> tuple[str, str] | None:
        """Return the mode and the object at a path from the root, links followed, or None."""
        if inside not in self._known:
            self._known[inside] = self._find(inside)
        return self._known[inside]

    def _find(self, inside: str) -> tuple[str, str] | None:
        for _ in range(_MAX_LINKS):
            if inside in ("", "."):
                return _FOLDER, self.tree
            found, link = self._entry(PurePosixPath(inside))
            if link is None:
                return found
            target = os.path.normpath(link)
            if target.startswith(("..", "/")):
                return None
            inside = target
        return None

    def _entry(self, path: PurePosixPath) -> tuple[tuple[str, str] | None, str | None]:
        """Return the entry at ``path``; or, where a link stands on the way, the path that it makes of it."""
        for depth in range(1, len(path.parts) + 1):
            part = PurePosixPath(*path.parts[:depth])
            listed = self._run("--literal-pathspecs", "ls-tree", "-z", "--full-tree", self.tree, "--", str(part))
            if not listed:
                return None, None
            mode, _, rest = listed.split(b"\0")[0].decode("utf-8", "surrogateescape").partition(" ")
            name = rest.split()[1]
            if mode == _LINK:
                target = os.fsdecode(self._blob(name))
                return None, str(part.parent / target / PurePosixPath(*path.parts[depth:]))
        return (mode, name), None

    def _blob(self, name: str) -> bytes:
        return self._run("cat-file", "blob", name)

    def _run(self, *arguments: str) -> bytes:
        done = _git(self.root, *arguments)
        if done.returncode:
            said = done.stderr.decode(errors="replace").strip().splitlines()
            raise SourceError(f"git {arguments[0]}: {said[-1] if said else 'failed'}")
        return done.stdout


def _git(folder: Path, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    environment = {**os.environ, "LC_ALL": "C", "GIT_OPTIONAL_LOCKS": "0"}
    try:
        return subprocess.run(
            ["git", *arguments], cwd=folder, env=environment, capture_output=True, check=False, stdin=subprocess.DEVNULL
        )
    except OSError as error:
        raise SourceError(f"git cannot be run: {error.strerror}") from error
