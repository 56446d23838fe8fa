"""What a loss and its terms need and cost, in words."""

from __future__ import annotations

from ava.numbers import plural
from ava.plan.cost import Cost
from ava.plan.explain import Explanation
from ava.plan.explain_term import TermInfo
from ava.terms.base import Needs

__all__ = ["cost_text", "memory_note", "needs_text", "term_cost"]


def memory_note(told: Explanation) -> str:
    """Return what the figures of memory are for."""
    assumed = [f"{told.vocab_size:,} tokens"] if told.assumed else []
    assumed += [f"a hidden size of {info.hidden_size}" for info in told.engines if info.assumed]
    return (
        f"The most that forward and backward hold above what they are given, for {told.shape}"
        + (f" (assumed: {' and '.join(assumed)})" if assumed else "")
        + f". vocab_parallel: on each of {told.shape.ranks} ranks."
    )


def needs_text(needs: Needs) -> str:
    """Return what an engine and the caller must supply."""
    words = [*sorted(map(str, needs.statistics)), *map(str, needs.picks), *sorted(needs.positions)]
    words += [f"the argument {name}" for name in needs.inputs] + [f"model.{name}" for name in needs.model]
    return " · ".join(words) or "nothing"


def term_cost(term: TermInfo) -> str:
    """Return what a term costs."""
    needs = term.needs
    if term.cost == Cost() and needs.inputs and not (needs.statistics or needs.picks):
        return f"nothing a row of logits: it works on {' and '.join(needs.inputs)} alone"
    return cost_text(term.cost)


def cost_text(cost: Cost | None) -> str:
    """Return a cost; None is that of the primary loss."""
    if cost is None:
        return "the one pass over the vocabulary that every loss makes"
    row = [
        plural(cost.columns, "column") if cost.columns else "",
        f"{cost.saved_bytes:,} B saved" if cost.saved_bytes else "",
        plural(cost.flops, "flop") if cost.flops else "",
    ]
    words = [" · ".join(filter(None, row)) + " a row"] if any(row) else []
    if cost.passes:
        words.append(f"{cost.passes} more {'pass' if cost.passes == 1 else 'passes'} over the vocabulary")
    if not words:
        words = ["nothing that the others do not need too"]
    if cost.parameters:
        words.append(plural(cost.parameters, "parameter"))
    return " · ".join(words)
