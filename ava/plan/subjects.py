"""What a word after a configuration's name refers to: a term, or one field."""

from __future__ import annotations

from collections.abc import Sequence

from ava.config.model import Config
from ava.config.roster import ROSTER, find_term
from ava.errors import ArgumentValueError, did_you_mean
from ava.plan.explain import Explanation, FieldInfo, explain
from ava.plan.explain_term import MAIN, TermInfo, explain_class
from ava.terms.base import Term

__all__ = ["default_fields", "find_field", "find_term_info", "term_class", "term_page"]

_MAIN = (MAIN, "primary")


def term_class(name: str) -> type[Term] | None:
    """Return the class of the term called ``name``, which may be written ``terms.NAME``, or None."""
    return find_term(name.removeprefix("terms."))


def term_page(cls: type[Term] | None) -> tuple[TermInfo, tuple[FieldInfo, ...], int]:
    """Return a term with its defaults (None for the primary loss), its fields, and the vocabulary assumed."""
    if cls is None:
        told = explain(Config())
        return told.terms[0], find_field(told, MAIN), told.vocab_size
    told = explain(Config.load({"version": 1, "terms": {cls.name: {}}}))
    return explain_class(cls, told.vocab_size), find_field(told, cls.name), told.vocab_size


def default_fields(text: str) -> tuple[FieldInfo, ...]:
    """Return the fields that ``text`` (``ngram_penalty.window``) refers to, at their defaults; none where it does not.

    Raises :class:`~ava.errors.ArgumentValueError` for a field that the term does not have.
    """
    name, dot, _ = text.removeprefix("terms.").partition(".")
    if not dot:
        return ()
    cls = None if name in _MAIN else find_term(name)
    if cls is None and name not in _MAIN:
        return ()
    told = explain(Config() if cls is None else Config.load({"version": 1, "terms": {cls.name: {}}}))
    return find_field(told, text)


def find_term_info(told: Explanation, text: str) -> TermInfo | None:
    """Return the enabled term that ``text`` names, or None.

    Raises :class:`~ava.errors.ArgumentValueError` for a term that is off.
    """
    name = MAIN if text in _MAIN else text.removeprefix("terms.")
    found = next((term for term in told.terms if term.name == name), None)
    if found is None and name in ROSTER:
        raise ArgumentValueError(f"`{name}` is off in {told.name}; `ava-loss explain {name}` tells of it")
    return found


def find_field(told: Explanation, text: str) -> tuple[FieldInfo, ...]:
    """Return the fields that ``text`` refers to: one, or all of a section.

    ``text`` is a path (``primary.temperature``), one without ``terms.`` (``z_loss.weight``), or the name of a field
    that only one section has (``window``). Raises :class:`~ava.errors.ArgumentValueError` where there is none, or
    several.

    >>> from ava.config import Config
    >>> from ava.plan.explain import explain
    >>> told = explain(Config.load({"version": 1, "terms": {"ngram_penalty": {}}}))
    >>> find_field(told, "window")[0].path
    ('terms', 'ngram_penalty', 'window')
    """
    steps = tuple(text.split("."))
    if steps[0] in _MAIN:
        steps = ("primary", *steps[1:])
    for path in (steps, ("terms", *steps)):
        found = [field for field in told.fields if field.path[: len(path)] == path]
        if found:
            return tuple(found)
    if len(steps) == 1:
        named = [field for field in told.fields if field.path[-1] == text]
        if len(named) > 1:
            raise ArgumentValueError(f"`{text}` is a field of several sections: {_list(named)}")
        if named:
            return tuple(named)
    raise ArgumentValueError(_unknown(told, steps, text))


def _unknown(told: Explanation, steps: tuple[str, ...], text: str) -> str:
    inner = steps[1:] if steps[0] == "terms" else steps
    if inner and inner[0] in ROSTER and len(inner) > 1:
        fields = list(ROSTER[inner[0]].model_fields)
        if inner[1] in fields:
            return f"`{inner[0]}` is off in {told.name}; `ava-loss explain {inner[0]}` tells of it"
        return f"`{inner[1]}` is not a field of `{inner[0]}`{did_you_mean(inner[1], fields)}"
    known = [".".join(map(str, field.path)) for field in told.fields]
    known += [path.removeprefix("terms.") for path in known] + [str(field.path[-1]) for field in told.fields]
    section = next((path for path in known if path.startswith(f"primary.{text}.")), None)
    if section is not None:
        return f"`{text}` is neither a term nor a field; did you mean `primary.{text}`?"
    return f"`{text}` is neither a term nor a field{did_you_mean(text, [*known, *ROSTER, MAIN])}"


def _list(fields: Sequence[FieldInfo]) -> str:
    return ", ".join(f"`{'.'.join(map(str, field.path))}`" for field in fields)
