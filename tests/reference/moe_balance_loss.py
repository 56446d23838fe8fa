"""Balance of the experts' load, by three methods, and their states."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from .experts import Layers, as_layers, assignments, load, target_usage, valid_gates
from .positions import Positions
from .rows import zero


def moe_balance_loss(
    gate_logits: Layers,
    at: Positions,
    *,
    expert_indices: Layers | None = None,
    attention_mask: Tensor | None = None,
    method: str = "gradient",
    target_expert_usage: float | Sequence[float] | None = None,
    top_k: int = 2,
    usage: Sequence[Sequence[float] | Tensor | None] | None = None,
) -> Tensor:
    """The mean over layers, own-mean. `usage`: each layer's `r` as of the last boundary, `None` before the first."""
    gates = as_layers(gate_logits)
    indices: list[Tensor | None] = [None] * len(gates)
    if expert_indices is not None:
        indices = list(as_layers(expert_indices))
    total = zero(*gates)
    if method == "loss_free" or at.count == 0:
        return total
    for layer, gate in enumerate(gates):
        kept = valid_gates(gate, attention_mask)
        if kept.shape[0] == 0:
            continue
        experts = gate.shape[-1]
        mean_probability = torch.softmax(kept, dim=-1).mean(dim=0)
        f = load(assignments(gate, indices[layer], attention_mask, top_k), experts)
        u = target_usage(target_expert_usage, experts)
        known = None if usage is None else usage[layer]
        r = f if known is None else [float(value) for value in known]
        for i in range(experts):
            if method == "gradient":
                total = total + (r[i] - u[i]) / u[i] * mean_probability[i]
            elif method == "switch":
                total = total + f[i] / u[i] * mean_probability[i]
            else:
                raise ValueError(f"method {method!r}")
    return total / len(gates) * at.own_mean_factor


def step_load(loads: Sequence[Sequence[float]], tokens: Sequence[int]) -> list[float] | None:
    """The step's observed `f` of one layer: its micro-steps' loads, averaged by routed tokens; `None` without any."""
    routed = sum(tokens)
    if routed == 0:
        return None
    return [sum(f[i] * count for f, count in zip(loads, tokens, strict=True)) / routed for i in range(len(loads[0]))]


def update_usage(r: Sequence[float] | None, f: Sequence[float] | None, momentum: float = 0.9) -> list[float] | None:
    """`m·r + (1−m)·f`; the first observation whole; unchanged without an observation."""
    if f is None:
        return None if r is None else list(r)
    if r is None:
        return list(f)
    return [momentum * old + (1 - momentum) * new for old, new in zip(r, f, strict=True)]


def update_bias(bias: Sequence[float], f: Sequence[float] | None, rate: float = 1e-3) -> list[float]:
    """`b_i += rate·sign(mean(load) − load_i)`, then zero-mean; unchanged without an observation."""
    if f is None:
        return list(bias)
    mean = sum(f) / len(f)
    moved = [b + rate * ((mean > load_i) - (mean < load_i)) for b, load_i in zip(bias, f, strict=True)]
    return [b - sum(moved) / len(moved) for b in moved]
