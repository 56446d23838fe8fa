"""``contrastive_loss``: hidden states that predict the same token attract each other."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field

from ava.terms.base import Needs, OwnMeanTerm, Source, Weight

if TYPE_CHECKING:
    from torch import Tensor

    from ava.terms.items import Items

__all__ = ["ContrastiveLoss"]


class ContrastiveLoss(OwnMeanTerm):
    """Supervised contrastive loss over hidden states; the class of a position is the token that it predicts.

    Pulls together what leads to the same token and pushes the rest apart, against representations that all point
    the same way. Its cost is quadratic in the positions compared, so it samples ``max_tokens`` of them evenly.
    """

    name: ClassVar[str] = "contrastive_loss"
    formula: ClassVar[str] = "mean_i -mean_{j∈P(i)} (s_ij - log Σ_{a≠i} exp s_ia),  s = cos(h_i, h_j) / T_c"
    sources: ClassVar[tuple[Source, ...]] = (
        Source("Khosla et al. (2020), Supervised Contrastive Learning", "https://arxiv.org/abs/2004.11362", "eq. 2"),
    )
    recommended: ClassVar[dict[str, tuple[float, float]]] = {
        "weight": (0.01, 0.3),
        "temperature": (0.05, 0.5),
        "max_tokens": (64, 1024),
    }

    weight: Weight = Field(default=0.1, description="Factor of the term in the total: a number, or a schedule.")
    temperature: Annotated[float, Field(gt=0)] = Field(default=0.07, description="Temperature of the similarities.")
    max_tokens: Annotated[int, Field(ge=2)] = Field(default=256, description="Positions compared, at the most.")

    def needs(self) -> Needs:
        """Return what the term must be given."""
        return Needs(inputs=("hidden_states",))

    def value(self, items: Items) -> Tensor:
        """Return the mean over the anchors that have a positive, 0-d, in nats."""
        import torch

        assert items.hidden is not None
        assert items.classes is not None
        kept = items.classes >= 0
        hidden = torch.where(kept[:, None], items.hidden, 0.0)
        norm = hidden.square().sum(1, keepdim=True)
        features = hidden * norm.clamp(min=1e-24).rsqrt()
        device = features.device.type  # a product that autocast would take in half precision
        with torch.autocast(device, enabled=False) if torch.amp.is_autocast_available(device) else nullcontext():
            similarity = features @ features.T / self.temperature
        itself = torch.eye(similarity.shape[0], dtype=torch.bool, device=similarity.device)
        others = kept[None, :] & kept[:, None] & ~itself
        positive = others & (items.classes[:, None] == items.classes[None, :])
        # A row without any other item would be all -inf, which has no gradient: give it a finite stand-in.
        floor = torch.finfo(similarity.dtype).min
        log_sum = similarity.where(others, similarity.new_full((), floor)).logsumexp(1)
        log_odds = (similarity - log_sum[:, None]).where(positive, similarity.new_zeros(()))
        count = positive.sum(1)
        per_anchor = -log_odds.sum(1) / count.clamp(min=1)
        return per_anchor.sum() / (count > 0).sum().clamp(min=1)

    def untrained(self, vocab_size: int) -> float | None:
        """Return None: it depends on how often a token stands in the sample."""
        return None
