"""What ``lint`` does with the configurations that a command line names: lint them, and mend their files."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ava.cli.output import write_file
from ava.cli.sources import STDIN, Checked, expand, read_stdin
from ava.errors import Severity, SourceError
from ava.lint.api import chosen
from ava.lint.fixes import fix_text
from ava.lint.run import Job, lint_sources
from ava.lint.select import selectors
from ava.lint.settings import Settings, find_settings
from ava.load import is_preset_name, load, load_text
from ava.load.extends import read_file
from ava.load.overrides import parse_overrides
from ava.load.project import folder_of

__all__ = ["Linting", "Mended"]

_BOM = "\ufeff"
_LINE = re.compile(r"[^\r\n]*(?:\r\n|\n|\r|$)")


@dataclass(frozen=True, slots=True)
class Mended:
    """A file with safe fixes: its text before and after ``count`` edits."""

    path: str
    before: str
    after: str
    count: int

    def diff(self) -> str:
        """Return the change as a unified diff."""
        before, after = (_LINE.findall(text)[:-1] for text in (self.before, self.after))
        lines = difflib.unified_diff(before, after, self.path, self.path)
        return "".join(
            line if line.endswith(("\n", "\r")) else f"{line}\n\\ No newline at end of file\n" for line in lines
        )

    def write(self) -> None:
        """Write the file whole, or not at all."""
        write_file(Path(self.path), self.after)


class Linting:
    """The options of one run. Raises :class:`~ava.errors.SourceError` for a rule or override that is none."""

    def __init__(
        self,
        select: Sequence[str] | None,
        ignore: Sequence[str] | None,
        sets: Sequence[str] | None,
        preset_path: Sequence[Path] | None,
    ) -> None:
        self._select = None if select is None else selectors(select, "--select")
        self._ignore = None if ignore is None else selectors(ignore, "--ignore")
        parse_overrides(sets or ())  # what cannot be read is wrong for all of them
        self._sets = sets or None
        self._preset_path = tuple(preset_path or ())
        self._settings: dict[Path, Settings] = {}
        self._stdin: bytes | None = None
        self.fail_on: Severity = "warning"

    def lint(self, paths: Sequence[str]) -> Checked:
        """Return the findings of everything that ``paths`` name."""
        checked = Checked()
        jobs: list[Job] = []
        for reference in expand(paths, self._presets_for(paths), checked.failures):
            self._settings_of(reference)  # what they may not say ends the run
            try:
                jobs.append(self._job(reference))
            except SourceError as error:
                checked.failures.append(str(error))
        for job in jobs:
            checked.texts.update(job.source.texts)
        checked.count = len(jobs)
        checked.findings = lint_sources(jobs)
        self.fail_on = _mildest(job.settings.fail_on for job in jobs)
        return checked

    def mend(self, paths: Sequence[str]) -> list[Mended]:
        """Return every file that ``paths`` name and that safe fixes change; a preset's name names no file."""
        mended: list[Mended] = []
        for reference in expand(paths, self._presets_for(paths), []):
            if reference != "-" and is_preset_name(reference):
                continue
            try:
                found = self._mend(reference)
            except SourceError:
                continue  # linting says it
            if found is not None:
                mended.append(found)
        return mended

    def _mend(self, reference: str) -> Mended | None:
        name = STDIN if reference == "-" else reference
        data = self._read(reference)
        try:
            whole = data.decode("utf-8")
        except UnicodeDecodeError:
            return None
        mark, text = (_BOM, whole[1:]) if whole.startswith(_BOM) else ("", whole)
        fixed = fix_text(text, name, lambda text: lint_sources([self._job(reference, text.encode())]))
        return Mended(name, whole, mark + fixed.text, fixed.count) if fixed.count else None

    def _read(self, reference: str) -> bytes:
        if reference == "-":
            if self._stdin is None:
                self._stdin = read_stdin()
            return self._stdin
        try:
            return read_file(reference)
        except (OSError, ValueError) as error:
            raise SourceError(f"{reference}: {error}") from error

    def _job(self, reference: str, data: bytes | None = None) -> Job:
        """Return the job of a configuration, which ``data`` takes the place of."""
        settings = self._settings_of(reference)
        presets = (*self._preset_path, *settings.preset_path)
        if reference == "-":
            text = self._read(reference) if data is None else data
            source = load_text(text, STDIN, overrides=self._sets, preset_path=presets)
        elif data is None:
            source = load(reference, overrides=self._sets, preset_path=presets)
        else:

            def read(path: str) -> bytes:
                return data if path == reference else read_file(path)

            source = load(reference, overrides=self._sets, preset_path=presets, read_bytes=read)
        return Job(source, chosen(settings, self._select, self._ignore), settings)

    def _settings_of(self, reference: str) -> Settings:
        folder = folder_of(reference)
        if folder not in self._settings:
            self._settings[folder] = find_settings(folder)
        return self._settings[folder]

    def _presets_for(self, paths: Sequence[str]) -> list[Path]:
        """Return where presets named on the command line are looked for."""
        named = any(is_preset_name(path) for path in paths if path and path != "-" and not os.path.exists(path))  # noqa: PTH110
        return [*self._preset_path, *(self._settings_of("-").preset_path if named else ())]


def _mildest(wanted: Iterable[Severity | None]) -> Severity:
    """Return the mildest of the severities that projects fail on; by default a warning."""
    asked = set(wanted)
    order: tuple[Severity, ...] = ("info", "warning", "error")
    return next((severity for severity in order if severity in asked), "warning")
