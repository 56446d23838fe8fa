"""The primary loss: cross-entropy with label smoothing, at temperature τ."""

from __future__ import annotations

from torch import Tensor

from .positions import Positions
from .rows import log_partition, mean_over_valid, nll


def main_loss(x: Tensor, at: Positions, *, tau: float = 1.0, label_smoothing: float = 0.0) -> Tensor:
    """`mean_M [(1−ε)(ℓ − z_y) + ε(ℓ − mean_v z_v)]` of float64 logits `[B, T, V]`, `z = x/τ`."""

    def value(b: int, t: int) -> Tensor:
        z = x[b, t] / tau
        loss = (1 - label_smoothing) * nll(z, at.targets[b][t])
        return loss + label_smoothing * (log_partition(z) - z.mean()) if label_smoothing > 0 else loss

    return mean_over_valid(x, at, value)
