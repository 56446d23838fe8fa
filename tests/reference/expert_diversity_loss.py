"""Experts should not all say the same."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from .experts import flat_mask
from .positions import Positions
from .rows import zero


def cosine(a: Tensor, b: Tensor) -> Tensor:
    """Cosine similarity of two vectors, 0 with a zero vector."""
    length_a: Tensor = torch.linalg.vector_norm(a).clamp_min(1e-12)
    length_b: Tensor = torch.linalg.vector_norm(b).clamp_min(1e-12)
    return torch.dot(a, b) / (length_a * length_b)


def expert_diversity_loss(
    expert_outputs: Tensor | Sequence[Tensor], at: Positions, *, attention_mask: Tensor | None = None
) -> Tensor:
    """Mean over valid tokens of the mean cosine of the pairs `i<j` of outputs `[E, ..., H]`, own-mean."""
    outputs = [output.double().reshape(-1, output.shape[-1]) for output in expert_outputs]
    connected = zero(*outputs)
    mask = flat_mask(attention_mask, outputs[0].shape[0])
    experts = len(outputs)
    per_token = []
    for token, valid in enumerate(mask):
        if not valid or experts < 2:
            continue
        pairs = [cosine(outputs[i][token], outputs[j][token]) for i in range(experts) for j in range(i + 1, experts)]
        per_token.append(torch.stack(pairs).mean())
    if not per_token or not at.count:
        return connected
    return connected + torch.stack(per_token).mean() * at.own_mean_factor
