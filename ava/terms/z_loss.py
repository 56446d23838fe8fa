"""``z_loss``: keeps the log-partition near zero."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from ava.terms.base import Needs, RowTerm, Source, Statistic, Weight

if TYPE_CHECKING:
    from torch import Tensor

    from ava.terms.rows import Rows

__all__ = ["ZLoss"]


class ZLoss(RowTerm):
    """The square of the log-partition: stops the logits from drifting.

    Softmax does not change when a constant is added to all logits, so nothing else holds them in place. In bfloat16
    a drift costs precision, and in the end the loss diverges; this term removes the free direction.
    """

    name: ClassVar[str] = "z_loss"
    formula: ClassVar[str] = "mean_M ℓ²"
    sources: ClassVar[tuple[Source, ...]] = (
        Source(
            "Chowdhery et al. (2022), PaLM: Scaling Language Modeling with Pathways",
            "https://arxiv.org/abs/2204.02311",
            "section 5",
        ),
    )
    recommended: ClassVar[dict[str, tuple[float, float]]] = {"weight": (1e-5, 1e-3)}

    weight: Weight = Field(default=1e-4, description="Factor of the term in the total: a number, or a schedule.")

    def needs(self) -> Needs:
        """Return what the term must be given."""
        return Needs(frozenset({Statistic.LSE}))

    def value(self, rows: Rows) -> Tensor:
        """Return the value of each row, ``[N]``, in nats squared."""
        return rows.lse.square()

    def untrained(self, vocab_size: int) -> float:
        """Return the raw value for logits near zero."""
        import math

        return math.log(vocab_size) ** 2
