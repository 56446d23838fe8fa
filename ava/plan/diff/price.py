"""What a change by itself costs: whether the graph is compiled again, and what it saves or adds for each row."""

from __future__ import annotations

from ava.config.model import Config
from ava.plan.cost import Cost
from ava.plan.diff.walk import Pair, with_value
from ava.plan.plan import Plan

__all__ = ["price"]


def price(before: Config, pair: Pair) -> list[str]:
    """Return the cost of making this one change to ``before``, in words; ``N`` is the number of rows.

    >>> config = Config.load({"version": 1, "terms": {"ngram_penalty": {"window": 64}}})
    >>> price(config, Pair(("terms", "ngram_penalty", "window"), 64, 128))
    ['recompiles', '+N·768 bytes']
    """
    old, new = Plan(before), Plan(with_value(before, pair.path, pair.after))
    compiled = new.config.compile.enabled is not False
    words = ["recompiles"] if compiled and old.key != new.key else []
    return [*words, *_difference(old.cost, new.cost)]


def _difference(old: Cost, new: Cost) -> list[str]:
    words = []
    if new.saved_bytes != old.saved_bytes:
        words.append(f"{_sign(new.saved_bytes - old.saved_bytes)}N·{abs(new.saved_bytes - old.saved_bytes)} bytes")
    if new.passes != old.passes:
        count = abs(new.passes - old.passes)
        passes = "pass" if count == 1 else "passes"
        words.append(f"{_sign(new.passes - old.passes)}{count} {passes} over the vocabulary")
    if new.parameters != old.parameters:
        words.append(f"{new.parameters - old.parameters:+,} parameters")
    return words


def _sign(value: int) -> str:
    return "+" if value > 0 else "-"
