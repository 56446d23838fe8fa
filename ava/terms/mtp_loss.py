"""``mtp_loss``: multi-token prediction, cross-entropy of the tokens after the next one."""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from ava.errors import documentation
from ava.terms.advice import Advice, Project, TermRule
from ava.terms.base import TARGET, HeadsTerm, Needs, Source, Statistic, Weight
from ava.terms.fields import WeightRange

if TYPE_CHECKING:
    from torch import Tensor

    from ava.terms.rows import Rows

__all__ = ["MtpLoss"]


def _idle_field(term: MtpLoss, project: Project) -> Iterator[Advice]:
    for name in ("confidence_threshold", "weight_range"):
        if term.weighting == "uniform" and name in term.model_fields_set:
            yield Advice(
                f"`{name}` has no effect with `weighting: uniform`; write `weighting: adaptive`, or remove it",
                (name,),
                (("weighting",),),
                key=True,
                idle=True,
            )


def _flat_range(term: MtpLoss, project: Project) -> Iterator[Advice]:
    if term.weighting == "adaptive" and term.weight_range == (1.0, 1.0):
        yield Advice(
            "`weight_range: [1, 1]` weighs every position alike, as `weighting: uniform` does; write `[0.5, 1.5]`",
            ("weight_range",),
            (("weighting",),),
        )


def _beyond_sequence(term: MtpLoss, project: Project) -> Iterator[Advice]:
    length = project.sequence_length
    if length is not None and term.num_future_tokens >= length:
        yield Advice(
            f"`num_future_tokens` {term.num_future_tokens} looks beyond a sequence of {length} tokens, so the last "
            "heads learn nothing; write 1 to 4",
            ("num_future_tokens",),
        )


class MtpLoss(HeadsTerm):
    """Cross-entropy of heads that predict the tokens further ahead: head ``k`` at ``t`` predicts ``y[t+k]``.

    A denser signal per token, and representations that plan ahead. The heads come from the model (``mtp_logits``, or
    ``mtp_hidden_states`` with ``lm_head``), or belong to the loss and read ``hidden_states``; then their parameters
    are in ``loss.parameters()`` and must be given to the optimizer. No head predicts across a segment boundary.

    With ``weighting: adaptive`` a position counts the more the surer the model is of its next token: no use in
    planning from a position that it does not understand yet.
    """

    name: ClassVar[str] = "mtp_loss"
    formula: ClassVar[str] = "1/K Σ_k mean_{M_k} ω_t (ℓᵏ - zᵏ_{y[t+k]})"
    sources: ClassVar[tuple[Source, ...]] = (
        Source("DeepSeek-AI (2024), DeepSeek-V3 Technical Report", "https://arxiv.org/abs/2412.19437", "eq. 24"),
        Source(
            "Gloeckle et al. (2024), Better & Faster Large Language Models via Multi-token Prediction",
            "https://arxiv.org/abs/2404.19737",
            "eq. 2",
        ),
    )
    recommended: ClassVar[dict[str, tuple[float, float]]] = {"weight": (0.05, 0.3), "num_future_tokens": (1, 4)}

    rules: ClassVar[tuple[TermRule, ...]] = (
        TermRule(
            "AVA326",
            "idle-mtp-field",
            "warning",
            documentation(
                "Finds `confidence_threshold` or `weight_range` with `weighting: uniform`, which is the default.",
                "Only `weighting: adaptive` reads them; whoever wrote them most likely meant that.",
                "version: 1\nterms:\n  mtp_loss: {confidence_threshold: 0.8}",
                "version: 1\nterms:\n  mtp_loss: {weighting: adaptive, confidence_threshold: 0.8}",
            ),
            _idle_field,
        ),
        TermRule(
            "AVA327",
            "flat-weight-range",
            "warning",
            documentation(
                "Finds `weighting: adaptive` with a `weight_range` of `[1, 1]`.",
                "Every position then counts 1, whatever the confidence, which is computed for nothing.",
                "version: 1\nterms:\n  mtp_loss: {weighting: adaptive, weight_range: [1.0, 1.0]}",
                "version: 1\nterms:\n  mtp_loss: {weighting: adaptive, weight_range: [0.5, 1.5]}",
            ),
            _flat_range,
        ),
        TermRule(
            "AVA328",
            "future-beyond-sequence",
            "warning",
            documentation(
                "Finds `num_future_tokens` of at least the length of a row, `sequence_length` in `[tool.ava-loss]`.",
                "No position has a target that far ahead, so those heads cost memory and never learn.",
                "version: 1\nterms:\n  mtp_loss: {num_future_tokens: 4}",
                "version: 1\nterms:\n  mtp_loss: {num_future_tokens: 3}",
            ),
            _beyond_sequence,
            Project(sequence_length=4),
        ),
    )

    weight: Weight = Field(default=0.1, description="Factor of the term in the total: a number, or a schedule.")
    num_future_tokens: Annotated[int, Field(ge=1)] = Field(default=3, description="Heads, one per token ahead.")
    weighting: Literal["uniform", "adaptive"] = Field(
        default="uniform", description="Whether positions count alike, or by the confidence of the main prediction."
    )
    heads: Literal["linear", "shared", "tied"] = Field(
        default="linear",
        description="The loss's own heads: a projection each, blocks with one projection, or blocks with the lm_head.",
    )
    confidence_threshold: Annotated[float, Field(gt=0, lt=1)] = Field(
        default=0.7, description="Confidence at which a position counts 1 (with `weighting: adaptive`)."
    )
    weight_range: WeightRange = Field(
        default=(0.5, 1.5), description="Factor of a position at confidence 0 and 1 (with `weighting: adaptive`)."
    )

    def needs(self) -> Needs:
        """Return what the term must be given."""
        confidence = frozenset({Statistic.MAX_LOG_PROB} if self.weighting == "adaptive" else ())
        return Needs(confidence, picks=(TARGET,), inputs=("hidden_states",))

    def missing(self, given: AbstractSet[str]) -> str | None:
        """Return the argument that a call lacks: the heads' logits come from the first source there is."""
        if "mtp_logits" in given:
            return None
        if "mtp_hidden_states" in given:
            return None if "lm_head" in given else "lm_head"
        if "hidden_states" not in given:
            return "hidden_states"
        return "lm_head" if self.heads == "tied" and "lm_head" not in given else None

    def value(self, heads: Rows, main: Rows) -> Tensor:
        """Return the value of each row of each head, ``[K, N]``, in nats."""
        rows = main.statistics[Statistic.MAX_LOG_PROB].shape[0]
        nll = heads.nll.view(-1, rows) if rows else heads.nll.view(0, 0)
        return nll * self.position_weight(main) if self.weighting == "adaptive" else nll

    def position_weight(self, main: Rows) -> Tensor:
        """Return ω of each position, ``[N]``, from the confidence of the main prediction; without a gradient."""
        confidence = main.statistics[Statistic.MAX_LOG_PROB].detach().exp()
        low, high = self.weight_range
        theta = self.confidence_threshold
        below = low + (1 - low) * confidence / theta
        above = 1 + (high - 1) * (confidence - theta) / (1 - theta)
        return below.where(confidence < theta, above)

    def untrained(self, vocab_size: int) -> float:
        """Return the raw value for uniform predictions that all have a target."""
        import math

        if self.weighting == "uniform":
            return math.log(vocab_size)
        (low, high), theta, confidence = self.weight_range, self.confidence_threshold, 1 / vocab_size
        if confidence < theta:
            return (low + (1 - low) * confidence / theta) * math.log(vocab_size)
        return (1 + (high - 1) * (confidence - theta) / (1 - theta)) * math.log(vocab_size)
