"""What the expert terms share: layers, valid tokens, assignments, P, f, loads."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

Layers = Tensor | Sequence[Tensor]


def as_layers(value: Layers) -> list[Tensor]:
    """One tensor for each layer."""
    return [value] if isinstance(value, Tensor) else list(value)


def flat_mask(attention_mask: Tensor | None, tokens: int) -> list[bool]:
    """Which of the flattened `B·T` tokens are valid: by the unshifted attention mask, else all."""
    if attention_mask is None:
        return [True] * tokens
    flat = [value != 0 for value in attention_mask.reshape(-1).tolist()]
    if len(flat) != tokens:
        raise ValueError(f"attention_mask has {len(flat)} tokens, the expert input {tokens}")
    return flat


def valid_gates(gate: Tensor, attention_mask: Tensor | None) -> Tensor:
    """Float64 `[tokens, E]` of the valid tokens of one layer."""
    flat = gate.double().reshape(-1, gate.shape[-1])
    return flat[torch.tensor(flat_mask(attention_mask, flat.shape[0]), dtype=torch.bool)]


def assignments(gate: Tensor, indices: Tensor | None, attention_mask: Tensor | None, top_k: int = 2) -> list[list[int]]:
    """For each valid token of one layer its experts: `expert_indices`, else the top-k of the gate."""
    if indices is None:
        indices = torch.topk(gate.double(), min(top_k, gate.shape[-1]), dim=-1).indices
    flat = indices.reshape(-1, indices.shape[-1]).tolist()
    mask = flat_mask(attention_mask, len(flat))
    return [experts for experts, valid in zip(flat, mask, strict=True) if valid]


def load(chosen: list[list[int]], experts: int) -> list[float]:
    """`f_i`: each expert's share of all valid assignments; zeros without a valid token."""
    counts = [0] * experts
    for token in chosen:
        for expert in token:
            counts[expert] += 1
    total = sum(counts)
    return [count / total if total else 0.0 for count in counts]


def target_usage(target: float | Sequence[float] | None, experts: int) -> list[float]:
    """`u_i`: a number or a list, `1/E` by default."""
    if target is None:
        return [1 / experts] * experts
    return [float(target)] * experts if isinstance(target, int | float) else [float(u) for u in target]
