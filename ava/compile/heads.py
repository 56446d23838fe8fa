"""Logits from hidden states: the model's head, and the loss's own heads for future tokens."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn.functional import layer_norm, linear, silu

__all__ = ["MtpHeads", "head_logits", "own_head_states"]

_STD = 0.02
"""Spread of the initial weights: what language models initialise their heads with."""


def head_logits(hidden: Tensor, weight: Tensor, bias: Tensor | None, scale: float, softcap: float | None) -> Tensor:
    """Return ``softcap(scale · h Wᵀ + bias)``.

    Args:
        hidden: ``[..., H]``.
        weight: ``[V, H]``.
        bias: ``[V]`` or None.
        scale: factor of the product (``model.logit_scale``).
        softcap: ``c · tanh(· / c)``, or None (``model.logit_softcap``).
    """
    logits = linear(hidden, weight.to(hidden.dtype))
    if scale != 1.0:
        logits = logits * scale
    if bias is not None:
        logits = logits + bias.to(logits.dtype)
    return logits if softcap is None else softcap * torch.tanh(logits / softcap)


class MtpHeads(nn.Module):
    """Parameters of the loss's own heads for ``K`` future tokens.

    ``linear``: one LayerNorm, then a projection ``[V, H]`` per head. ``shared``: per head a residual block
    ``h + W_k SiLU(LayerNorm(h))``, then one projection for all. ``tied``: the same blocks, then the caller's head.

    Args:
        kind: ``linear``, ``shared`` or ``tied``.
        heads: ``K``.
        hidden_size: ``H``.
        vocab_size: ``V``; None for ``tied``.
    """

    def __init__(self, kind: str, heads: int, hidden_size: int, vocab_size: int | None) -> None:
        super().__init__()
        norms = (hidden_size,) if kind == "linear" else (heads, hidden_size)
        self.norm_weight = nn.Parameter(torch.ones(norms))
        self.norm_bias = nn.Parameter(torch.zeros(norms))
        if kind != "linear":
            self.block = nn.Parameter(torch.randn(heads, hidden_size, hidden_size) * _STD)
        if kind != "tied":
            assert vocab_size is not None
            shape = (heads, vocab_size, hidden_size) if kind == "linear" else (vocab_size, hidden_size)
            self.projection = nn.Parameter(torch.randn(shape) * _STD)


def own_head_states(hidden: Tensor, parameters: Mapping[str, Tensor], heads: int) -> Tensor:
    """Return what each head projects, ``[K, N, H]``, from hidden states ``[N, H]``."""
    width = hidden.shape[-1:]
    norm_weight, norm_bias = parameters["norm_weight"], parameters["norm_bias"]
    if norm_weight.ndim == 1:
        normed = layer_norm(hidden, width, norm_weight.to(hidden.dtype), norm_bias.to(hidden.dtype))
        return normed.expand(heads, *normed.shape)
    normed = layer_norm(hidden, width)
    normed = normed * norm_weight[:, None].to(hidden.dtype) + norm_bias[:, None].to(hidden.dtype)
    return hidden + silu(normed) @ parameters["block"].to(hidden.dtype).transpose(1, 2)
