"""``Plan`` → the graph: one function of tensors, from the statistics of the rows to the total."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ava.compile.reduce import distributed_mean, masked_sum
from ava.compile.state import close, observe
from ava.compile.statistics import RowStatistics, compute_dtype, ordered
from ava.compile.weights import weights_at
from ava.plan import Plan
from ava.terms.base import CONTEXT, EOS, TARGET, Candidates, Pick, RowTerm, Statistic
from ava.terms.rows import Rows

__all__ = ["Batch", "Mode", "Output", "build_graph"]


@dataclass(frozen=True, slots=True)
class Mode:
    """What, beside the plan, is baked into a graph.

    Attributes:
        vocab_size: columns that take part.
        detailed: whether every term and the metrics are answered, or only the total.
        training: whether this call is observed by the state.
        closes_every: forwards per optimizer step; 0 when an attached optimizer closes it.
    """

    vocab_size: int
    detailed: bool
    training: bool
    closes_every: int


@dataclass(frozen=True, slots=True)
class Batch:
    """The tensors of one call.

    Attributes:
        logits: ``[N, W]``.
        prepared: the answer of :func:`ava.compile.prepare.prepare`.
        num_items: 0-d, or None for the call's own valid positions.
        schedules: ``[K, 5]``, see :func:`ava.compile.weights.schedule_table`.
        limits: rate and bounds of the temperature, ``[3]``.
    """

    logits: Tensor
    prepared: list[Tensor]
    num_items: Tensor | None
    schedules: Tensor
    limits: Tensor


Output = dict[str, Tensor]
Graph = Callable[[Batch, dict[str, Tensor]], Output]

_METRICS = frozenset({Statistic.ENTROPY, Statistic.MAX_LOG_PROB, Statistic.ARGMAX})


def build_graph(plan: Plan, mode: Mode) -> Graph:
    """Return the function that computes the loss of a batch and updates the state's buffers in place.

    Its answer holds ``total_loss``; with ``mode.detailed`` also ``main_loss``, each term weighted and ``raw/…``,
    and ``metrics/…``, all detached.
    """
    wanted = plan.needs.statistics | {Statistic.MAX_LOG_PROB}
    if mode.detailed:
        wanted |= _METRICS
    adaptive = plan.primary.temperature is not None and plan.primary.temperature.adaptive

    def graph(batch: Batch, state: dict[str, Tensor]) -> Output:
        valid = batch.prepared[0]
        dtype = compute_dtype(batch.logits.dtype)
        temperature = state["temperature"].clone()
        columns, positions = name_prepared(plan, mode, batch.prepared)
        picks = list(columns)
        as_matrix = [column[:, None] if column.ndim == 1 else column for column in columns.values()]
        answers = RowStatistics.apply(
            batch.logits,
            (1 / temperature).to(dtype),
            valid,
            wanted,
            mode.vocab_size,
            *as_matrix,
        )
        statistics = dict(zip(ordered(wanted), answers, strict=False))
        log_probs = {
            pick: answer[:, 0] if isinstance(pick, Pick) else answer
            for pick, answer in zip(picks, answers[len(statistics) :], strict=True)
        }
        rows = Rows(statistics, log_probs, columns, positions, mode.vocab_size)

        # A target outside the vocabulary must never give a silent wrong number.
        poison = torch.where(valid & (columns[TARGET] < 0), torch.nan, 1.0).to(dtype)
        main_rows = plan.primary.value(rows) * poison
        count = valid.sum()
        main_sum = masked_sum(main_rows, valid)
        items = distributed_mean(count, plan) if batch.num_items is None else batch.num_items
        denominator = torch.where(items > 0, items, 1).to(dtype)
        main = main_sum / denominator
        raw = {
            planned.name: masked_sum(planned.term.value(rows), valid) / denominator
            for planned in plan.terms
            if isinstance(planned.term, RowTerm)
        }
        total = main
        weighted = {}
        if raw:
            weights = weights_at(batch.schedules, state["step"]).to(dtype)
            for index, (name, value) in enumerate(raw.items()):
                weighted[name] = value * weights[index]
                total = total + weighted[name]

        if mode.training:
            observe(state, main_sum.detach(), count)
            if mode.closes_every:
                close(state, state["micro_step"] >= mode.closes_every, adaptive, batch.limits)
        if not mode.detailed:
            return {"total_loss": total}
        own = count.clamp(min=1).to(dtype)
        target = columns[TARGET]
        details = {
            "main_loss": main,
            **weighted,
            **{f"raw/{name}": value for name, value in raw.items()},
            "metrics/tokens": count,
            "metrics/accuracy": masked_sum((statistics[Statistic.ARGMAX] == target).to(dtype), valid) / own,
            "metrics/perplexity": (masked_sum(rows.nll, valid) / own).exp(),
            "metrics/entropy": masked_sum(rows.entropy, valid) / own,
            "metrics/confidence": masked_sum(statistics[Statistic.MAX_LOG_PROB].exp(), valid) / own,
            "metrics/temperature": temperature.to(dtype),
        }
        return {"total_loss": total, **{name: value.detach() for name, value in details.items()}}

    return graph


def name_prepared(
    plan: Plan, mode: Mode, prepared: list[Tensor]
) -> tuple[dict[Pick | Candidates, Tensor], dict[str, Tensor]]:
    """Return the picked columns and the integer facts by name, from the answer of ``prepare``."""
    columns: dict[Pick | Candidates, Tensor] = {TARGET: prepared[1]}
    wants, candidates = prepared_wants(plan)
    named = dict(zip(wants, prepared[2:], strict=False))
    positions = {name: named[name] for name in plan.needs.positions}
    for pick in plan.needs.picks:
        if pick == CONTEXT:
            columns[pick] = named["context"]
        elif pick == EOS:
            eos = plan.config.model.eos_token_id
            inside = eos if eos is not None and eos < mode.vocab_size else -1
            columns[pick] = torch.full_like(prepared[1], inside)
    columns.update(zip(candidates, prepared[2 + len(wants) :], strict=True))
    return columns, positions


def prepared_wants(plan: Plan) -> tuple[list[str], list[Candidates]]:
    """Return what the plan asks of ``prepare``: named integer facts, and n-gram candidates."""
    needs = plan.needs
    wants = ["context"] if CONTEXT in needs.picks else []
    wants += sorted(needs.positions)
    return wants, [pick for pick in needs.picks if isinstance(pick, Candidates)]
