"""``router_z_loss``: keeps a router's log-partition near zero."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from ava.terms.base import Needs, OwnMeanTerm, Source, Weight

if TYPE_CHECKING:
    from torch import Tensor

    from ava.terms.items import Items

__all__ = ["RouterZLoss"]


class RouterZLoss(OwnMeanTerm):
    """The square of the log-partition of the gate logits: keeps a router's softmax in the range where it is exact.

    Large gate logits round badly in bfloat16 and make the choice of experts brittle.
    """

    name: ClassVar[str] = "router_z_loss"
    formula: ClassVar[str] = "mean over routed tokens of logsumexp(gate)²"
    sources: ClassVar[tuple[Source, ...]] = (
        Source(
            "Zoph et al. (2022), ST-MoE: Designing Stable and Transferable Sparse Expert Models",
            "https://arxiv.org/abs/2202.08906",
            "eq. 5",
        ),
    )
    recommended: ClassVar[dict[str, tuple[float, float]]] = {"weight": (1e-4, 1e-2)}

    weight: Weight = Field(default=1e-3, description="Factor of the term in the total: a number, or a schedule.")

    def needs(self) -> Needs:
        """Return what the term must be given."""
        return Needs(inputs=("gate_logits",))

    def value(self, items: Items) -> Tensor:
        """Return the mean over routed tokens and layers, 0-d, in nats squared."""
        assert items.gate_logits is not None
        assert items.routed is not None
        gates = items.gate_logits
        kept = gates.where(items.routed[None, :, None], gates.new_zeros(()))
        return items.mean_over_routed(kept.logsumexp(2).square()).mean()

    def untrained(self, vocab_size: int) -> float | None:
        """Return None: it depends on the number of experts."""
        return None
