"""n-gram repetition: do not finish an n-gram that the window already holds."""

from __future__ import annotations

from torch import Tensor

from .positions import Positions
from .rows import mean_over_valid, unlikelihood, zero


def prefix(at: Positions, b: int, t: int, size: int) -> list[int] | None:
    """`u[t−n+2..t]`, or `None` unless all of its n−1 tokens are defined and of one segment."""
    tokens: list[int] = []
    for s in range(t - size + 2, t + 1):
        if s < 0 or at.segment[b][s] != at.segment[b][t]:
            return None
        token = at.context[b][s]
        if token is None:
            return None
        tokens.append(token)
    return tokens


def candidates(at: Positions, b: int, t: int, size: int = 4, window: int = 50) -> list[int]:
    """`C_t` without `y_t`: each token once, in the order of the offsets that find it."""
    now = prefix(at, b, t, size)
    found: list[int] = []
    if now is None:
        return found
    for d in range(1, window + 1):
        if t - d < 0 or at.segment[b][t - d] != at.segment[b][t]:
            continue
        if prefix(at, b, t - d, size) != now:
            continue
        follower = at.context[b][t - d + 1]
        if follower is not None and follower not in found and follower != at.targets[b][t]:
            found.append(follower)
    return found


def ngram_penalty(x: Tensor, at: Positions, *, tau: float = 1.0, size: int = 4, window: int = 50) -> Tensor:
    """`mean_M Σ_{c ∈ C_t, c ≠ y_t} ul_t(c)`."""

    def value(b: int, t: int) -> Tensor:
        total = zero(x)
        for c in candidates(at, b, t, size, window):
            total = total + unlikelihood(x[b, t] / tau, c)
        return total

    return mean_over_valid(x, at, value)
