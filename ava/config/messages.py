"""Problems → findings: what was expected, what came, where, and what to do."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterator
from functools import cache
from typing import Any

from ava.config import rules
from ava.config.legacy import LEGACY
from ava.config.problems import Problem
from ava.config.roster import external_names
from ava.config.words import choices, expected, field_schema, got, keys, number, range_text, shown, subject
from ava.errors import Finding, Fix, Path, Span
from ava.load import OVERRIDES, Source
from ava.load.frame import split_lines
from ava.load.resolver import resolve
from ava.terms.base import Term

__all__ = ["KEYWORDS", "Messages", "note"]

KEYWORDS = "<keyword>"  # the file name of what a caller gave as a keyword
SURE = 0.8  # how alike two words have to be for one to replace the other unasked
CLEAR = 0.2  # how much less alike any other has to be
_SWITCHES = {"on": "true", "yes": "true", "off": "false", "no": "false"}


def note(source: Source, span: Span, path: Path = ()) -> str | None:
    """Return where the value at ``span`` was set, if that is not the file that was loaded."""
    if span.file == source.files[0].name:
        return None
    if span.file == KEYWORDS:
        return "set by a keyword of the call"
    if span.file == OVERRIDES:
        entry = source.entry(path)
        under = entry.over if entry is not None else None
        return f"set by `{OVERRIDES}`" + (f", in place of the value at {under.span}" if under is not None else "")
    preset = next((info.preset for info in source.files if info.name == span.file), None)
    where = f"preset `{preset}`" if preset is not None else str(span)
    return f"set in {where}, which {source.name} builds on"


class Messages:
    """Turns problems into findings; ``classes`` are the terms of other packages."""

    def __init__(self, source: Source, classes: dict[str, type[Term]]) -> None:
        self.source = source
        self.classes = classes
        self._lines: dict[str, list[str]] = {}

    def finding(self, problem: Problem) -> Finding:
        """Return the finding that says ``problem``."""
        if problem.kind == "unknown":
            return self._unknown_key(problem.path)
        if problem.kind == "missing":
            path = problem.path
            words = f"`{path[-1]}` is missing in `{subject(path[:-1])}`; it is {expected(self._schemas(path))}"
            span = self.source.span(path)
            return rules.MISSING_KEY.finding(words, span, path, note=note(self.source, span))
        return self._wrong_value(problem)

    def _schemas(self, path: Path) -> tuple[dict[str, Any], ...]:
        foreign = self.classes.get(str(path[1])) if len(path) > 1 and path[0] == "terms" else None
        return field_schema(path, foreign)

    def _wrong_value(self, problem: Problem) -> Finding:
        path, value = problem.path, problem.value
        schemas, name = self._schemas(path), f"`{subject(path)}`"
        numeric = any(schema.get("type") in ("number", "integer") for schema in schemas)
        rule, fix, span = rules.WRONG_TYPE, None, self.source.span(path)
        words = f"{name}: expected {expected(schemas)}, got {got(value)}"
        if numeric and isinstance(value, float) and not math.isfinite(value):
            came = number(value) + ("" if math.isnan(value) else " or one too large")
            rule, words = rules.NOT_FINITE, f"{name}: expected a finite number, got {came}"
        elif problem.kind == "range":
            limits = range_text(schemas)
            rule = rules.OUT_OF_RANGE
            words = f"{name} should be {limits}, got {number(value)}" if limits else f"{name}: {problem.message}"
        elif problem.kind == "choice" and isinstance(value, str):
            words_known = [choice for choice in choices(schemas) if isinstance(choice, str)]
            near = _near(value, words_known)
            hint = f"; did you mean `{near[0]}`?" if near else ""
            rule = rules.UNKNOWN_VALUE
            words = f"{name}: `{shown(value)}` is not one of {_list(choices(schemas))}{hint}"
            fix = self._fix(span, value, near)
        elif problem.kind == "invalid":
            rule, words = rules.INVALID_VALUE, f"{name}: {problem.message}"
        else:
            words += _hint(value, schemas)
        return rule.finding(words, span, path, fix=fix, note=note(self.source, span, path))

    def _known(self, above: Path) -> tuple[str, ...]:
        return keys(self._schemas(above)) + (external_names() if above == ("terms",) else ())

    def meant(self, path: Path) -> Path:
        """Return the path of the key that the unknown key at ``path`` is taken for; itself where none is near."""
        near = _near(str(path[-1]), list(self._known(path[:-1])))
        return (*path[:-1], *(near[:1] or path[-1:]))

    def meant_all(self, path: Path) -> Iterator[Path]:
        """Yield the paths that the unknown key at ``path`` may stand for: the near one, and a legacy keyword's."""
        yield self.meant(path)
        for place in LEGACY.get(str(path[-1]), "").replace("`", "").split(" "):
            if "." in place:
                yield tuple(place.split("."))

    def _unknown_key(self, path: Path) -> Finding:
        key, above = str(path[-1]), path[:-1]
        span = self.source.span(path, key=True)
        said = note(self.source, span, path)
        known = self._known(above)
        present = self.source.get(above)
        taken = present.value if present is not None and isinstance(present.value, dict) else {}
        where = "a term" if above == ("terms",) else f"a field of {subject(above)}" if above else "a section or field"
        words = f"`{shown(key)}` is not {where}"
        if key == "losses" and not above:
            words += "; `ava-loss migrate` turns the flat keywords in it into a configuration"
            return rules.LEGACY_KEY.finding(words, span, path, note=said)
        if key in LEGACY and key not in known:
            return rules.LEGACY_KEY.finding(f"{words}; its place is now `{LEGACY[key]}`", span, path, note=said)
        near = _near(key, list(known))
        places = [place for place in _places().get(_plain(key), ()) if place[:-1] != above]
        if 1 <= len(places) <= 3 and near[:1] != [_plain(key)]:
            return rules.UNKNOWN_KEY.finding(
                f"{words}; it belongs at {_list(map(_dotted, places))}", span, path, note=said
            )
        if near:
            fix = self._fix(span, key, near) if near[0] not in taken else None
            return rules.UNKNOWN_KEY.finding(f"{words}; did you mean `{near[0]}`?", span, path, fix=fix, note=said)
        return rules.UNKNOWN_KEY.finding(f"{words}; there are {_list(known)}", span, path, note=said)

    def _fix(self, span: Span, text: str, near: list[str]) -> Fix | None:
        """Return the edit to the nearest name, if it is sure, where the text at ``span`` is what was read."""
        if span.file == OVERRIDES or not _sure(text, near):
            return None
        if span.file not in self._lines:
            self._lines[span.file] = split_lines(self.source.texts.get(span.file, ""))
        lines = self._lines[span.file]
        if not 0 < span.line == span.end_line <= len(lines):
            return None
        written = lines[span.line - 1][span.column - 1 : span.end_column - 1]
        if written not in (text, f'"{text}"', f"'{text}'"):
            return None
        return Fix(f"Replace `{text}` by `{near[0]}`", span, near[0])


def _plain(word: str) -> str:
    return word[:60].strip().lower().replace("-", "_")


def _near(word: str, known: list[str]) -> list[str]:
    """Return the known words near ``word``, the nearest first."""
    plain = _plain(word)
    exact = [name for name in known if name.replace("-", "_") == plain]
    longer = [name for name in known if len(plain) > 2 and name.startswith(plain + "_")]
    return exact or difflib.get_close_matches(plain, known, n=3, cutoff=0.7) or longer


def _list(words: Any) -> str:
    return ", ".join(f"`{str(word).lower() if isinstance(word, bool) else word}`" for word in words)


def _dotted(path: Path) -> str:
    return ".".join(map(str, path))


def _sure(word: str, near: list[str]) -> bool:
    """Return whether the nearest of ``near`` is what ``word`` stands for: alike, and no other is nearly as alike."""
    alike = [difflib.SequenceMatcher(None, _plain(word), name.replace("-", "_")).ratio() for name in near]
    return bool(alike) and alike[0] >= SURE and all(other <= alike[0] - CLEAR for other in alike[1:])


def _as_mapping(value: bool | float | str, schemas: tuple[dict[str, Any], ...]) -> str:
    """Return what to write in place of ``value`` where a mapping belongs: a term's weight, or a section's one field."""
    fields = {key: field for schema in schemas for key, field in schema.get("properties", {}).items()}
    if {"weight", "if_missing"} <= fields.keys():  # a term
        if value is False or (isinstance(value, str) and value.lower() in ("off", "no", "false", "none")):
            return "; write `null` to switch the term off"
        if isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < math.inf:
            return f"; write `{{weight: {number(value)}}}`"
        return "; write `{}` for its defaults"
    takes = [key for key, field in fields.items() if _takes(value, field)]
    written = str(value).lower() if isinstance(value, bool) else value
    return f"; write `{{{takes[0]}: {written}}}`" if len(takes) == 1 else ""


def _takes(value: bool | float | str, field: dict[str, Any]) -> bool:
    """Return whether a field is a switch or a closed set with ``value``."""
    kinds: list[dict[str, Any]] = field.get("anyOf", [field])
    if isinstance(value, bool):
        return any(kind.get("type") == "boolean" or True in kind.get("enum", ()) for kind in kinds)
    return isinstance(value, str) and any(value in kind.get("enum", ()) for kind in kinds)


def _hint(value: object, schemas: tuple[dict[str, Any], ...]) -> str:
    """Return what to write instead, where it is plain what was meant."""
    types = {schema.get("type") for schema in schemas} | {type(choice).__name__ for choice in choices(schemas)}
    if isinstance(value, float) and "integer" in types and value.is_integer():
        return f"; write `{int(value)}`" if abs(value) < 1e15 else ""
    if isinstance(value, str) and value:
        meant = resolve(value)
        if types & {"boolean", "bool"} and value.lower() in _SWITCHES:
            return f"; write `{_SWITCHES[value.lower()]}`"
        if isinstance(meant, (int, float)) and not isinstance(meant, bool) and types & {"integer", "number"}:
            return "; remove the quotes"
        if isinstance(meant, bool) and types & {"boolean", "bool"}:
            return "; remove the quotes"
    if isinstance(value, (bool, int, float, str)) and "object" in types:
        return _as_mapping(value, schemas)
    if value is None and types == {"object"}:
        return "; write `{}` for its defaults"
    return ""


@cache
def _places() -> dict[str, tuple[Path, ...]]:
    """Return every field of the language by its last name."""
    found: dict[str, list[Path]] = {}

    def walk(path: Path) -> Iterator[Path]:
        for key in keys(field_schema(path)):
            yield (*path, key)
            yield from walk((*path, key))

    for path in walk(()):
        found.setdefault(str(path[-1]), []).append(path)
    return {key: tuple(paths) for key, paths in found.items()}
