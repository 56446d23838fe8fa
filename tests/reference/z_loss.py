"""z-loss."""

from __future__ import annotations

from torch import Tensor

from .positions import Positions
from .rows import log_partition, mean_over_valid


def z_loss(x: Tensor, at: Positions, *, tau: float = 1.0) -> Tensor:
    """`mean_M ℓ²`."""
    return mean_over_valid(x, at, lambda b, t: log_partition(x[b, t] / tau) ** 2)
