"""Multi-token prediction, and the three ways in which the loss's own heads make its logits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from .head import head_logits
from .positions import Positions
from .rows import finite_columns, nll, zero


def confidence(x: Tensor, at: Positions, tau: float = 1.0) -> list[list[float]]:
    """`c_t = max_v p_t(v)` of the main logits, detached."""
    z = x.detach() / tau
    return [
        [float(torch.softmax(finite_columns(z[b, t]), dim=0).max()) for t in range(at.length)] for b in range(at.batch)
    ]


def adaptive_weight(c: float, threshold: float, weight_range: Sequence[float]) -> float:
    """`ω = lo + (1−lo)·c/θ` for `c < θ`, else `1 + (hi−1)(c−θ)/(1−θ)`."""
    low, high = weight_range
    if c < threshold:
        return low + (1 - low) * c / threshold
    return 1 + (high - 1) * (c - threshold) / (1 - threshold)


def valid_for_head(at: Positions, b: int, t: int, k: int) -> bool:
    """`M_k[t]`: `t+k < T`, the same segment, `M[t+k]`."""
    return t + k < at.length and at.segment[b][t] == at.segment[b][t + k] and at.valid[b][t + k]


def mtp_loss(
    x_mtp: Tensor,
    at: Positions,
    *,
    x: Tensor | None = None,
    tau: float = 1.0,
    weighting: str = "uniform",
    confidence_threshold: float = 0.7,
    weight_range: Sequence[float] = (0.5, 1.5),
) -> Tensor:
    """`(1/K) Σ_k CE_k` of float64 MTP logits `[K, B, T, V]`; `x [B, T, V]` and τ are for the confidence only."""
    if weighting == "adaptive":
        if x is None:
            raise ValueError("weighting adaptive needs the main logits")
        sure = confidence(x, at, tau)
    total = zero(x_mtp)
    for head in range(x_mtp.shape[0]):
        k = head + 1
        for b in range(at.batch):
            for t in range(at.length):
                if not valid_for_head(at, b, t, k):
                    continue
                weight = 1.0
                if weighting == "adaptive":
                    weight = adaptive_weight(sure[b][t], confidence_threshold, weight_range)
                total = total + weight * nll(x_mtp[head, b, t], at.targets[b][t + k]) / at.n
    return total / x_mtp.shape[0]


def own_heads(
    hidden: Tensor,
    heads: str,
    parameters: Mapping[str, Tensor | None],
    num_future_tokens: int,
    *,
    lm_head: Tensor | None = None,
    lm_head_bias: Tensor | None = None,
    scale: float = 1.0,
    softcap: float | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """`[K, B, T, V]` from `hidden [B, T, H]`: `linear`, `shared` or `tied`.

    `parameters`: `norm_weight`, `norm_bias` (`[H]` for one norm, `[K, H]` for one per head; absent: 1 and 0);
    `block_weight [K, H, H]`, `block_bias [K, H]` (`shared`, `tied`); `weight [K, V, H]`, `bias [K, V]` (`linear`) or
    `weight [V, H]`, `bias [V]` (`shared`).
    """

    def of_head(name: str, k: int, whole: int) -> Tensor | None:
        value = parameters.get(name)
        if value is None:
            return None
        value = value.double()
        return value if value.dim() == whole else value[k]

    h = hidden.double()
    made = []
    for k in range(num_future_tokens):
        normed = F.layer_norm(h, h.shape[-1:], of_head("norm_weight", k, 1), of_head("norm_bias", k, 1), eps)
        if heads == "linear":
            weight = parameters["weight"]
            assert weight is not None
            made.append(F.linear(normed, weight.double()[k], of_head("bias", k, 0)))
            continue
        block = parameters["block_weight"]
        assert block is not None
        out = h + F.linear(F.silu(normed), block.double()[k], of_head("block_bias", k, 0))
        if heads == "shared":
            weight = parameters["weight"]
            assert weight is not None
            made.append(F.linear(out, weight.double(), of_head("bias", k, 1)))
        else:
            assert heads == "tied"
            assert lm_head is not None
            made.append(head_logits(out, lm_head, lm_head_bias, scale=scale, softcap=softcap))
    return torch.stack(made)
