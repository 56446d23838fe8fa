"""``distillation_loss``: learn from the whole distribution of a teacher."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field

from ava.terms.base import Needs, RowTerm, Source, Statistic, Weight

if TYPE_CHECKING:
    from torch import Tensor

    from ava.terms.rows import Rows

__all__ = ["DistillationLoss"]


class DistillationLoss(RowTerm):
    """Kullback-Leibler divergence of the student from a teacher, both at one temperature.

    The factor ``T²`` keeps the size of the gradient when the temperature changes. The teacher's logits get no
    gradient; they cost one more pass over the vocabulary. The temperature of the primary loss plays no part.
    """

    name: ClassVar[str] = "distillation_loss"
    formula: ClassVar[str] = "T_d² mean_M KL(softmax(teacher/T_d) ‖ softmax(x/T_d))"
    sources: ClassVar[tuple[Source, ...]] = (
        Source(
            "Hinton et al. (2015), Distilling the Knowledge in a Neural Network",
            "https://arxiv.org/abs/1503.02531",
            "section 2",
        ),
    )
    recommended: ClassVar[dict[str, tuple[float, float]]] = {"weight": (0.1, 1.0), "temperature": (1.0, 4.0)}

    weight: Weight = Field(default=0.5, description="Factor of the term in the total: a number, or a schedule.")
    temperature: Annotated[float, Field(gt=0)] = Field(
        default=2.0, description="Temperature of the teacher's and the student's distribution."
    )

    def needs(self) -> Needs:
        """Return what the term must be given."""
        return Needs(
            frozenset({Statistic.DIVERGENCE}), inputs=("teacher_logits",), teacher_temperature=self.temperature
        )

    def value(self, rows: Rows) -> Tensor:
        """Return the value of each row, ``[N]``, in nats."""
        return self.temperature**2 * rows.statistics[Statistic.DIVERGENCE]

    def untrained(self, vocab_size: int) -> float | None:
        """Return None: it depends on the teacher."""
        return None
