"""From a configuration to a plan: collect, merge, order, cost; each step is one function."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from ava.config.model import Config
from ava.plan.cost import Cost, cost_of, extra_cost
from ava.terms.base import Candidates, Column, Needs, Pick, Statistic, Term

__all__ = ["PASSES", "Draft", "PlannedTerm"]

_ORDER = (Column.TARGET, Column.CONTEXT, Column.EOS)


@dataclass(frozen=True, slots=True)
class PlannedTerm:
    """A term, what it needs, and what leaving it out would save."""

    term: Term
    needs: Needs
    cost: Cost

    @property
    def name(self) -> str:
        """The term's name."""
        return self.term.name


@dataclass(frozen=True, slots=True)
class Draft:
    """A plan in the making."""

    config: Config
    terms: tuple[PlannedTerm, ...] = ()
    needs: Needs = field(default_factory=Needs)
    cost: Cost = field(default_factory=Cost)


def collect(draft: Draft) -> Draft:
    """Ask every enabled term what it needs; a term that is off is not there from here on."""
    return replace(draft, terms=tuple(PlannedTerm(term, term.needs(), Cost()) for term in draft.config.enabled))


def merge(draft: Draft) -> Draft:
    """Join equal needs: two terms that pick the same column share it."""
    needs = draft.config.primary.needs()
    for planned in draft.terms:
        needs |= planned.needs
    return replace(draft, needs=needs)


def order(draft: Draft) -> Draft:
    """Put the picks in the order that engines and tests rely on: target, context, EOS, then candidates."""

    def place(pick: Pick | Candidates) -> tuple[int, int, int]:
        if isinstance(pick, Candidates):
            return (len(_ORDER), pick.size, pick.window)
        return (_ORDER.index(pick.column), 0, 0)

    return replace(draft, needs=replace(draft.needs, picks=tuple(sorted(draft.needs.picks, key=place))))


def cost(draft: Draft) -> Draft:
    """Charge each term for what only it needs, and the plan for everything once."""
    planned: list[PlannedTerm] = []
    total = cost_of(draft.needs)
    for item in draft.terms:
        others = draft.config.primary.needs()
        for other in draft.terms:
            others = others | other.needs if other is not item else others
        extra = extra_cost(item.term, draft.config.model)
        planned.append(replace(item, cost=cost_of(_without(item.needs, others)) + extra))
        total += extra
    return replace(draft, terms=tuple(planned), cost=total)


def _without(needs: Needs, others: Needs) -> Needs:
    statistics: frozenset[Statistic] = needs.statistics - others.statistics
    picks = tuple(pick for pick in needs.picks if pick not in others.picks)
    return Needs(statistics, picks, needs.positions - others.positions)


PASSES: tuple[Callable[[Draft], Draft], ...] = (collect, merge, order, cost)
