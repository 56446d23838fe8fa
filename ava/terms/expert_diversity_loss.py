"""``expert_diversity_loss``: experts that answer alike are paid for."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from ava.terms.base import Needs, OwnMeanTerm, Source, Weight

if TYPE_CHECKING:
    from torch import Tensor

    from ava.terms.items import Items

__all__ = ["ExpertDiversityLoss"]


class ExpertDiversityLoss(OwnMeanTerm):
    """Mean cosine similarity between the outputs of the experts for the same token.

    Experts that say the same are capacity paid for twice. The sum over pairs is taken from the length of the sum of
    the unit vectors, so the cost is linear in the number of experts.
    """

    name: ClassVar[str] = "expert_diversity_loss"
    formula: ClassVar[str] = "mean over routed tokens of mean_{i<j} cos(o_i, o_j)"
    sources: ClassVar[tuple[Source, ...]] = (
        Source("Guo et al. (2025), Advancing Expert Specialization for Better MoE", "https://arxiv.org/abs/2505.22323"),
    )
    recommended: ClassVar[dict[str, tuple[float, float]]] = {"weight": (0.01, 0.1)}

    weight: Weight = Field(default=0.05, description="Factor of the term in the total: a number, or a schedule.")

    def needs(self) -> Needs:
        """Return what the term must be given."""
        return Needs(inputs=("expert_outputs",))

    def value(self, items: Items) -> Tensor:
        """Return the mean over routed tokens, 0-d, between -1 and 1; 0 for a single expert."""
        assert items.expert_outputs is not None
        assert items.routed is not None
        outputs = items.expert_outputs
        kept = outputs.where(items.routed[None, :, None], outputs.new_zeros(()))
        experts = outputs.shape[0]
        length = kept.square().sum(2, keepdim=True)
        unit = kept * length.clamp(min=1e-24).rsqrt()
        pairs = unit.sum(0).square().sum(1) - unit.square().sum((0, 2))
        return items.mean_over_routed(pairs) / max(experts * (experts - 1), 1)

    def untrained(self, vocab_size: int) -> float:
        """Return the raw value for outputs in unrelated directions."""
        return 0.0
