"""The language-model head, when the loss applies it itself."""

from __future__ import annotations

import torch
from torch import Tensor


def head_logits(
    hidden: Tensor,
    lm_head: Tensor,
    lm_head_bias: Tensor | None = None,
    *,
    scale: float = 1.0,
    softcap: float | None = None,
) -> Tensor:
    """`x = softcap(scale · h·Wᵀ + bias)` in float64: `hidden [..., H]`, `lm_head [V, H]` → `[..., V]`."""
    x = scale * (hidden.double() @ lm_head.double().T)
    if lm_head_bias is not None:
        x = x + lm_head_bias.double()
    return x if softcap is None else softcap * torch.tanh(x / softcap)
