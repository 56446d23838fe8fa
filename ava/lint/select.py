"""Which advice is wanted: codes, prefixes of codes, and names."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ava.errors import SourceError, did_you_mean

__all__ = ["Selection", "matches", "selectors"]


def matches(selector: str, code: str, name: str) -> bool:
    """Return whether ``selector`` means the rule: its name, its code, or what the code starts with.

    >>> matches("AVA2", "AVA201", "weight-range"), matches("weight-range", "AVA201", "weight-range")
    (True, True)
    """
    return selector == name or code.startswith(selector.upper())


def selectors(words: Iterable[str], where: str) -> tuple[str, ...]:
    """Return the selectors in ``words``, each of which may hold several with commas between.

    ``ALL`` means every rule. Raises :class:`~ava.errors.SourceError`, which says ``where``, for one that no rule has.
    """
    from ava.lint.registry import RULES, known_rules

    rules = RULES
    found = [part.strip() for word in words for part in word.split(",") if part.strip()]
    for selector in found:
        if selector == "ALL" or any(matches(selector, rule.code, rule.name) for rule in rules):
            continue
        rules = known_rules()  # it may be of another package's term
        if not any(matches(selector, rule.code, rule.name) for rule in rules):
            near = did_you_mean(selector.lower(), [rule.name for rule in rules]) or did_you_mean(
                selector.upper(), [rule.code for rule in rules]
            )
            raise SourceError(f"{where}: no rule is called `{selector}`{near or '; `ava-loss rules` lists them'}")
    return tuple("" if selector == "ALL" else selector for selector in found)


@dataclass(frozen=True, slots=True)
class Selection:
    """The advice that is wanted. Errors always are.

    ``select`` is None for all. Of two selectors that both mean a rule, the longer code wins, and a name over any
    code; on a tie, ``ignore``.
    """

    select: tuple[str, ...] | None = None
    ignore: tuple[str, ...] = ()

    def wants(self, code: str, name: str) -> bool:
        """Return whether advice of this rule is wanted.

        >>> selection = Selection(select=("AVA2", "AVA304"), ignore=("AVA3", "weight-range"))
        >>> [selection.wants("AVA204", "field-range"), selection.wants("AVA201", "weight-range")]
        [True, False]
        >>> [selection.wants("AVA304", "missing-eos"), selection.wants("AVA405", "full-checks")]
        [True, False]
        """
        chosen = _strength(("",) if self.select is None else self.select, code, name)
        return chosen > _strength(self.ignore, code, name)


def _strength(selectors: tuple[str, ...], code: str, name: str) -> int:
    return max((99 if item == name else len(item) for item in selectors if matches(item, code, name)), default=-1)
