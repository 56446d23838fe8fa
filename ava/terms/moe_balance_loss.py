"""``moe_balance_loss``: keeps the load of the experts of a mixture even."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from ava.errors import documentation
from ava.numbers import short
from ava.terms.advice import Advice, Project, TermRule
from ava.terms.base import Needs, OwnMeanTerm, Source, Weight
from ava.terms.fields import ExpertUsage

if TYPE_CHECKING:
    from torch import Tensor

    from ava.terms.items import Items

__all__ = ["MoeBalanceLoss"]


_READ_BY = {"momentum": ("gradient",), "rate": ("loss_free",), "target_expert_usage": ("gradient", "switch")}


def _loss_free_weight(term: MoeBalanceLoss, project: Project) -> Iterator[Advice]:
    if term.method == "loss_free" and "weight" in term.model_fields_set:
        yield Advice(
            "`weight` has no effect with `method: loss_free`, which adds no loss; remove it (`rate` is how fast the "
            "bias moves)",
            ("weight",),
            (("method",),),
            key=True,
            idle=True,
        )


def _idle_field(term: MoeBalanceLoss, project: Project) -> Iterator[Advice]:
    for name, methods in _READ_BY.items():
        if term.method not in methods and name in term.model_fields_set and getattr(term, name) is not None:
            words = " or ".join(f"`{method}`" for method in methods)
            yield Advice(
                f"`{name}` has no effect with `method: {term.method}`, only with {words}; remove it",
                (name,),
                (("method",),),
                key=True,
                idle=True,
            )


def _bias_rate(term: MoeBalanceLoss, project: Project) -> Iterator[Advice]:
    if term.method == "loss_free" and not 1e-4 <= term.rate <= 1e-2:
        effect = "makes the choice of experts jump" if term.rate > 1e-2 else "hardly moves the bias"
        yield Advice(f"`rate` {short(term.rate)} {effect}; usual are 0.0001 to 0.01 a step", ("rate",))


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

    rules: ClassVar[tuple[TermRule, ...]] = (
        TermRule(
            "AVA324",
            "loss-free-weight",
            "warning",
            documentation(
                "Finds a `weight` of `moe_balance_loss` with `method: loss_free`.",
                "That method moves a bias in the router and adds 0 to the loss, whatever the weight.",
                "version: 1\nterms:\n  moe_balance_loss: {method: loss_free, weight: 0.1}",
                "version: 1\nterms:\n  moe_balance_loss: {method: loss_free}",
            ),
            _loss_free_weight,
        ),
        TermRule(
            "AVA325",
            "idle-balance-field",
            "warning",
            documentation(
                "Finds a field of `moe_balance_loss` that its `method` does not read: `momentum` belongs to "
                "`gradient`, `rate` to `loss_free`, and `target_expert_usage` to `gradient` and `switch`.",
                "Changing it changes nothing; perhaps another method was meant.",
                "version: 1\nterms:\n  moe_balance_loss: {method: switch, momentum: 0.95}",
                "version: 1\nterms:\n  moe_balance_loss: {method: gradient, momentum: 0.95}",
            ),
            _idle_field,
        ),
        TermRule(
            "AVA208",
            "bias-rate",
            "warning",
            documentation(
                "Finds, with `method: loss_free`, a `rate` outside 0.0001 to 0.01.",
                "The bias moves by that much in every step. Too fast, and experts take turns in being overloaded; too "
                "slow, and the load stays as uneven as it is.",
                "version: 1\nterms:\n  moe_balance_loss: {method: loss_free, rate: 0.5}",
                "version: 1\nterms:\n  moe_balance_loss: {method: loss_free, rate: 0.001}",
            ),
            _bias_rate,
        ),
    )

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
