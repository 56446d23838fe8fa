"""From the statistics of rows to sums over rows: every term that is a sum over valid positions, and the metrics."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from ava.compile.measure import Asked, ordered
from ava.compile.reduce import masked_sum
from ava.compile.statistics import RowStatistics
from ava.plan import Plan
from ava.terms.base import TARGET, Candidates, Pick, RowTerm, Statistic
from ava.terms.mtp_loss import MtpLoss
from ava.terms.rows import Rows

__all__ = [
    "MAIN",
    "TARGETS_ONLY",
    "as_matrices",
    "as_rows",
    "future_sum",
    "metric_sums",
    "row_statistics",
    "row_sums",
    "row_terms",
    "with_targets",
]

MAIN = "main_loss"
TARGETS_ONLY = frozenset({Statistic.MAX_LOG_PROB})
"""What future-token heads are measured for, beside the log-probability of the target."""


def row_terms(plan: Plan, skipped: frozenset[str]) -> list[tuple[str, RowTerm]]:
    """Return the terms of this call that are sums over rows of the main logits."""
    return [(p.name, p.term) for p in plan.terms if p.name not in skipped and isinstance(p.term, RowTerm)]


def row_statistics(
    asked: Asked,
    logits: Tensor,
    inverse_temperature: Tensor,
    valid: Tensor,
    columns: Mapping[Pick | Candidates, Tensor],
    positions: Mapping[str, Tensor],
    teacher: Tensor | None = None,
) -> Rows:
    """Return what the terms see of rows of logits ``[N, W]``."""
    answers = RowStatistics.apply(  # type: ignore[no-untyped-call]
        asked, logits, inverse_temperature, valid, teacher, *as_matrices(columns)
    )
    statistics = dict(zip(ordered(asked.wanted), answers, strict=False))
    return as_rows(statistics, list(answers[len(statistics) :]), columns, positions, asked.vocab_size)


def as_matrices(columns: Mapping[Pick | Candidates, Tensor]) -> list[Tensor]:
    """Return every pick's columns as ``[N, width]``."""
    return [column[:, None] if column.ndim == 1 else column for column in columns.values()]


def as_rows(
    statistics: Mapping[Statistic, Tensor],
    log_probs: list[Tensor],
    columns: Mapping[Pick | Candidates, Tensor],
    positions: Mapping[str, Tensor],
    vocab_size: int,
) -> Rows:
    """Return statistics and log-probabilities ``[N, width]`` as the terms see them."""
    named = {
        pick: log_prob[:, 0] if isinstance(pick, Pick) else log_prob
        for pick, log_prob in zip(columns, log_probs, strict=True)
    }
    return Rows(statistics, named, columns, positions, vocab_size)


def row_sums(plan: Plan, skipped: frozenset[str], rows: Rows, valid: Tensor) -> dict[str, Tensor]:
    """Return the sum over valid rows of the main loss and of each term on rows, by name, 0-d each."""
    rows = with_targets(rows, valid)
    sums = {MAIN: masked_sum(plan.primary.value(rows) * poison(rows.targets, valid, rows.nll.dtype), valid)}
    for name, term in row_terms(plan, skipped):
        sums[name] = masked_sum(term.value(rows), valid)
    return sums


def future_sum(term: MtpLoss, heads: Rows, confidence: Tensor, counts: Tensor) -> Tensor:
    """Return the sum over the positions of future-token heads, 0-d.

    Args:
        term: the term.
        heads: rows of the heads, ``[K * N]``, head by head.
        confidence: the largest log-probability of the main rows, ``[N]``.
        counts: bool ``[K * N]``, the positions that have a token so far ahead.
    """
    rows = confidence.shape[0]
    counted = counts.view(-1, rows) if rows else counts.view(0, 0)
    confidence = torch.where(counted.any(0), confidence, 0.0)  # what other rows hold does not matter
    main = Rows({Statistic.MAX_LOG_PROB: confidence}, {}, {}, {}, heads.vocab_size)
    values = term.value(with_targets(heads, counts), main).flatten()
    return masked_sum(values * poison(heads.targets, counts, confidence.dtype), counts)


def with_targets(rows: Rows, valid: Tensor) -> Rows:
    """Return rows that predict their target for certain where they are not valid.

    A log-probability of ``-inf`` there would make the gradient of a term that multiplies it NaN, before the row is
    dropped: no harm to the sum, but ``torch.autograd.detect_anomaly`` stops at it.
    """
    log_prob = torch.where(valid, rows.log_probs[TARGET], 0.0)
    return replace(rows, log_probs={**rows.log_probs, TARGET: log_prob})


def metric_sums(rows: Rows, valid: Tensor) -> dict[str, Tensor]:
    """Return the sums over valid rows that the metrics are made of."""
    hits = (rows.statistics[Statistic.ARGMAX] == rows.targets).to(rows.nll.dtype)
    values = {
        "accuracy": hits,
        "nll": rows.nll,
        "entropy": rows.entropy,
        "confidence": rows.statistics[Statistic.MAX_LOG_PROB].exp(),
    }
    return {name: masked_sum(value, valid) for name, value in values.items()}


def poison(target: Tensor, valid: Tensor, dtype: torch.dtype) -> Tensor:
    """Return 1, or NaN where a valid target lies outside the vocabulary: never a silent wrong number."""
    return torch.where(valid & (target < 0), torch.nan, 1.0).to(dtype)
