"""``overconfidence_penalty``: against being certain of the wrong token."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field

from ava.errors import documentation
from ava.terms.advice import Advice, Project, TermRule
from ava.terms.base import TARGET, Needs, RowTerm, Source, Statistic, Weight

if TYPE_CHECKING:  # linting a YAML file must not import torch
    from torch import Tensor

    from ava.terms.rows import Rows

__all__ = ["OverconfidencePenalty"]


def _low_floor(term: OverconfidencePenalty, project: Project) -> Iterator[Advice]:
    if term.entropy_floor < 0.05:
        yield Advice(
            f"an `entropy_floor` of {term.entropy_floor:g} nats is only reached by predictions that give one token "
            "more than 99 %; write 1.0",
            ("entropy_floor",),
        )


class OverconfidencePenalty(RowTerm):
    """Charges a prediction for entropy below a floor, the more the less it gives to the target.

    A model may be as certain as it likes where it is right: the factor ``1 - p_y`` fades there. Where it is certain
    of something else, the entropy is pushed up to ``entropy_floor`` and no further, so text that leaves no doubt
    is not blurred, as a penalty on all certainty (``token_diversity_loss``) would do.
    """

    name: ClassVar[str] = "overconfidence_penalty"
    formula: ClassVar[str] = "mean_M (1 - p_y) · max(0, h - H(p))"
    sources: ClassVar[tuple[Source, ...]] = (
        Source(
            "Pereyra et al. (2017), Regularizing Neural Networks by Penalizing Confident Output Distributions",
            "https://arxiv.org/abs/1701.06548",
            "section 3 (the hinge)",
        ),
    )
    recommended: ClassVar[dict[str, tuple[float, float]]] = {"weight": (0.05, 0.5), "entropy_floor": (0.2, 3.0)}

    rules: ClassVar[tuple[TermRule, ...]] = (
        TermRule(
            "OVC001",
            "low-entropy-floor",
            "warning",
            documentation(
                "Finds an `entropy_floor` below 0.05 nats.",
                "Nothing is charged until the model is certain beyond doubt, when there is little left to learn from "
                "it.",
                "version: 1\nterms:\n  overconfidence_penalty: {entropy_floor: 0.01}",
                "version: 1\nterms:\n  overconfidence_penalty: {entropy_floor: 1.0}",
            ),
            _low_floor,
        ),
    )

    weight: Weight = Field(default=0.1, description="Factor of the term in the total: a number, or a schedule.")
    entropy_floor: Annotated[float, Field(gt=0)] = Field(
        default=1.0, description="Entropy, in nats, from which nothing is charged."
    )

    def needs(self) -> Needs:
        """Return what the term must be given."""
        return Needs(frozenset({Statistic.ENTROPY}), picks=(TARGET,))

    def value(self, rows: Rows) -> Tensor:
        """Return the value of each row, ``[N]``, in nats."""
        wrong = -(-rows.nll).expm1()
        return wrong * (self.entropy_floor - rows.entropy).clamp(min=0)

    def untrained(self, vocab_size: int) -> float:
        """Return the raw value for a uniform prediction: its entropy is the largest there is."""
        return (1 - 1 / vocab_size) * max(0.0, self.entropy_floor - math.log(vocab_size))
