"""What the page says of positions: shift, valid mask, context tokens, segments, q, runs, n. Pure Python ints."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import torch
from torch import Tensor

Ints = list[list[int]]
Tokens = list[list[int | None]]
Mask = list[list[bool]]
Item = TypeVar("Item")


@dataclass(frozen=True)
class Positions:
    """Everything a term may know of the `[B, T]` positions, after the shift. `None` is an undefined token."""

    targets: Ints
    valid: Mask
    context: Tokens
    segment: Ints
    before: Ints
    run: Ints
    n: float

    @property
    def batch(self) -> int:
        """`B`."""
        return len(self.targets)

    @property
    def length(self) -> int:
        """`T`, after the shift."""
        return len(self.targets[0]) if self.targets else 0

    @property
    def count(self) -> int:
        """`Σ M`."""
        return sum(sum(row) for row in self.valid)

    @property
    def own_mean_factor(self) -> float:
        """`Σ M / n`, by which an own-mean term is multiplied."""
        return self.count / self.n

    def with_n(self, n: float) -> Positions:
        """The same positions with another denominator."""
        return replace(self, n=n)

    def all_valid(self) -> list[tuple[int, int]]:
        """Every valid `(b, t)`, row by row."""
        return [(b, t) for b in range(self.batch) for t in range(self.length) if self.valid[b][t]]


def _rows(values: Tensor | Sequence[Sequence[int]]) -> Ints:
    """`[B, T]` (or `[T]`, one row) as lists of Python ints."""
    tensor = torch.as_tensor(values)
    return [[int(value) for value in row] for row in (tensor.unsqueeze(0) if tensor.dim() == 1 else tensor).tolist()]


def model_side(rows: list[list[Item]], shift: bool) -> list[list[Item]]:
    """`[:, :-1]` under `shift`."""
    return [row[:-1] for row in rows] if shift else rows


def target_side(rows: list[list[Item]], shift: bool) -> list[list[Item]]:
    """`[:, 1:]` under `shift`."""
    return [row[1:] for row in rows] if shift else rows


def model_side_tensor(tensor: Tensor, shift: bool, dim: int = 1) -> Tensor:
    """`[:, :-1]` along `dim` under `shift`: logits, hidden states, MTP inputs (`dim=2`), teacher logits."""
    return tensor.narrow(dim, 0, tensor.shape[dim] - 1) if shift else tensor


def is_pad(token: int, pad_token_id: int | None, eos_token_id: int | None) -> bool:
    """Is it the pad, that is set and differs from EOS?"""
    return pad_token_id is not None and pad_token_id != eos_token_id and token == pad_token_id


def valid_mask(
    targets: Ints, mask: Ints | None, *, ignore_index: int, pad_token_id: int | None, eos_token_id: int | None
) -> Mask:
    """`M`: of targets and mask that are already aligned."""
    return [
        [
            y != ignore_index and (mask is None or mask[b][t] != 0) and not is_pad(y, pad_token_id, eos_token_id)
            for t, y in enumerate(row)
        ]
        for b, row in enumerate(targets)
    ]


def raw_context(
    targets: Ints,
    mask: Ints | None,
    input_ids: Ints | None,
    *,
    shift: bool,
    ignore_index: int,
    pad_token_id: int | None,
    eos_token_id: int | None,
) -> Tokens:
    """`u`, before segments are known. All arguments as the caller gave them, unshifted."""
    batch = len(targets)
    length = len(targets[0]) - 1 if shift else len(targets[0])

    def one(b: int, t: int) -> int | None:
        if input_ids is not None:
            token, at = input_ids[b][t], t
        elif shift:
            token, at = targets[b][t], t
        elif t > 0:
            token, at = targets[b][t - 1], t - 1
        else:
            return None
        if token == ignore_index or is_pad(token, pad_token_id, eos_token_id):
            return None
        return None if mask is not None and mask[b][at] == 0 else token

    return [[one(b, t) for t in range(length)] for b in range(batch)]


def segments_by_id(segment_ids: Ints) -> Ints:
    """Segments numbered from 0 in each row: a new one wherever the (aligned) id changes."""
    numbered = []
    for row in segment_ids:
        numbers: list[int] = []
        for t in range(len(row)):
            numbers.append(0 if t == 0 else numbers[-1] + (row[t] != row[t - 1]))
        numbered.append(numbers)
    return numbered


def segments_by_eos(context: Tokens, eos_token_id: int | None) -> Ints:
    """Segments numbered from 0 in each row: a new one at each `t` with `u[b, t] = eos`."""
    numbered = []
    for row in context:
        numbers: list[int] = []
        for t in range(len(row)):
            starts = eos_token_id is not None and row[t] == eos_token_id
            numbers.append(0 if t == 0 else numbers[-1] + starts)
        numbered.append(numbers)
    return numbered


def cut_context(context: Tokens, segment: Ints) -> Tokens:
    """`u`, undefined at every segment's first position but the row's first."""
    return [
        [None if t > 0 and segment[b][t] != segment[b][t - 1] else row[t] for t in range(len(row))]
        for b, row in enumerate(context)
    ]


def valid_before(valid: Mask, segment: Ints) -> Ints:
    """`q`: how many valid positions come before `t` in its segment."""
    return [
        [sum(row[s] for s in range(t) if segment[b][s] == segment[b][t]) for t in range(len(row))]
        for b, row in enumerate(valid)
    ]


def runs(context: Tokens, segment: Ints) -> Ints:
    """How many equal context tokens end at `t`; 0 where `u` is undefined."""
    lengths = []
    for b, row in enumerate(context):
        counts = []
        for t, token in enumerate(row):
            count = 0
            while (
                token is not None and count <= t and row[t - count] == token and segment[b][t - count] == segment[b][t]
            ):
                count += 1
            counts.append(count)
        lengths.append(counts)
    return lengths


def denominator(count: int, num_items: float | Tensor | None = None, rank_counts: Sequence[int] | None = None) -> float:
    """`n`: `num_items`, else the mean of the ranks' `Σ M` (`across: data_parallel`), else `max(1, Σ M)`."""
    if num_items is not None:
        n = float(num_items)
    elif rank_counts is not None:
        n = sum(rank_counts) / len(rank_counts)
    else:
        n = float(max(1, count))
    return n if n != 0 else 1.0


def positions(
    targets: Tensor | Sequence[Sequence[int]],
    attention_mask: Tensor | Sequence[Sequence[int]] | None = None,
    input_ids: Tensor | Sequence[Sequence[int]] | None = None,
    segment_ids: Tensor | Sequence[Sequence[int]] | None = None,
    *,
    shift: bool = False,
    ignore_index: int = -100,
    eos_token_id: int | None = None,
    pad_token_id: int | None = None,
    num_items: float | Tensor | None = None,
    rank_counts: Sequence[int] | None = None,
) -> Positions:
    """`Positions` of a call, from its inputs as given (`[B, T]` or `[T]`, unshifted)."""
    given = _rows(targets)
    mask = None if attention_mask is None else _rows(attention_mask)
    tokens = None if input_ids is None else _rows(input_ids)
    documents = None if segment_ids is None else _rows(segment_ids)

    y = target_side(given, shift)
    valid = valid_mask(
        y,
        None if mask is None else target_side(mask, shift),
        ignore_index=ignore_index,
        pad_token_id=pad_token_id,
        eos_token_id=eos_token_id,
    )
    context = raw_context(
        given,
        mask,
        tokens,
        shift=shift,
        ignore_index=ignore_index,
        pad_token_id=pad_token_id,
        eos_token_id=eos_token_id,
    )
    if documents is not None:
        segment = segments_by_id(target_side(documents, shift))
    else:
        segment = segments_by_eos(context, eos_token_id)
    context = cut_context(context, segment)
    if documents is not None and shift:
        for b, row in enumerate(documents):
            if len(row) > 1 and row[0] != row[1]:
                context[b][0] = None
    count = sum(sum(row) for row in valid)
    return Positions(
        targets=y,
        valid=valid,
        context=context,
        segment=segment,
        before=valid_before(valid, segment),
        run=runs(context, segment),
        n=denominator(count, num_items, rank_counts),
    )
