"""Which logits a call is about: the caller's, or the head applied to the caller's hidden states."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from ava.compile.heads import head_logits
from ava.errors import ArgumentValueError
from ava.plan import Plan
from ava.run.inputs import check_device, check_float, check_logits, check_tensor, describe
from ava.terms.mtp_loss import MtpLoss

__all__ = ["logits_of"]


def logits_of(
    plan: Plan, logits: Any, hidden_states: Any, lm_head: Any, lm_head_bias: Any, mtp_hidden_states: Any
) -> Tensor:
    """Return the logits of a call, ``[B, T, W]``.

    Without ``logits``, they are ``softcap(scale · h Wᵀ + bias)``, computed whole.

    Raises:
        ArgumentValueError: both or neither of ``logits`` and ``hidden_states`` with ``lm_head``, or a wrong shape.
    """
    model = plan.config.model
    if logits is not None:
        if hidden_states is not None and lm_head is not None and not _head_is_used(plan, mtp_hidden_states):
            raise ArgumentValueError(
                "`logits` and `lm_head` should not both be given: pass `logits`, or `hidden_states` with `lm_head`."
            )
        return check_logits(logits, model.vocab_size, model.padded_vocab_size)
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
    if lm_head_bias is not None:
        bias = check_tensor("lm_head_bias", lm_head_bias, f"the head's bias [V] = [{weight.shape[0]}]")
        if tuple(bias.shape) != (weight.shape[0],):
            raise ArgumentValueError(
                f"`lm_head_bias` should be the head's bias [V] = [{weight.shape[0]}], but is {describe(bias)}."
            )
    made = head_logits(hidden, weight, lm_head_bias, model.logit_scale, model.logit_softcap)
    return check_logits(made, model.vocab_size, model.padded_vocab_size)


def _head_is_used(plan: Plan, mtp_hidden_states: Any) -> bool:
    """Return whether a term reads ``lm_head`` beside the logits: future-token heads that share it."""
    term = next((p.term for p in plan.terms if isinstance(p.term, MtpLoss)), None)
    return term is not None and (mtp_hidden_states is not None or term.heads == "tied")
