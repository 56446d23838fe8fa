"""What :mod:`ava.compile.prepare` does, on a CPU: by numpy, and by looking at what is there.

Beside a pass over the vocabulary this is little work on little data, and its time is that of calling operators whose
code has left the caches: numpy's calls take half of what torch's do. That few n-grams come back, a CPU can see too.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor

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
    """Return what :func:`ava.compile.prepare.prepare` says; candidates of a row in another order."""
    pad = pad_token_id if pad_token_id != eos_token_id else None
    unmasked = None if attention_mask is None else (attention_mask != 0).numpy()
    segments = None if segment_ids is None else segment_ids.numpy()

    def real(tokens: Array, mask: Array | None) -> Array:
        counts: Array = tokens != ignore_index
        if mask is not None:
            counts &= mask
        if pad is not None:
            counts &= tokens != pad
        return counts

    def known(tokens: Array, counts: Array | bool = True) -> Array:
        inside: Array = np.where(counts & (tokens >= 0) & (tokens < vocab_size), tokens, -1)
        return inside

    given = targets.numpy()
    y = _next(given, ignore_index) if shift else given
    valid = real(y, _next(unmasked, False) if shift and unmasked is not None else unmasked)
    target = known(y, valid)
    out = [valid, target]
    names = wants.split()
    if not names and not candidates:
        return [torch.from_numpy(answer.reshape(-1)) for answer in out]

    # The token read just before each prediction.
    if input_ids is not None:
        u = input_ids.numpy()
        defined = real(u, unmasked)
    elif shift:
        u, defined = given, real(given, unmasked)
    else:
        u, defined = _previous(y, ignore_index), _previous(valid, False)

    # Segments: a new one starts where the document changes, or after an end-of-document token. No context crosses.
    starts = np.zeros_like(valid)
    if segments is not None:
        ids = _next(segments, 0) if shift else segments
        if shift:  # the last position predicts nothing: it belongs to the document before it
            ids[:, -1:] = segments[:, -1:]
        starts[:, 1:] = ids[:, 1:] != ids[:, :-1]
        defined = defined & ~starts
        if shift:  # targets[t] may stand in another document than targets[t + 1]
            defined &= ids == segments
    elif eos_token_id is not None:
        starts[:, 1:] = (defined & (u == eos_token_id))[:, 1:]
        defined = defined & ~starts
    starts[:, :1] = True

    position = np.arange(y.shape[1], dtype=np.int64)
    since = _latest(position, starts)
    # What is undefined is a negative number of its own: different from every token, and from each other.
    apart = np.where(defined, u, -(1 << 40) - position)
    context = known(apart)
    answers = {}
    if "context" in names:
        answers["context"] = np.where(valid, context, -1)
    if "run" in names:
        differs = np.ones_like(valid)
        differs[:, 1:] = apart[:, 1:] != apart[:, :-1]
        answers["run"] = position - _latest(position, differs) + 1
    if "before" in names:
        counted = valid.cumsum(1, dtype=np.int64) - valid
        answers["before"] = counted - _latest(counted, starts)
    if "segment" in names:
        answers["segment"] = starts.cumsum(1, dtype=np.int64)
    out += [answers[name] for name in names]
    age = np.where(valid, position - since, 0)  # nothing is a candidate where nothing is predicted
    found = [
        torch.from_numpy(_candidates(apart, context, age, target, size, window))
        for size, window in zip(candidates[::2], candidates[1::2], strict=True)
    ]
    return [*(torch.from_numpy(answer.reshape(-1)) for answer in out), *found]


def _next(values: Array, fill: int) -> Array:
    moved = np.full_like(values, fill)
    moved[:, :-1] = values[:, 1:]
    return moved


def _previous(values: Array, fill: int) -> Array:
    moved = np.full_like(values, fill)
    moved[:, 1:] = values[:, :-1]
    return moved


def _latest(numbers: Array, marks: Array) -> Array:
    """Return the last marked one of numbers that nowhere fall, up to each position; at position 0 one is marked."""
    latest: Array = np.maximum.accumulate(np.where(marks, numbers, 0), 1)
    return latest


def _candidates(apart: Array, context: Array, age: Array, target: Array, size: int, window: int) -> Array:
    """Return the tokens that followed the current prefix within the window, ``[B * T, window]``, ``-1`` for none.

    Args:
        apart: ``[B, T]`` the token read before each prediction, where there is none one that equals no other.
        context: the same, ``-1`` where it is no token of the vocabulary.
        age: ``[B, T]`` positions since the segment's first.
        target: ``[B, T]``.
        size: tokens of an n-gram, the predicted one included.
        window: positions to look back.
    """
    batch, length = apart.shape
    if not length:
        return np.empty((0, window), dtype=np.int64)
    prefix = size - 1
    before = window + max(0, prefix - 1)
    # Entry ``[b, t, j]`` looks at position ``t - window + j``. Before a row stands what equals none of its tokens: of
    # the two sides of a comparison the earlier one gets there first.
    tokens = np.full((batch, before + length), -(1 << 41), dtype=np.int64)
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
    kept = entry >= window - age.reshape(-1)[position]  # an earlier entry looks into another segment
    here = position + (position // length + 1) * before
    there, flat = here - window + entry, tokens.reshape(-1)
    for back in range(1, prefix):
        kept &= flat[there - back] == flat[here - back]
    at, position, entry = at[kept], position[kept], entry[kept]

    follower = context.reshape(-1)[position - window + entry + 1]
    kept = (follower >= 0) & (follower != target.reshape(-1)[position])
    at, position, follower = at[kept], position[kept], follower[kept]
    _, first = np.unique((position << 32) + follower, return_index=True)
    found = np.full((batch * length, window), -1, dtype=np.int64)
    found.reshape(-1)[at[first]] = follower[first]
    return found
