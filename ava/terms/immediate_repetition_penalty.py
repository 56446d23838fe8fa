"""``immediate_repetition_penalty``: against saying the same token again at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field

from ava.terms.base import CONTEXT, TARGET, Needs, RowTerm, Source, Statistic, Weight

if TYPE_CHECKING:
    from torch import Tensor

    from ava.terms.rows import Rows

__all__ = ["ImmediateRepetitionPenalty"]


class ImmediateRepetitionPenalty(RowTerm):
    """Unlikelihood of the token just read, where it would make a run of ``threshold`` equal tokens.

    Nothing is charged where the text itself repeats: the target is never a negative example. The gradient pushes
    down one logit of the model's own prediction, by up to 1 when the model is certain of the repeat.
    """

    name: ClassVar[str] = "immediate_repetition_penalty"
    formula: ClassVar[str] = "mean_M [u_t ≠ y_t, run_t + 1 ≥ threshold] · -log(1 - p(u_t))"
    sources: ClassVar[tuple[Source, ...]] = (
        Source(
            "Welleck et al. (2020), Neural Text Generation with Unlikelihood Training",
            "https://arxiv.org/abs/1908.04319",
            "eq. 3",
        ),
    )
    recommended: ClassVar[dict[str, tuple[float, float]]] = {"weight": (0.2, 1.0), "threshold": (2, 4)}

    weight: Weight = Field(default=0.5, description="Factor of the term in the total: a number, or a schedule.")
    threshold: Annotated[int, Field(ge=2)] = Field(
        default=2, description="Length of a run of equal tokens that counts as a repetition."
    )

    def needs(self) -> Needs:
        """Return what the term must be given."""
        return Needs(
            frozenset({Statistic.MARGIN, Statistic.MAX_LOG_PROB}),
            picks=(CONTEXT, TARGET),
            positions=frozenset({"run"} if self.threshold > 2 else ()),
        )

    def value(self, rows: Rows) -> Tensor:
        """Return the value of each row, ``[N]``, in nats."""
        context = rows.columns[CONTEXT]
        counts = (context >= 0) & (context != rows.targets)
        if self.threshold > 2:
            counts = counts & (rows.positions["run"] + 1 >= self.threshold)
        penalty = rows.unlikelihood(CONTEXT)
        return penalty.where(counts, penalty.new_zeros(()))

    def untrained(self, vocab_size: int) -> float:
        """Return the raw value for a uniform prediction of text without runs."""
        import math

        return -math.log1p(-1 / vocab_size) if self.threshold == 2 and vocab_size > 1 else 0.0
