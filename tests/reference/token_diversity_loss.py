"""Token diversity: how far the distribution is from uniform."""

from __future__ import annotations

import math

from torch import Tensor

from .positions import Positions
from .rows import entropy, mean_over_valid, zero


def token_diversity_loss(x: Tensor, at: Positions, *, tau: float = 1.0) -> Tensor:
    """`mean_M (1 − H(p_t)/log V)`; 0 for a vocabulary of one, whose only distribution is uniform."""
    vocabulary = x.shape[-1]
    if vocabulary == 1:
        return zero(x)
    return mean_over_valid(x, at, lambda b, t: 1 - entropy(x[b, t] / tau) / math.log(vocabulary))
