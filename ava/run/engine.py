"""Which engine a call runs on: that follows from what the caller passes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ava.compile.shard import Shard
from ava.errors import ArgumentValueError
from ava.plan import Plan
from ava.run.inputs import check_device, check_float, check_logits, check_tensor, describe
from ava.terms.mtp_loss import MtpLoss

__all__ = ["HeadInput", "LogitsInput", "engine_input"]


@dataclass(frozen=True, slots=True)
class LogitsInput:
    """Logits ``[B, T, W]``: the ``logits`` engine."""

    logits: Tensor

    name = "logits"

    @property
    def shape(self) -> tuple[int, int]:
        """``(B, T)``."""
        return self.logits.shape[0], self.logits.shape[1]

    @property
    def width(self) -> int:
        """Columns of the logits, padding included."""
        return self.logits.shape[2]

    @property
    def device(self) -> torch.device:
        """Where the logits are."""
        return self.logits.device


@dataclass(frozen=True, slots=True)
class HeadInput:
    """Hidden states ``[B, T, H]`` and a head ``[W, H]`` with its bias ``[W]``: the ``linear`` engine."""

    hidden: Tensor
    weight: Tensor
    bias: Tensor | None

    name = "hidden_states"

    @property
    def shape(self) -> tuple[int, int]:
        """``(B, T)``."""
        return self.hidden.shape[0], self.hidden.shape[1]

    @property
    def width(self) -> int:
        """Columns of the logits, padding included."""
        return self.weight.shape[0]

    @property
    def device(self) -> torch.device:
        """Where the hidden states are."""
        return self.hidden.device


def engine_input(plan: Plan, given: Mapping[str, Any], shard: Shard | None = None) -> LogitsInput | HeadInput:
    """Return what a call computes its rows from.

    With a ``shard``, the logits or the head are this rank's part of the vocabulary, whose width was checked.

    Raises:
        ArgumentValueError: both or neither of ``logits`` and ``hidden_states`` with ``lm_head``, or a wrong shape.
    """
    model = plan.config.model
    logits, hidden_states, lm_head = given.get("logits"), given.get("hidden_states"), given.get("lm_head")
    lm_head_bias = given.get("lm_head_bias")
    sizes = (model.vocab_size, model.padded_vocab_size) if shard is None else (None, None)
    if logits is not None:
        if hidden_states is not None and lm_head is not None and not _head_is_used(plan, given):
            raise ArgumentValueError(
                "`logits` and `lm_head` should not both be given: pass `logits`, or `hidden_states` with `lm_head`."
            )
        return LogitsInput(check_logits(logits, *sizes))
    if hidden_states is None and lm_head is None:
        raise ArgumentValueError(
            "`logits` should be a tensor [B, T, V] or [N, V], but is None; or pass `hidden_states` with `lm_head`."
        )
    hidden = check_tensor("hidden_states", hidden_states, "a tensor [B, T, H] beside `lm_head`")
    check_float("hidden_states", hidden, "a tensor [B, T, H]")
    if hidden.ndim not in (2, 3):
        raise ArgumentValueError(f"`hidden_states` should be [B, T, H] or [N, H], but is {describe(hidden)}.")
    expected = f"the head's weight [V, H] with H = {hidden.shape[-1]}, beside `hidden_states`"
    weight = check_tensor("lm_head", lm_head, expected)
    check_float("lm_head", weight, expected)
    check_device("lm_head", weight, hidden.device, "hidden_states")
    if weight.ndim != 2 or weight.shape[1] != hidden.shape[-1]:
        raise ArgumentValueError(f"`lm_head` should be {expected}, but is {describe(weight)}.")
    _check_rows(weight, *sizes)
    bias = None
    if lm_head_bias is not None:
        expected = f"the head's bias [V] = [{weight.shape[0]}]"
        bias = check_tensor("lm_head_bias", lm_head_bias, expected)
        check_float("lm_head_bias", bias, expected)
        check_device("lm_head_bias", bias, hidden.device, "hidden_states")
        if tuple(bias.shape) != (weight.shape[0],):
            raise ArgumentValueError(f"`lm_head_bias` should be {expected}, but is {describe(bias)}.")
    return HeadInput(hidden.unsqueeze(0) if hidden.ndim == 2 else hidden, weight, bias)


def _check_rows(weight: Tensor, vocab_size: int | None, padded: int | None) -> None:
    width = padded or vocab_size
    if weight.shape[0] == 0:
        raise ArgumentValueError(f"`lm_head` should have at least one row, but is {describe(weight)}.")
    if width is not None and weight.shape[0] != width:
        field = "model.padded_vocab_size" if padded else "model.vocab_size"
        hint = "" if padded else " Set `model.padded_vocab_size` if the model's output is wider than its vocabulary."
        raise ArgumentValueError(f"`lm_head` should have {width} rows (`{field}`), but is {describe(weight)}.{hint}")


def _head_is_used(plan: Plan, given: Mapping[str, Any]) -> bool:
    """Return whether a term reads ``lm_head`` beside the logits: future-token heads that share it."""
    term = next((p.term for p in plan.terms if isinstance(p.term, MtpLoss)), None)
    return term is not None and (given.get("mtp_hidden_states") is not None or term.heads == "tied")
