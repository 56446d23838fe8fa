"""What happens to one chunk of logits: statistics, terms, and the gradient in the place of the logits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ava.compile.batch import Mode, active_needs, name_prepared, wanted_by
from ava.compile.measure import Asked, Measured, compute_dtype, measure_rows
from ava.compile.rowsums import (
    MAIN,
    TARGETS_ONLY,
    as_matrices,
    as_rows,
    future_sum,
    metric_sums,
    row_sums,
    row_terms,
)
from ava.compile.slope import slope_of
from ava.compile.statistics import FIXED
from ava.plan import Plan
from ava.terms.base import TARGET, Statistic
from ava.terms.mtp_loss import MtpLoss
from ava.terms.rows import Rows

__all__ = ["Chunk", "Found", "build_future_body", "build_main_body", "metric_names", "sum_names"]


@dataclass(frozen=True, slots=True)
class Chunk:
    """A chunk of ``c`` rows.

    Attributes:
        logits: ``[c, V]``, which become their own gradient where one is asked for.
        inverse_temperature: 0-d.
        coefficients: what each sum counts in the objective, ``[R]``, the main loss 1.
        prepared: the rows' part of the answer of :func:`ava.compile.prepare.prepare`; for a future-token head
            ``[counts, targets]``.
        teacher: ``[c, V]`` or None.
        confidence: for a future-token head, the largest log-probability of the main rows, ``[c]``.
    """

    logits: Tensor
    inverse_temperature: Tensor
    coefficients: Tensor
    prepared: list[Tensor]
    teacher: Tensor | None = None
    confidence: Tensor | None = None

    def row_tensors(self) -> list[Tensor]:
        """Return the tensors with a row per row of the chunk."""
        rest = [tensor for tensor in (self.teacher, self.confidence) if tensor is not None]
        return [self.logits, *self.prepared, *rest]


@dataclass(frozen=True, slots=True)
class Found:
    """What a chunk answers.

    Attributes:
        sums: over its valid rows, ``[R]``.
        metrics: sums over its valid rows, ``[M]``.
        confidence: the largest log-probability of each row, ``[c]``.
        at: columns whose gradient is not the dense one, int64 ``[c, K]``, or None.
        values: their gradient, ``[c, K]``.
    """

    sums: Tensor
    metrics: Tensor
    confidence: Tensor
    at: Tensor | None
    values: Tensor | None


Body = Callable[[Chunk], Found]


def sum_names(plan: Plan, skipped: frozenset[str]) -> list[str]:
    """Return the names of the sums that a chunk of main rows answers."""
    return [MAIN, *(name for name, _ in row_terms(plan, skipped))]


def metric_names(detailed: bool) -> list[str]:
    """Return the names of the metrics' sums."""
    return ["accuracy", "nll", "entropy", "confidence"] if detailed else []


def build_main_body(plan: Plan, mode: Mode, gradient: bool) -> Body:
    """Return the function of a chunk of the main logits."""
    needs = active_needs(plan, mode.skipped)
    asked = Asked(wanted_by(needs, mode.detailed), mode.vocab_size, needs.teacher_temperature or 1.0, mode.shard)

    def main_body(chunk: Chunk) -> Found:
        columns, positions = name_prepared(plan, mode.vocab_size, needs, chunk.prepared)
        valid = chunk.prepared[0]

        def value(rows: Rows) -> tuple[Tensor, Tensor]:
            sums = torch.stack(list(row_sums(plan, mode.skipped, rows, valid).values()))
            if not mode.detailed:
                return sums, sums.new_empty(0)
            return sums, torch.stack(list(metric_sums(rows, valid).values()))

        def rows_of(statistics: dict[Statistic, Tensor], log_probs: list[Tensor]) -> Rows:
            return as_rows(statistics, log_probs, columns, positions, mode.vocab_size)

        return _evaluate(plan, asked, chunk, valid, as_matrices(columns), rows_of, value, gradient)

    return main_body


def build_future_body(plan: Plan, mode: Mode, term: MtpLoss, gradient: bool, capped: bool) -> Body:
    """Return the function of a chunk of a future-token head.

    ``capped`` says whether the head's logits pass through ``model.logit_softcap`` and ``model.logit_scale``.
    """
    asked = Asked(TARGETS_ONLY, mode.vocab_size, shard=mode.shard if capped else None)

    def future_body(chunk: Chunk) -> Found:
        counts, targets = chunk.prepared
        confidence = chunk.confidence
        assert confidence is not None

        def value(rows: Rows) -> tuple[Tensor, Tensor]:
            total = future_sum(term, rows, confidence, counts)[None]
            return total, total.new_empty(0)

        def rows_of(statistics: dict[Statistic, Tensor], log_probs: list[Tensor]) -> Rows:
            return as_rows(statistics, log_probs, {TARGET: targets}, {}, mode.vocab_size)

        return _evaluate(plan if capped else None, asked, chunk, counts, [targets[:, None]], rows_of, value, gradient)

    return future_body


def _evaluate(
    plan: Plan | None,
    asked: Asked,
    chunk: Chunk,
    valid: Tensor,
    columns: Sequence[Tensor],
    rows_of: Callable[[dict[Statistic, Tensor], list[Tensor]], Rows],
    value: Callable[[Rows], tuple[Tensor, Tensor]],
    gradient: bool,
) -> Found:
    logits, inverse_temperature = chunk.logits, chunk.inverse_temperature
    measured = measure_rows(asked, logits, inverse_temperature, valid, chunk.teacher, columns)
    confidence = measured.statistics[Statistic.MAX_LOG_PROB]
    if not gradient:
        sums, metrics = value(rows_of(measured.statistics, measured.log_probs))
        return Found(sums, metrics, confidence, None, None)

    def objective(statistics: dict[Statistic, Tensor], log_probs: list[Tensor]) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        sums, metrics = value(rows_of({**measured.statistics, **statistics}, log_probs))
        return (sums * chunk.coefficients).sum(), (sums, metrics)

    moving = {name: held for name, held in measured.statistics.items() if name not in FIXED}
    (given, picked), (sums, metrics) = torch.func.grad(objective, argnums=(0, 1), has_aux=True)(
        moving, measured.log_probs
    )
    at, values = _write_gradient(plan, asked, measured, chunk, valid, columns, given, picked)
    return Found(sums, metrics, confidence, at, values)


def _write_gradient(
    plan: Plan | None,
    asked: Asked,
    measured: Measured,
    chunk: Chunk,
    valid: Tensor,
    columns: Sequence[Tensor],
    given: dict[Statistic, Tensor],
    picked: list[Tensor],
) -> tuple[Tensor | None, Tensor | None]:
    """Write the dense gradient over the logits; return the columns that are to be written over it.

    The gradient is that of the head's product: of the logits before scale, bias and softcap.
    """
    logits = chunk.logits
    slope = slope_of(asked, measured, logits, chunk.inverse_temperature, valid, chunk.teacher, columns, given, picked)
    dense, values = slope.dense, slope.values
    if plan is not None:
        model = plan.config.model
        dense = _before_head(dense, logits, model.logit_scale, model.logit_softcap)
        if values is not None and slope.at is not None:
            values = _before_head(values, logits.gather(1, slope.at), model.logit_scale, model.logit_softcap)
    logits.copy_(dense)
    return slope.at, values


def _before_head(gradient: Tensor, logits: Tensor, scale: float, softcap: float | None) -> Tensor:
    """Return the gradient before ``x = softcap(scale · product + bias)``, from that with respect to ``x``."""
    wide = gradient.to(compute_dtype(gradient.dtype))  # rounded once, at the end
    if softcap is not None:
        wide = wide * (1 - (logits.to(wide.dtype) / softcap).square())
    return (wide * scale).to(gradient.dtype)
