"""``focal_loss``: more weight on the tokens that the model finds hard."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field

from ava.terms.base import TARGET, Needs, RowTerm, Source, Statistic, Weight

if TYPE_CHECKING:
    from torch import Tensor

    from ava.terms.rows import Rows

__all__ = ["FocalLoss"]


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
