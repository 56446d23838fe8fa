"""Rules between fields: combinations that cannot work, whatever the model."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ava.config import rules
from ava.errors import Path, Rule

if TYPE_CHECKING:
    from ava.config.model import Config

__all__ = ["Conflict", "conflicts"]

MTP = ("terms", "mtp_loss")
USAGE = ("terms", "moe_balance_loss", "target_expert_usage")


@dataclass(frozen=True, slots=True)
class Conflict:
    """Fields that contradict each other: the finding is at ``path``; ``others`` are the rest."""

    rule: Rule
    message: str
    path: Path
    others: tuple[Path, ...] = ()


def conflicts(config: Config) -> Iterator[Conflict]:
    """Yield every contradiction in ``config``."""
    yield from _temperature(config)
    yield from _vocabulary(config)
    yield from _adaptive_mtp(config)
    yield from _experts(config)


def _temperature(config: Config) -> Iterator[Conflict]:
    primary = config.primary
    if primary.temperature is not None and primary.type != "deepseek":
        yield Conflict(
            rules.TEMPERATURE_WITHOUT_DEEPSEEK,
            f"`primary.type: {primary.type}` has no temperature; use `type: deepseek`, or switch it off with "
            "`temperature: null`",
            ("primary", "temperature"),
            (("primary", "type"),),
        )


def _vocabulary(config: Config) -> Iterator[Conflict]:
    model = config.model
    size = model.vocab_size
    if size is None:
        return
    others = (("model", "vocab_size"),)
    if model.padded_vocab_size is not None and model.padded_vocab_size < size:
        yield Conflict(
            rules.PADDED_VOCABULARY,
            f"`padded_vocab_size` {model.padded_vocab_size} is below `vocab_size` {size}",
            ("model", "padded_vocab_size"),
            others,
        )
    for name in ("eos_token_id", "pad_token_id"):
        token = getattr(model, name)
        if token is not None and token >= size:
            yield Conflict(
                rules.TOKEN_OUTSIDE_VOCABULARY,
                f"`{name}` {token} is outside the vocabulary; with `vocab_size` {size} the last token is {size - 1}",
                ("model", name),
                others,
            )


def _adaptive_mtp(config: Config) -> Iterator[Conflict]:
    term = config.terms.mtp_loss
    if config.primary.type != "adaptive_mtp":
        return
    if term is None:
        yield Conflict(
            rules.ADAPTIVE_MTP,
            "`primary.type: adaptive_mtp` needs `mtp_loss`; remove the null, or use `type: standard`",
            MTP,
            (("primary", "type"),),
        )
    elif term.weighting != "adaptive":
        yield Conflict(
            rules.ADAPTIVE_MTP,
            f"`primary.type: adaptive_mtp` weighs by confidence, and `mtp_loss.weighting` is `{term.weighting}`; "
            "remove it, or use `type: standard`",
            (*MTP, "weighting"),
            (("primary", "type"),),
        )


def _experts(config: Config) -> Iterator[Conflict]:
    experts, model = config.model.num_experts, config.model
    if experts is not None and "top_k" in model.model_fields_set and model.top_k > experts:
        yield Conflict(
            rules.TOP_K,
            f"`top_k` {model.top_k} is more than there are experts (`num_experts` {experts})",
            ("model", "top_k"),
            (("model", "num_experts"),),
        )
    term = config.terms.moe_balance_loss
    usage = term.target_expert_usage if term is not None else None
    if not isinstance(usage, tuple):
        return
    total = math.fsum(usage)
    if abs(total - 1) > 1e-6:
        yield Conflict(rules.EXPERT_USAGE, f"`target_expert_usage` should sum to 1, and sums to {total:.9g}", USAGE)
    if experts is not None and len(usage) != experts:
        yield Conflict(
            rules.EXPERT_USAGE,
            f"`target_expert_usage` should have a number for each of the {experts} experts (`num_experts`), "
            f"and has {len(usage)}",
            USAGE,
            (("model", "num_experts"),),
        )
