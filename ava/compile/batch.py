"""What goes into a graph: the constants that are baked in, and the tensors of a call."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import reduce

import torch
from torch import Tensor

from ava.compile.shard import Shard
from ava.compile.state import Closing
from ava.plan import Plan
from ava.terms.base import CONTEXT, EOS, TARGET, Candidates, Needs, Pick, Statistic
from ava.terms.moe_balance_loss import MoeBalanceLoss

__all__ = [
    "Batch",
    "Measurements",
    "Mode",
    "active_needs",
    "closing_of",
    "name_prepared",
    "prepared_wants",
    "wanted_by",
]


@dataclass(frozen=True, slots=True)
class Mode:
    """What, beside the plan, is baked into a graph.

    Attributes:
        vocab_size: columns that take part.
        detailed: whether every term and the metrics are answered, or only the total.
        training: whether this call is observed by the state.
        closes_every: forwards per optimizer step; 0 when an attached optimizer closes it.
        skipped: terms left out of this call, because their tensors are missing.
        shard: the columns that this rank holds, where the vocabulary is split over ranks.
        finite: whether the graph counts on finite logits, and says whether they were; see
            :attr:`ava.compile.measure.Asked.finite`.
    """

    vocab_size: int
    detailed: bool
    training: bool
    closes_every: int
    skipped: frozenset[str] = frozenset()
    shard: Shard | None = None
    finite: bool = False


@dataclass(frozen=True, slots=True)
class Measurements:
    """What the chunked engine found of all rows, in place of logits.

    Attributes:
        sums: of the main loss and of each term on rows, over the valid rows, by name; differentiable.
        metrics: sums over the valid rows, by name.
        confidence: the largest log-probability of each row, ``[N]``.
        infinite: 0-d bool, whether the logits were not as finite as the graph counted on; None where it did not.
    """

    sums: dict[str, Tensor]
    metrics: dict[str, Tensor]
    confidence: Tensor
    infinite: Tensor | None = None


@dataclass(frozen=True, slots=True)
class Batch:
    """The tensors of one call.

    Attributes:
        rows: logits ``[N, W]``, or what the chunked engine found of them.
        prepared: the answer of :func:`ava.compile.prepare.prepare`.
        num_items: 0-d, or None for the call's own valid positions.
        schedules: ``[K, 5]``, see :func:`ava.compile.weights.schedule_table`.
        limits: rate and bounds of the temperature, ``[3]``.
        extras: tensors of the terms beyond rows of logits, by name: ``teacher_logits [N, W]``; ``mtp_logits
            [K * N, W]``, or ``mtp_hidden [K * N, H]``, or ``hidden [N, H]`` for the loss's own heads, with
            ``mtp_targets`` and ``mtp_valid [K * N]``; ``lm_head [W, H]``, ``lm_head_bias [W]``; ``sample [m, H]`` and
            ``sample_rows [m]``; ``gate_logits [L, N, E]``, ``expert_counts [L, E]``, ``routed [N]``,
            ``expert_outputs [E, N, H]``; ``log_variances [K]``.
        heads: parameters of the loss's own heads.
    """

    rows: Tensor | Measurements
    prepared: list[Tensor]
    num_items: Tensor | None
    schedules: Tensor
    limits: Tensor
    extras: dict[str, Tensor] = field(default_factory=dict)
    heads: Mapping[str, Tensor] = field(default_factory=dict)


_METRICS = frozenset({Statistic.ENTROPY, Statistic.MAX_LOG_PROB, Statistic.ARGMAX})


def active_needs(plan: Plan, skipped: frozenset[str]) -> Needs:
    """Return what the primary loss and the terms of this call need together."""
    active = (planned.needs for planned in plan.terms if planned.name not in skipped)
    return reduce(Needs.__or__, active, plan.primary.needs())


def wanted_by(needs: Needs, detailed: bool) -> frozenset[Statistic]:
    """Return the statistics of a pass: what the terms need, the confidence, and what the metrics show."""
    wanted = needs.statistics | {Statistic.MAX_LOG_PROB}
    return wanted | _METRICS if detailed else wanted


def closing_of(plan: Plan) -> Closing:
    """Return what a step boundary does beside counting."""
    temperature = plan.primary.temperature
    balance = next((p.term for p in plan.terms if isinstance(p.term, MoeBalanceLoss)), None)
    return Closing(
        adaptive=temperature is not None and temperature.adaptive,
        method=None if balance is None else balance.method,
        momentum=0.0 if balance is None else balance.momentum,
        rate=0.0 if balance is None else balance.rate,
    )


def name_prepared(
    plan: Plan, vocab_size: int, needs: Needs, prepared: list[Tensor]
) -> tuple[dict[Pick | Candidates, Tensor], dict[str, Tensor]]:
    """Return the picked columns and the integer facts by name, from the answer of ``prepare``."""
    columns: dict[Pick | Candidates, Tensor] = {TARGET: prepared[1]}
    wants, candidates = prepared_wants(needs)
    named = dict(zip(wants, prepared[2:], strict=False))
    positions: dict[str, Tensor] = {name: named[name] for name in needs.positions}
    for pick in needs.picks:
        if pick == CONTEXT:
            columns[pick] = named["context"]
        elif pick == EOS:
            eos = plan.config.model.eos_token_id
            inside = eos if eos is not None and eos < vocab_size else -1
            columns[pick] = torch.where(prepared[0], inside, -1)
    columns.update(zip(candidates, prepared[2 + len(wants) :], strict=True))
    return columns, positions


def prepared_wants(needs: Needs) -> tuple[list[str], list[Candidates]]:
    """Return what these needs ask of ``prepare``: named integer facts, and n-gram candidates."""
    wants = ["context"] if CONTEXT in needs.picks else []
    wants += sorted(needs.positions)
    return wants, [pick for pick in needs.picks if isinstance(pick, Candidates)]
