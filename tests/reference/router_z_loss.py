"""z-loss of the router."""

from __future__ import annotations

import torch
from torch import Tensor

from .experts import Layers, as_layers, valid_gates
from .positions import Positions
from .rows import zero


def router_z_loss(gate_logits: Layers, at: Positions, *, attention_mask: Tensor | None = None) -> Tensor:
    """Mean over valid tokens of `logsumexp(gate)²`, mean over layers, own-mean."""
    gates = as_layers(gate_logits)
    total = zero(*gates)
    for gate in gates:
        kept = valid_gates(gate, attention_mask)
        if kept.shape[0] and at.count:
            total = total + torch.stack([torch.logsumexp(row, dim=0) ** 2 for row in kept]).mean()
    return total / len(gates) * at.own_mean_factor
