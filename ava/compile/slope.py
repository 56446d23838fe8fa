"""The gradient of any function of a row's statistics with respect to its logits.

If ``g_*`` are the gradients with respect to the statistics,

    dL/dz_j = p_j (g_lse - sum_k g_k - g_entropy (log p_j + H)) + g_mean / V        for every column
              + sum over picks k of g_k [j = c_k]                                   at the picked columns
              + g_margin ([j is the maximum] - r_j),  r = softmax without the maximum
              + g_divergence (softmax(x/T)_j - softmax(teacher/T)_j) / T              with a teacher

so one dense pass with two numbers per row, ``e_j (A + B t_j) + C`` with ``e_j = 2^t_j``, and a few columns set apart.
A call of ``exp2`` is faster than one of ``exp``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ava.compile.measure import FLOOR, LOG2_E, Asked, Measured
from ava.compile.operators import operator
from ava.terms.base import Statistic

__all__ = ["Slope", "slope_of"]


@operator("settle", lambda values: values[0].new_empty((values[0].shape[0], len(values))))
def _settle(values: list[Tensor]) -> Tensor:
    """Return values of rows ``[N]`` as ``[N, K]`` in memory.

    Inductor would work them out again for every vector of columns; on a CPU that is up to a tenth of the pass.
    """
    return torch.stack(values, 1)


@dataclass(frozen=True)
class Slope:
    """A gradient of logits: a dense part, and the columns that are written over it.

    Attributes:
        dense: ``[N, width]`` of the columns that take part, in the dtype of the logits.
        at: int64 ``[N, K]``, or None where nothing is picked.
        values: ``[N, K]``, the whole gradient at these columns; a column that stands twice has the same value twice.
    """

    dense: Tensor
    at: Tensor | None
    values: Tensor | None


def slope_of(
    asked: Asked,
    measured: Measured,
    logits: Tensor,
    inverse_temperature: Tensor,
    valid: Tensor,
    teacher: Tensor | None,
    columns: Sequence[Tensor],
    given: Mapping[Statistic, Tensor],
    picked: Sequence[Tensor],
) -> Slope:
    """Return the gradient of the logits.

    Args:
        asked: what was wanted.
        measured: the answer of :func:`ava.compile.measure.measure_rows` to the same tensors.
        logits: ``[N, W]``.
        inverse_temperature: 0-d.
        valid: bool ``[N]``; other rows get no gradient, whatever they hold.
        teacher: ``[N, W]`` or None.
        columns: int64 ``[N, width]`` per pick.
        given: the gradient of each statistic, ``[N]``; those without one may be absent.
        picked: the gradient of each pick's log-probabilities, ``[N, width]``.
    """
    top, max_log_prob, log_rest_share = measured.top, measured.max_log_prob, measured.log_rest_share
    certain, entropy = measured.certain, measured.entropy
    zero = torch.zeros_like(max_log_prob)
    picked = [torch.where(column < 0, 0.0, gradient) for column, gradient in zip(columns, picked, strict=True)]

    share = given.get(Statistic.LSE, zero)  # coefficient of p
    for gradient in picked:
        share = share - gradient.sum(1)
    g_entropy = given.get(Statistic.ENTROPY, zero)
    g_margin = torch.where(certain, given.get(Statistic.MARGIN, zero), 0.0)
    g_mean = given.get(Statistic.MEAN_LOGIT, zero) / asked.vocab_size

    # Relative to the log-sum without a certain maximum, e_j <= 1 for all other columns, however certain it is.
    base = log_rest_share - max_log_prob
    rest_share = log_rest_share.exp() * inverse_temperature
    scaled = [inverse_temperature * g for g in (share, g_entropy, g_margin, g_mean)]
    a = rest_share * (share - g_entropy * (log_rest_share + entropy)) - scaled[2]
    b = -rest_share * g_entropy
    p_max = max_log_prob.exp()
    at_top = p_max * (scaled[0] - scaled[1] * (max_log_prob + entropy)) + scaled[2] + scaled[3]
    at_top = torch.where(valid, at_top, 0.0)
    # One comparison sets the certain maximum apart, and whole rows that are not valid, even if they hold NaN.
    crown, log_crown = (
        torch.where(valid, torch.where(certain, largest, torch.inf), -torch.inf) for largest in (top, max_log_prob)
    )
    # `t` counts in powers of two, but `base` in logits: what is nearly alike is subtracted before anything rounds.
    octaves = measured.octaves
    base, b = base / inverse_temperature, b / LOG2_E
    lift = zero
    if asked.finite:  # so that `B t` does not overflow at the lowest logit, where `e` is 0, a factor passes to `e`
        factor = b.abs().clamp(min=1)
        lift = factor.log2()
        base, a, b = base - lift / octaves, (a - b * lift) / factor, b / factor
    rows = [top, base, octaves.expand_as(top), crown, a, b, at_top, scaled[3]]
    if logits.is_cpu and torch.compiler.is_compiling():
        rows = list(_settle(rows).unbind(1))
    peak, base, steep, crown, a, b, at_top, flat = (row[:, None] for row in rows)
    curved = Statistic.ENTROPY in asked.wanted
    smoothed = Statistic.MEAN_LOGIT in asked.wanted
    per_degree = 1 / asked.teacher_temperature
    g_divergence = torch.where(valid, given.get(Statistic.DIVERGENCE, zero), 0.0) * per_degree

    def pull(student: Tensor, told: Tensor) -> Tensor:
        """Gradient of the divergence at columns with these logits of student and teacher."""
        p = ((student.to(zero.dtype) - peak) * per_degree - measured.log_student[:, None]).exp()
        below = told.to(zero.dtype) - measured.top_teacher.to(zero.dtype)[:, None]
        q = (below * per_degree - measured.log_teacher[:, None]).exp()
        return torch.where(valid[:, None], g_divergence[:, None] * (p - q), 0.0)

    def dense(t: Tensor, is_other: Tensor) -> Tensor:
        """Gradient before the picks where ``e_j = 2^t``; the certain maximum has its own."""
        linear = a + b * (t if asked.finite else t.clamp(min=FLOOR)) if curved else a
        g = t.exp2() * linear
        if smoothed:
            g = g + flat
        return torch.where(is_other, g, at_top)

    def dense_at(log_prob: Tensor) -> Tensor:
        """Gradient before the picks of columns with these log-probabilities ``[N, K]``."""
        t = (log_prob - log_rest_share[:, None]) * LOG2_E + lift[:, None]
        return dense(t, log_prob < log_crown[:, None])

    real = logits if logits.shape[1] == asked.width else logits[:, : asked.width]
    wide = real.to(zero.dtype)
    gradient = dense((wide - peak - base) * steep, wide < crown)
    if teacher is not None:
        gradient = gradient + pull(real, teacher[:, : asked.width])
    out = gradient.to(logits.dtype)
    if not columns:
        return Slope(out, None, None)
    picked = [gradient * inverse_temperature for gradient in picked]
    if asked.shard is not None:
        columns = [asked.shard.local(column) for column in columns]
        picked = [torch.where(column < 0, 0.0, gradient) for column, gradient in zip(columns, picked, strict=True)]
    at, values = _picked_columns(columns, measured, picked, dense_at)
    if teacher is not None:
        values = values + pull(logits.gather(1, at), teacher.gather(1, at))
    return Slope(out, at, values.to(logits.dtype))


def _picked_columns(
    columns: Sequence[Tensor], measured: Measured, gradients: Sequence[Tensor], dense_at: Callable[[Tensor], Tensor]
) -> tuple[Tensor, Tensor]:
    """Return every picked column and its whole gradient, in float32: ``[N, K]`` each.

    Two picks may name the same column (a candidate that is also the context token), so each value holds the
    gradients of all picks of its column, and writing it twice does no harm. Where a pick has no column, it repeats
    the first pick, and the first pick, if it has none, stands for column 0. ``dense_at`` is the gradient before the
    picks of columns with given log-probabilities.
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
    for index, (column, log_prob, value) in enumerate(zip(columns, measured.placed, raw, strict=True)):
        values.append(dense_at(log_prob) + value)
        if index:
            values[-1] = torch.where(column < 0, values[0], values[-1])
    at = torch.cat([first, *(torch.where(column < 0, first, column) for column in columns[1:])], 1)
    return at, torch.cat(values, 1)
