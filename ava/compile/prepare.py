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
from ava.compile.prepare_cpu import prepare_on_cpu

__all__ = ["prepare"]

_APART = -(1 << 40)
"""Undefined tokens become ``_APART - position``: different from every token and from each other."""


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
    pad = pad_token_id if pad_token_id is not None and pad_token_id != eos_token_id else None
    unmasked = None if attention_mask is None else attention_mask != 0

    def real(tokens: Tensor, mask: Tensor | None) -> Tensor:
        counts = tokens != ignore_index
        if mask is not None:
            counts &= mask
        return counts if pad is None else counts.logical_and_(tokens != pad)

    if shift:
        y = _next(targets, ignore_index)
        valid = real(y, None if unmasked is None else _next(unmasked, False))
    else:
        y = targets
        valid = real(y, unmasked)
    target = torch.where(valid & (y >= 0) & (y < vocab_size), y, -1)
    out = [valid.reshape(-1), target.reshape(-1)]
    if not wants and not candidates:
        return _own(out, targets)

    # The token read just before each prediction.
    if input_ids is not None:
        u, defined = input_ids, real(input_ids, unmasked)
    elif shift:
        u, defined = targets, real(targets, unmasked)
    else:
        u, defined = _previous(y, ignore_index), _previous(valid, False)

    # Segments: a new one starts where the document changes, or after an end-of-document token. No context crosses.
    starts = torch.zeros_like(valid)
    if segment_ids is not None:
        ids = _next(segment_ids, 0) if shift else segment_ids
        if shift:  # the last position predicts nothing: it belongs to the document before it
            ids[:, -1:] = segment_ids[:, -1:]
        starts[:, 1:] = ids[:, 1:] != ids[:, :-1]
        defined = defined & ~starts
        if shift:  # targets[t] may stand in another document than targets[t + 1]
            defined &= ids == segment_ids
    elif eos_token_id is not None:
        starts[:, 1:] = (defined & (u == eos_token_id))[:, 1:]
        defined = defined & ~starts
    starts[:, :1] = True

    position = torch.arange(y.shape[1], device=y.device).expand_as(y)
    since = _latest(position, starts)
    apart = torch.where(defined, u, _APART - position)
    context = torch.where((apart >= 0) & (apart < vocab_size), apart, -1)
    answers, names = {}, wants.split()
    if "context" in names:
        answers["context"] = torch.where(valid, context, -1)
    if "run" in names:
        differs = torch.ones_like(valid)
        differs[:, 1:] = apart[:, 1:] != apart[:, :-1]
        answers["run"] = position - _latest(position, differs) + 1
    if "before" in names:
        counted = valid.cumsum(1) - valid.long()
        answers["before"] = counted - counted.gather(1, since)
    if "segment" in names:
        answers["segment"] = starts.cumsum(1)
    out += [answers[name].reshape(-1) for name in names]
    age = torch.where(valid, position - since, 0)  # nothing is a candidate where nothing is predicted
    for size, window in zip(candidates[::2], candidates[1::2], strict=True):
        out.append(_candidates(apart, context, age, target, size, window).flatten(0, 1))
    return _own(out, targets)


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


def _own(tensors: list[Tensor], source: Tensor) -> list[Tensor]:
    """Answers of a custom operator may share no storage with its arguments or each other."""
    seen = {source.untyped_storage().data_ptr()}
    owned = []
    for tensor in tensors:
        pointer = tensor.untyped_storage().data_ptr()
        owned.append(tensor.clone() if pointer in seen else tensor.contiguous())
        seen.add(pointer)
    return owned


def _next(tokens: Tensor, fill: float) -> Tensor:
    moved = torch.full_like(tokens, fill)
    moved[:, :-1] = tokens[:, 1:]
    return moved


def _previous(tokens: Tensor, fill: float) -> Tensor:
    moved = torch.full_like(tokens, fill)
    moved[:, 1:] = tokens[:, :-1]
    return moved


def _latest(position: Tensor, marks: Tensor) -> Tensor:
    """Return the last marked position up to each position; position 0 is marked."""
    return torch.where(marks, position, 0).cummax(1).values


def _candidates(apart: Tensor, context: Tensor, age: Tensor, target: Tensor, size: int, window: int) -> Tensor:
    """Return the tokens that followed the current prefix within the window, ``[B, T, window]``, ``-1`` for none.

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
        return apart.new_empty((batch, 0, window))
    prefix = size - 1
    before = max(0, prefix - 1)

    def padded(values: Tensor, count: int, fill: int) -> Tensor:
        return torch.cat([values.new_full((batch, count), fill), values], 1)

    # Entry ``[b, t, j]`` of a window looks at position ``t - window + j``. Before the row stand tokens that equal
    # nothing, not even those on the other side of the comparison.
    tokens, current = padded(apart, window + before, 2 * _APART), padded(apart, before, 3 * _APART)
    entries = torch.arange(window, device=age.device)
    matches = entries >= (window - age)[:, :, None]  # an earlier entry looks into another segment
    same = tokens[:, : length + before + window - 1].unfold(1, window, 1) == current[:, :, None]
    for back in range(prefix):
        matches &= same[:, back : back + length]

    follower = padded(context[:, 1:], window, -1).unfold(1, window, 1)
    found = torch.where(matches & (follower != target[:, :, None]), follower, -1).sort(2).values
    found[:, :, 1:].masked_fill_(found[:, :, 1:] == found[:, :, :-1], -1)  # one of a kind
    return found
