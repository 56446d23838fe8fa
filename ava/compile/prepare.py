"""The integer work before the first kernel: targets, context tokens, segments, n-gram candidates.

All of it is one custom operator, so that a compiled graph holds a single opaque node: traced, the loops over
offsets would be unrolled into kernels that take minutes to compile. Inside, everything is views and comparisons
over ``[B, T]`` and ``[B, T, window]``, without index arithmetic and without a host synchronisation.
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["prepare"]

_SERIAL = 1 << 15
"""Elements up to which torch uses one thread on a CPU."""
_APART = -(1 << 40)
"""Undefined tokens become ``_APART - position``: different from every token and from each other."""


@torch.library.custom_op("ava::prepare", mutates_args=())
def prepare(
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
        ``valid`` bool ``[N]``; ``target`` int64 ``[N]``, ``-1`` where not valid or outside the vocabulary; the
        wanted int64 ``[N]``; candidates int64 ``[N, window]``, ``-1`` for none, no token twice in a row, never
        the target.
    """
    pad = pad_token_id if pad_token_id is not None and pad_token_id != eos_token_id else None
    unmasked = torch.ones_like(targets, dtype=torch.bool) if attention_mask is None else attention_mask != 0

    def real(tokens: Tensor, mask: Tensor) -> Tensor:
        counts = (tokens != ignore_index) & mask
        return counts if pad is None else counts & (tokens != pad)

    y = _next(targets, ignore_index) if shift else targets
    valid = real(y, _next(unmasked, False) if shift else unmasked)
    in_vocab = valid & (y >= 0) & (y < vocab_size)
    target = torch.where(in_vocab, y, -1)
    out = [valid.reshape(-1), target.reshape(-1)]
    if not wants and not candidates:
        return _own(out, targets)

    # The token read just before each prediction.
    if input_ids is not None:
        u, defined = input_ids, real(input_ids, unmasked)
    elif shift:
        u, defined = targets, real(targets, unmasked)
    else:
        u = _previous(y, ignore_index)
        defined = _previous(real(y, unmasked), False)

    # Segments: a new one starts where the document changes, or after an end-of-document token.
    first = torch.zeros_like(valid)
    first[:, :1] = True
    starts = first
    if segment_ids is not None:
        ids = _next(segment_ids, 0) if shift else segment_ids
        if shift:  # the last position predicts nothing: it belongs to the document before it
            ids[:, -1:] = segment_ids[:, -1:]
        changes = torch.zeros_like(valid)
        changes[:, 1:] = ids[:, 1:] != ids[:, :-1]
        starts = first | changes
        defined = defined & ~changes
        if shift:  # targets[t] may stand in another document than targets[t + 1]
            defined = defined & (ids == segment_ids)
    elif eos_token_id is not None:
        ends = defined & (u == eos_token_id)
        starts = first | ends
        defined = defined & (first | ~ends)
    segment = starts.long().cumsum(1)

    position = torch.arange(y.shape[1], device=y.device).expand_as(y)
    apart = torch.where(defined, u, _APART - position)
    answers, names = {}, wants.split()
    if "context" in names:
        answers["context"] = torch.where(defined & (u >= 0) & (u < vocab_size), u, -1)
    if "run" in names:
        differs = torch.ones_like(valid)
        differs[:, 1:] = apart[:, 1:] != apart[:, :-1]
        answers["run"] = position - _latest(position, differs) + 1
    if "before" in names:
        counted = valid.long().cumsum(1) - valid.long()
        answers["before"] = counted - counted.gather(1, _latest(position, starts))
    if "segment" in names:
        answers["segment"] = segment
    out += [answers[name].reshape(-1) for name in wants.split()]
    for size, window in zip(candidates[::2], candidates[1::2], strict=True):
        out.append(_candidates(apart, segment, target, vocab_size, size, window).flatten(0, 1))
    return _own(out, targets)


@prepare.register_fake
def _(
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


def _candidates(apart: Tensor, segment: Tensor, target: Tensor, vocab_size: int, size: int, window: int) -> Tensor:
    """Return the tokens that followed the current prefix within the window, ``[B, T, window]``, ``-1`` for none.

    On a CPU in slices of positions that stay below torch's threshold for threads: next to a pass over the vocabulary
    the work is small, and a dozen parallel regions would cost more in waiting than they save.
    """
    batch, length = apart.shape
    past = window + size - 1

    def padded(values: Tensor, fill: int) -> Tensor:
        return torch.cat([values.new_full((batch, past), fill), values], 1)

    # Before the row: no segment, and tokens that equal nothing, not even those on the other side of the comparison.
    segments, tokens, current = padded(segment, 0), padded(apart, 2 * _APART), padded(apart, 3 * _APART)
    found = target.new_empty((batch, length, window))
    step = max(1, _SERIAL // max(1, batch * window)) if apart.is_cpu else length
    for start in range(0, length, step):
        stop = min(start + step, length)

        def windows(values: Tensor, back: int, start: int = start, stop: int = stop) -> Tensor:
            """``[B, stop - start, window]``: entry ``[b, t, j]`` is ``values[b, t - back - window + j]``."""
            first = size - 1 + start - back
            return values[:, first : first + stop - start + window - 1].unfold(1, window, 1)

        matches = windows(segments, 0) == segment[:, start:stop, None]
        for back in range(size - 1):
            matches &= windows(tokens, back) == current[:, past + start - back : past + stop - back, None]
        follower = windows(tokens, -1)
        matches &= (follower >= 0) & (follower < vocab_size) & (follower != target[:, start:stop, None])
        part = torch.where(matches, follower, -1).sort(2).values
        part[:, :, 1:].masked_fill_(part[:, :, 1:] == part[:, :, :-1], -1)
        found[:, start:stop] = part
    return found
