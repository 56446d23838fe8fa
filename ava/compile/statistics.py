"""The narrow waist: the statistics of a row of logits, and the gradient of any function of them.

With ``z`` the logits of a row over the temperature, ``l = logsumexp z`` and ``p = exp(z - l)``, every term is a
function of a few numbers of the row. If ``g_*`` are the gradients with respect to them, then

    dL/dz_j = p_j (g_lse - sum_k g_k - g_entropy (log p_j + H)) + g_mean / V        for every column
              + sum over picks k of g_k [j = c_k]                                   at the picked columns
              + g_margin ([j is the maximum] - r_j),  r = softmax without the maximum
              + g_divergence (softmax(x/T)_j - softmax(teacher/T)_j) / T              with a teacher

so one dense pass with two numbers per row, ``e_j (A + B t_j) + C``, and a few columns set apart.

Precision. Everything is kept relative to the maximum ``m``: ``log p_j = (z_j - m) - log S``, and the log-odds of
the maximum is ``-log S'``, with ``S'`` the same sum without the maximum. A token predicted with certainty therefore
has an exact loss, an exact ``1 - p`` and an exact gradient, where ``1 - exp(z - l)`` would be rounding noise.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from ava.compile.put import put_columns
from ava.terms.base import Statistic
from ava.terms.rows import CERTAIN

__all__ = ["RowStatistics", "compute_dtype"]

_LOG2_E = math.log2(math.e)
_FLOOR = -1e4
"""``exp`` of this is 0 in every float type; keeps ``0 * -inf`` out of the entropy."""
_NEVER = -1e30
"""Stands for the log of a probability of 0: finite, so that no difference of infinities arises."""
_SMALL = 1e-30
"""Below this the float32 sum without the maximum has lost bits, and is taken again relative to its own maximum."""


def compute_dtype(dtype: torch.dtype) -> torch.dtype:
    """Return the dtype of the row arithmetic: float64 for float64 logits, float32 otherwise."""
    return torch.float64 if dtype == torch.float64 else torch.float32


@torch.library.custom_op("ava::rest_log_sum", mutates_args=())
def _rest_log_sum(logits: Tensor, inverse_temperature: Tensor, rest: Tensor) -> Tensor:
    """Return ``log(rest)``, ``rest = sum of exp(z - max z)`` without the maximum, exact where it underflows."""
    out = rest.log()
    if out.is_cpu:  # rows this certain are rare: look for them where looking costs no synchronisation
        found = np.flatnonzero(rest.detach().numpy() < _SMALL)  # torch's `nonzero` wakes every thread for it
        if found.size:
            rows = torch.from_numpy(found)
            out[rows] = _exact_rest(logits[rows], inverse_temperature)
        return out
    return torch.where(rest < _SMALL, _exact_rest(logits, inverse_temperature), out)


@_rest_log_sum.register_fake
def _(logits: Tensor, inverse_temperature: Tensor, rest: Tensor) -> Tensor:
    return torch.empty_like(rest)


def _exact_rest(logits: Tensor, inverse_temperature: Tensor) -> Tensor:
    wide = logits.to(inverse_temperature.dtype)
    below = (wide - wide.amax(1, keepdim=True)) * inverse_temperature
    return torch.where(below < 0, below, -torch.inf).logsumexp(1)


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
            logits: ``[N, W]``, ``W >= vocab_size``; the columns from ``vocab_size`` on take no part.
            inverse_temperature: 0-d, in the dtype of the row arithmetic.
            valid: bool ``[N]``; other rows answer 0 and get no gradient, whatever they hold.
            wanted: the statistics to compute.
            vocab_size: columns that take part.
            teacher: ``[N, W]`` for the divergence, else None.
            teacher_temperature: temperature of the divergence.
            columns: int64 ``[N, width]`` per pick; ``-1`` for none, else no column twice within one pick.
        """
        logits, inverse_temperature, valid, wanted, vocab_size, teacher, teacher_temperature, *columns = arguments
        real = logits if logits.shape[1] == vocab_size else logits[:, :vocab_size]
        top = real.amax(1)
        # In powers of two: Inductor writes an `exp` that several sums read to memory, and computes an `exp2` once
        # in registers.
        per_octave = inverse_temperature * _LOG2_E
        wide = real.to(inverse_temperature.dtype)
        peak = top.to(wide.dtype)[:, None]
        below = (wide - peak) * per_octave  # subtracted first, which rounds to the gap's size and not to the logits'
        e = below.exp2()
        total = e.sum(1)
        log_total = total.log()
        out: dict[Statistic, Tensor] = {Statistic.MAX_LOG_PROB: -log_total}
        log_rest_share = torch.zeros_like(log_total)  # log(1 - p_max) where the maximum is certain, else 0
        certain = torch.zeros_like(valid)
        if Statistic.LSE in wanted:
            out[Statistic.LSE] = peak[:, 0] * inverse_temperature + log_total
        if Statistic.ENTROPY in wanted:
            out[Statistic.ENTROPY] = log_total - (e * below.clamp(min=_FLOOR)).sum(1) / (total * _LOG2_E)
        if Statistic.MEAN_LOGIT in wanted:
            out[Statistic.MEAN_LOGIT] = wide.sum(1) * (inverse_temperature / vocab_size)
        if Statistic.MARGIN in wanted:
            rest = torch.where(real < top[:, None], e, 0.0).sum(1)
            log_rest = torch.ops.ava.rest_log_sum(real, inverse_temperature, rest).clamp(min=_NEVER)
            certain = valid & (-log_total > CERTAIN)
            log_rest_share = torch.where(certain, log_rest - log_total, 0.0)
            out[Statistic.MARGIN] = torch.where(certain, -log_rest, 0.0)
        if Statistic.ARGMAX in wanted:
            column = torch.arange(vocab_size, dtype=torch.int32, device=logits.device)
            out[Statistic.ARGMAX] = torch.where(real < top[:, None], vocab_size, column).amin(1).long()
        log_student = top_teacher = log_teacher = log_total
        if Statistic.DIVERGENCE in wanted:
            assert teacher is not None
            divergence = _divergence(real, top, teacher[:, :vocab_size], teacher_temperature, wide.dtype)
            out[Statistic.DIVERGENCE], log_student, top_teacher, log_teacher = divergence

        log_probs: list[Tensor] = []
        saved: list[Tensor] = []  # the first pick's stands for column 0 where it has none, see _picked_columns
        for picked in columns:
            at = real.gather(1, picked.clamp(min=0)).to(wide.dtype)
            log_prob = (at - peak) * inverse_temperature - log_total[:, None]
            log_probs.append(torch.where((picked >= 0) & valid[:, None], log_prob, -torch.inf))
            saved.append(log_probs[-1] if saved else log_prob)

        ctx.wanted, ctx.vocab_size, ctx.picks = wanted, vocab_size, len(columns)
        ctx.teacher_temperature = teacher_temperature
        ctx.save_for_backward(
            logits,
            inverse_temperature,
            valid,
            top,
            -log_total,
            log_rest_share,
            certain,
            out.get(Statistic.ENTROPY, log_total),
            logits if teacher is None else teacher,
            log_student,
            top_teacher,
            log_teacher,
            *columns,
            *saved,
        )
        # The confidence of a position without a target of its own still weighs its future-token heads.
        everywhere = Statistic.MAX_LOG_PROB
        stats = [out[name] if name is everywhere else torch.where(valid, out[name], 0) for name in ordered(wanted)]
        fixed = [stat for name, stat in zip(ordered(wanted), stats, strict=True) if name in _FIXED]
        ctx.mark_non_differentiable(*fixed)
        return (*stats, *log_probs)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradient of the logits, in their dtype."""
        logits, inverse_temperature, valid, top, max_log_prob, log_rest_share, certain, entropy = ctx.saved_tensors[:8]
        teacher, log_student, top_teacher, log_teacher = ctx.saved_tensors[8:12]
        columns = ctx.saved_tensors[12 : 12 + ctx.picks]
        log_probs = ctx.saved_tensors[12 + ctx.picks :]
        zero = torch.zeros_like(max_log_prob)
        given = dict(zip(ordered(ctx.wanted), gradients, strict=False))
        picked = [
            torch.where((column >= 0) & valid[:, None], gradient, 0.0)
            for column, gradient in zip(columns, gradients[len(given) :], strict=True)
        ]

        share = given.get(Statistic.LSE, zero)  # coefficient of p
        for gradient in picked:
            share = share - gradient.sum(1)
        g_entropy = given.get(Statistic.ENTROPY, zero)
        g_margin = torch.where(certain, given.get(Statistic.MARGIN, zero), 0.0)
        g_mean = given.get(Statistic.MEAN_LOGIT, zero) / ctx.vocab_size

        # Relative to the log-sum without a certain maximum, e_j <= 1 for all other columns, however certain it is.
        base = log_rest_share - max_log_prob
        rest_share = log_rest_share.exp() * inverse_temperature
        scaled = [inverse_temperature * g for g in (share, g_entropy, g_margin, g_mean)]
        a = rest_share * (share - g_entropy * (log_rest_share + entropy)) - scaled[2]
        b = -rest_share * g_entropy
        p_max = max_log_prob.exp()
        at_top = p_max * (scaled[0] - scaled[1] * (max_log_prob + entropy)) + scaled[2] + scaled[3]
        curved = Statistic.ENTROPY in ctx.wanted
        smoothed = Statistic.MEAN_LOGIT in ctx.wanted

        peak = top.to(zero.dtype)[:, None]

        taught = Statistic.DIVERGENCE in ctx.wanted
        per_degree = 1 / ctx.teacher_temperature
        g_divergence = torch.where(valid, given.get(Statistic.DIVERGENCE, zero), 0.0) * per_degree

        def pull(student: Tensor, told: Tensor) -> Tensor:
            """Gradient of the divergence at columns with these logits of student and teacher."""
            p = ((student.to(zero.dtype) - peak) * per_degree - log_student[:, None]).exp()
            q = ((told.to(zero.dtype) - top_teacher[:, None]) * per_degree - log_teacher[:, None]).exp()
            return torch.where(valid[:, None], g_divergence[:, None] * (p - q), 0.0)

        def dense(t: Tensor, is_other: Tensor) -> Tensor:
            """Gradient before the picks where ``t = log p_j - log_rest_share``; the certain maximum has its own."""
            linear = a[:, None] + b[:, None] * t.clamp(min=_FLOOR) if curved else a[:, None]
            g = t.exp() * linear
            if smoothed:
                g = g + scaled[3][:, None]
            return torch.where(is_other, g, at_top[:, None])

        # One comparison sets the certain maximum apart, and whole rows that are not valid, even if they hold NaN.
        crown = torch.where(certain, top, torch.inf)
        crown = torch.where(valid, crown, -torch.inf)[:, None]
        at_top = torch.where(valid, at_top, 0.0)
        width = logits.shape[1]
        real = logits if width == ctx.vocab_size else logits[:, : ctx.vocab_size]
        below = (real.to(zero.dtype) - peak) * inverse_temperature
        gradient = dense(below - base[:, None], real < crown)
        if taught:
            gradient = gradient + pull(real, teacher[:, : ctx.vocab_size])
        out = gradient.to(logits.dtype)
        if width > ctx.vocab_size:
            out = torch.cat([out, out.new_zeros(()).expand(out.shape[0], width - ctx.vocab_size)], 1)
        if columns:
            picked = [gradient * inverse_temperature for gradient in picked]
            at, values = _picked_columns(
                columns, log_probs, picked, dense, max_log_prob, log_rest_share, certain, valid
            )
            if taught:
                values = values + pull(logits.gather(1, at), teacher.gather(1, at))
            out = put_columns(out, at, values.to(logits.dtype))
        return (out, None, None, None, None, None, None, *(None for _ in columns))


def _divergence(
    real: Tensor, top: Tensor, teacher: Tensor, temperature: float, dtype: torch.dtype
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return ``KL(teacher || student)`` per row, and what the backward needs of both at the temperature.

    That is the student's log-partition above its maximum, the teacher's maximum, and its log-partition above that.
    """
    per_degree = 1 / temperature
    student = (real.to(dtype) - top.to(dtype)[:, None]) * per_degree
    top_teacher = teacher.amax(1).to(dtype)
    told = (teacher.to(dtype) - top_teacher[:, None]) * per_degree
    log_student = student.exp().sum(1).log()
    q = told.exp()
    total = q.sum(1)
    gap = torch.where(q > 0, q * (told - student), 0.0).sum(1) / total
    log_teacher = total.log()
    return gap - log_teacher + log_student, log_student, top_teacher, log_teacher


_FIXED = frozenset({Statistic.MAX_LOG_PROB, Statistic.ARGMAX})


def ordered(wanted: frozenset[Statistic]) -> tuple[Statistic, ...]:
    """Return the statistics in the order in which :class:`RowStatistics` answers them."""
    return tuple(name for name in Statistic if name in wanted)


def _picked_columns(
    columns: tuple[Tensor, ...],
    log_probs: tuple[Tensor, ...],
    gradients: list[Tensor],
    dense: Any,
    max_log_prob: Tensor,
    log_rest_share: Tensor,
    certain: Tensor,
    valid: Tensor,
) -> tuple[Tensor, Tensor]:
    """Return every picked column and its whole gradient, in float32: ``[N, K]`` each.

    Two picks may name the same column (a candidate that is also the context token), so each value holds the
    gradients of all picks of its column, and writing it twice does no harm. Where a pick has no column, it repeats
    the first pick, and the first pick, if it has none, stands for column 0.
    """
    first = columns[0].clamp(min=0)
    raw: list[Tensor] = []
    for index, column in enumerate(columns):
        at = first if index == 0 else column
        value = gradients[index]
        for other, gradient in zip(columns, gradients, strict=True):
            if other is column:
                continue
            same = at[:, :, None] == other[:, None, :]
            value = value + torch.where(same, gradient[:, None, :], 0.0).sum(2)
        raw.append(value)
    values = []
    for index, (column, log_prob, value) in enumerate(zip(columns, log_probs, raw, strict=True)):
        is_top = certain[:, None] & (log_prob >= max_log_prob[:, None])
        values.append(dense(log_prob - log_rest_share[:, None], valid[:, None] & ~is_top) + value)
        if index:
            values[-1] = torch.where(column >= 0, values[-1], values[0])
    at = torch.cat([first, *(torch.where(column >= 0, column, first) for column in columns[1:])], 1)
    return at, torch.cat(values, 1)
