"""Immediate repetition: do not say the last token once more."""

from __future__ import annotations

from torch import Tensor

from .positions import Positions
from .rows import mean_over_valid, unlikelihood, zero


def penalised(at: Positions, b: int, t: int, threshold: int = 2) -> int | None:
    """The token `c` penalised at `(b, t)`: `u[t]`, where defined, `run_t + 1 ≥ threshold` and `c ≠ y_t`."""
    c = at.context[b][t]
    if c is None or at.run[b][t] + 1 < threshold or c == at.targets[b][t]:
        return None
    return c


def immediate_repetition_penalty(x: Tensor, at: Positions, *, tau: float = 1.0, threshold: int = 2) -> Tensor:
    """`mean_M ul_t(c)` over the penalised tokens."""

    def value(b: int, t: int) -> Tensor:
        c = penalised(at, b, t, threshold)
        return zero(x) if c is None else unlikelihood(x[b, t] / tau, c)

    return mean_over_valid(x, at, value)
