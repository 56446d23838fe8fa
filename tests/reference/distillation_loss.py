"""Distillation from a teacher's logits."""

from __future__ import annotations

import torch
from torch import Tensor

from .positions import Positions
from .rows import finite_columns, log_partition, mean_over_valid


def distillation_loss(x: Tensor, teacher: Tensor, at: Positions, *, temperature: float = 2.0) -> Tensor:
    """`T_d²·mean_M KL(q‖p)`, `q = softmax(teacher/T_d)` detached, `p = softmax(x/T_d)`; both `[B, T, V]`, aligned."""

    def value(b: int, t: int) -> Tensor:
        z, w = x[b, t] / temperature, teacher[b, t].detach().double() / temperature
        told = w > -torch.inf
        log_q = torch.log_softmax(finite_columns(w), dim=0)
        log_p = z[told] - log_partition(z)
        return (log_q.exp() * (log_q - log_p)).sum()

    return temperature**2 * mean_over_valid(x, at, value)
