"""The narrow waist as an operator of autograd: statistics of rows of logits, with one analytic backward.

With ``z`` the logits of a row over the temperature, ``l = logsumexp z`` and ``p = exp(z - l)``, every term is a
function of a few numbers of the row. :mod:`ava.compile.measure` computes them, :mod:`ava.compile.slope` turns the
gradient of any function of them into the gradient of the logits.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from ava.compile.measure import Measured, measure_rows, ordered
from ava.compile.put import put_columns
from ava.compile.slope import slope_of
from ava.terms.base import Statistic

__all__ = ["FIXED", "RowStatistics"]

FIXED = frozenset({Statistic.MAX_LOG_PROB, Statistic.ARGMAX})
"""Statistics without a gradient."""


class RowStatistics(torch.autograd.Function):
    """Statistics of rows of logits, with one analytic backward. See the module's docstring."""

    @staticmethod
    def forward(ctx: Any, *arguments: Any) -> tuple[Tensor, ...]:
        """Return the wanted statistics in the order of :class:`~ava.terms.base.Statistic`, then log-probabilities.

        The arguments come as one tuple: Dynamo (torch 2.13) tells whether ``ctx`` was passed by counting parameters,
        and drops it from a call without gradients whose number of columns happens to match.

        Args:
            ctx: autograd's context.
            arguments: in this order:
            asked: what is wanted.
            logits: ``[N, W]``.
            inverse_temperature: 0-d, in the dtype of the row arithmetic.
            valid: bool ``[N]``; other rows answer 0 and get no gradient, whatever they hold.
            teacher: ``[N, W]`` for the divergence, else None.
            columns: int64 ``[N, width]`` per pick; ``-1`` for none, and where not valid; else no column twice within
                one pick.
        """
        asked, logits, inverse_temperature, valid, teacher, *columns = arguments
        measured = measure_rows(asked, logits, inverse_temperature, valid, teacher, columns)
        ctx.asked, ctx.picks, ctx.taught = asked, len(columns), teacher is not None
        ctx.save_for_backward(
            logits,
            inverse_temperature,
            measured.octaves,  # in memory then, and not worked out for every vector
            valid,
            logits if teacher is None else teacher,
            measured.top,
            measured.max_log_prob,
            measured.log_rest_share,
            measured.certain,
            measured.entropy,
            measured.log_student,
            measured.top_teacher,
            measured.log_teacher,
            *columns,
            *measured.placed,
        )
        ctx.mark_non_differentiable(*(value for name, value in measured.statistics.items() if name in FIXED))
        return (*measured.statistics.values(), *measured.log_probs)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradient of the logits, in their dtype."""
        saved = ctx.saved_tensors  # once: activation checkpointing unpacks a tensor a single time
        logits, inverse_temperature, octaves, valid, teacher = saved[:5]
        columns, placed = saved[13 : 13 + ctx.picks], list(saved[13 + ctx.picks :])
        top, max_log_prob, log_rest_share, certain, entropy, log_student, top_teacher, log_teacher = saved[5:13]
        measured = Measured(
            statistics={},
            log_probs=[],
            top=top,
            max_log_prob=max_log_prob,
            log_rest_share=log_rest_share,
            certain=certain,
            entropy=entropy,
            log_student=log_student,
            top_teacher=top_teacher,
            log_teacher=log_teacher,
            placed=placed,
            octaves=octaves,
        )
        given = dict(zip(ordered(ctx.asked.wanted), gradients, strict=False))
        picked = gradients[len(given) :]
        slope = slope_of(
            ctx.asked,
            measured,
            logits,
            inverse_temperature,
            valid,
            teacher if ctx.taught else None,
            columns,
            given,
            picked,
        )
        out, width = slope.dense, logits.shape[1]
        if width > ctx.asked.width:
            out = torch.cat([out, out.new_zeros(()).expand(out.shape[0], width - ctx.asked.width)], 1)
        if slope.at is not None and slope.values is not None:
            out = put_columns(out, slope.at, slope.values)
        return (None, out, None, None, None, *(None for _ in columns))
