"""``ngram_penalty``: against completing an n-gram that stands in the recent context."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field

from ava.terms.base import TARGET, Candidates, Needs, RowTerm, Source, Statistic, Weight

if TYPE_CHECKING:
    from torch import Tensor

    from ava.terms.rows import Rows

__all__ = ["NgramPenalty"]


class NgramPenalty(RowTerm):
    """Unlikelihood of the tokens that would repeat an n-gram of the last ``window`` positions.

    At each position the ``size - 1`` tokens just read are looked up in the window; the tokens that followed them
    there are the candidates, each counted once, and never the target. With ``size: 1`` every token of the window is
    a candidate, which is the token-level objective of the paper.
    """

    name: ClassVar[str] = "ngram_penalty"
    formula: ClassVar[str] = "mean_M Σ_{c ∈ C_t, c ≠ y_t} -log(1 - p(c))"
    sources: ClassVar[tuple[Source, ...]] = (
        Source(
            "Welleck et al. (2020), Neural Text Generation with Unlikelihood Training",
            "https://arxiv.org/abs/1908.04319",
            "eq. 3 and 4",
        ),
    )
    recommended: ClassVar[dict[str, tuple[float, float]]] = {
        "weight": (0.05, 0.2),
        "size": (1, 6),
        "window": (20, 200),
    }

    weight: Weight = Field(default=0.1, description="Factor of the term in the total: a number, or a schedule.")
    size: Annotated[int, Field(ge=1)] = Field(default=4, description="Tokens of an n-gram.")
    window: Annotated[int, Field(ge=1)] = Field(default=50, description="Positions to look back.")

    @property
    def candidates(self) -> Candidates:
        """The columns that the term picks."""
        return Candidates(self.size, self.window)

    def needs(self) -> Needs:
        """Return what the term must be given."""
        return Needs(frozenset({Statistic.MARGIN, Statistic.MAX_LOG_PROB}), picks=(self.candidates, TARGET))

    def value(self, rows: Rows) -> Tensor:
        """Return the value of each row, ``[N]``, in nats."""
        return rows.unlikelihood(self.candidates).sum(1)

    def untrained(self, vocab_size: int) -> float | None:
        """Return the raw value for a uniform prediction of text that repeats nothing."""
        return 0.0 if self.size > 1 else None
