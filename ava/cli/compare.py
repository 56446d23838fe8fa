"""A pair of sides → what changed between them, or why that cannot be said."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ava.cli.sides import Side, Sides
from ava.config import Config, validate
from ava.config.change import Change
from ava.errors import AvaError, Finding, SourceError
from ava.errors import Path as FieldPath
from ava.load import Source, load
from ava.plan.diff import diff, texts
from ava.plan.diff.released import as_released

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["Comparison", "Uncomparable", "compare"]


@dataclass(frozen=True)
class Comparison:
    """What changed between two configurations; each is None where there is none, or it does not load."""

    before: Side
    after: Side
    changes: tuple[Change, ...]
    configs: tuple[Config | None, Config | None]

    @property
    def title(self) -> str:
        """The two sides in one line."""
        return f"{self.before.label} → {self.after.label}"


@dataclass(frozen=True)
class Uncomparable:
    """Two configurations that cannot be compared, and why."""

    before: Side
    after: Side
    reason: str

    @property
    def title(self) -> str:
        """The two sides in one line."""
        return f"{self.before.label} → {self.after.label}"


def compare(sides: Sides, since: str | None = None) -> Comparison | Uncomparable:
    """Compare two sides. A file that is new, gone, or no longer loads is a breaking change.

    With ``since``, the first side is read with the defaults of that release.
    """
    before, after = sides
    try:
        return _compare(before, after, since)
    except AvaError as error:
        return Uncomparable(before, after, str(error))


def _compare(before: Side, after: Side, since: str | None) -> Comparison | Uncomparable:
    if before.load is None:
        _, config, _, findings = _read(after)
        found = (texts.new(after.name, before.name, before.where), *texts.broken(Config(), findings))
        return Comparison(before, after, found, (None, config))
    source, old, drifted, findings = _read(before)
    if old is None:
        listed = "".join(f"\n  {finding}" for finding in findings)
        return Uncomparable(before, after, f"{before.label} does not load, so nothing can be said of changes:{listed}")
    if after.load is None:
        return Comparison(before, after, (texts.gone(before.name, after.name, after.where),), (old, None))
    new_source, new, _, findings = _read(after)
    if new is None:
        return Comparison(before, after, texts.broken(old, findings), (old, None))
    if since is not None:
        old, moved = as_released(old, since)
        drifted |= moved
    changes = diff(old, new, drifted=drifted)
    if not changes and source is not None and new_source is not None:
        changes = texts.layout(source, new_source)
    return Comparison(before, after, changes, (old, new))


def _read(side: Side) -> tuple[Source | None, Config | None, frozenset[FieldPath], tuple[Finding, ...]]:
    if side.saved is not None:
        return None, *_saved(side.saved)
    assert side.load is not None
    source = side.load()
    config, findings = validate(source)
    return source, config, frozenset(), _errors(findings)


def _errors(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    return tuple(finding for finding in findings if finding.severity == "error")


def _saved(path: Path) -> tuple[Config | None, frozenset[FieldPath], tuple[Finding, ...]]:
    """Return the configuration that ``explain --format json`` of some version wrote, and which values were defaults."""
    try:
        told = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise SourceError(f"{path}: {getattr(error, 'strerror', None) or error}") from error
    values = told.get("values") if isinstance(told, dict) else None
    if not isinstance(values, list) or not all(isinstance(item, dict) and "path" in item for item in values):
        raise SourceError(f"{path}: it is not what `ava-loss explain PRESET --format json` writes")
    data: dict[str, Any] = {"version": 1, "description": told.get("description") or ""}
    drifted = set()
    for item in values:
        steps = str(item["path"]).split(".")
        place = data
        for step in steps[:-1]:
            place = place.setdefault(step, {})
        place[steps[-1]] = item.get("value")
        if item.get("origin") == "default":
            drifted.add(tuple(steps))
    config, findings = validate(load(data))
    if config is not None:
        config = config.model_copy()
        config._source = None
    return config, frozenset(drifted), _errors(findings)
