"""The integer work before the first kernel: targets, context tokens, segments, n-gram candidates.

All of it is one custom operator, so that a compiled graph holds a single opaque node: traced, the loops over
offsets would be unrolled into kernels that take minutes to compile. Inside, everything is views and comparisons
over ``[B, T]`` and ``[B, T, window]``, without a host synchronisation; on a CPU :mod:`ava.compile.prepare_cpu` takes
its place.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ava.compile.operators import operator
from ava.compile.positions import NOTHING, History, Reader
from ava.compile.prepare_cpu import prepare_on_cpu

__all__ = ["prepare"]


def _prepare(
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
    """Return ``[valid, target, *wants, *candidates]``, each with ``N = B * T`` rows.

    With ``shift``, position ``t`` predicts ``targets[b, t + 1]`` and the last position of a row is not valid, so
    logits need no slicing.

    Args:
        targets: ``[B, T]`` int64.
        attention_mask: ``[B, T]``, 0 for padding.
        input_ids: ``[B, T]`` int64, what the model read.
        segment_ids: ``[B, T]``, the document of each token in a packed row.
        vocab_size: columns that take part; a token outside is never picked.
        shift: whether targets are the inputs themselves.
        ignore_index: target that does not count.
        eos_token_id: token that ends a document.
        pad_token_id: token that does not count, unless it equals ``eos_token_id``.
        wants: any of ``context run before segment``, separated by spaces, in the order of the answer.
        candidates: pairs ``size, window``, one per n-gram need.

    Returns:
        ``valid`` bool ``[N]``; ``target`` int64 ``[N]``, ``-1`` where outside the vocabulary; the wanted int64
        ``[N]``; candidates int64 ``[N, window]``, ``-1`` for none, no token twice in a row, never the target.
        Target, context and candidates are ``-1`` where not valid.
    """
    reader = Reader(torch, _latest, vocab_size, shift, ignore_index, eos_token_id, pad_token_id)
    unmasked = None if attention_mask is None else attention_mask != 0
    y, valid, target = reader.predictions(targets, unmasked)
    out, names, found = [valid, target], wants.split(), []
    if names or candidates:
        position = torch.arange(y.shape[1], device=y.device)
        read = reader.history(y, valid, targets, unmasked, input_ids, segment_ids, position, names)
        out += [read.facts[name] for name in names]
        for size, window in zip(candidates[::2], candidates[1::2], strict=True):
            found.append(_candidates(read, target, size, window).flatten(0, 1).contiguous())
    return [*(answer.reshape(-1) for answer in out), *found]


def _prepared_shapes(
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
    rows = targets.shape[0] * targets.shape[1]
    out = [targets.new_empty(rows, dtype=torch.bool), targets.new_empty(rows)]
    out += [targets.new_empty(rows) for _ in wants.split()]
    out += [targets.new_empty((rows, window)) for window in candidates[1::2]]
    return out


prepare = operator("prepare", _prepared_shapes, on_cpu=prepare_on_cpu)(_prepare)


def _latest(numbers: Tensor, marks: Tensor) -> Tensor:
    """Return the last marked one of numbers that nowhere fall, up to each position; at position 0 one is marked."""
    return torch.where(marks, numbers, 0).cummax(1).values


def _candidates(read: History, target: Tensor, size: int, window: int) -> Tensor:
    """Return the tokens that followed the current prefix within the window, ``[B, T, window]``, ``-1`` for none.

    Args:
        read: what was read before each prediction.
        target: ``[B, T]``.
        size: tokens of an n-gram, the predicted one included.
        window: positions to look back.
    """
    apart: Tensor = read.apart
    batch, length = apart.shape
    if not length:
        return apart.new_empty((batch, 0, window))
    prefix = size - 1
    before = max(0, prefix - 1)

    def padded(values: Tensor, count: int, fill: int) -> Tensor:
        return torch.cat([values.new_full((batch, count), fill), values], 1)

    # Entry ``[b, t, j]`` of a window looks at position ``t - window + j``. Before the row stand tokens that equal
    # nothing, not even those on the other side of the comparison.
    tokens, current = padded(apart, window + before, NOTHING), padded(apart, before, 2 * NOTHING)
    entries = torch.arange(window, device=apart.device)
    matches = entries >= (window - read.age)[:, :, None]  # an earlier entry looks into another segment
    same = tokens[:, : length + before + window - 1].unfold(1, window, 1) == current[:, :, None]
    for back in range(prefix):
        matches &= same[:, back : back + length]

    follower = padded(read.known[:, 1:], window, -1).unfold(1, window, 1)
    found = torch.where(matches & (follower != target[:, :, None]), follower, -1).sort(2).values
    found[:, :, 1:].masked_fill_(found[:, :, 1:] == found[:, :, :-1], -1)  # one of a kind
    return found
