"""Focal loss."""

from __future__ import annotations

import torch
from torch import Tensor

from .positions import Positions
from .rows import log_odds, mean_over_valid, nll, softplus, zero


def focal_loss(x: Tensor, at: Positions, *, tau: float = 1.0, gamma: float = 2.0, alpha: float = 1.0) -> Tensor:
    """`mean_M α(1−p_y)^γ (ℓ − z_y)`; both factors from the log odds `o` of `y`: `1−p = e^−softplus(o)`."""

    def value(b: int, t: int) -> Tensor:
        z, y = x[b, t] / tau, at.targets[b][t]
        literal = nll(z, y)
        odds = log_odds(z, y)
        if odds is None:
            return zero(x)
        if gamma == 0:
            return alpha * literal
        return alpha * torch.exp(-gamma * softplus(odds)) * softplus(-odds)

    return mean_over_valid(x, at, value)
