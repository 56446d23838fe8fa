"""Heads applied to chunks of rows, so that their logits never exist whole: the operator of the ``linear`` engine.

A chunk's logits are made in one buffer, measured, and turned into their own gradient in the same place; what is left
of them is ``dh`` and a share of ``dW``. The gradient is taken in the forward pass: three products of matrices in all,
where autograd would need four (the logits would have to be made again).

That is possible because the total is linear in the sums over rows. With weights relative to the main loss, the
gradient of the total is the gradient of ``sum_k w_k S_k`` times whatever comes from above to the main sum, so the
backward pass has nothing left to do but to scale. Until then nothing is divided by the number of tokens, which keeps
gradients in 16 bits away from zero.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.amp import is_autocast_available
from torch.autograd.function import once_differentiable

from ava.compile.chunk import Body, Chunk, Found
from ava.compile.put import put_columns
from ava.compile.shard import Shard

__all__ = ["Head", "LinearRows", "Pass", "ShapeLogits", "Sweep"]

_BLOCK = 512
"""Columns of a product at a time on a CPU."""
ShapeLogits = Callable[[Tensor, Tensor | None], None]
"""Turns a product ``[c, V]`` into logits, in place, with the bias ``[V]``."""


@dataclass(frozen=True, slots=True)
class Head:
    """Where a head's tensors stand among the operator's, and how their product becomes logits.

    Attributes:
        hidden: index of ``[N, H]``, or of ``[K, N, H]`` with ``slot``.
        weight: index of ``[V, H]``, or of ``[K, V, H]`` with ``weight_slot``.
        bias: index of ``[V]``, or None.
        slot: place in the first dimension of ``hidden``.
        weight_slot: place in the first dimension of ``weight``.
        shape_logits: what turns the product into logits, in place; None where it already is.
        scale: ``model.logit_scale``, which the gradient of the bias does not have.
    """

    hidden: int
    weight: int
    bias: int | None = None
    slot: int | None = None
    weight_slot: int | None = None
    shape_logits: ShapeLogits | None = None
    scale: float = 1.0


@dataclass(frozen=True, slots=True)
class Pass:
    """All rows through one head.

    Attributes:
        head: the head.
        body: the function of a chunk.
        rows: tensors with a row per row of the head: the chunk's ``prepared``.
        coefficients: what each of the body's sums counts.
        inverse_temperature: 0-d.
        columns: columns of its logits that take part, on this rank.
        teacher: ``[N, V]`` or None.
        main: whether this is the pass over the main logits, which comes first.
        shard: the columns of this rank.
        kept: int64, the rows worth visiting; None for all.
    """

    head: Head
    body: Body
    rows: list[Tensor]
    coefficients: Tensor
    inverse_temperature: Tensor
    columns: int
    teacher: Tensor | None = None
    main: bool = True
    shard: Shard | None = None
    kept: Tensor | None = None


@dataclass(slots=True)
class Sweep:
    """All passes of a call.

    Attributes:
        passes: the main one first.
        chunk: rows of a chunk.
        dtype: of the products.
        wide: dtype of the row arithmetic.
        metrics: how many metrics' sums the main body answers.
        needed: indices of the tensors whose gradient is wanted; the bodies were built for that.
        gradients: what became of them.
    """

    passes: list[Pass]
    chunk: int
    dtype: torch.dtype
    wide: torch.dtype
    metrics: int
    needed: tuple[int, ...]
    gradients: dict[int, Tensor] = field(default_factory=dict)


class LinearRows(torch.autograd.Function):
    """Sums over the rows of heads, without their logits. See the module's docstring."""

    @staticmethod
    def forward(ctx: Any, sweep: Sweep, *tensors: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the sums of all passes one after the other, ``[S]``, the metrics' sums ``[M]`` and the confidence.

        The sums' gradients must be proportional to the coefficients, the first of them 1: those of a total are.

        Args:
            ctx: autograd's context.
            sweep: the passes; it is used up.
            tensors: what the heads' indices speak of.
        """
        with torch.no_grad(), _by_itself(tensors[0].device.type):
            answers = _sweep(sweep, tensors)
        ctx.dtypes = [(tensor.dtype, tensor.shape) for tensor in tensors]
        ctx.gradients = sweep.gradients
        ctx.mark_non_differentiable(*answers[1:])
        ctx.set_materialize_grads(False)
        return answers

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *upstream: Tensor | None) -> tuple[Tensor | None, ...]:
        """Return the gradients that the forward pass took, times what comes from above."""
        if ctx.gradients is None:
            raise RuntimeError(
                "Trying to backward through the loss a second time: specify retain_graph=True the first time."
            )
        above = upstream[0]
        answers: list[Tensor | None] = [None] * len(ctx.dtypes)
        if above is not None:
            held = torch._C._autograd._get_current_graph_task_keep_graph()
            for index, gradient in ctx.gradients.items():
                dtype, shape = ctx.dtypes[index]
                # handed over, not copied, where nobody asks again: the largest tensors of the step
                scaled = gradient * above[0] if held else gradient.mul_(above[0])
                answers[index] = scaled.to(dtype).view(shape)
            if not held:
                ctx.gradients = None
        return (None, *answers)


@contextmanager
def _by_itself(device_type: str) -> Iterator[None]:
    """Turn off autocast, and the caller's hooks on saved tensors, under which `torch.func.grad` refuses to work.

    Nothing in here is saved for a backward pass, so hooks (activation checkpointing, offloading) miss nothing.
    """
    hooks = []
    while (top := torch._C._autograd._top_saved_tensors_default_hooks(False)) is not None:
        hooks.append(top)
        torch._C._autograd._pop_saved_tensors_default_hooks()
    try:
        with torch.autocast(device_type, enabled=False) if is_autocast_available(device_type) else nullcontext():
            yield
    finally:
        for pack, unpack in reversed(hooks):
            torch._C._autograd._push_saved_tensors_default_hooks(pack, unpack)


def _sweep(sweep: Sweep, tensors: Sequence[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
    device, wide = tensors[0].device, sweep.wide
    exact = wide if device.type == "mps" else torch.float64
    confidence = torch.zeros(sweep.passes[0].rows[0].shape[0], dtype=wide, device=device)
    metrics = torch.zeros(sweep.metrics, dtype=exact, device=device)
    for index in sweep.needed:  # summed in float32 at the least
        dtype = torch.promote_types(tensors[index].dtype, torch.float32)
        sweep.gradients[index] = torch.zeros(tensors[index].shape, dtype=dtype, device=device)
    buffer = torch.empty(0, dtype=sweep.dtype, device=device)
    weights: dict[int, Tensor] = {}
    sums: list[Tensor] = []
    for one in sweep.passes:
        if one.head.weight not in weights:
            weights[one.head.weight] = tensors[one.head.weight].to(sweep.dtype)
        total = torch.zeros(one.coefficients.shape[0], dtype=exact, device=device)
        for where, count in _chunks(one, confidence.shape[0], sweep.chunk):
            size = count * one.columns
            if buffer.shape[0] < size:
                buffer = torch.empty(size, dtype=sweep.dtype, device=device)
            logits = buffer[:size].view(count, one.columns)
            found = _chunk(sweep, one, tensors, weights[one.head.weight], logits, where, confidence)
            total += found.sums
            if one.main:
                confidence[where] = found.confidence
                metrics += found.metrics
        sums.append(total)
    # every rank holds the hidden states whole and found its columns' share of their gradient
    for index, shard in {one.head.hidden: one.shard for one in sweep.passes}.items():
        if shard is not None and index in sweep.gradients:
            sweep.gradients[index] = shard.reduce_gradient(sweep.gradients[index])
    return torch.cat(sums), metrics, confidence


def _chunks(one: Pass, rows: int, size: int) -> Iterator[tuple[slice | Tensor, int]]:
    """Yield which rows a chunk holds, and how many, in chunks of nearly equal size."""
    total = rows if one.kept is None else one.kept.shape[0]
    count = max(1, -(-total // size))
    edges = [total * number // count for number in range(count + 1)]
    for start, stop in itertools.pairwise(edges):
        if stop > start:
            yield (slice(start, stop) if one.kept is None else one.kept[start:stop]), stop - start


def _chunk(
    sweep: Sweep,
    one: Pass,
    tensors: Sequence[Tensor],
    weight: Tensor,
    logits: Tensor,
    where: slice | Tensor,
    confidence: Tensor,
) -> Found:
    """Measure a chunk and add its share of every gradient."""
    head = one.head
    hidden = tensors[head.hidden] if head.slot is None else tensors[head.hidden][head.slot]
    states = hidden[where].to(sweep.dtype)
    matrix = (weight if head.weight_slot is None else weight[head.weight_slot])[: one.columns]
    _product(states, matrix, logits)
    if head.shape_logits is not None:
        head.shape_logits(logits, None if head.bias is None else tensors[head.bias][: one.columns])
    found = one.body(
        Chunk(
            logits,
            one.inverse_temperature,
            one.coefficients,
            [values[where] for values in one.rows],
            None if one.teacher is None else one.teacher[where],
            None if one.main else confidence[where],
        )
    )
    if not sweep.needed:
        return found
    if found.at is not None and found.values is not None:
        put_columns(logits, found.at, found.values)
    gradient = sweep.gradients.get(head.hidden)
    if gradient is not None:
        target = gradient if head.slot is None else gradient[head.slot]
        if isinstance(where, slice):
            _add_product(target[where], logits, matrix)
        else:
            target[where] += _add_product(
                torch.zeros(states.shape, dtype=target.dtype, device=target.device), logits, matrix
            )
    gradient = sweep.gradients.get(head.weight)
    if gradient is not None:
        target = (gradient if head.weight_slot is None else gradient[head.weight_slot])[: one.columns]
        _add_product(target, logits.T, states)
    if head.bias is not None and head.bias in sweep.gradients:
        target = sweep.gradients[head.bias][: one.columns]
        target += logits.sum(0, dtype=target.dtype) / head.scale
    return found


def _product(states: Tensor, matrix: Tensor, logits: Tensor) -> None:
    """Write ``states @ matrixᵀ`` into ``logits``.

    On a CPU a block of columns at a time, which keeps the block of the matrix in the cache: a third faster for chunks
    of 256 rows and 50,000 columns.
    """
    if not logits.is_cpu:
        torch.mm(states, matrix.T, out=logits)
        return
    for start in range(0, matrix.shape[0], _BLOCK):
        torch.mm(states, matrix[start : start + _BLOCK].T, out=logits[:, start : start + _BLOCK])


def _add_product(target: Tensor, left: Tensor, right: Tensor) -> Tensor:
    """Add ``left @ right`` to ``target`` in place, in its dtype: 16-bit factors are summed in float32 and not rounded.

    A sum over rows that is not yet divided by their number may leave the range of float16, and a gradient that is
    rounded here and once more in the backward pass is worse than the one of whole logits.
    """
    if left.dtype == target.dtype:
        return target.addmm_(left, right)
    if target.is_cuda:
        return target.add_(torch.mm(left, right, out_dtype=target.dtype))
    return target.addmm_(left.to(target.dtype), right.to(target.dtype))
