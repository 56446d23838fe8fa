"""``Plan`` → the graph: one function of tensors, from the statistics of the rows to the total."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import reduce

import torch
from torch import Tensor

from ava.compile.heads import head_logits, own_head_states
from ava.compile.reduce import across_ranks, denominator, masked_sum
from ava.compile.state import Closing, close, observe
from ava.compile.statistics import RowStatistics, compute_dtype, ordered
from ava.compile.weights import weights_at
from ava.plan import Plan
from ava.terms.base import CONTEXT, EOS, TARGET, Candidates, Needs, OwnMeanTerm, Pick, RowTerm, Statistic
from ava.terms.items import Items
from ava.terms.moe_balance_loss import MoeBalanceLoss
from ava.terms.mtp_loss import MtpLoss
from ava.terms.rows import Rows

__all__ = ["Batch", "Graph", "Mode", "active_needs", "build_graph", "closing_of", "prepared_wants"]


@dataclass(frozen=True, slots=True)
class Mode:
    """What, beside the plan, is baked into a graph.

    Attributes:
        vocab_size: columns that take part.
        detailed: whether every term and the metrics are answered, or only the total.
        training: whether this call is observed by the state.
        closes_every: forwards per optimizer step; 0 when an attached optimizer closes it.
        skipped: terms left out of this call, because their tensors are missing.
    """

    vocab_size: int
    detailed: bool
    training: bool
    closes_every: int
    skipped: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Batch:
    """The tensors of one call.

    Attributes:
        logits: ``[N, W]``.
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

    logits: Tensor
    prepared: list[Tensor]
    num_items: Tensor | None
    schedules: Tensor
    limits: Tensor
    extras: dict[str, Tensor] = field(default_factory=dict)
    heads: dict[str, Tensor] = field(default_factory=dict)


Graph = Callable[[Batch, dict[str, Tensor]], tuple[dict[str, Tensor], dict[str, Tensor]]]

_METRICS = frozenset({Statistic.ENTROPY, Statistic.MAX_LOG_PROB, Statistic.ARGMAX})


def active_needs(plan: Plan, skipped: frozenset[str]) -> Needs:
    """Return what the primary loss and the terms of this call need together."""
    active = (planned.needs for planned in plan.terms if planned.name not in skipped)
    return reduce(Needs.__or__, active, plan.primary.needs())


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


def build_graph(plan: Plan, mode: Mode) -> Graph:
    """Return the function from a batch and the state's buffers to the loss and the buffers' new values.

    The loss is a mapping with ``total_loss``; with ``mode.detailed`` also ``main_loss``, each term weighted and
    ``raw/…``, and ``metrics/…``, all detached. The new values hold only what changes; the caller writes them.
    """
    needs = active_needs(plan, mode.skipped)
    wanted = needs.statistics | {Statistic.MAX_LOG_PROB}
    if mode.detailed:
        wanted |= _METRICS
    terms = [(i, p.name, p.term) for i, p in enumerate(plan.terms) if p.name not in mode.skipped]
    closing = closing_of(plan)
    uncertain = plan.config.balancing == "uncertainty"

    def graph(batch: Batch, state: dict[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        extras = batch.extras
        valid = batch.prepared[0]
        dtype = compute_dtype(batch.logits.dtype)
        temperature = state["temperature"]
        columns, positions = name_prepared(plan, mode, needs, batch.prepared)
        rows = row_statistics(
            batch.logits,
            (1 / temperature).to(dtype),
            valid,
            wanted,
            mode.vocab_size,
            columns,
            positions,
            extras.get("teacher_logits"),
            needs.teacher_temperature,
        )
        main_rows = plan.primary.value(rows) * poison(columns[TARGET], valid, dtype)
        count = valid.sum()
        main_sum = masked_sum(main_rows, valid)
        items = denominator(count, batch.num_items, plan).to(dtype)
        main = main_sum / items
        load, usage = expert_load(extras, state)

        raw: dict[str, Tensor] = {}
        for _, name, term in terms:
            if isinstance(term, RowTerm):
                raw[name] = masked_sum(term.value(rows), valid) / items
            elif isinstance(term, MtpLoss):
                heads, counts = future_rows(term, plan, mode, batch)
                values = term.value(heads, rows) * poison(heads.targets, counts, dtype).view(-1, valid.shape[0])
                raw[name] = masked_sum(values.flatten(), counts) / items / values.shape[0]
            else:
                assert isinstance(term, OwnMeanTerm)
                own = term.value(own_items(extras, load, usage, columns[TARGET], dtype))
                # 0 where nothing is valid, and then connected to its input without a gradient
                raw[name] = own.to(dtype) * (count / items)

        weights = weights_at(batch.schedules, state["step"]).to(dtype)
        weighted: dict[str, Tensor] = {}
        for index, name, _ in terms:
            weighted[name] = raw[name] * weights[index]
            if uncertain:
                log_variance = extras["log_variances"][index].to(dtype)
                weighted[name] = 0.5 * (-log_variance).exp() * weighted[name] + 0.5 * log_variance
        total = main
        for value in weighted.values():
            total = total + value

        after: dict[str, Tensor] = {}
        if mode.training:
            seen = across_ranks(torch.stack([main_sum.detach().double(), count.double()]), plan)
            chosen = extras.get("expert_counts")
            after = observe(state, seen, None if chosen is None else across_ranks(chosen, plan))
            if mode.closes_every:
                after = close(after, after["micro_step"] >= mode.closes_every, closing, batch.limits)
            after = {name: value.detach() for name, value in after.items() if value is not state[name]}
        if not mode.detailed:
            return {"total_loss": total}, after
        details = {"main_loss": main, **weighted, **{f"raw/{name}": value for name, value in raw.items()}}
        details.update(row_metrics(rows, valid, count))
        details["metrics/temperature"] = temperature.to(dtype, copy=True)  # not the buffer itself
        if load is not None:
            spread = load.std(1) / load.mean(1) if load.shape[1] > 1 else torch.zeros_like(load[:, 0])
            details["metrics/expert_load_cv"] = spread.nan_to_num(0.0).mean().to(dtype)
            details["metrics/expert_load_max"] = load.max().to(dtype)
        return {"total_loss": total, **{name: value.detach() for name, value in details.items()}}, after

    return graph


def row_statistics(
    logits: Tensor,
    inverse_temperature: Tensor,
    valid: Tensor,
    wanted: frozenset[Statistic],
    vocab_size: int,
    columns: Mapping[Pick | Candidates, Tensor],
    positions: Mapping[str, Tensor],
    teacher: Tensor | None = None,
    teacher_temperature: float | None = None,
) -> Rows:
    """Return what the terms see of rows of logits ``[N, W]``."""
    answers = RowStatistics.apply(  # type: ignore[no-untyped-call]
        logits,
        inverse_temperature,
        valid,
        wanted,
        vocab_size,
        teacher,
        teacher_temperature or 1.0,
        *(column[:, None] if column.ndim == 1 else column for column in columns.values()),
    )
    statistics = dict(zip(ordered(wanted), answers, strict=False))
    log_probs = {
        pick: answer[:, 0] if isinstance(pick, Pick) else answer
        for pick, answer in zip(columns, answers[len(statistics) :], strict=True)
    }
    return Rows(statistics, log_probs, columns, positions, vocab_size)


def poison(target: Tensor, valid: Tensor, dtype: torch.dtype) -> Tensor:
    """Return 1, or NaN where a valid target lies outside the vocabulary: never a silent wrong number."""
    return torch.where(valid & (target < 0), torch.nan, 1.0).to(dtype)


def future_rows(term: MtpLoss, plan: Plan, mode: Mode, batch: Batch) -> tuple[Rows, Tensor]:
    """Return the rows of the future-token heads, ``[K * N]``, and which of them count."""
    extras, model = batch.extras, plan.config.model
    bias, scale, softcap = extras.get("lm_head_bias"), model.logit_scale, model.logit_softcap
    if "mtp_logits" in extras:
        logits = extras["mtp_logits"]
    elif "mtp_hidden" in extras:
        logits = head_logits(extras["mtp_hidden"], extras["lm_head"], bias, scale, softcap)
    else:
        states = own_head_states(extras["hidden"], batch.heads, term.num_future_tokens)
        if term.heads == "tied":
            logits = head_logits(states, extras["lm_head"], bias, scale, softcap)
        else:
            logits = states @ batch.heads["projection"].to(states.dtype).transpose(-1, -2)
        logits = logits.flatten(0, 1)
    counts = extras["mtp_valid"]
    one = torch.ones((), dtype=compute_dtype(logits.dtype), device=logits.device)
    wanted = frozenset({Statistic.MAX_LOG_PROB})
    return row_statistics(logits, one, counts, wanted, mode.vocab_size, {TARGET: extras["mtp_targets"]}, {}), counts


def expert_load(extras: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> tuple[Tensor | None, Tensor | None]:
    """Return each expert's share of the assignments, and its running average, ``[L, E]`` float64."""
    counts = extras.get("expert_counts")
    if counts is None:
        return None, None
    load = counts / counts.sum(1, keepdim=True).clamp(min=1)
    return load, torch.where(state["expert_steps"] > 0, state["expert_usage"], load)


def own_items(
    extras: Mapping[str, Tensor], load: Tensor | None, usage: Tensor | None, target: Tensor, dtype: torch.dtype
) -> Items:
    """Return the inputs of the terms with items of their own, in the dtype of the arithmetic."""

    def wide(name: str) -> Tensor | None:
        value = extras.get(name)
        return None if value is None else value.to(dtype)

    rows = extras.get("sample_rows")
    return Items(
        hidden=wide("sample"),
        classes=None if rows is None else target[rows],
        gate_logits=wide("gate_logits"),
        load=load,
        usage=usage,
        routed=extras.get("routed"),
        expert_outputs=wide("expert_outputs"),
    )


def row_metrics(rows: Rows, valid: Tensor, count: Tensor) -> dict[str, Tensor]:
    """Return the metrics of a call over its own valid positions."""
    own = count.clamp(min=1).to(rows.nll.dtype)
    hits = (rows.statistics[Statistic.ARGMAX] == rows.targets).to(rows.nll.dtype)
    return {
        "metrics/tokens": count,
        "metrics/accuracy": masked_sum(hits, valid) / own,
        "metrics/perplexity": (masked_sum(rows.nll, valid) / own).exp(),
        "metrics/entropy": masked_sum(rows.entropy, valid) / own,
        "metrics/confidence": masked_sum(rows.statistics[Statistic.MAX_LOG_PROB].exp(), valid) / own,
    }


def name_prepared(
    plan: Plan, mode: Mode, needs: Needs, prepared: list[Tensor]
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
            inside = eos if eos is not None and eos < mode.vocab_size else -1
            columns[pick] = torch.full_like(prepared[1], inside)
    columns.update(zip(candidates, prepared[2 + len(wants) :], strict=True))
    return columns, positions


def prepared_wants(needs: Needs) -> tuple[list[str], list[Candidates]]:
    """Return what these needs ask of ``prepare``: named integer facts, and n-gram candidates."""
    wants = ["context"] if CONTEXT in needs.picks else []
    wants += sorted(needs.positions)
    return wants, [pick for pick in needs.picks if isinstance(pick, Candidates)]
