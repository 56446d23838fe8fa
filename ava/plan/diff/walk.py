"""Two configurations side by side: every field that differs, and every one that is only written differently."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from ava.config.model import Config
from ava.config.roster import ROSTER, Terms
from ava.errors import Path
from ava.terms.base import Schedule, Section

__all__ = ["Pair", "pairs", "plain", "with_value"]

_SECTIONS = ("description", "model", "targets", "primary", "terms", "balancing", "reduction", "compile")


@dataclass(frozen=True, slots=True)
class Pair:
    """A field of both configurations; a term or a temperature that only one of them has is a single field."""

    path: Path
    before: Any
    after: Any

    @property
    def differs(self) -> bool:
        """Whether the values are different; ``1`` and ``1.0`` are not."""
        return bool(self.before != self.after)


def pairs(before: Config, after: Config) -> Iterator[Pair]:
    """Yield every field in the order of the language, whether or not it differs."""
    for name in _SECTIONS:
        yield from _pairs((name,), getattr(before, name), getattr(after, name))


def _pairs(path: Path, before: Any, after: Any) -> Iterator[Pair]:
    if isinstance(before, Terms) and isinstance(after, Terms):
        old, new = ({term.name: term for term in terms.enabled} for terms in (before, after))
        for name in (*new, *(name for name in old if name not in new)):
            yield from _pairs((*path, name), old.get(name), new.get(name))
    elif isinstance(after, Section) and type(before) is type(after) and not isinstance(after, Schedule):
        for name, info in type(after).model_fields.items():
            yield from _pairs((*path, info.alias or name), getattr(before, name), getattr(after, name))
    else:
        yield Pair(path, before, after)


def plain(value: Any) -> Any:
    """Return a field's value as plain data."""
    if isinstance(value, BaseModel):
        return {info.alias or name: plain(getattr(value, name)) for name, info in type(value).model_fields.items()}
    return [plain(item) for item in value] if isinstance(value, tuple) else value


def with_value(section: Any, path: Path, value: Any) -> Any:
    """Return ``section`` with one field replaced, unchecked: a configuration half-way between two valid ones."""
    name = str(path[0])
    if isinstance(section, Terms) and len(path) == 1 and name not in ROSTER:
        return _with_foreign(section, name, value)
    below = getattr(section, name, None)
    return section.model_copy(update={name: value if len(path) == 1 else with_value(below, path[1:], value)})


def _with_foreign(terms: Terms, name: str, value: Any) -> Terms:
    """Return ``terms`` with a term of another package, or without it."""
    others = {term.name: term for term in terms.enabled if term.name != name}
    return Terms.model_validate(others if value is None else {**others, name: value})
