"""What a configuration costs, in numbers per row of logits."""

from __future__ import annotations

from dataclasses import dataclass

from ava.config.model import Model
from ava.terms.base import Needs, Statistic, Term
from ava.terms.contrastive_loss import ContrastiveLoss
from ava.terms.mtp_loss import MtpLoss

__all__ = ["Cost", "cost_of", "extra_cost"]

INDEX_BYTES = 8
VALUE_BYTES = 4
COLUMN_FLOPS = 12  # softplus and its derivative at one column
STATISTIC_FLOPS = 4
PRODUCT_FLOPS = 6  # a product and its two derivatives


@dataclass(frozen=True, slots=True)
class Cost:
    """Numbers per row, beyond the one pass over the vocabulary that every configuration makes.

    Attributes:
        columns: columns picked.
        saved_bytes: bytes kept for the backward pass.
        passes: further passes over a row of vocabulary width.
        flops: floating-point operations, those of the passes apart.
        parameters: trainable numbers that the loss itself holds (not per row).
    """

    columns: int = 0
    saved_bytes: int = 0
    passes: int = 0
    flops: int = 0
    parameters: int = 0

    def __add__(self, other: Cost) -> Cost:
        return Cost(
            self.columns + other.columns,
            self.saved_bytes + other.saved_bytes,
            self.passes + other.passes,
            self.flops + other.flops,
            self.parameters + other.parameters,
        )

    def __str__(self) -> str:
        words = [
            f"{count:,} {word if count == 1 or word in ('B', 'flops') else word + 's'}"
            for count, word in (
                (self.columns, "column"),
                (self.saved_bytes, "B"),
                (self.flops, "flops"),
                (self.passes, "more pass" if self.passes == 1 else "more passe"),
                (self.parameters, "parameter"),
            )
            if count
        ]
        return " · ".join(words) or "nothing more"


def cost_of(needs: Needs) -> Cost:
    """Return the cost of obtaining and keeping what ``needs`` asks for.

    A teacher's logits are a pass of their own.

    >>> from ava.terms.base import CONTEXT
    >>> cost_of(Needs(picks=(CONTEXT,)))
    Cost(columns=1, saved_bytes=12, passes=0, flops=12, parameters=0)
    """
    columns = sum(pick.width for pick in needs.picks)
    numbers = len(needs.statistics)
    return Cost(
        columns,
        columns * (INDEX_BYTES + VALUE_BYTES) + numbers * VALUE_BYTES + len(needs.positions) * INDEX_BYTES,
        int(Statistic.DIVERGENCE in needs.statistics),
        columns * COLUMN_FLOPS + numbers * STATISTIC_FLOPS,
    )


def extra_cost(term: Term, model: Model) -> Cost:
    """Return what a term costs beyond its needs.

    Heads for future tokens make a pass each; as the loss's own they have parameters, which are counted once
    ``hidden_size`` and ``vocab_size`` are known. A term on experts costs per expert, one on hidden states per number
    of theirs; what the configuration does not say is left out.
    """
    if isinstance(term, MtpLoss):
        return _heads_cost(term, model)
    experts, hidden = model.num_experts or 0, model.hidden_size or 0
    if isinstance(term, ContrastiveLoss):  # a row of the similarities, and of its gradient
        pairs = term.max_tokens
        return Cost(saved_bytes=2 * pairs * VALUE_BYTES, flops=pairs * (PRODUCT_FLOPS * hidden + COLUMN_FLOPS))
    inputs = term.needs().inputs
    if "expert_outputs" in inputs:
        return Cost(saved_bytes=hidden * VALUE_BYTES, flops=experts * hidden * PRODUCT_FLOPS)
    if "gate_logits" in inputs:
        return Cost(saved_bytes=experts * VALUE_BYTES, flops=experts * COLUMN_FLOPS)
    return Cost()


def _heads_cost(term: MtpLoss, model: Model) -> Cost:
    heads, hidden, vocab = term.num_future_tokens, model.hidden_size, model.padded_vocab_size or model.vocab_size
    if hidden is None or (vocab is None and term.heads != "tied"):
        return Cost(passes=heads)
    block, projection = heads * (2 * hidden + hidden * hidden), hidden * (vocab or 0)
    parameters = {"linear": 2 * hidden + heads * projection, "shared": block + projection, "tied": block}
    return Cost(passes=heads, parameters=parameters[term.heads])
