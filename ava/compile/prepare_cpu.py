"""What :mod:`ava.compile.prepare` does, on a CPU: by numpy, and by looking at what is there.

Beside a pass over the vocabulary this is little work on little data, and its time is that of calling operators whose
code has left the caches: numpy's calls take half of what torch's do. That few n-grams come back, a CPU can see too.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor

from ava.compile.positions import NOTHING, History, Reader

__all__ = ["prepare_on_cpu"]

Array: TypeAlias = np.ndarray[Any, Any]


def prepare_on_cpu(
    targets: Tensor,
    attention_mask: Tensor | None,
    input_ids: Tensor | None,
    segment_ids: Tensor | None,
    vocab_size: int,
    shift: bool,
    ignore_index: int,
    eos_token_id: int | None,
    pad_token_id: int | None,
    wants: str,
    candidates: list[int],
) -> list[Tensor]:
    """Return what :func:`ava.compile.prepare.prepare` says; candidates of a row in another order.

    The answers lie in torch's memory, where a profile of it sees them; what numpy needs in between is counted nowhere.
    """
    reader = Reader(np, _latest, vocab_size, shift, ignore_index, eos_token_id, pad_token_id)
    unmasked = None if attention_mask is None else (attention_mask != 0).numpy()
    given = targets.numpy()
    y, valid, target = reader.predictions(given, unmasked)
    out, names, found = [valid, target], wants.split(), []
    if names or candidates:
        inputs, segments = (None if ids is None else ids.numpy() for ids in (input_ids, segment_ids))
        position = np.arange(y.shape[1], dtype=np.int64)
        read = reader.history(y, valid, given, unmasked, inputs, segments, position, names)
        out += [read.facts[name] for name in names]
        for size, window in zip(candidates[::2], candidates[1::2], strict=True):
            found.append(_candidates(read, target, size, window))
    return [*(torch.from_numpy(answer.reshape(-1)).clone() for answer in out), *found]


def _latest(numbers: Array, marks: Array) -> Array:
    """Return the last marked one of numbers that nowhere fall, up to each position; at position 0 one is marked."""
    latest: Array = np.maximum.accumulate(np.where(marks, numbers, 0), 1)
    return latest


def _candidates(read: History, target: Array, size: int, window: int) -> Tensor:
    """Return the tokens that followed the current prefix within the window, ``[B * T, window]``, ``-1`` for none.

    Args:
        read: what was read before each prediction.
        target: ``[B, T]``.
        size: tokens of an n-gram, the predicted one included.
        window: positions to look back.
    """
    apart: Array = read.apart
    batch, length = apart.shape
    if not length:
        return torch.empty((0, window), dtype=torch.int64)
    prefix = size - 1
    before = window + max(0, prefix - 1)
    # Entry ``[b, t, j]`` looks at position ``t - window + j``. Before a row stands what equals none of its tokens: of
    # the two sides of a comparison the earlier one gets there first.
    tokens = np.full((batch, before + length), NOTHING, dtype=np.int64)
    tokens[:, before:] = apart
    if prefix:
        row, column = tokens.strides
        windows: Array = np.ndarray(
            (batch, length, window), np.int64, tokens, (before - window) * column, (row, column, column)
        )
        matches = windows == apart[:, :, None]
    else:
        matches = np.ones((batch, length, window), dtype=np.bool_)
    at = np.flatnonzero(matches)
    position, entry = np.divmod(at, window)
    kept = entry >= window - read.age.reshape(-1)[position]  # an earlier entry looks into another segment
    here = position + (position // length + 1) * before
    there, flat = here - window + entry, tokens.reshape(-1)
    for back in range(1, prefix):
        kept &= flat[there - back] == flat[here - back]
    at, position, entry = at[kept], position[kept], entry[kept]

    follower = read.known.reshape(-1)[position - window + entry + 1]
    kept = (follower >= 0) & (follower != target.reshape(-1)[position])
    at, position, follower = at[kept], position[kept], follower[kept]
    _, first = np.unique((position << 32) + follower, return_index=True)
    found = torch.empty((batch * length, window), dtype=torch.int64)
    flat = found.view(-1).numpy()
    flat.fill(-1)
    flat[at[first]] = follower[first]
    return found
