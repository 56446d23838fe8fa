"""All of the page in one call: a configuration and the forward's inputs in, every reported number out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from .contrastive_loss import contrastive_loss
from .distillation_loss import distillation_loss
from .eos_penalty import eos_penalty
from .expert_diversity_loss import expert_diversity_loss
from .experts import as_layers, assignments, load
from .focal_loss import focal_loss
from .head import head_logits
from .immediate_repetition_penalty import immediate_repetition_penalty
from .main_loss import main_loss
from .metrics import load_metrics, row_metrics
from .moe_balance_loss import moe_balance_loss
from .mtp_loss import mtp_loss, own_heads
from .ngram_penalty import ngram_penalty
from .positions import Positions, model_side_tensor, positions
from .router_z_loss import router_z_loss
from .rows import real_columns
from .temperature import weight_at
from .token_diversity_loss import token_diversity_loss
from .z_loss import z_loss

DEFAULT_WEIGHTS: dict[str, float] = {
    "focal_loss": 0.2,
    "z_loss": 1e-4,
    "token_diversity_loss": 0.05,
    "immediate_repetition_penalty": 0.5,
    "ngram_penalty": 0.1,
    "eos_penalty": 0.05,
    "mtp_loss": 0.1,
    "contrastive_loss": 0.1,
    "moe_balance_loss": 0.1,
    "router_z_loss": 1e-3,
    "expert_diversity_loss": 0.05,
    "distillation_loss": 0.5,
}


@dataclass(frozen=True)
class Call:
    """One call, prepared: everything aligned (shifted, one-row inputs with their `B = 1`), floats in float64."""

    x: Tensor
    at: Positions
    tau: float
    model: Mapping[str, Any]
    attention_mask: Tensor | None
    hidden_states: Tensor | None
    lm_head: Tensor | None
    lm_head_bias: Tensor | None
    mtp_logits: Tensor | None
    mtp_hidden_states: Tensor | None
    gate_logits: Tensor | Sequence[Tensor] | None
    expert_indices: Tensor | Sequence[Tensor] | None
    expert_outputs: Tensor | Sequence[Tensor] | None
    teacher_logits: Tensor | None
    heads: Mapping[str, Tensor | None] | None
    usage: Sequence[Sequence[float] | Tensor | None] | None


class MissingInputError(ValueError):
    """A term that is on lacks an input."""


def _head(call: Call, hidden: Tensor) -> Tensor:
    if call.lm_head is None:
        raise MissingInputError("lm_head")
    x = head_logits(
        hidden,
        call.lm_head,
        call.lm_head_bias,
        scale=call.model.get("logit_scale") or 1.0,
        softcap=call.model.get("logit_softcap"),
    )
    return real_columns(x, call.model.get("vocab_size"))


def _need(value: Any, name: str) -> Any:
    if value is None:
        raise MissingInputError(name)
    return value


def _options(settings: Mapping[str, Any], *names: str) -> dict[str, Any]:
    """The settings of these names, where given: the terms' own defaults stand for the others."""
    return {name: settings[name] for name in names if settings.get(name) is not None}


def _mtp(call: Call, settings: Mapping[str, Any]) -> Tensor:
    vocab = call.model.get("vocab_size")
    if call.mtp_logits is not None:
        x_mtp = real_columns(call.mtp_logits, vocab)
    elif call.mtp_hidden_states is not None:
        x_mtp = _head(call, call.mtp_hidden_states)
    else:
        made = own_heads(
            _need(call.hidden_states, "hidden_states"),
            settings.get("heads", "linear"),
            _need(call.heads, "heads"),
            settings.get("num_future_tokens", 3),
            lm_head=call.lm_head,
            lm_head_bias=call.lm_head_bias,
            scale=call.model.get("logit_scale") or 1.0,
            softcap=call.model.get("logit_softcap"),
        )
        x_mtp = real_columns(made, vocab)
    options = _options(settings, "weighting", "confidence_threshold", "weight_range")
    if options.get("weighting") == "deepseek":
        options["weighting"] = "uniform"
    return mtp_loss(x_mtp, call.at, x=call.x, tau=call.tau, **options)


TERMS: dict[str, Callable[[Call, Mapping[str, Any]], Tensor]] = {
    "focal_loss": lambda c, s: focal_loss(c.x, c.at, tau=c.tau, **_options(s, "gamma", "alpha")),
    "z_loss": lambda c, s: z_loss(c.x, c.at, tau=c.tau),
    "token_diversity_loss": lambda c, s: token_diversity_loss(c.x, c.at, tau=c.tau),
    "immediate_repetition_penalty": lambda c, s: immediate_repetition_penalty(
        c.x, c.at, tau=c.tau, **_options(s, "threshold")
    ),
    "ngram_penalty": lambda c, s: ngram_penalty(c.x, c.at, tau=c.tau, **_options(s, "size", "window")),
    "eos_penalty": lambda c, s: eos_penalty(
        c.x,
        c.at,
        eos_token_id=_need(c.model.get("eos_token_id"), "eos_token_id"),
        tau=c.tau,
        **_options(s, "min_length"),
    ),
    "mtp_loss": _mtp,
    "contrastive_loss": lambda c, s: contrastive_loss(
        _need(c.hidden_states, "hidden_states"), c.at, **_options(s, "temperature", "max_tokens")
    ),
    "moe_balance_loss": lambda c, s: moe_balance_loss(
        _need(c.gate_logits, "gate_logits"),
        c.at,
        expert_indices=c.expert_indices,
        attention_mask=c.attention_mask,
        top_k=c.model.get("top_k") or 2,
        usage=c.usage,
        **_options(s, "method", "target_expert_usage"),
    ),
    "router_z_loss": lambda c, s: router_z_loss(
        _need(c.gate_logits, "gate_logits"), c.at, attention_mask=c.attention_mask
    ),
    "expert_diversity_loss": lambda c, s: expert_diversity_loss(
        _need(c.expert_outputs, "expert_outputs"), c.at, attention_mask=c.attention_mask
    ),
    "distillation_loss": lambda c, s: distillation_loss(
        c.x,
        real_columns(_need(c.teacher_logits, "teacher_logits"), c.model.get("vocab_size")),
        c.at,
        **_options(s, "temperature"),
    ),
}


def enabled_terms(config: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The terms that are on, `mtp_loss` of `adaptive_mtp` included, in the order of the page."""
    named = {name: dict(settings) for name, settings in (config.get("terms") or {}).items() if settings is not None}
    if (config.get("primary") or {}).get("type") == "adaptive_mtp":
        named["mtp_loss"] = {**named.get("mtp_loss", {}), "weighting": "adaptive"}
    unknown = set(named) - set(TERMS)
    if unknown:
        raise ValueError(f"no such terms: {sorted(unknown)}")
    return {name: named[name] for name in TERMS if name in named}


def prepare(
    config: Mapping[str, Any],
    *,
    targets: Tensor,
    logits: Tensor | None = None,
    attention_mask: Tensor | None = None,
    input_ids: Tensor | None = None,
    segment_ids: Tensor | None = None,
    hidden_states: Tensor | None = None,
    lm_head: Tensor | None = None,
    lm_head_bias: Tensor | None = None,
    mtp_logits: Tensor | None = None,
    mtp_hidden_states: Tensor | None = None,
    gate_logits: Tensor | Sequence[Tensor] | None = None,
    expert_indices: Tensor | Sequence[Tensor] | None = None,
    expert_outputs: Tensor | Sequence[Tensor] | None = None,
    teacher_logits: Tensor | None = None,
    num_items: float | Tensor | None = None,
    temperature: float | None = None,
    heads: Mapping[str, Tensor | None] | None = None,
    usage: Sequence[Sequence[float] | Tensor | None] | None = None,
    rank_counts: Sequence[int] | None = None,
) -> Call:
    """Align a call: shift, `B = 1` for one row, head, τ, positions."""
    model = config.get("model") or {}
    primary = config.get("primary") or {}
    shift = bool((config.get("targets") or {}).get("shift", False))
    one_row = targets.dim() == 1

    def aligned(tensor: Tensor | None, batch_dim: int = 0) -> Tensor | None:
        if tensor is None:
            return None
        rows = tensor.double().unsqueeze(batch_dim) if one_row else tensor.double()
        return model_side_tensor(rows, shift, dim=batch_dim + 1)

    tau = 1.0
    if primary.get("type", "standard") == "deepseek":
        tau = (primary.get("temperature") or {}).get("initial", 1.0) if temperature is None else float(temperature)
    at = positions(
        targets,
        attention_mask,
        input_ids,
        segment_ids,
        shift=shift,
        ignore_index=model.get("ignore_index", -100),
        eos_token_id=model.get("eos_token_id"),
        pad_token_id=model.get("pad_token_id"),
        num_items=num_items,
        rank_counts=rank_counts,
    )
    hidden = aligned(hidden_states)
    x = aligned(logits)
    if x is None:
        if hidden is None or lm_head is None:
            raise ValueError("neither logits nor hidden_states and lm_head")
        x = head_logits(
            hidden,
            lm_head,
            lm_head_bias,
            scale=model.get("logit_scale") or 1.0,
            softcap=model.get("logit_softcap"),
        )
    return Call(
        x=real_columns(x, model.get("vocab_size")),
        at=at,
        tau=tau,
        model=model,
        attention_mask=attention_mask,
        hidden_states=hidden,
        lm_head=lm_head,
        lm_head_bias=lm_head_bias,
        mtp_logits=aligned(mtp_logits, 1),
        mtp_hidden_states=aligned(mtp_hidden_states, 1),
        gate_logits=gate_logits,
        expert_indices=expert_indices,
        expert_outputs=expert_outputs,
        teacher_logits=aligned(teacher_logits),
        heads=heads,
        usage=usage,
    )


def raw_terms(call: Call, terms: Mapping[str, Mapping[str, Any]]) -> dict[str, Tensor]:
    """Every term unweighted; one that lacks an input is an error, or absent with `if_missing: skip`."""
    raw: dict[str, Tensor] = {}
    for name, settings in terms.items():
        try:
            raw[name] = TERMS[name](call, settings)
        except MissingInputError:
            if settings.get("if_missing", "error") != "skip":
                raise
    return raw


def reference(
    config: Mapping[str, Any],
    *,
    step: int = 0,
    log_scales: Mapping[str, Tensor | float] | None = None,
    **inputs: Any,
) -> dict[str, Tensor]:
    """`total_loss`, `main_loss`, each weighted term, `raw/<term>`, `metrics/…`, `state/…`; terms stay connected.

    `config` is resolved (a plain dict in the language of config.md); `step` is what weight schedules see;
    `log_scales` are the `s_k` of `balancing: uncertainty` (0 by default). `inputs` are the forward's, and
    `temperature` (τ, for `deepseek`), `heads` (see `own_heads`), `usage` (each layer's `r`), `rank_counts` (every
    rank's `Σ M`, for `across: data_parallel`). `state/` holds what the call lets the state observe:
    `main_loss_sum` over `tokens`, and per layer `expert_load [L, E]` over `expert_tokens`.
    """
    call = prepare(config, **inputs)
    terms = enabled_terms(config)
    primary = config.get("primary") or {}
    main = main_loss(call.x, call.at, tau=call.tau, label_smoothing=primary.get("label_smoothing", 0.0))
    raw = raw_terms(call, terms)

    out: dict[str, Tensor] = {"main_loss": main}
    for name, value in raw.items():
        weighted = weight_at(terms[name].get("weight", DEFAULT_WEIGHTS[name]), step) * value
        if config.get("balancing", "fixed") == "uncertainty":
            s = torch.as_tensor((log_scales or {}).get(name, 0.0), dtype=torch.float64)
            weighted = 0.5 * torch.exp(-s) * weighted + 0.5 * s
        out[name] = weighted
    total = out["main_loss"]
    for name in raw:
        total = total + out[name]
    out["total_loss"] = total
    out.update({f"raw/{name}": value for name, value in raw.items()})

    numbers = {f"metrics/{name}": value for name, value in row_metrics(call.x, call.at, call.tau).items()}
    numbers["state/tokens"] = float(call.at.count)
    numbers["state/main_loss_sum"] = float(main.detach()) * call.at.n
    if call.gate_logits is not None:
        loads, routed = expert_loads(call)
        numbers.update({f"metrics/{name}": value for name, value in load_metrics(loads).items()})
        out["state/expert_load"] = torch.tensor(loads, dtype=torch.float64)
        numbers["state/expert_tokens"] = float(routed)
    out.update({name: torch.tensor(value, dtype=torch.float64) for name, value in numbers.items()})
    return out


def expert_loads(call: Call) -> tuple[list[list[float]], int]:
    """Each layer's `f`, and how many tokens were routed."""
    gates = as_layers(_need(call.gate_logits, "gate_logits"))
    indices: list[Tensor | None] = [None] * len(gates)
    if call.expert_indices is not None:
        indices = list(as_layers(call.expert_indices))
    loads, routed = [], 0
    for gate, chosen in zip(gates, indices, strict=True):
        kept = assignments(gate, chosen, call.attention_mask, call.model.get("top_k") or 2)
        loads.append(load(kept, gate.shape[-1]))
        routed = len(kept)
    return loads, routed
