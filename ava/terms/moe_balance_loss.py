"""``moe_balance_loss``: keeps the load of the experts of a mixture even."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from ava.terms.base import Needs, OwnMeanTerm, Source, Weight
from ava.terms.fields import ExpertUsage

if TYPE_CHECKING:
    from torch import Tensor

    from ava.terms.items import Items

__all__ = ["MoeBalanceLoss"]


class MoeBalanceLoss(OwnMeanTerm):
    """Pushes a router off its overused experts.

    ``gradient`` compares a running average of the load with the target and charges the router's probability of each
    expert by how far it is off: nothing at balance. ``switch`` is the auxiliary loss of the Switch Transformer, which
    is 1 at balance. ``loss_free`` adds no loss; it keeps a bias per expert, ``loss.expert_bias``, for the router to
    add to its scores before it picks its top k.
    """

    name: ClassVar[str] = "moe_balance_loss"
    formula: ClassVar[str] = "gradient: Σ_i sg((r_i - u_i)/u_i) P_i;  switch: Σ_i f_i P_i / u_i;  loss_free: 0"
    sources: ClassVar[tuple[Source, ...]] = (
        Source("Fedus et al. (2021), Switch Transformers", "https://arxiv.org/abs/2101.03961", "eq. 4"),
        Source(
            "Wang et al. (2024), Auxiliary-Loss-Free Load Balancing Strategy for Mixture-of-Experts",
            "https://arxiv.org/abs/2408.15664",
            "algorithm 1",
        ),
    )
    recommended: ClassVar[dict[str, tuple[float, float]]] = {"weight": (0.05, 0.2), "momentum": (0.5, 0.99)}

    weight: Weight = Field(default=0.1, description="Factor of the term in the total: a number, or a schedule.")
    method: Literal["gradient", "switch", "loss_free"] = Field(default="gradient", description="How load is balanced.")
    target_expert_usage: ExpertUsage | None = Field(
        default=None, description="Share of the load each expert should get: one number, one per expert, or even."
    )
    momentum: Annotated[float, Field(ge=0, lt=1)] = Field(
        default=0.9, description="Memory of the running average of the load (with `method: gradient`)."
    )
    rate: Annotated[float, Field(gt=0)] = Field(
        default=0.001, description="Change of the bias a step (with `method: loss_free`)."
    )

    def needs(self) -> Needs:
        """Return what the term must be given."""
        return Needs(inputs=("gate_logits",))

    def target(self, experts: int) -> tuple[float, ...]:
        """Return the target share of each expert."""
        usage = self.target_expert_usage
        if isinstance(usage, tuple):
            return usage
        return (1 / experts if usage is None else usage,) * experts

    def value(self, items: Items) -> Tensor:
        """Return the mean over layers, 0-d."""
        assert items.gate_logits is not None
        assert items.load is not None
        assert items.usage is not None
        gates = items.gate_logits
        if self.method == "loss_free":
            return gates.new_zeros(()) * gates.where(items_mask(items), gates.new_zeros(())).sum()
        routed = items_mask(items)
        probability = gates.where(routed, gates.new_zeros(())).softmax(2)
        mean = items.mean_over_routed(probability.transpose(1, 2))
        target = mean.new_tensor(self.target(gates.shape[2]))
        pressure = items.load / target if self.method == "switch" else (items.usage - target) / target
        return (pressure.to(mean.dtype) * mean).sum(1).mean()

    def untrained(self, vocab_size: int) -> float:
        """Return the raw value for a router without a preference; one number as the target is taken for an even one."""
        if self.method == "loss_free":
            return 0.0
        usage = self.target_expert_usage
        switch = sum(1 / share for share in usage) / len(usage) ** 2 if isinstance(usage, tuple) else 1.0
        return switch if self.method == "switch" else switch - 1


def items_mask(items: Items) -> Tensor:
    """Return which entries of ``gate_logits`` belong to routed tokens, ``[1, N, 1]``."""
    assert items.routed is not None
    return items.routed[None, :, None]
