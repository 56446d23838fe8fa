"""``ngram_penalty``: against completing an n-gram that stands in the recent context."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field

from ava.errors import documentation
from ava.terms.advice import Advice, Project, TermRule
from ava.terms.base import TARGET, Candidates, Needs, RowTerm, Source, Statistic, Weight

if TYPE_CHECKING:
    from torch import Tensor

    from ava.terms.rows import Rows

__all__ = ["NgramPenalty"]


def _beyond_sequence(term: NgramPenalty, project: Project) -> Iterator[Advice]:
    length = project.sequence_length
    if length is not None and term.size >= length:
        yield Advice(
            f"a sequence of {length} tokens cannot hold an n-gram of `size` {term.size} twice, so nothing is charged; "
            f"write {max(length // 3, 1)} or less",
            ("size",),
        )


def _wide_window(term: NgramPenalty, project: Project) -> Iterator[Advice]:
    length = project.sequence_length
    if length is not None and term.window >= length > term.size:
        yield Advice(
            f"`window` {term.window} reaches beyond the sequence, {length} tokens; every position of it is paid for "
            f"in each row: write {length - 1} or less",
            ("window",),
        )


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

    rules: ClassVar[tuple[TermRule, ...]] = (
        TermRule(
            "AVA323",
            "ngram-beyond-sequence",
            "warning",
            documentation(
                "Finds a `size` of at least the length of a row, `sequence_length` in `[tool.ava-loss]`.",
                "There is no room for the n-gram to come twice, so the term is always 0.",
                "version: 1\nterms:\n  ngram_penalty: {size: 32, window: 20}",
                "version: 1\nterms:\n  ngram_penalty: {size: 4, window: 20}",
            ),
            _beyond_sequence,
            Project(sequence_length=32),
        ),
        TermRule(
            "AVA401",
            "window-beyond-sequence",
            "warning",
            documentation(
                "Finds a `window` that reaches back further than a row is long, `sequence_length` in "
                "`[tool.ava-loss]`.",
                "The loss looks up a column for every position of the window in every row of logits, also for those "
                "that can hold nothing. Where the loss is slow, a smaller window is the first thing to try.",
                "version: 1\nterms:\n  ngram_penalty: {window: 128}",
                "version: 1\nterms:\n  ngram_penalty: {window: 50}",
            ),
            _wide_window,
            Project(sequence_length=128),
        ),
    )

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
