"""A vocabulary split over ranks: which columns this rank holds, and the two reductions that join the statistics."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

__all__ = ["HeldByAll", "Shard", "shard_of"]


@dataclass(frozen=True, slots=True)
class Shard:
    """The columns of the vocabulary that a rank holds.

    Ranks hold equal runs of columns, in order, as ``torch.chunk`` makes them: the last ones may hold fewer, or none.

    Attributes:
        group: name of the process group.
        rank: this rank's place in the group.
        ranks: size of the group.
        start: the first column.
        width: columns that take part, the padding of the vocabulary apart.
    """

    group: str
    rank: int
    ranks: int
    start: int
    width: int

    def local(self, columns: Tensor) -> Tensor:
        """Return columns of the whole vocabulary as columns of this shard; ``-1`` for those of other ranks."""
        here = columns - self.start
        return torch.where((columns >= 0) & (here >= 0) & (here < self.width), here, -1)

    def largest(
        self, top: Tensor, below_top: Tensor | None, top_teacher: Tensor | None
    ) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Return the largest logit of each row over all ranks, the largest below it, and the teacher's largest.

        One reduction for all: every rank writes its largest at a place of its own, so all ranks learn all of them.

        Args:
            top: ``[N]``, this rank's largest.
            below_top: ``[N]``, this rank's largest below that (``-inf`` where there is none), or None.
            top_teacher: ``[N]``, or None.
        """
        parts = [top] if below_top is None else [*self._at_own_place(top), below_top]
        if top_teacher is not None:
            parts.append(top_teacher.to(top.dtype))
        reduced = self._reduce(torch.stack(parts), "max")
        taught = None if top_teacher is None else reduced[-1]
        if below_top is None:
            return reduced[0], None, taught
        tops = reduced[: self.ranks]
        largest = tops.amax(0)
        second = torch.where(tops < largest, tops, -torch.inf).amax(0)
        return largest, torch.maximum(second, reduced[self.ranks]), taught

    def total(
        self, sums: Sequence[Tensor], columns: Sequence[Tensor], first: Tensor | None
    ) -> tuple[list[Tensor], list[Tensor], Tensor | None]:
        """Return the sums over all ranks, the picked logits, and the first column of the maximum: one reduction.

        Args:
            sums: ``[N]`` each.
            columns: ``[N, width]`` each, 0 where another rank holds the column.
            first: ``[N]``, this rank's first column of the maximum (its width or more where it has none), or None.
        """
        parts = [value[:, None] for value in sums] + list(columns)
        if first is not None:
            has = first < self.width
            marks = torch.where(has, first + (self.start + 1), 0.0)[:, None]
            own = torch.arange(self.ranks, device=first.device) == self.rank
            parts.append(torch.where(own, marks, 0.0))
        reduced = self._reduce(torch.cat(parts, 1), "sum")
        answers = list(torch.split(reduced, [part.shape[1] for part in parts], 1))
        if first is not None:
            marks = answers.pop()
            first = torch.where(marks > 0, marks - 1, torch.inf).amin(1)
        return [value[:, 0] for value in answers[: len(sums)]], answers[len(sums) :], first

    def reduce_gradient(self, gradient: Tensor) -> Tensor:
        """Return the sum over the ranks of the gradient of something that every rank holds whole."""
        return self._reduce(gradient, "sum")

    def _at_own_place(self, value: Tensor) -> list[Tensor]:
        nothing = torch.full_like(value, -torch.inf)
        return [value if place == self.rank else nothing for place in range(self.ranks)]

    def _reduce(self, value: Tensor, operation: str) -> Tensor:
        reduced = torch.ops._c10d_functional.all_reduce(value.contiguous(), operation, self.group)
        answer: Tensor = torch.ops._c10d_functional.wait_tensor(reduced)
        return answer


def shard_of(group: str, rank: int, ranks: int, columns: int, vocab_size: int) -> Shard:
    """Return the shard of a rank where ``columns`` (padding included) are split over ``ranks``.

    >>> shard_of("tp", 1, 2, columns=10, vocab_size=9)
    Shard(group='tp', rank=1, ranks=2, start=5, width=4)
    """
    each = -(-columns // ranks)
    start = min(rank * each, columns)
    stop = min(start + each, columns, vocab_size)
    return Shard(group, rank, ranks, start, max(0, stop - start))


class HeldByAll(torch.autograd.Function):
    """A tensor that every rank holds whole, on its way into a product with this rank's shard of a head.

    Each rank finds the share of its own columns in the tensor's gradient; backward adds them up.
    """

    @staticmethod
    def forward(ctx: Any, value: Tensor, shard: Shard) -> Tensor:
        """Return the value."""
        ctx.shard = shard
        return value.view_as(value)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        """Return the sum of the ranks' gradients."""
        shard: Shard = ctx.shard
        return shard.reduce_gradient(gradients[0]), None
