"""Two configurations → what changed between them, classed, with its size and its consequence.

``walk`` pairs the fields · ``classify`` says how much a change matters · ``words`` what it means · ``price`` what it
costs · ``place`` where it was made · ``texts`` tells of files that are new, gone, broken, or only written differently ·
``released`` keeps the defaults of each release.
"""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Set as AbstractSet

from ava.config.change import Change, worst_first
from ava.config.model import Config
from ava.errors import Path
from ava.load import Source
from ava.plan.diff.classify import Verdict, classify
from ava.plan.diff.place import place
from ava.plan.diff.price import price
from ava.plan.diff.walk import Pair, pairs, plain
from ava.plan.diff.words import meaning
from ava.plan.plan import Plan
from ava.terms.base import Term

__all__ = ["diff"]


def diff(before: Config, after: Config, *, drifted: AbstractSet[Path] = frozenset()) -> tuple[Change, ...]:
    """Return what changed from ``before`` to ``after``, worst first.

    ``drifted`` holds the fields of ``before`` whose value was a default of another version.

    >>> changes = diff(Config.load({"version": 1}), Config.load({"version": 1, "terms": {"z_loss": {}}}))
    >>> [(change.name, change.class_, change.consequence) for change in changes]
    [('terms.z_loss', 'objective', 'at weight 0.0001; recompiles; +N·4 bytes')]
    """
    plans = Plan(before), Plan(after)
    sources = before.source, after.source
    return worst_first(_changes(before, after, plans, sources, drifted))


def _changes(
    before: Config,
    after: Config,
    plans: tuple[Plan, Plan],
    sources: tuple[Source | None, Source | None],
    drifted: AbstractSet[Path],
) -> Iterator[Change]:
    for pair in pairs(before, after):
        if not pair.differs:
            text = _written(pair, *sources)
            if text:
                yield _change(pair, Verdict("cosmetic"), text, sources)
            continue
        verdict = classify(pair, *plans)
        parts = [*verdict.reasons] if verdict.class_ == "breaking" else []
        if verdict.class_ != "cosmetic":
            parts.append(meaning(pair, _term(after, pair.path)))
        if verdict.class_ != "breaking":
            parts += verdict.reasons
        if pair.path in drifted and (sources[1] is None or sources[1].get(pair.path) is None):
            parts.insert(0, "the default changed, and no file sets it")
        parts += price(before, pair) if verdict.class_ != "cosmetic" else []
        yield _change(pair, verdict, "; ".join(part for part in parts if part), sources)


def _change(pair: Pair, verdict: Verdict, text: str, sources: tuple[Source | None, Source | None]) -> Change:
    span = place(*sources, pair.path)
    return Change(
        pair.path,
        verdict.class_,
        plain(pair.before),
        plain(pair.after),
        text,
        None if span is None else span.file,
        None if span is None else span.line,
    )


def _term(config: Config, path: Path) -> Term | None:
    return next((term for term in config.enabled if path[:2] == ("terms", term.name)), None)


def _written(pair: Pair, before: Source | None, after: Source | None) -> str:
    """Return how a value that is the same is written differently, or nothing."""
    if before is None or after is None:
        return ""
    old, new = before.get(pair.path), after.get(pair.path)
    if old is None and new is None:
        return ""
    if old is None or new is None:
        whole = pair.path[:2] if pair.path[0] == "terms" else pair.path[:1]
        if (before if old is None else after).get(whole) is None:
            return ""  # the section as a whole came or went, as `mtp_loss` does that a kind of primary loss implies
        return "a default written out" if old is None else "a default no longer written out"
    if type(old.value) is not type(new.value) and isinstance(old.value, (int, float)):
        return f"{old.value} written as {new.value}"
    return ""
