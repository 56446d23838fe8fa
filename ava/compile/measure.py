"""The statistics of rows of logits: one pass over the vocabulary, whole or a rank's shard of it.

Precision. Everything is kept relative to the maximum ``m``: ``log p_j = (z_j - m) - log S``, and the log-odds of
the maximum is ``-log S'``, with ``S'`` the same sum without the maximum. A token predicted with certainty therefore
has an exact loss, an exact ``1 - p`` and an exact gradient, where ``1 - exp(z - l)`` would be rounding noise.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ava.compile.operators import operator
from ava.compile.shard import Shard
from ava.terms.base import Statistic
from ava.terms.rows import CERTAIN

__all__ = ["FLOOR", "LOG2_E", "Asked", "Measured", "compute_dtype", "measure_rows", "ordered"]

LOG2_E = math.log2(math.e)
FLOOR = -1e4
"""``exp`` of this is 0 in every float type; keeps ``0 * -inf`` out of the entropy."""
_NEVER = -1e30
"""Stands for the log of a probability of 0: finite, so that no difference of infinities arises."""
_PIECE = 4096
"""Columns of a row that are summed by themselves on a CPU."""
_LOG_SMALL = math.log(1e-30)
"""With a logarithm below this, the float32 sum without the maximum has lost bits, and is taken again, relative to its
own maximum."""


def compute_dtype(dtype: torch.dtype) -> torch.dtype:
    """Return the dtype of the row arithmetic: float64 for float64 logits, float32 otherwise."""
    return torch.float64 if dtype == torch.float64 else torch.float32


def ordered(wanted: frozenset[Statistic]) -> tuple[Statistic, ...]:
    """Return the statistics in the order in which they are answered."""
    return tuple(name for name in Statistic if name in wanted)


@dataclass(frozen=True)
class Asked:
    """What a pass is asked for: constants of a graph.

    Attributes:
        wanted: the statistics to compute.
        vocab_size: columns that take part, of all ranks together.
        teacher_temperature: temperature of the divergence.
        shard: the columns that this rank holds; None where it holds all of them.
        finite: whether to count on logits that are finite over the temperature in every valid row. Else a column at
            ``-inf`` is looked out for, which Inductor does in four instructions a vector of a CPU; with ``finite``
            such a row's entropy is NaN, and its gradient means nothing.
    """

    wanted: frozenset[Statistic]
    vocab_size: int
    teacher_temperature: float = 1.0
    shard: Shard | None = None
    finite: bool = False

    @property
    def width(self) -> int:
        """Columns of the logits at hand that take part."""
        return self.vocab_size if self.shard is None else self.shard.width


@dataclass(frozen=True)
class Measured:
    """The answer of a pass, and what its gradient needs of it; per row ``[N]`` unless said otherwise.

    Attributes:
        statistics: every wanted one; 0 at rows that are not valid.
        log_probs: ``log p`` at the picked columns, ``[N, width]`` each; ``-inf`` where there is none.
        top: the largest logit, in the dtype of the arithmetic.
        max_log_prob: the log-probability of the maximum.
        log_rest_share: ``log(1 - p_max)`` where the maximum is certain, else 0.
        certain: bool, whether the maximum is unique and likely.
        entropy: the entropy where it is wanted.
        log_student: the student's log-partition above its maximum, at the teacher's temperature.
        top_teacher: the teacher's largest logit.
        log_teacher: the teacher's log-partition above that, at its temperature.
        placed: ``log p`` at the picked columns that this rank holds; the first pick's stands for its column 0 where
            it has none.
        octaves: 0-d, octaves (powers of two) per logit: ``log2 e`` over the temperature.
    """

    statistics: dict[Statistic, Tensor]
    log_probs: list[Tensor]
    top: Tensor
    max_log_prob: Tensor
    log_rest_share: Tensor
    certain: Tensor
    entropy: Tensor
    log_student: Tensor
    top_teacher: Tensor
    log_teacher: Tensor
    placed: list[Tensor]
    octaves: Tensor


def _mend(logits: Tensor, inverse_temperature: Tensor, log_rest: Tensor) -> None:
    """Make ``log_rest = log(sum of exp(z - max z) without the maximum)`` exact where the sum underflows."""
    if log_rest.is_cpu:  # rows this certain are rare: look for them where looking costs no synchronisation
        found = np.flatnonzero(log_rest.detach().numpy() < _LOG_SMALL)  # torch's `nonzero` wakes every thread for it
        if found.size:
            rows = torch.from_numpy(found)
            log_rest[rows] = _exact_rest(logits[rows], inverse_temperature)
        return
    log_rest.copy_(torch.where(log_rest < _LOG_SMALL, _exact_rest(logits, inverse_temperature), log_rest))


_mend_log_rest = operator("mend_log_rest", lambda logits, inverse_temperature, log_rest: None, mutates=("log_rest",))(
    _mend
)


def _exact_rest(logits: Tensor, inverse_temperature: Tensor) -> Tensor:
    wide = logits.to(inverse_temperature.dtype)
    below = (wide - wide.amax(1, keepdim=True)) * inverse_temperature
    return torch.where(below < 0, below, -torch.inf).logsumexp(1)


def measure_rows(
    asked: Asked,
    logits: Tensor,
    inverse_temperature: Tensor,
    valid: Tensor,
    teacher: Tensor | None,
    columns: Sequence[Tensor],
) -> Measured:
    """Return the statistics of rows of logits.

    Args:
        asked: what is wanted.
        logits: ``[N, W]``, ``W >= asked.width``; the columns from ``asked.width`` on take no part.
        inverse_temperature: 0-d, in the dtype of the row arithmetic.
        valid: bool ``[N]``; other rows answer 0, whatever they hold.
        teacher: ``[N, W]`` where the divergence is wanted, else None.
        columns: int64 ``[N, width]`` per pick, in the whole vocabulary; ``-1`` for none, and where not valid; else
            no column twice within one pick.
    """
    wanted, shard = asked.wanted, asked.shard
    real = logits if logits.shape[1] == asked.width else logits[:, : asked.width]
    told = None if teacher is None else teacher[:, : asked.width]
    wide = real.to(inverse_temperature.dtype)
    top = wide.amax(1)
    top_teacher = None if told is None else told.amax(1)
    second = None
    if shard is not None:
        below_top = torch.where(wide < top[:, None], wide, -torch.inf).amax(1) if Statistic.MARGIN in wanted else None
        top, second, top_teacher = shard.largest(top, below_top, top_teacher)
    # In powers of two: Inductor writes an `exp` that several sums read to memory, and computes an `exp2` once in
    # registers.
    octaves = inverse_temperature * LOG2_E
    peak = top[:, None]
    below = (wide - peak) * octaves  # subtracted first, which rounds to the gap's size and not to the logits'
    e = below.exp2()
    rest = None
    if Statistic.MARGIN in wanted and second is None:
        # `e` is 1 at the maximum, and elsewhere only where it rounds to that: in such a row nothing is certain.
        ones = e.floor()
        rest = _row_sum(e - ones)
        sums = [_row_sum(ones) + rest]
    else:
        sums = [_row_sum(e)]
    if Statistic.ENTROPY in wanted:
        sums.append(_row_sum(e * (below if asked.finite else below.clamp(min=FLOOR))))
    if Statistic.MEAN_LOGIT in wanted:
        sums.append(_row_sum(below))
    if rest is not None:
        sums.append(rest)
    elif second is not None:
        second = second.clamp(min=torch.finfo(wide.dtype).min)
        below_second = ((wide - second[:, None]) * octaves).exp2()
        sums.append(_row_sum(torch.where(wide < peak, below_second, 0.0)))
    first = None
    if Statistic.ARGMAX in wanted:
        column = torch.arange(asked.width, dtype=torch.int32, device=logits.device)
        first = torch.where(wide < peak, asked.vocab_size, column).amin(1)
    if told is not None and top_teacher is not None:
        sums += _divergence_sums(wide, peak, told, top_teacher, 1 / asked.teacher_temperature)
    local = [column if shard is None else shard.local(column) for column in columns]
    gathered = [real.gather(1, place.clamp(min=0)).to(wide.dtype) - peak for place in local]
    found = gathered
    if shard is not None:
        found = [torch.where(place >= 0, at, 0.0) for place, at in zip(local, gathered, strict=True)]
        sums, found, first = shard.total(sums, found, first if first is None else first.to(wide.dtype))

    taken = iter(sums)
    total = next(taken)
    log_total = total.log()
    out: dict[Statistic, Tensor] = {Statistic.MAX_LOG_PROB: -log_total}
    log_rest_share = torch.zeros_like(log_total)
    certain = torch.zeros_like(valid)
    if Statistic.LSE in wanted:
        out[Statistic.LSE] = peak[:, 0] * inverse_temperature + log_total
    if Statistic.ENTROPY in wanted:
        out[Statistic.ENTROPY] = log_total - next(taken) / (total * LOG2_E)
    if Statistic.MEAN_LOGIT in wanted:
        out[Statistic.MEAN_LOGIT] = peak[:, 0] * inverse_temperature + next(taken) / (asked.vocab_size * LOG2_E)
    if Statistic.MARGIN in wanted:
        rest = next(taken)
        if second is not None:
            log_rest = (second - peak[:, 0]) * inverse_temperature + rest.log()
        else:
            log_rest = rest.log()
            _mend_log_rest(real, inverse_temperature, log_rest)
        log_rest = log_rest.clamp(min=_NEVER)
        certain = valid & (-log_total > CERTAIN)
        log_rest_share = torch.where(certain, log_rest - log_total, 0.0)
        out[Statistic.MARGIN] = torch.where(certain, -log_rest, 0.0)
    if first is not None:
        out[Statistic.ARGMAX] = first.long()
    log_student = log_teacher = log_total
    if top_teacher is not None:
        student_total, teacher_total, gap = next(taken), next(taken), next(taken)
        log_student, log_teacher = student_total.log(), teacher_total.log()
        out[Statistic.DIVERGENCE] = gap / teacher_total - log_teacher + log_student

    log_probs: list[Tensor] = []
    placed: list[Tensor] = []
    for picked, place, here, everywhere in zip(columns, local, gathered, found, strict=True):
        log_prob = everywhere * inverse_temperature - log_total[:, None]
        log_probs.append(torch.where(picked >= 0, log_prob, -torch.inf))
        if shard is not None:
            log_prob = here * inverse_temperature - log_total[:, None]
        placed.append(torch.where(place >= 0, log_prob, -torch.inf) if placed else log_prob)
    # The confidence of a position without a target of its own still weighs its future-token heads.
    everywhere_meant = Statistic.MAX_LOG_PROB
    statistics = {
        name: out[name] if name is everywhere_meant else torch.where(valid, out[name], 0) for name in ordered(wanted)
    }
    return Measured(
        statistics,
        log_probs,
        top,
        -log_total,
        log_rest_share,
        certain,
        out.get(Statistic.ENTROPY, log_total),
        log_student,
        top if top_teacher is None else top_teacher,
        log_teacher,
        placed,
        octaves,
    )


def _row_sum(values: Tensor) -> Tensor:
    """Return the sum of each row, ``[N]``.

    On a CPU in pieces: of a longer row Inductor keeps the running sum in memory and not in a register, which takes a
    quarter of the pass. The sum of sums is also the nearer one.
    """
    width = values.shape[1]
    if not values.is_cpu or width <= _PIECE:
        return values.sum(1)
    even = width - width % _PIECE
    pieces = values[:, :even].view(values.shape[0], even // _PIECE, _PIECE).sum(2).unbind(1)
    total = pieces[0] if even == width else pieces[0] + values[:, even:].sum(1)
    for piece in pieces[1:]:
        total = total + piece
    return total


def _divergence_sums(
    wide: Tensor, peak: Tensor, teacher: Tensor, top_teacher: Tensor, per_degree: float
) -> list[Tensor]:
    """Return the partition sums of student and teacher above their maxima, and the teacher's mean of the gap, unscaled.

    ``KL(teacher || student)`` is the third over the second, less the log of the second, plus the log of the first.
    """
    student = (wide - peak) * per_degree
    told = (teacher.to(wide.dtype) - top_teacher.to(wide.dtype)[:, None]) * per_degree
    q = told.exp()
    return [_row_sum(student.exp()), _row_sum(q), _row_sum(torch.where(q > 0, q * (told - student), 0.0))]
