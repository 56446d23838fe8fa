"""EOS penalty: do not stop too soon."""

from __future__ import annotations

from torch import Tensor

from .positions import Positions
from .rows import mean_over_valid, unlikelihood, zero


def penalised(at: Positions, b: int, t: int, eos_token_id: int, min_length: int = 20) -> bool:
    """Is EOS penalised at `(b, t)`: `q < min_length` and `y ≠ eos`?"""
    return at.before[b][t] < min_length and at.targets[b][t] != eos_token_id


def eos_penalty(x: Tensor, at: Positions, *, eos_token_id: int, tau: float = 1.0, min_length: int = 20) -> Tensor:
    """`mean_M ul_t(eos)` where penalised."""

    def value(b: int, t: int) -> Tensor:
        if not penalised(at, b, t, eos_token_id, min_length):
            return zero(x)
        return unlikelihood(x[b, t] / tau, eos_token_id)

    return mean_over_valid(x, at, value)
