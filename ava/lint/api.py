"""``lint``: the findings of one configuration, from Python."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ava.errors import Finding
from ava.lint.run import Job, lint_sources
from ava.lint.select import Selection, selectors
from ava.lint.settings import Settings, find_settings
from ava.load import load
from ava.load.overrides import Overrides
from ava.load.project import folder_of

__all__ = ["chosen", "lint"]


def lint(
    source: str | os.PathLike[str] | Mapping[str, Any],
    *,
    select: str | Iterable[str] | None = None,
    ignore: str | Iterable[str] | None = None,
    overrides: Overrides | None = None,
    preset_path: Sequence[str | os.PathLike[str]] = (),
    settings: Settings | None = None,
) -> tuple[Finding, ...]:
    """Return every finding in a preset's name, a path or a mapping: errors, and the advice that is wanted.

    ``select`` and ``ignore`` name rules by code, the beginning of a code, or name; errors are always there. What they
    leave open, and what the project says of its training, is in ``settings``: by default those of the nearest
    ``pyproject.toml`` above the file, and none for a mapping. The findings are in the order of the text.

    Raises:
        SourceError: there is nothing to read, a rule does not exist, or ``pyproject.toml`` says what it may not.

    >>> from ava.lint import Project, Settings, lint
    >>> config = {"version": 1, "terms": {"ngram_penalty": {"weight": 0.6, "window": 128}}}
    >>> for finding in lint(config, settings=Settings(project=Project(sequence_length=128))):
    ...     print(finding.code, finding.path, finding.message)
    AVA201 ('terms', 'ngram_penalty', 'weight') `ngram_penalty.weight` 0.6 is above the usual range; write 0.05 to 0.2
    AVA401 ('terms', 'ngram_penalty', 'window') `window` 128 reaches beyond the sequence, 128 tokens; ...
    """
    if settings is None:
        settings = Settings() if isinstance(source, Mapping) else find_settings(folder_of(source))
    wanted = chosen(settings, _words(select, "select"), _words(ignore, "ignore"))
    paths = (*preset_path, *settings.preset_path)
    return tuple(lint_sources([Job(load(source, overrides=overrides, preset_path=paths), wanted, settings)]))


def _words(words: str | Iterable[str] | None, name: str) -> tuple[str, ...] | None:
    if words is None:
        return None
    return selectors([words] if isinstance(words, str) else words, name)


def chosen(settings: Settings, select: tuple[str, ...] | None, ignore: tuple[str, ...] | None) -> Selection:
    """Return the advice that is wanted: what the caller says goes over what the project says."""
    return Selection(
        settings.select if select is None else select,
        settings.ignore if ignore is None else ignore,
    )
