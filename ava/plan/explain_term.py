"""One term, explained: what it is, what it needs and costs, and how large it is before training."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Any

from ava.plan.cost import Cost, cost_of, extra_cost
from ava.plan.plan import Plan
from ava.terms.base import Needs, Schedule, Source, Term, Weight

__all__ = ["MAIN", "TermInfo", "explain_class", "explain_main", "explain_term", "paragraphs", "sparkline"]

MAIN = "main_loss"
_SMOOTHING = Source(
    "Szegedy et al. (2016), Rethinking the Inception Architecture for Computer Vision",
    "https://arxiv.org/abs/1512.00567",
    "section 7",
)
_BARS = "▁▂▃▄▅▆▇█"


@dataclass(frozen=True, slots=True)
class TermInfo:
    """A term as it stands in a configuration, or with its defaults.

    Attributes:
        name: its one name.
        documentation: its paragraphs, the first of which sums it up.
        formula: the maths on one line.
        sources: where that comes from.
        needs: what an engine must supply for it.
        cost: what leaving it out would save, per row of logits; None for the primary loss.
        weight: its factor in the total; the primary loss has 1.
        untrained: its raw value for uniform predictions, penalties at their largest; None where no formula tells.
        defaults: every field with its default.
        recommended: field to usual range.
    """

    name: str
    documentation: tuple[str, ...]
    formula: str
    sources: tuple[Source, ...]
    needs: Needs
    cost: Cost | None
    weight: Weight
    untrained: float | None
    defaults: dict[str, Any]
    recommended: dict[str, tuple[float, float]]

    @property
    def summary(self) -> str:
        """The first paragraph of its documentation."""
        return self.documentation[0] if self.documentation else ""

    @property
    def weights(self) -> tuple[float, float]:
        """The weight at the first step, and after its schedule."""
        return (self.weight.start, self.weight.to) if isinstance(self.weight, Schedule) else (self.weight,) * 2

    @property
    def weighted(self) -> float | None:
        """The untrained value in the total, at the first step."""
        return None if self.untrained is None else self.untrained * self.weights[0]

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data."""
        cost, needs = self.cost, self.needs
        return {
            "summary": self.summary,
            "documentation": list(self.documentation),
            "formula": self.formula,
            "sources": [{"paper": item.paper, "equation": item.equation, "link": item.link} for item in self.sources],
            "weight": self.weight.model_dump(by_alias=True) if isinstance(self.weight, Schedule) else self.weight,
            "sparkline": sparkline(self.weight) if isinstance(self.weight, Schedule) else None,
            "untrained": self.untrained,
            "untrained_weighted": self.weighted,
            "defaults": self.defaults,
            "recommended": {name: list(limits) for name, limits in self.recommended.items()},
            "needs": {
                "statistics": sorted(map(str, needs.statistics)),
                "columns": list(map(str, needs.picks)),
                "positions": sorted(needs.positions),
                "inputs": list(needs.inputs),
                "model": list(needs.model),
            },
            "cost": None
            if cost is None
            else {
                "columns": cost.columns,
                "saved_bytes": cost.saved_bytes,
                "passes": cost.passes,
                "flops": cost.flops,
                "parameters": cost.parameters,
            },
        }


def explain_term(term: Term, vocab_size: int, cost: Cost) -> TermInfo:
    """Explain a term as it is configured."""
    return TermInfo(
        term.name,
        paragraphs(type(term)),
        term.formula,
        term.sources,
        term.needs(),
        cost,
        term.weight,
        term.untrained(vocab_size),
        _defaults(type(term)),
        term.recommended,
    )


def explain_class(cls: type[Term], vocab_size: int) -> TermInfo:
    """Explain a term with its defaults; what it costs is counted as if nothing else were on.

    >>> from ava.terms.z_loss import ZLoss
    >>> explain_class(ZLoss, 1000).defaults
    {'weight': 0.0001, 'if_missing': 'error'}
    """
    from ava.config.model import Model

    term = cls.model_validate({})
    return explain_term(term, vocab_size, cost_of(term.needs()) + extra_cost(term, Model()))


def explain_main(plan: Plan, vocab_size: int) -> TermInfo:
    """Explain the primary loss."""
    primary = plan.primary
    defaults = _defaults(type(primary))
    return TermInfo(
        MAIN,
        paragraphs(type(primary)),
        primary.formula,
        (_SMOOTHING,) if primary.label_smoothing else (),
        primary.needs(),
        None,
        1.0,
        primary.untrained(vocab_size),
        defaults,
        {},
    )


def paragraphs(cls: type) -> tuple[str, ...]:
    """Return the paragraphs of a class's docstring, each on one line, code in single backticks."""
    text = inspect.cleandoc(cls.__doc__ or "").replace("``", "`")
    return tuple(" ".join(part.split()) for part in text.split("\n\n") if part.strip())


def _defaults(cls: type[Any]) -> dict[str, Any]:
    return {
        info.alias or name: list(value) if isinstance(value, tuple) else value
        for name, info in cls.model_fields.items()
        for value in [None if info.is_required() else info.get_default(call_default_factory=True)]
    }


def sparkline(weight: Schedule, width: int = 20) -> str:
    """Return the weight over the steps, from the first to a little after the last that changes it.

    >>> sparkline(Schedule.model_validate({"from": 0, "to": 1, "steps": 10, "delay": 5}), 12)
    '▁▁▁▁▁▃▄▅▆███'
    """
    last = (weight.delay + weight.steps) * 1.1
    values = [weight.at(round(last * index / (width - 1))) for index in range(width)]
    top = max(values) or 1.0
    return "".join(_BARS[min(int(value / top * len(_BARS)), len(_BARS) - 1)] for value in values)
