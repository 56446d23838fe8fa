"""The arithmetic of one row of logits, and the mean over valid positions, in float64."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from .positions import Positions


def zero(*tensors: Tensor) -> Tensor:
    """Exactly 0 in float64, connected to every tensor: their gradients are zeros whatever they hold."""
    total = torch.zeros((), dtype=torch.float64)
    for tensor in tensors:
        total = total + tensor.double().reshape(-1)[:0].sum()
    return total


def real_columns(x: Tensor, vocab_size: int | None) -> Tensor:
    """Float64 logits of the columns that take part: those before `vocab_size`."""
    return x.double() if vocab_size is None else x.double()[..., :vocab_size]


def finite_columns(z: Tensor) -> Tensor:
    """The columns of the row that are not −inf: the others have `p = 0` and drop out of every sum."""
    return z[z > -torch.inf]


def log_partition(z: Tensor) -> Tensor:
    """`ℓ = logsumexp_v z` of a row `[V]`."""
    return torch.logsumexp(finite_columns(z), dim=0)


def nll(z: Tensor, y: int) -> Tensor:
    """`ℓ − z_y`."""
    if not 0 <= y < z.shape[0]:
        raise IndexError(f"target {y} outside [0, {z.shape[0]})")
    return log_partition(z) - z[y]


def log_odds(z: Tensor, c: int) -> Tensor | None:
    """`z_c − log Σ_{v≠c} exp z_v`, or `None` where no other column has any probability."""
    others = finite_columns(torch.cat([z[:c], z[c + 1 :]]))
    return z[c] - torch.logsumexp(others, dim=0) if others.shape[0] else None


def softplus(value: Tensor) -> Tensor:
    """`log(1 + e^value)`, without the threshold at which PyTorch's own gives up."""
    return torch.logaddexp(value, torch.zeros_like(value))


def unlikelihood(z: Tensor, c: int) -> Tensor:
    """`ul(c) = −log(1 − p(c)) = softplus(z_c − log Σ_{v≠c} exp z_v)`; a token outside the row has `p = 0`."""
    if not 0 <= c < z.shape[0] or z[c] == -torch.inf:
        return zero(z)
    odds = log_odds(z, c)
    return torch.full((), torch.inf, dtype=z.dtype) + zero(z) if odds is None else softplus(odds)


def entropy(z: Tensor) -> Tensor:
    """`H = −Σ p log p` of a row."""
    log_p = torch.log_softmax(finite_columns(z), dim=0)
    return -(log_p.exp() * log_p).sum()


def mean_over_valid(x: Tensor, at: Positions, value: Callable[[int, int], Tensor]) -> Tensor:
    """`mean_M f = Σ M·f / n`, 0 and connected to `x` where nothing is valid."""
    total = zero(x)
    for b, t in at.all_valid():
        total = total + value(b, t)
    return total / at.n
