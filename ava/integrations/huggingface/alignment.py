"""How the trainer's labels lie against the logits, and where the documents of a packed row begin."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ava.config.model import Targets
from ava.errors import ArgumentValueError
from ava.plan import Plan
from ava.run.loss import Loss

__all__ = ["check_not_shifted", "segments_of", "twin_of"]

_TELLING = 4
"""Labels that a batch must have before it can show that they are shifted."""


def twin_of(loss: Loss, shift: bool) -> Loss:
    """Return a loss with the same parameters and state, for targets that are shifted or not, whatever the file says."""
    twin = Loss.__new__(Loss)
    twin.__dict__.update(loss.__dict__)
    config = loss.config.model_copy(update={"targets": Targets(shift=shift)})
    twin.__dict__.update(config=config, plan=Plan(config))
    return twin


def segments_of(read: Mapping[str, Any], shape: tuple[int, int], eos_token_id: int | None) -> Tensor | None:
    """Return the document of each token, ``[B, T]``, or None where the batch does not say that it is packed.

    A document begins where ``seq_idx`` changes, at each of ``cu_seq_lens_q`` or where ``position_ids`` restart, and,
    as in a row that is not packed, after an end-of-document token: packed or padded, a document's loss is the same.

    Args:
        read: what the model's forward was given.
        shape: ``(B, T)``.
        eos_token_id: the token that ends a document.
    """
    starts = _starts(read, shape)
    if starts is None:
        return None
    input_ids, mask = read.get("input_ids"), read.get("attention_mask")
    if eos_token_id is not None and isinstance(input_ids, Tensor) and tuple(input_ids.shape) == shape:
        ends = input_ids == eos_token_id
        if isinstance(mask, Tensor) and tuple(mask.shape) == shape:
            ends = ends & (mask != 0)
        starts[:, 1:] |= ends[:, :-1]
    return starts.long().cumsum(1)


def _starts(read: Mapping[str, Any], shape: tuple[int, int]) -> Tensor | None:
    ids = read.get("seq_idx")
    if isinstance(ids, Tensor) and tuple(ids.shape) == shape:
        starts = torch.ones(shape, dtype=torch.bool, device=ids.device)
        starts[:, 1:] = ids[:, 1:] != ids[:, :-1]
        return starts
    positions = read.get("position_ids")
    if isinstance(positions, Tensor) and tuple(positions.shape) in (shape, (1, shape[1])):
        return (positions == 0).expand(shape).clone()
    lengths = read.get("cu_seq_lens_q")
    if isinstance(lengths, Tensor) and shape[0] == 1:
        place = torch.arange(shape[1], device=lengths.device, dtype=lengths.dtype)
        return (place[:, None] == lengths[None, :]).any(1)[None]
    return None


def check_not_shifted(labels: Tensor, input_ids: Tensor, ignore_index: int) -> None:
    """Raise ArgumentValueError where labels already stand one position ahead of the tokens (synchronises)."""
    valid = labels[:, :-1] != ignore_index
    ahead = valid & (labels[:, :-1] == input_ids[:, 1:])
    aligned = valid & (labels[:, :-1] == input_ids[:, :-1])
    count, moved, same = torch.stack([valid.sum(), ahead.sum(), aligned.sum()]).tolist()
    if count >= _TELLING and moved == count and same < count:
        raise ArgumentValueError(
            "`labels` are already shifted: each is the next token of `input_ids`, and the logits would be shifted "
            "against them once more. Return `labels` that equal `input_ids` (with the ignored positions marked), or "
            "name the shifted ones `shift_labels` in the batch."
        )
