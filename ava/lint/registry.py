"""Every rule that linting knows, by code: of reading and validation, the terms' own, and those of this package."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

from ava.config import ROSTER
from ava.config import RULES as VALIDATION
from ava.config.roster import BrokenTermError, external_names, find_term
from ava.errors import Rule
from ava.lint import combinations, cost, numerics, ranges, schedules, temperature, tokens
from ava.lint.comments import RULES as COMMENTS
from ava.lint.subject import ConfigRule
from ava.load import RULES as READING
from ava.terms.advice import TermRule

__all__ = ["CONFIG_RULES", "RULES", "external_rules", "known_rules"]

CONFIG_RULES: tuple[ConfigRule, ...] = tuple(
    rule for module in (ranges, schedules, tokens, temperature, combinations, cost, numerics) for rule in module.RULES
)
"""The rules over several sections, in the order in which they run."""


def _by_code(rules: Iterator[Rule]) -> tuple[Rule, ...]:
    return tuple(sorted(rules, key=lambda rule: rule.code))


def _all() -> Iterator[Rule]:
    yield from READING
    yield from VALIDATION
    yield from COMMENTS
    yield from CONFIG_RULES
    for term in ROSTER.values():
        yield from term.rules


RULES: tuple[Rule, ...] = _by_code(_all())
"""The rules of this package that linting knows, by code."""


@cache
def external_rules() -> tuple[TermRule, ...]:
    """Return the rules of the terms of other packages, which are imported for it; a broken one has none."""
    found: list[TermRule] = []
    for name in external_names():
        try:
            term = find_term(name)
        except BrokenTermError:
            continue
        found += term.rules if term is not None else ()
    return tuple(found)


def known_rules() -> tuple[Rule, ...]:
    """Return every rule, those of other packages' terms among them, by code."""
    return _by_code(iter((*RULES, *external_rules())))
