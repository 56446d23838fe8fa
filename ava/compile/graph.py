"""``Plan`` → the graph: one function of tensors, from the statistics of the rows to the total."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from ava.compile.batch import Batch, Measurements, Mode, active_needs, closing_of, name_prepared, wanted_by
from ava.compile.heads import head_logits, own_head_states
from ava.compile.measure import Asked, compute_dtype
from ava.compile.reduce import denominator, over_ranks
from ava.compile.rowsums import MAIN, TARGETS_ONLY, future_sum, metric_sums, row_statistics, row_sums
from ava.compile.shard import HeldByAll, Shard
from ava.compile.state import close, observe
from ava.compile.weights import weights_at
from ava.plan import Plan
from ava.terms.base import TARGET, Needs, OwnMeanTerm, RowTerm, Statistic
from ava.terms.items import Items
from ava.terms.mtp_loss import MtpLoss

__all__ = ["INFINITE", "Graph", "build_graph"]

Graph = Callable[[Batch, dict[str, Tensor]], tuple[dict[str, Tensor], dict[str, Tensor]]]
INFINITE = "infinite"
"""Where a graph that counts on finite logits says whether they were not."""


def build_graph(plan: Plan, mode: Mode) -> Graph:
    """Return the function from a batch and the state's buffers to the loss and the buffers' new values.

    The loss is a mapping with ``total_loss``; with ``mode.detailed`` also ``main_loss``, each term weighted and
    ``raw/…``, and ``metrics/…``, all detached. The new values hold only what changes; the caller writes them.
    With ``mode.finite`` the loss also holds ``infinite``, 0-d bool: where that is true, this answer is not to be used.
    """
    needs = active_needs(plan, mode.skipped)
    terms = [(i, p.name, p.term) for i, p in enumerate(plan.terms) if p.name not in mode.skipped]
    closing = closing_of(plan)
    uncertain = plan.config.balancing == "uncertainty"

    def graph(batch: Batch, state: dict[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        extras = batch.extras
        valid = batch.prepared[0]
        temperature = state["temperature"]
        found = batch.rows if isinstance(batch.rows, Measurements) else measure(plan, mode, needs, batch, temperature)
        dtype = found.confidence.dtype
        count = valid.sum()
        main_sum = found.sums[MAIN].to(dtype)
        chosen = extras.get("expert_counts")
        seen = over_ranks(main_sum, count, chosen, plan)  # the call's only collective
        items = denominator(seen, batch.num_items).to(dtype)
        main = main_sum / items
        load, usage = expert_load(seen.expert_counts, state)

        raw: dict[str, Tensor] = {}
        for _, name, term in terms:
            if isinstance(term, RowTerm):
                raw[name] = found.sums[name].to(dtype) / items
            elif isinstance(term, MtpLoss):
                heads = extras["mtp_valid"].shape[0] // valid.shape[0] if valid.shape[0] else 1
                future = found.sums[name] if name in found.sums else future_rows(term, plan, mode, batch, found)
                raw[name] = future.to(dtype) / items / heads
            else:
                assert isinstance(term, OwnMeanTerm)
                own = term.value(own_items(extras, load, usage, batch.prepared[1], dtype))
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
            after = observe(state, torch.stack([seen.main_sum, seen.count]), seen.expert_counts)
            if mode.closes_every:
                after = close(after, after["micro_step"] >= mode.closes_every, closing, batch.limits)
            after = {name: value.detach() for name, value in after.items() if value is not state[name]}
        doubt = {} if found.infinite is None else {INFINITE: found.infinite}
        if not mode.detailed:
            return {"total_loss": total, **doubt}, after
        details = {MAIN: main, **weighted, **{f"raw/{name}": value for name, value in raw.items()}}
        details.update(row_metrics(found.metrics, count, dtype))
        details["metrics/temperature"] = temperature.to(dtype, copy=True)  # not the buffer itself
        if chosen is not None:  # of this call alone, as all metrics
            load = shares(chosen)
            spread = load.std(1) / load.mean(1) if load.shape[1] > 1 else torch.zeros_like(load[:, 0])
            details["metrics/expert_load_cv"] = spread.nan_to_num(0.0).mean().to(dtype)
            details["metrics/expert_load_max"] = load.max().to(dtype)
        return {"total_loss": total, **doubt, **{name: value.detach() for name, value in details.items()}}, after

    return graph


def measure(plan: Plan, mode: Mode, needs: Needs, batch: Batch, temperature: Tensor) -> Measurements:
    """Return what the terms say of the logits of a batch."""
    logits = batch.rows
    assert isinstance(logits, Tensor)
    valid = batch.prepared[0]
    columns, positions = name_prepared(plan, mode.vocab_size, needs, batch.prepared)
    wanted, degrees = wanted_by(needs, mode.detailed), needs.teacher_temperature or 1.0
    asked = Asked(wanted, mode.vocab_size, degrees, mode.shard, mode.finite)
    inverse_temperature = (1 / temperature).to(compute_dtype(logits.dtype))
    teacher = batch.extras.get("teacher_logits")
    rows = row_statistics(asked, logits, inverse_temperature, valid, columns, positions, teacher)
    sums = row_sums(plan, mode.skipped, rows, valid)
    metrics = metric_sums(rows, valid) if mode.detailed else {}
    confidence = rows.statistics[Statistic.MAX_LOG_PROB]
    # A row without a confidence (of NaN, or +inf) has no other answer, and one that is not valid has an entropy of 0.
    infinite = (rows.entropy.isnan() & ~confidence.isnan()).any() if mode.finite else None
    return Measurements(sums, metrics, confidence, infinite)


def future_rows(term: MtpLoss, plan: Plan, mode: Mode, batch: Batch, main: Measurements) -> Tensor:
    """Return the sum over the rows of the future-token heads, whose logits are made whole."""
    extras, model = batch.extras, plan.config.model
    bias, scale, softcap = extras.get("lm_head_bias"), model.logit_scale, model.logit_softcap
    shard = mode.shard
    if "mtp_logits" in extras:
        logits = extras["mtp_logits"]
    elif "mtp_hidden" in extras:
        logits = head_logits(_held(extras["mtp_hidden"], shard), extras["lm_head"], bias, scale, softcap)
    else:
        states = own_head_states(extras["hidden"], batch.heads, term.num_future_tokens)
        if term.heads == "tied":
            logits = head_logits(_held(states, shard), extras["lm_head"], bias, scale, softcap)
        else:
            logits = states @ batch.heads["projection"].to(states.dtype).transpose(-1, -2)
            shard = None  # the loss's own heads are whole on every rank
        logits = logits.flatten(0, 1)
    counts = extras["mtp_valid"]
    one = torch.ones((), dtype=compute_dtype(logits.dtype), device=logits.device)
    asked = Asked(TARGETS_ONLY, mode.vocab_size, shard=shard)
    heads = row_statistics(asked, logits, one, counts, {TARGET: extras["mtp_targets"]}, {})
    return future_sum(term, heads, main.confidence, counts)


def _held(states: Tensor, shard: Shard | None) -> Tensor:
    if shard is None:
        return states
    held: Tensor = HeldByAll.apply(states, shard)  # type: ignore[no-untyped-call]
    return held


def shares(counts: Tensor) -> Tensor:
    """Return each expert's share of the assignments of its layer, ``[L, E]`` float64."""
    return counts / counts.sum(1, keepdim=True).clamp(min=1)


def expert_load(counts: Tensor | None, state: Mapping[str, Tensor]) -> tuple[Tensor | None, Tensor | None]:
    """Return each expert's share of the assignments, and its running average, ``[L, E]`` float64."""
    if counts is None:
        return None, None
    load = shares(counts)
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


def row_metrics(sums: Mapping[str, Tensor], count: Tensor, dtype: torch.dtype) -> dict[str, Tensor]:
    """Return the metrics of a call over its own valid positions."""
    own = count.clamp(min=1).to(dtype)
    means = {name: value.to(dtype) / own for name, value in sums.items()}
    return {
        "metrics/tokens": count,
        "metrics/accuracy": means["accuracy"],
        "metrics/perplexity": means["nll"].exp(),
        "metrics/entropy": means["entropy"],
        "metrics/confidence": means["confidence"],
    }
