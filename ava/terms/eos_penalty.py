"""``eos_penalty``: against ending a sequence too early."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field

from ava.errors import documentation
from ava.terms.advice import Advice, Project, TermRule
from ava.terms.base import EOS, TARGET, Needs, RowTerm, Source, Statistic, Weight

if TYPE_CHECKING:
    from torch import Tensor

    from ava.terms.rows import Rows

__all__ = ["EosPenalty"]


def _beyond_sequence(term: EosPenalty, project: Project) -> Iterator[Advice]:
    length = project.sequence_length
    if length is not None and term.min_length >= length:
        yield Advice(
            f"`min_length` {term.min_length} is not below the sequence length, {length}, so ending is charged "
            f"everywhere; write less than {length}",
            ("min_length",),
        )


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

    rules: ClassVar[tuple[TermRule, ...]] = (
        TermRule(
            "AVA322",
            "min-length-beyond-sequence",
            "warning",
            documentation(
                "Finds a `min_length` that reaches to the end of a row, `sequence_length` in `[tool.ava-loss]`.",
                "Every position is then too early for an end, so the model is taught never to stop.",
                "version: 1\nterms:\n  eos_penalty: {min_length: 64}",
                "version: 1\nterms:\n  eos_penalty: {min_length: 20}",
            ),
            _beyond_sequence,
            Project(sequence_length=64),
        ),
    )

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
