"""``eos_penalty``: against ending a sequence too early."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field

from ava.terms.base import EOS, TARGET, Needs, RowTerm, Source, Statistic, Weight

if TYPE_CHECKING:
    from torch import Tensor

    from ava.terms.rows import Rows

__all__ = ["EosPenalty"]


class EosPenalty(RowTerm):
    """Unlikelihood of the end-of-sequence token in the first ``min_length`` positions of a segment.

    Nothing is charged where the text itself ends. In packed rows each document has its own start.
    """

    name: ClassVar[str] = "eos_penalty"
    formula: ClassVar[str] = "mean_M [q_t < min_length, y_t ≠ eos] · -log(1 - p(eos))"
    sources: ClassVar[tuple[Source, ...]] = (
        Source(
            "Welleck et al. (2020), Neural Text Generation with Unlikelihood Training",
            "https://arxiv.org/abs/1908.04319",
            "eq. 3",
        ),
    )
    recommended: ClassVar[dict[str, tuple[float, float]]] = {"weight": (0.01, 0.1), "min_length": (5, 100)}

    weight: Weight = Field(default=0.05, description="Factor of the term in the total: a number, or a schedule.")
    min_length: Annotated[int, Field(ge=1)] = Field(
        default=20, description="Positions of a segment before which the end is too early."
    )

    def needs(self) -> Needs:
        """Return what the term must be given."""
        return Needs(
            frozenset({Statistic.MARGIN, Statistic.MAX_LOG_PROB}),
            picks=(EOS, TARGET),
            positions=frozenset({"before"}),
            model=("eos_token_id",),
        )

    def value(self, rows: Rows) -> Tensor:
        """Return the value of each row, ``[N]``, in nats."""
        early = (rows.positions["before"] < self.min_length) & (rows.targets != rows.columns[EOS])
        penalty = rows.unlikelihood(EOS)
        return penalty.where(early, penalty.new_zeros(()))

    def untrained(self, vocab_size: int) -> float:
        """Return the largest raw value for a uniform prediction: every position counts as early."""
        import math

        return -math.log1p(-1 / vocab_size) if vocab_size > 1 else 0.0
