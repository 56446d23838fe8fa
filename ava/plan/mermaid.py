"""A plan as a Mermaid flowchart: arguments of a call, numbers per row, terms, total."""

from __future__ import annotations

from collections.abc import Iterable

from ava.plan.explain_term import MAIN
from ava.plan.plan import Plan
from ava.terms.base import Needs, Schedule, Weight

__all__ = ["mermaid"]


def mermaid(plan: Plan) -> str:
    """Return the flowchart of a plan.

    >>> from ava.config import Config
    >>> print(mermaid(Plan(Config.load({"version": 1, "terms": {"z_loss": {}}}))))
    flowchart LR
      call(["logits, targets"]) --> rows["row statistics"]
      rows -- "target" --> main_loss
      rows -- "lse" --> z_loss
      main_loss -- "× 1" --> total(("total"))
      z_loss -- "× 0.0001" --> total
    <BLANKLINE>
    """
    lines = ["flowchart LR", '  call(["logits, targets"]) --> rows["row statistics"]']
    terms = [(MAIN, plan.primary.needs(), 1.0), *((item.name, item.needs, item.term.weight) for item in plan.terms)]
    for name, needs, _ in terms:
        facts = _facts(needs)
        if facts:
            lines.append(f'  rows -- "{"<br/>".join(facts)}" --> {name}')
        lines += [f'  {argument}(["{argument}"]) --> {name}' for argument in needs.inputs]
    for index, (name, _, weight) in enumerate(terms):
        total = 'total(("total"))' if index == 0 else "total"
        lines.append(f'  {name} -- "× {_weight(weight)}" --> {total}')
    return "\n".join(lines) + "\n"


def _facts(needs: Needs) -> list[str]:
    words: Iterable[object] = (*sorted(map(str, needs.statistics)), *needs.picks, *sorted(needs.positions))
    return [str(word) for word in words]


def _weight(weight: Weight) -> str:
    return f"{weight.start:g} → {weight.to:g}" if isinstance(weight, Schedule) else f"{weight:g}"
