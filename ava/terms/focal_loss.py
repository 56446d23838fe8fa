"""``focal_loss``: more weight on the tokens that the model finds hard."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field

from ava.errors import documentation
from ava.numbers import short
from ava.terms.advice import Advice, Project, TermRule
from ava.terms.base import TARGET, Needs, RowTerm, Schedule, Source, Statistic, Weight

if TYPE_CHECKING:
    from torch import Tensor

    from ava.terms.rows import Rows

__all__ = ["FocalLoss"]


def _without_focus(term: FocalLoss, project: Project) -> Iterator[Advice]:
    if not term.gamma:
        yield Advice("`focal_loss` with `gamma: 0` is the cross-entropy once more; write 2, or remove it", ("gamma",))


def _alpha(term: FocalLoss, project: Project) -> Iterator[Advice]:
    weight = term.weight.to if isinstance(term.weight, Schedule) else term.weight
    low, high = term.recommended["weight"]
    if low <= weight <= high and not low <= weight * term.alpha <= high:
        yield Advice(
            f"`alpha` {short(term.alpha)} times `weight` {short(weight)} is {short(weight * term.alpha, 3)}, "
            f"outside the usual {short(low)} to {short(high)}; leave `alpha` at 1, and set `weight`",
            ("alpha",),
            (("weight",),),
        )


class FocalLoss(RowTerm):
    """Cross-entropy that fades for tokens predicted well, added to the primary loss.

    The factor ``(1 - p_y)^gamma`` leaves a token that the model gets wrong as it is and lets one that it gets right
    disappear, so rare and hard tokens carry more of the gradient. It comes on top of the primary loss and does not
    replace it. With label smoothing the two pull apart at the end of training: one wants ``p_y`` below 1, the other
    stops caring.
    """

    name: ClassVar[str] = "focal_loss"
    formula: ClassVar[str] = "mean_M α (1 - p_y)^γ (ℓ - z_y)"
    sources: ClassVar[tuple[Source, ...]] = (
        Source("Lin et al. (2017), Focal Loss for Dense Object Detection", "https://arxiv.org/abs/1708.02002", "eq. 5"),
    )
    recommended: ClassVar[dict[str, tuple[float, float]]] = {"weight": (0.1, 0.5), "gamma": (0.5, 5.0)}

    rules: ClassVar[tuple[TermRule, ...]] = (
        TermRule(
            "AVA321",
            "focal-without-focus",
            "warning",
            documentation(
                "Finds `focal_loss` with a `gamma` of 0.",
                "Its factor is then 1 for every token, so the term is the cross-entropy that the primary loss has "
                "already.",
                "version: 1\nterms:\n  focal_loss: {gamma: 0.0}",
                "version: 1\nterms:\n  focal_loss: {gamma: 2.0}",
            ),
            _without_focus,
        ),
        TermRule(
            "AVA207",
            "focal-alpha",
            "warning",
            documentation(
                "Finds an `alpha` that takes `focal_loss` out of its usual range, where its `weight` alone is in it.",
                "Here `alpha` multiplies the whole term, so it is a second weight, and the one that is overlooked.",
                "version: 1\nterms:\n  focal_loss: {weight: 0.2, alpha: 4.0}",
                "version: 1\nterms:\n  focal_loss: {weight: 0.2}",
            ),
            _alpha,
        ),
    )

    weight: Weight = Field(default=0.2, description="Factor of the term in the total: a number, or a schedule.")
    gamma: Annotated[float, Field(ge=0)] = Field(default=2.0, description="How fast a well-predicted token fades.")
    alpha: Annotated[float, Field(gt=0)] = Field(default=1.0, description="Factor of the whole term.")

    def needs(self) -> Needs:
        """Return what the term must be given."""
        return Needs(frozenset({Statistic.MARGIN, Statistic.MAX_LOG_PROB}), picks=(TARGET,))

    def value(self, rows: Rows) -> Tensor:
        """Return the value of each row, ``[N]``.

        ``(1 - p)^gamma`` is written as ``exp(-gamma * unlikelihood)``: its gradient stays finite for every
        ``gamma >= 0`` up to ``p = 1``.
        """
        return self.alpha * (-self.gamma * rows.unlikelihood(TARGET)).exp() * rows.nll

    def untrained(self, vocab_size: int) -> float:
        """Return the raw value for a uniform prediction."""
        import math

        return self.alpha * math.pow(1 - 1 / vocab_size, self.gamma) * math.log(vocab_size)
