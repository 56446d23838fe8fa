"""``token_diversity_loss``: pays for predictions that put everything on few tokens."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from ava.terms.base import Needs, RowTerm, Source, Statistic, Weight

if TYPE_CHECKING:
    from torch import Tensor

    from ava.terms.rows import Rows

__all__ = ["TokenDiversityLoss"]


class TokenDiversityLoss(RowTerm):
    """One minus the entropy of the prediction, as a share of the largest entropy ``log V``.

    0 for a uniform prediction, 1 for a certain one: a confidence penalty that does not depend on the size of the
    vocabulary. It works against a model that collapses onto a few tokens, and, like label smoothing, against one
    that becomes certain too early.
    """

    name: ClassVar[str] = "token_diversity_loss"
    formula: ClassVar[str] = "mean_M (1 - H(p) / log V)"
    sources: ClassVar[tuple[Source, ...]] = (
        Source(
            "Pereyra et al. (2017), Regularizing Neural Networks by Penalizing Confident Output Distributions",
            "https://arxiv.org/abs/1701.06548",
            "eq. 3",
        ),
    )
    recommended: ClassVar[dict[str, tuple[float, float]]] = {"weight": (0.01, 0.1)}

    weight: Weight = Field(default=0.05, description="Factor of the term in the total: a number, or a schedule.")

    def needs(self) -> Needs:
        """Return what the term must be given."""
        return Needs(frozenset({Statistic.ENTROPY}))

    def value(self, rows: Rows) -> Tensor:
        """Return the value of each row, ``[N]``, between 0 and 1 (0 for a vocabulary of one token)."""
        if rows.vocab_size == 1:
            return rows.entropy * 0
        return 1 - rows.entropy / math.log(rows.vocab_size)

    def untrained(self, vocab_size: int) -> float:
        """Return the raw value for a uniform prediction."""
        return 0.0
